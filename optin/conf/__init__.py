"""Every setting of the service but those of one gateway: its name, type, default, unit and source.

``conf.otp_digits`` is the Django setting ``OPTIN_OTP_DIGITS``; the environment
variable of the same name sets it (``twofa_site.settings`` is the only reader of
the environment). Values are read at access, so tests can override them.
``checks`` stops the start where ``fault`` finds something wrong.
"""

from optin.conf.access import Access
from optin.conf.codes import Codes
from optin.conf.gateways import Gateways
from optin.conf.service import Service
from optin.conf.setting import (
    ALARM_SHARE,
    CLOCK_SLACK,
    KEY_BYTES,
    MAX_FAILURES,
    MAX_HOST,
    MAX_OTP_LIFETIME,
    MIN_OTP_LIFETIME,
    MIN_SECRET,
    STAFF_REVOKE_DELAY,
    Network,
    Rate,
    Setting,
)
from optin.conf.texts import Texts

__all__ = [
    "ALARM_SHARE",
    "CHECKS",
    "CLOCK_SLACK",
    "KEY_BYTES",
    "MAX_FAILURES",
    "MAX_HOST",
    "MAX_OTP_LIFETIME",
    "MIN_OTP_LIFETIME",
    "MIN_SECRET",
    "REMOVED",
    "STAFF_REVOKE_DELAY",
    "Conf",
    "Network",
    "Rate",
    "Setting",
    "conf",
]

CHECKS = "optin"
"""The tag of the service's own system checks: of settings, keys and the database.

Starts and commands run these alone. Those of Django and of packages look at the code, and import
all of it: with them, a command takes 1.7 times as much processor time. ``manage check`` runs them.
"""


class Conf(Codes, Texts, Gateways, Access, Service):
    """The settings; see ``docs/reference.md`` for how to give them."""

    @property
    def takes_fiction(self) -> bool:
        """Whether a file that is no sandbox takes numbers for fiction."""
        if self.fictional_numbers == "auto":
            return set(self.gateways) == {"simulator"}
        return self.fictional_numbers == "yes"


conf = Conf()


REMOVED = {
    "OPTIN_ALARM_SHARE": f"An alarm sounds at {ALARM_SHARE} percent of a budget.",
    "OPTIN_APP_FAILURES": "After 100 wrong codes of an app in 30 days it takes two in a row.",
    "OPTIN_ALARM_UNPROVED": "An alarm sounds at 100 unverified opt-ins in an hour in one region.",
    "OPTIN_BREAKER_SECONDS": "A breaker counts for an hour, and closes a prefix for an hour.",
    "OPTIN_BREAKER_SHARE": "A breaker closes if fewer than 20 percent are verified.",
    "OPTIN_FAILED_SIGN_INS_PER_NEW_NETWORK": "A new network has 3 in an hour.",
    "OPTIN_GATEWAY_HTTP_IDEMPOTENCY_HEADER": "The header is Idempotency-Key.",
    "OPTIN_GUESS_BUDGET": "Checks warn of codes of 6 digits.",
    "OPTIN_NOTARY": "Copies of the seals prove the audit trail: the lines of optin.audit.",
    "OPTIN_OBSERVE": "Each limit is enforced.",
    "OPTIN_OWN_SENDS_RESERVE": "Each user gets 3 texts beyond OPTIN_OWN_SENDS_TOTAL.",
    "OPTIN_SEAL_EVERY": "Each web process seals the audit trail every 5 minutes.",
    "OPTIN_STAFF_REVOKE_DELAY": "A revocation by support waits for a day.",
}
"""Former settings, and what is true without them."""
