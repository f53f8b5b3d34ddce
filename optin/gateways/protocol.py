"""What a gateway must do: send a text, and read a receipt for one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

TIMEOUT = 5
"""Seconds that a gateway may take to answer, at most."""


class Fate(StrEnum):
    """The result of handing a text to a gateway."""

    ACCEPTED = "accepted"
    TRY_ANOTHER = "try_another"  # it fails, or not now: surely not sent
    NOT_HERE = "not_here"  # it works, but not for this number: surely not sent
    UNKNOWN = "unknown"  # it did not answer: perhaps sent
    REFUSED = "refused"  # this text, for good: another gateway would say the same
    OPTED_OUT = "opted_out"  # the person answered STOP


class SmsError(Exception):
    """The gateway did not take the text; *fate* says what that means.

    The reason holds no words of the gateway.
    """

    def __init__(self, reason: str, fate: Fate = Fate.TRY_ANOTHER) -> None:
        super().__init__(reason)
        self.fate = fate


@dataclass(frozen=True, slots=True)
class Text:
    """One text, as a gateway is handed it."""

    to: str = field(repr=False)  # E.164
    body: str = field(repr=False)
    reference: str  # the same for every attempt: the gateway's idempotency key
    sender: str = ""  # the name that it comes from, "" for the gateway's own
    valid_for: int = 600  # seconds after which it must not be delivered any more
    # The address for receipts. It holds the reference, and a secret.
    receipt_url: str = field(default="", repr=False)
    patience: float = TIMEOUT  # seconds in which the gateway must have answered


class Report(StrEnum):
    """What a receipt says."""

    DELIVERED = "delivered"
    FAILED = "failed"
    UNDER_WAY = "under_way"
    OPTED_OUT = "opted_out"  # the person answered STOP
    OPTED_IN = "opted_in"  # and then START


@dataclass(frozen=True, slots=True)
class Receipt:
    """A gateway's word about a text that it took, which is named by one of the two ids.

    STOP and START come from a number: with it, they count also where no text is named
    that is still known.
    """

    report: Report
    reference: str = ""
    gateway_message_id: str = ""
    reason: str = ""
    number: str = field(default="", repr=False)  # E.164, of the person


@dataclass(frozen=True, slots=True)
class Callback:
    """What a gateway sent to its receipt address."""

    secret: str = field(repr=False)  # the part of the address that nobody else knows
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    # The whole address, under BASE_URL and never what Host says: for those who sign it.
    url: str = field(default="", repr=False)


class Forged(Exception):
    """A receipt that does not come from the gateway."""


class Malformed(Exception):
    """A receipt that says nothing this service understands."""


class Gateway(Protocol):
    name: str  # of letters, digits and hyphens; kept with each text
    regions: tuple[str, ...]  # that it serves; none: all
    price: Decimal  # of one text

    def send(self, text: Text) -> str:
        """Hand *text* to the gateway; return the gateway's own id, "" if it gives none.

        Must return within ``text.patience`` seconds.

        :raises SmsError: if it did not take it.
        """

    def receipt(self, callback: Callback) -> Receipt:
        """Read a receipt.

        :raises Forged: and
        :raises Malformed: otherwise.
        """
