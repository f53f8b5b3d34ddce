"""Limits on texts, sign-ins, password resets, and searches and removals by staff.

The counters are in the database, and exact. An alarm tells the operators when the budget of a file,
or of all texts, is nearly used up.
The courtesy limits on requests are in ``runtime.throttle``, and sending is in ``messaging``.
"""

from optin.limits.attempts import (
    ALL_FAILED,
    NEW_NETWORK,
    RESET_NAME,
    REVOCATIONS,
    SEARCHES,
    SIGN_IN_NAME,
    refund_sign_in,
    remember_network,
    reserve_reset,
    reserve_revocation,
    reserve_search,
    reserve_sign_in,
)
from optin.limits.counters import Decision, Limit, Refused, Reserved, Withheld
from optin.limits.texts import (
    OPTED_OUT,
    PREFIX,
    REGION,
    STOP,
    count_proof,
    reserve_text,
    texts_are_stopped,
)
from optin.limits.waiting import RESEND_WAIT, resend_wait

__all__ = [
    "ALL_FAILED",
    "NEW_NETWORK",
    "OPTED_OUT",
    "PREFIX",
    "REGION",
    "RESEND_WAIT",
    "RESET_NAME",
    "REVOCATIONS",
    "SEARCHES",
    "SIGN_IN_NAME",
    "STOP",
    "Decision",
    "Limit",
    "Refused",
    "Reserved",
    "Withheld",
    "count_proof",
    "refund_sign_in",
    "remember_network",
    "resend_wait",
    "reserve_reset",
    "reserve_revocation",
    "reserve_search",
    "reserve_sign_in",
    "reserve_text",
    "texts_are_stopped",
]
