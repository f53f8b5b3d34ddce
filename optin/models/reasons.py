"""The reasons that staff give for what they do."""

from optin.errors import UnfitReason

MAX_REASON = 500
"""Characters of a reason that staff give."""


def fit_reason(given: str) -> str:
    """Return the reason that staff gave, without blanks around it.

    :raises UnfitReason: if it is empty, or of over 500 characters.
    """
    given = given.strip()
    if not 0 < len(given) <= MAX_REASON:
        raise UnfitReason
    return given
