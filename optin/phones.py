"""Mobile numbers: read what people write, keep E.164, show three digits.

The rules of each region (lengths, mobile ranges, trunk prefixes) come from
Google's libphonenumber metadata.
"""

import re
from dataclasses import dataclass
from typing import Self

import phonenumbers

from optin.errors import InvalidMobileNumber

MAX_LENGTH = 32
"""Longest text that is looked at, in characters (docs/contract.md, section 1)."""

# ASCII digits only: libphonenumber would also take those of other scripts, and
# letters as on a keypad. The spaces and dashes are the ones people paste.
_WRITTEN = re.compile(r"\+?[0-9()./\- ]+")
_SEPARATORS = re.compile(r"[\s\u2010-\u2015]")

_MOBILE = {
    phonenumbers.PhoneNumberType.MOBILE,
    # Where a plan does not tell mobiles apart (+1), every number may be one.
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
}


@dataclass(frozen=True, slots=True)
class MobileNumber:
    """A valid mobile number of some region."""

    e164: str
    region: str  # ISO 3166-1 alpha-2

    @classmethod
    def stored(cls, e164: str) -> Self:
        """Return the number that ``parse`` gave before, and of which *e164* was kept."""
        return cls(e164, region_of(e164))

    @property
    def last_three(self) -> str:
        """The digits that may be shown."""
        return self.e164[-3:]

    def __str__(self) -> str:
        # Not the number: __str__ reaches logs and tracebacks.
        return mask(self.last_three)

    __repr__ = __str__


def parse(text: str, *, home_region: str) -> MobileNumber:
    """Return the mobile number in *text*.

    *home_region* is where a number without a country code is taken to be.

    :raises InvalidMobileNumber: unless it is a valid mobile number written with
        ASCII digits in at most ``MAX_LENGTH`` characters.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidMobileNumber
    # libphonenumber knows only some of the spaces that people paste.
    text = _SEPARATORS.sub(" ", text).strip()
    if not _WRITTEN.fullmatch(text):
        raise InvalidMobileNumber
    try:
        number = phonenumbers.parse(text, home_region)
    except phonenumbers.NumberParseException:
        raise InvalidMobileNumber from None
    region = phonenumbers.region_code_for_number(number)
    if region is None or phonenumbers.number_type(number) not in _MOBILE:
        raise InvalidMobileNumber
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return MobileNumber(e164, region)


def region_of(e164: str) -> str:
    """Return the region of a number that ``parse`` gave."""
    return phonenumbers.region_code_for_number(phonenumbers.parse(e164)) or ""


def mask(last_three: str) -> str:
    """Return what people see in place of a number: ``... 678``; "" if there is none."""
    return f"... {last_three}" if last_three else ""
