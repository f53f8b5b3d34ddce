"""Numbers: what people write, one way to keep it, three digits to show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optin import phones
from optin.errors import InvalidMobileNumber

MOBILES = ["+61491570156", "+61412345678", "+6421123456", "+447400123456", "+12015550123"]


@pytest.mark.parametrize(
    "text",
    [
        "0491 570 156",
        "+61 491 570 156",
        "(04) 9157 0156",
        "+61 (0)491 570 156",
        "0491\u2011570\u2013156",
        "+61\u202f491\u2009570\u2003156",
        "\t0491 570 156\r\n",
        "0011 61 491 570 156",
        "0491570156".rjust(32),
    ],
    ids=repr,
)
def test_one_number_in_many_ways(text: str) -> None:
    number = phones.parse(text, home_region="AU")
    assert (number.e164, number.region, number.last_three) == ("+61491570156", "AU", "156")


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+64 21 123 456", "NZ"),
        ("+44 7400 123456", "GB"),
        ("+1 201 555 0123", "US"),
    ],
)
def test_the_region_is_the_numbers_own(text: str, region: str) -> None:
    assert phones.parse(text, home_region="AU").region == region


def test_a_number_is_written_as_in_its_country_and_abroad_with_a_plus() -> None:
    assert phones.as_written("+61491570156", "AU") == "0491 570 156"
    assert phones.as_written("+6421123456", "AU") == "+64 21 123 456"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0491 570 15",
        "0491 570 1567",
        "02 9374 4000",  # Sydney, no mobile
        "+61 491 570 156 ext 3",
        "tel:+61491570156",
        "0491 570 ABC",
        "\u0660\u0664\u0669\u0661\u0665\u0667\u0660\u0661\u0665\u0666",
        "\uff0b61491570156",
        "0491570156\0",
        "0491570156,0491570157",
        "0491570156".rjust(33),
        "\ud800491570156",
        "+999 123 456 789",
    ],
    ids=repr,
)
def test_no_mobile_number(text: str) -> None:
    with pytest.raises(InvalidMobileNumber) as caught:
        phones.parse(text, home_region="AU")
    assert str(caught.value) == "That is not a mobile number."  # the value is not echoed


@given(text=st.text(st.characters(), max_size=40))
def test_any_text_is_a_number_or_one_error(text: str) -> None:
    try:
        number = phones.parse(text, home_region="AU")
    except InvalidMobileNumber:
        return
    assert phones.parse(number.e164, home_region="GB") == number


separator = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2009", "\u2013", " - "])


@given(e164=st.sampled_from(MOBILES), noise=st.data())
def test_separators_are_ignored_and_parsing_is_idempotent(e164: str, noise: st.DataObject) -> None:
    dressed = "+" + "".join(d + noise.draw(separator) for d in e164[1:])[:31]
    clean = "+" + "".join(d for d in dressed if d.isdigit())
    if clean == e164:  # the noise did not push digits over the limit
        assert phones.parse(dressed, home_region="AU").e164 == e164
    assert phones.parse(e164, home_region="AU").e164 == e164


def test_a_number_does_not_show_itself() -> None:
    """S-51: masked in logs, tracebacks and messages."""
    number = phones.parse("+61491570156", home_region="AU")
    assert {str(number), repr(number), f"{number}"} == {"•••156"}
    assert phones.mask(number.last_three) == "•••156"
