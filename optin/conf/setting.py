"""What a setting is, and the numbers that several settings share."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Self, TypeVar, overload

from django.conf import settings

T = TypeVar("T")

MIN_OTP_LIFETIME = 66
"""Seconds. No text leaves in the last 65 of its code's life (``delivery.WORTH_IT``)."""

MAX_OTP_LIFETIME = 600
"""Seconds. NIST SP 800-63B-4 3.1.3.2 and ASVS 6.5.5 allow 10 minutes at most."""

CLOCK_SLACK = timedelta(seconds=5)
"""The most by which the clocks of two servers may differ. A stored time that is further ahead
was written before a clock jumped back (S-65)."""

MAX_FAILURES = 100
"""NIST SP 800-63B-4 3.2.2: no more consecutive failures than this."""

ALARM_SHARE = 80
"""Percent of a budget of texts that cause an alarm."""

STAFF_REVOKE_DELAY = timedelta(days=1)
"""How long a revocation by support waits: people read a mail within a day (S-37)."""

KEY_BYTES = 32
"""Length of every key, in bytes: 256 bits."""

MIN_SECRET = 50
"""Characters of ``SECRET_KEY``, as Django's own check wants (security.W009)."""

MAX_HOST = 58
"""Characters of a host name: with it, the longest text still fits one segment (S-43)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` in ``seconds``: any, or those of a window that begins on the clock."""

    count: int
    seconds: int


class Setting(Generic[T]):
    """One setting, as a typed attribute of ``Conf``.

    :param number: names its system check, ``optin.E<number>``; never reused.
    :param default: value, or a function of no arguments, where none is given.
    :param parse: reads the environment's text; raises ``ValueError`` with a reason.
    :param fault: returns what is wrong with a value, as a sentence, or ``""``.
    :param doc: meaning and unit, in two short sentences at most: operators read it. Reasons are
        comments beside it.
    :param name: of the setting, where it is not ``OPTIN_`` and the attribute's name. The class of a
        gateway puts its ``prefix`` between them.
    """

    def __init__(
        self,
        number: int,
        default: T | Callable[[], T],
        *,
        parse: Callable[[str], T],
        doc: str,
        name: str = "",
        fault: Callable[[T], str] = lambda value: "",
    ) -> None:
        self.check_id = f"optin.E{number:03d}"
        self.parse = parse
        self.fault = fault
        self.__doc__ = doc
        self.name = name
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or f"OPTIN_{getattr(owner, 'prefix', '')}{name.upper()}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        return self if instance is None else self.value

    @property
    def value(self) -> T:
        value: T = getattr(settings, self.name)
        return value

    @property
    def default(self) -> T:
        return self._default() if callable(self._default) else self._default
