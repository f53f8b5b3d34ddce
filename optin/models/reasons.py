"""The reasons that staff give for what they do."""

from optin import phones
from optin.conf import conf
from optin.errors import NumberInReason, UnfitReason

MAX_REASON = 500
"""Characters of a reason that staff give."""


def fit_reason(given: str) -> str:
    """Return the reason that staff gave, without blanks around it.

    :raises UnfitReason: if it is empty, of over 500 characters, or holds a telephone number.
    """
    given = given.strip()
    if not 0 < len(given) <= MAX_REASON:
        raise UnfitReason
    if any(phones.is_in(given, home_region=region) for region in conf.sms_regions):
        raise NumberInReason
    return given
