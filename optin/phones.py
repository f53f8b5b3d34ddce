"""Mobile numbers: read what people write, keep E.164, show three digits.

The rules of each region (lengths, mobile ranges, trunk prefixes) come from
Google's libphonenumber metadata.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import phonenumbers

from optin import fiction
from optin.errors import InvalidMobileNumber

MAX_LENGTH = 32
"""Longest text that is looked at, in characters (docs/contract.md, section 1)."""

# ASCII digits only: libphonenumber would also take those of other scripts, and
# letters as on a keypad. The spaces and dashes are the ones people paste.
_WRITTEN = re.compile(r"\+?[0-9()./\- ]+")
_SEPARATORS = re.compile(r"[\s\u2010-\u2015]")

_MOBILE = {
    phonenumbers.PhoneNumberType.MOBILE,
    # A plan such as that of +1 does not tell mobiles apart: every number may be one.
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
    def is_fiction(self) -> bool:
        """Whether it is kept free for films and books: nobody has it."""
        return bool(fiction.region_of(self.e164))

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
    number = _read(text, home_region)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if region := fiction.region_of(e164):
        return MobileNumber(e164, region)
    region = phonenumbers.region_code_for_number(number) or ""
    if not region or phonenumbers.number_type(number) not in _MOBILE:
        raise InvalidMobileNumber
    return MobileNumber(e164, region)


def _read(text: str, home_region: str) -> phonenumbers.PhoneNumber:
    if len(text) > MAX_LENGTH:
        raise InvalidMobileNumber
    # libphonenumber knows only some of the spaces that people paste.
    text = _SEPARATORS.sub(" ", text).strip()
    if not _WRITTEN.fullmatch(text):
        raise InvalidMobileNumber
    try:
        return phonenumbers.parse(text, home_region)
    except phonenumbers.NumberParseException:
        raise InvalidMobileNumber from None


class Fault(StrEnum):
    """What is wrong with a text that is no mobile number."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    LANDLINE = "landline"
    NO_NUMBER = "no_number"  # or one that is neither a mobile nor a landline


def fault(text: str, *, home_region: str) -> Fault:
    """Return why ``parse`` refuses *text*, as far as the plan of its region tells."""
    try:
        number = _read(text, home_region)
    except InvalidMobileNumber:
        return Fault.NO_NUMBER
    kinds, kind = phonenumbers.PhoneNumberType, phonenumbers.number_type(number)
    if kind != kinds.UNKNOWN:
        return Fault.LANDLINE if kind == kinds.FIXED_LINE else Fault.NO_NUMBER
    possible = phonenumbers.is_possible_number_for_type_with_reason(number, kinds.MOBILE)
    return _OF_LENGTH.get(possible, Fault.NO_NUMBER)


_OF_LENGTH = {
    phonenumbers.ValidationResult.TOO_SHORT: Fault.TOO_SHORT,
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: Fault.TOO_SHORT,
    phonenumbers.ValidationResult.TOO_LONG: Fault.TOO_LONG,
}


def is_in(text: str, *, home_region: str) -> bool:
    """Whether *text* holds a telephone number of whatever kind, as people write one.

    Not digits that follow letters: many case numbers look like that.
    """
    valid = phonenumbers.Leniency.VALID
    text = re.sub("[_,]", " ", text)
    return any(True for _ in phonenumbers.PhoneNumberMatcher(text, home_region, leniency=valid))


_FICTIONAL = {"AU": "+61491570156"}
"""Mobile numbers that are kept free for examples (AU: ACMA)."""


def examples(region: str) -> tuple[str, str]:
    """Return a mobile number of *region* as people there write it, and as others do."""
    mobile = phonenumbers.PhoneNumberType.MOBILE
    number = phonenumbers.parse(_FICTIONAL[region]) if region in _FICTIONAL else None
    number = number or phonenumbers.example_number_for_type(region, mobile)
    assert number, region  # OPTIN_SMS_REGIONS names regions that have mobile numbers
    national, international = (
        phonenumbers.format_number(number, form)
        for form in (
            phonenumbers.PhoneNumberFormat.NATIONAL,
            phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        )
    )
    return national, international


def as_written(e164: str, home_region: str) -> str:
    """Write a number that ``parse`` gave as people in *home_region* do, any other with its +."""
    number = phonenumbers.parse(e164)
    is_home = number.country_code == phonenumbers.country_code_for_region(home_region)
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(number, form.NATIONAL if is_home else form.INTERNATIONAL)


def calling_code(region: str) -> str:
    """Return how numbers of *region* begin: ``+61``."""
    return f"+{phonenumbers.country_code_for_region(region)}"


def region_of(e164: str) -> str:
    """Return the region of a number that ``parse`` gave."""
    known = phonenumbers.region_code_for_number(phonenumbers.parse(e164))
    return known or fiction.region_of(e164)


def mask(last_three: str) -> str:
    """Return what people see in place of a number: ``•••678``; "" if there is none."""
    return f"•••{last_three}" if last_three else ""
