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
    MIN_OTP_LIFETIME,
    STAFF_REVOKE_DELAY,
    Rate,
    Setting,
)
from optin.conf.sim_swaps import SimSwaps
from optin.conf.texts import Texts

__all__ = [
    "ALARM_SHARE",
    "CHECKS",
    "CLOCK_SLACK",
    "KEY_BYTES",
    "MAX_FAILURES",
    "MAX_HOST",
    "MIN_OTP_LIFETIME",
    "STAFF_REVOKE_DELAY",
    "Conf",
    "Rate",
    "Setting",
    "conf",
]

CHECKS = "optin"
"""The tag of the service's own system checks: of settings, keys and the database.

Starts and commands run these alone. Those of Django and of packages look at the code, and import
all of it: with them, a command takes 1.7 times as much processor time. ``manage check`` runs them.
"""


class Conf(Codes, Texts, Gateways, SimSwaps, Access, Service):
    """The settings; see ``docs/reference.md`` for how to give them."""

    @property
    def takes_fiction(self) -> bool:
        """Whether a file that is no sandbox takes numbers for fiction."""
        if self.fictional_numbers == "auto":
            return set(self.gateways) == {"simulator"}
        return self.fictional_numbers == "yes"


conf = Conf()
