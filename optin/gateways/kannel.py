"""Kannel, the open SMS gateway: its HTTP interface for sending, and its delivery reports.

Texts are posted, so that no log of addresses holds a number or a code. Kannel reports
twice: its own number for a text comes in the second report only, so the receipt
address that it calls back holds our reference.
"""

from optin.conf import kinds
from optin.conf.faults import header_word, remote
from optin.conf.kinds import text
from optin.gateways.call import Call
from optin.gateways.http import check_secret, fate_of, knows_us, unclear
from optin.gateways.protocol import Callback, Fate, Malformed, Receipt, Report, SmsError, Text

# Kannel User's Guide, "Delivery reports": bits of the mask, and of the report itself.
_ASKED_FOR = 1 | 2 | 16
_REPORTS = {
    "1": (Report.DELIVERED, ""),
    "2": (Report.FAILED, "not delivered"),
    "4": (Report.UNDER_WAY, ""),
    "8": (Report.UNDER_WAY, ""),
    "16": (Report.FAILED, "refused"),
}

# "User's Guide", table of the answers of sendsms.
_TAKEN = (b"0:", b"3:")  # sent to the carrier, or queued for it
_NOT_ROUTABLE = b"Not routable"


class Kannel:
    """Its settings are those of an account at one Kannel."""

    name = "kannel"
    prefix = "GATEWAY_KANNEL_"

    url = text(41, "Kannel's sendsms, as in http://127.0.0.1:13013/cgi-bin/sendsms.", remote)
    user = text(42, "The name of a sendsms-user group of Kannel.", header_word)
    password = text(43, "Its password.", header_word)
    sender = text(44, "The number or name that texts come from.", header_word)
    regions = kinds.regions(45)
    price = kinds.price(46)

    def __init__(self) -> None:
        """:raises ValueError: if the settings do not fit, as a sentence that holds no value."""
        if not (self.url and self.user and self.password):
            raise ValueError(
                "OPTIN_GATEWAY_KANNEL_URL, _USER and _PASSWORD must be set, all three."
            )

    def send(self, text: Text) -> str:
        """Post the text to ``sendsms``; Kannel gives no id with its answer."""
        headers = {
            **self._headers(),
            "X-Kannel-To": text.to,
            "X-Kannel-From": text.sender or self.sender,
            "X-Kannel-Coding": "0",
            # Whole minutes. Kannel also keeps to it while the text waits in its own queue.
            "X-Kannel-Validity": str(text.valid_for // 60),
        }
        if text.receipt_url:
            headers["X-Kannel-DLR-Mask"] = str(_ASKED_FOR)
            headers["X-Kannel-DLR-Url"] = f"{text.receipt_url}&report=%d"
        call = Call(self.url, headers, text.body.encode(), reads=True, patience=text.patience)
        status, answer = call.run()
        if 200 <= status < 300:
            if answer is not None and not answer.startswith(_TAKEN):
                raise unclear(status)
            return ""
        # Our name is wrong, or no carrier of this Kannel takes the number: one status for both.
        here = not (status == 403 and _NOT_ROUTABLE in (answer or b""))
        fate = fate_of(status) if here else Fate.NOT_HERE
        raise SmsError(f"the gateway answered {status}", fate)

    def knows_us(self) -> bool:
        """See ``gateways.http.knows_us``."""
        return knows_us(self.url, self._headers())

    def _headers(self) -> dict[str, str]:
        return {
            "Content-Type": "text/plain; charset=utf-8",
            "User-Agent": "optin",
            "X-Kannel-Username": self.user,
            "X-Kannel-Password": self.password,
        }

    def receipt(self, callback: Callback) -> Receipt:
        """Read a delivery report: a GET of the address that the text was sent with."""
        check_secret(callback)
        reference = callback.query.get("reference", "")
        try:
            report, reason = _REPORTS[callback.query.get("report", "")]
        except KeyError:
            raise Malformed from None
        if not reference:
            raise Malformed
        return Receipt(report, reference, reason=reason)
