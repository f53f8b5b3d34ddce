"""Limits on texts, sign-ins, password resets, changes of email addresses, searches and removals.

All counts are in the database, and exact. An alarm tells the operators when the budget of a file,
or of all texts, is nearly used up.
The courtesy limits on requests are in ``runtime.throttle``, and sending is in ``messaging``.
"""

from optin.limits.attempts import (
    EMAILS,
    REVOCATIONS,
    Charge,
    remember_network,
    reserve_email,
    reserve_reset,
    reserve_revocation,
    reserve_search,
    reserve_sign_in,
)
from optin.limits.counters import Decision, Limit, Refused, Reserved, Withheld
from optin.limits.recent import reach, resend_wait
from optin.limits.rules import Rule
from optin.limits.shared import decided_again
from optin.limits.texts import (
    count_verified,
    count_warning,
    reserve_sim_swap,
    reserve_text,
)

__all__ = [
    "EMAILS",
    "REVOCATIONS",
    "Charge",
    "Decision",
    "Limit",
    "Refused",
    "Reserved",
    "Rule",
    "Withheld",
    "count_verified",
    "count_warning",
    "decided_again",
    "reach",
    "remember_network",
    "resend_wait",
    "reserve_email",
    "reserve_reset",
    "reserve_revocation",
    "reserve_search",
    "reserve_sign_in",
    "reserve_sim_swap",
    "reserve_text",
]
