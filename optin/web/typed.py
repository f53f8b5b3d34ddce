"""What people type and paste, made plain before it is read.

For pages only: the calls take theirs to the letter of docs/contract.md.
"""

import re
import unicodedata

from optin import codes, phones
from optin.conf import conf
from optin.errors import InvalidMobileNumber, MalformedCode

MAX_LENGTH = 256
"""Longest text that is looked at, in characters: a text message with a code in it fits."""

# Digits that stand alone, with the separators that people put between them.
_DIGITS = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ \-\u2010-\u2015]?[0-9])*(?![0-9A-Za-z])")
_BRACKETS = re.compile(r"[()\[\]{}]")
_INTERNATIONAL = re.compile(r"00(?=[ \-.]*[1-9])")


def plain(text: str) -> str:
    """Return *text* with the usual digits and signs, without those that nobody sees.

    Full-width digits become usual ones; zero-width spaces and marks of direction go.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_LENGTH])
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


def code(text: str) -> str:
    """Return the code in *text*, also in a sentence; *text*, plain, where there is no one code."""
    text = plain(text)
    try:
        codes.parse(text)
    except MalformedCode:
        # Before the shape of a recovery code: "Login code 1234567" has that too.
        found = {re.sub("[^0-9]", "", digits) for digits in _DIGITS.findall(text)}
        found = {digits for digits in found if len(digits) in codes.LENGTHS}
        return found.pop() if len(found) == 1 else text
    return text


def number(text: str) -> str:
    """Return the mobile number in *text* in a spelling that ``phones.parse`` takes, if any."""
    text = _BRACKETS.sub(" ", plain(text)).strip()
    if _INTERNATIONAL.match(text) and not _is_number(text):
        # 00 leads abroad in most countries, if not at home.
        return "+" + text[2:].strip()
    return text


def _is_number(text: str) -> bool:
    try:
        phones.parse(text, home_region=conf.sms_regions[0])
    except InvalidMobileNumber:
        return False
    return True
