"""What stands in for the gateways and the handset behind them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from optin.gateways import Callback, Fate, Receipt, SmsError, Text


@dataclass
class Phone:
    """Stands in for the gateway and the handset behind it."""

    name: str = "phone"
    regions: tuple[str, ...] = ()
    price: Decimal = Decimal(0)
    messages: list[tuple[str, str]] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    fail_with: SmsError | None = None

    def send(self, text: Text) -> str:
        if self.fail_with:
            raise self.fail_with
        self.texts.append(text)
        self.messages.append((text.to, text.body))
        self.references.append(text.reference)
        return f"gw-{len(self.messages)}"

    def receipt(self, callback: Callback) -> Receipt:
        raise NotImplementedError  # the tests of receipts have gateways of their own

    @property
    def body(self) -> str:
        return self.messages[-1][1]

    def code(self) -> str:
        """The code of the newest text."""
        found = re.match(r"[0-9]+", self.body)
        assert found
        return found[0]

    def code_to(self, number: str) -> str:
        """The code of the newest text to *number*."""
        body = next(body for to, body in reversed(self.messages) if to == number)
        return body.split()[0]


def wrong(code: str) -> str:
    """A code of the same length that is not *code*."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


AWAY = SmsError("away", Fate.TRY_ANOTHER)
ELSEWHERE = SmsError("not routable", Fate.NOT_HERE)
SILENT = SmsError("silent", Fate.UNKNOWN)
REFUSED = SmsError("no such number", Fate.REFUSED)
STOPPED = SmsError("stopped", Fate.OPTED_OUT)


@dataclass
class Stub:
    """A gateway that does as it is told."""

    name: str
    fails: Exception | None = None
    regions: tuple[str, ...] = ()
    price: Decimal = Decimal(0)
    texts: list[Text] = field(default_factory=list)
    then: Callable[[], object] = lambda: None
    says: Callable[[], Any] | None = None

    def send(self, text: Text) -> str:
        self.texts.append(text)
        self.then()
        if self.fails:
            raise self.fails
        return self.says() if self.says else f"{self.name}-{len(self.texts)}"

    def receipt(self, callback: Callback) -> Receipt:
        raise NotImplementedError


Gateways = Callable[..., tuple[Stub, ...]]


# 3GPP TS 23.038, 6.2.1: the default alphabet, without the escape to its extension.
GSM_7 = set(
    "@\u00a3$\u00a5\u00e8\u00e9\u00f9\u00ec\u00f2\u00c7\n\u00d8\u00f8\r\u00c5\u00e5"
    "\u0394_\u03a6\u0393\u039b\u03a9\u03a0\u03a8\u03a3\u0398\u039e\u00c6\u00e6\u00df\u00c9"
    " !\"#\u00a4%&'()*+,-./0123456789:;<=>?"
    "\u00a1ABCDEFGHIJKLMNOPQRSTUVWXYZ\u00c4\u00d6\u00d1\u00dc\u00a7"
    "\u00bfabcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00f1\u00fc\u00e0"
)
