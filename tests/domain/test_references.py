"""G-07: seven characters stand for the second of a request, and only the service can tell."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from optin.runtime import references
from optin.runtime.references import Undecided
from tests.kit.people import NOON

LATER = timedelta(seconds=1)


@given(
    st.integers(0, 2**22 - 1),
    st.integers(0, 255),
    st.integers(0, 30 * 86_400),
    st.sampled_from(Undecided),
)
def test_a_reference_leads_to_its_request_alone_and_has_the_cause(
    seconds: int, byte: int, age: int, cause: Undecided
) -> None:
    at = datetime.fromtimestamp(1_800_000_000 + seconds, tz=UTC)
    beginning, later = f"{int(at.timestamp()):08x}{byte:02x}", at + timedelta(seconds=age)
    assert list(references.read(references.of(beginning), later)) == [(at, beginning)]
    [(found, marked)] = references.read(references.of(beginning, cause), later)
    assert (found, references.cause(marked)) == (at, cause)


def test_no_id_begins_as_a_cause() -> None:
    ids = {references.new_request_id()[:10] for _ in range(10_000)}
    assert {int(each[8:], 16) for each in ids} == set(range(references.CAUSES, 256))
    assert {references.cause(each) for each in ids} == {None}


def test_a_cause_is_not_known_again_in_another_second() -> None:
    """Else who knows the reference of one cause could find the cause of another reference."""
    now = int(NOON.timestamp())
    found = [references.of(f"{now + n:08x}ff", Undecided.INVALID_KEY) for n in range(3600)]
    assert len(set(found)) == len(found)
    # No character has to do with the cause: each of 32 letters stands in each place.
    assert all(len({text[n] for text in found}) == 32 for n in (0, 1, 2, 4, 5, 6, 7))


@pytest.mark.parametrize("dress", [str.lower, "  {}\n".format, lambda t: t.replace("-", " ")])
def test_any_spelling_is_read(dress: object) -> None:
    request_id = references.new_request_id()
    text = dress(references.of(request_id))  # type: ignore[operator]
    assert [begins for _, begins in references.read(text, NOON)] == [request_id[:10]]


def test_letters_that_look_alike_are_the_same() -> None:
    found = (references.of(f"{int(NOON.timestamp()) - n:08x}ff") for n in range(10_000))
    text = next(each for each in found if {"0", "1"} <= set(each))
    typed = text.replace("0", "o").replace("1", "l")
    assert list(references.read(typed, NOON)) == list(references.read(text, NOON))


@pytest.mark.parametrize(
    "text",
    ["", "7KD-2Q", "7KD-2QM", "7KD-2QMMM", "7KD-2U!", "ann@example", "7KD_2QM", "7\u041aD-2QM"],
)
def test_what_is_none_leads_nowhere(text: str) -> None:
    assert list(references.read(text, NOON)) == []


@given(st.integers(0, 2**22 - 1), st.integers(0, 255), st.integers(0, 5), st.integers(1, 31))
def test_one_that_was_misheard_is_none(seconds: int, byte: int, place: int, by: int) -> None:
    """Whichever one character is another, or has changed places with one beside it."""
    text = references.of(f"{int(NOON.timestamp()) - seconds % 86_400:08x}{byte:02x}").replace(
        "-", ""
    )
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    other = letters[(letters.index(text[place]) + by) % 32]
    assert list(references.read(text, NOON))
    assert not list(references.read(text[:place] + other + text[place + 1 :], NOON))
    exchanged = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    assert exchanged == text or not list(references.read(exchanged, NOON))


def test_of_invented_ones_one_in_32_is_read() -> None:
    made = (f"{n:05d}{n % 97:02d}" for n in range(3200))
    read = sum(bool(list(references.read(text, NOON))) for text in made)
    assert 30 < read < 100  # a third of them would be older than they live


def test_it_is_gone_after_30_days() -> None:
    text = references.of(references.new_request_id())
    assert list(references.read(text, NOON + references.KEPT))
    assert not list(references.read(text, NOON + references.KEPT + LATER))


def test_a_new_digest_key_leaves_old_ones_readable(settings: LazySettings) -> None:
    request_id = references.new_request_id()
    text = references.of(request_id)
    settings.OPTIN_OLD_DIGEST_KEYS = (settings.OPTIN_DIGEST_KEY,)
    settings.OPTIN_DIGEST_KEY = b"n" * 32
    assert references.of(request_id) != text
    assert request_id[:10] in [begins for _, begins in references.read(text, NOON)]
