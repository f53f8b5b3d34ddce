"""The gateway of sandboxes: no text leaves. The number decides what it does (``optin.sandbox``).

No setting names this gateway. It gets all texts of test accounts, and no others.
"""

from collections.abc import Callable
from decimal import Decimal

from optin import sandbox
from optin.gateways.protocol import Callback, Fate, Forged, Receipt, Report, SmsError, Text


def receipts_of(number: str, reference: str) -> list[Receipt]:
    """Return what is reported of a text to *number*: its last digits suffice."""
    return [Receipt(Report(says), reference) for says in sandbox.of(number).reports]


class Sandbox:
    """:param report: takes a receipt that comes before ``send`` returns."""

    name = "sandbox"
    regions: tuple[str, ...] = ()
    price = Decimal(0)

    def __init__(self, report: Callable[[Receipt], None]) -> None:
        self._report = report

    def send(self, text: Text) -> str:
        """Do what the number says; see ``gateways.Gateway.send``."""
        ending = sandbox.of(text.to)
        if ending.refused:
            raise SmsError("the sandbox refuses this ending", Fate.REFUSED)
        for receipt in receipts_of(text.to, text.reference) if ending.early else ():
            self._report(receipt)
        return text.reference

    def receipt(self, callback: Callback) -> Receipt:
        """None comes from outside."""
        raise Forged
