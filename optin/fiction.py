"""Mobile numbers that regulators reserve for films and books: nobody has one.

The sources:

- AU: ACMA, "Phone numbers for use in TV shows, films and creative works", the 30 mobile numbers.
- CA, US: the North American Numbering Plan keeps 555-0100 to 555-0199 of each area code.
- FR: ARCEP, the numbering plan: 06 39 98 00 00 to 06 39 98 99 99.
- GB: Ofcom, "Telephone numbers for use in TV and radio drama": 07700 900000 to 900999.
- SE: PTS, "Telephone numbers for use in books and films": 070-174 06 05 to 06 99.

libphonenumber says that the numbers of France and the United Kingdom are unassigned, so ``phones``
asks this module first.
"""

import re

import phonenumbers

_BLOCKS = {
    "570": ("006", "156", "157", "158", "159", "110", "313", "737"),
    "571": ("266", "491", "804"),
    "572": ("549", "665", "983"),
    "573": ("770", "087"),
    "574": ("118", "632"),
    "575": ("254", "789"),
    "576": ("398", "801"),
    "577": ("426", "644"),
    "578": ("957", "148", "888"),
    "579": ("212", "760", "455"),
}

AUSTRALIAN = tuple(f"+61491{block}{last}" for block, lasts in _BLOCKS.items() for last in lasts)

_PATTERNS = {
    "AU": re.compile("|".join(map(re.escape, AUSTRALIAN))),
    "FR": re.compile(r"\+3363998[0-9]{4}"),
    "GB": re.compile(r"\+447700900[0-9]{3}"),
    "SE": re.compile(r"\+467017406(0[5-9]|[1-9][0-9])"),
}
_NORTH_AMERICAN = re.compile(r"\+1[2-9][0-9]{2}55501[0-9]{2}")
_NORTH_AMERICANS = ("CA", "US")  # of the islands there, others decide


def region_of(e164: str) -> str:
    """Return the region of a number for fiction; "" if it is none."""
    for region, pattern in _PATTERNS.items():
        if pattern.fullmatch(e164):
            return region
    if _NORTH_AMERICAN.fullmatch(e164):
        region = phonenumbers.region_code_for_number(phonenumbers.parse(e164)) or ""
        return region if region in _NORTH_AMERICANS else ""
    return ""
