"""What people type and paste, made plain (P-03, P-04)."""

import pytest

from optin import codes, phones
from optin.errors import MalformedCode
from optin.web import typed
from tests.kit.people import NUMBER


@pytest.mark.parametrize(
    "text",
    [
        "00 61 491 570 156",
        "0011 61 491 570 156",
        "(0491) 570 156",
        "[0491] 570-156",
        "(+61) 491 570 156",
        "+61 (0) 491 570 156",
        "\uff10\uff14\uff19\uff11 \uff15\uff17\uff10 \uff11\uff15\uff16",
        "\uff0b61\u3000491\u200b570\u2060156",
    ],
)
def test_number_as_people_write_it(text: str) -> None:
    assert phones.parse(typed.number(text), home_region="AU").e164 == NUMBER


@pytest.mark.parametrize(
    "text",
    [
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "\u200e123\u200b456\ufeff",
        "G\u00fcltig: 123456!",
        "123 456. Do not share it.",
        "123456 is your Two-Factor code. Do not share it.\n\n@2fa.example.com #123456",
        "Sign-in code 123456",  # 16 letters and digits, as a recovery code has
    ],
)
def test_code_as_it_came(text: str) -> None:
    assert typed.code(text) == "123456"


@pytest.mark.parametrize("text", ["1234567 or 7654321", "call 1234567x"])
def test_text_with_no_one_code_is_none(text: str) -> None:
    with pytest.raises(MalformedCode):
        codes.parse(typed.code(text))
