"""Twilio: its Messages API, and status callbacks that it signs.

An optional extra (``requirements-twilio.txt``): the only module that needs the package
``twilio``, of which it takes the validator of signatures. The call itself is our own, as
the package's client knows neither our time-out nor our cap.
"""

import re
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.utils.module_loading import import_string

from optin.conf import faults, kinds
from optin.conf.faults import address, header_word, sid
from optin.conf.kinds import text
from optin.gateways.call import Call, facts_in
from optin.gateways.http import check_secret, fate_of, kept_id, knows_us, unclear
from optin.gateways.protocol import (
    Callback,
    Fate,
    Forged,
    Malformed,
    Receipt,
    Report,
    SmsError,
    Text,
)

_LONGEST_VALIDITY = 36_000  # seconds: Twilio's error 90007
_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
_CODE = re.compile(r"[1-9][0-9]{4}")

_STOPPED = 21610

# Twilio's Error and Warning Dictionary.
_FATES = {
    _STOPPED: Fate.OPTED_OUT,
    # No number that takes texts: for any gateway.
    **dict.fromkeys((21211, 21265, 21614, 21635), Fate.REFUSED),
    # A region that is switched off, a sender that does not do there, a trial account.
    **dict.fromkeys((21408, 21606, 21608, 21612, 21659), Fate.NOT_HERE),
    # An account that is closed, a sender that is not its own, a full queue.
    **dict.fromkeys((10001, 20003, 20005, 21611), Fate.TRY_ANOTHER),
    **dict.fromkeys((21212, 21660, 21661, 21703, 21705), Fate.TRY_ANOTHER),
}

_REPORTS = {
    "delivered": Report.DELIVERED,
    "read": Report.DELIVERED,
    "failed": Report.FAILED,
    "undelivered": Report.FAILED,
    "canceled": Report.FAILED,
}


class Twilio:
    """Its settings are those of an account."""

    name = "twilio"
    prefix = "GATEWAY_TWILIO_"

    account = text(61, "The account SID: AC and 32 hexadecimal digits.", sid("AC"))
    token = text(
        62,
        "The primary auth token, with which receipts are signed. Without it there are none.",
        header_word,
    )
    key = text(63, "The SID of an API key that sends in its place: SK and 32 digits.", sid("SK"))
    key_secret = text(64, "The secret of that key.", header_word)
    sender = text(65, "The number or name that texts come from.", faults.sender)
    service = text(
        66, "The SID of a Messaging Service, which chooses the sender: MG and 32 digits.", sid("MG")
    )
    url = text(67, "Where Twilio is called.", address, default="https://api.twilio.com")
    regions = kinds.regions(68)
    price = kinds.price(69)

    def __init__(self) -> None:
        """:raises ValueError: if the settings do not fit, as a sentence that holds no value."""
        if not (settings.DEBUG or self.url.lower().startswith("https://")):
            raise ValueError("OPTIN_GATEWAY_TWILIO_URL must begin with https://.")
        if not self.account:
            raise ValueError("OPTIN_GATEWAY_TWILIO_ACCOUNT is not set.")
        if bool(self.key) != bool(self.key_secret):
            raise ValueError("OPTIN_GATEWAY_TWILIO_KEY and _KEY_SECRET must be set both, or none.")
        if not (self.token or self.key):
            raise ValueError("OPTIN_GATEWAY_TWILIO_TOKEN or _KEY and _KEY_SECRET must be set.")
        if not (self.sender or self.service):
            raise ValueError("OPTIN_GATEWAY_TWILIO_SENDER or _SERVICE must be set.")
        # Callbacks are signed with the token, also where a key sends.
        self._validator = _validator()(self.token) if self.token else None

    def send(self, text: Text) -> str:
        """Post the text; see ``gateways.Gateway.send``."""
        body = urlencode(self._form(text)).encode()
        call = Call(self._address, self._headers(), body, reads=True, patience=text.patience)
        status, answer = call.run()
        if not 200 <= status < 300:
            raise _refusal(status, answer or b"")
        if answer is None:
            return ""
        theirs = _fact(answer, "sid")
        if not _SID.fullmatch(theirs):
            raise unclear(status)
        return kept_id(theirs, text)

    def knows_us(self) -> bool:
        """See ``gateways.http.knows_us``."""
        return knows_us(self._address, self._headers())

    @property
    def _address(self) -> str:
        return f"{self.url.rstrip('/')}/2010-04-01/Accounts/{self.account}/Messages.json"

    def _headers(self) -> dict[str, str]:
        user, password = self.key or self.account, self.key_secret or self.token
        return {
            "Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "optin",
            "Accept-Encoding": "identity",
        }

    def _form(self, text: Text) -> dict[str, str]:
        form = {
            "To": text.to,
            "From": text.sender or self.sender,
            # With both, Twilio sends from that sender, which must be in the service's pool.
            "MessagingServiceSid": self.service,
            "Body": text.body,
            "ValidityPeriod": str(max(1, min(text.valid_for, _LONGEST_VALIDITY))),
            # Without the auth token nobody can check receipts, so we ask for none.
            "StatusCallback": text.receipt_url if self._validator else "",
        }
        return {name: value for name, value in form.items() if value}

    def receipt(self, callback: Callback) -> Receipt:
        """Read a status callback: a form, signed together with the address that we gave."""
        check_secret(callback)
        facts = self._signed(callback)
        status, theirs = facts.get("MessageStatus", ""), facts.get("MessageSid", "")
        reference = callback.query.get("reference", "")
        if not (status and _SID.fullmatch(theirs)):
            raise Malformed
        report = _REPORTS.get(status, Report.UNDER_WAY)
        if report is not Report.FAILED:
            return Receipt(report, reference, theirs)
        code = facts.get("ErrorCode", "")
        if code == str(_STOPPED):
            return Receipt(Report.OPTED_OUT, reference, theirs)
        reason = f"{status} ({code})" if _CODE.fullmatch(code) else status
        return Receipt(report, reference, theirs, reason)

    def _signed(self, callback: Callback) -> dict[str, str]:
        """Return the fields of the form.

        :raises Forged: if Twilio did not sign them.
        """
        try:
            found = parse_qsl(
                callback.body.decode(), keep_blank_values=True, max_num_fields=100
            )  # the empty ones are signed too
        except ValueError:
            raise Malformed from None
        facts = dict(found)
        # With a name twice, what was signed would not be what is read.
        if self._validator is None or len(facts) < len(found):
            raise Forged
        signature = callback.headers.get("x-twilio-signature", "")
        if not self._validator.validate(callback.url, facts, signature):
            raise Forged
        return facts


def _validator() -> Any:
    """:raises ValueError: if the package is missing."""
    try:
        return import_string("twilio.request_validator.RequestValidator")
    except ImportError:
        raise ValueError(
            "the package twilio is not installed: "
            "pip install --require-hashes -r requirements-twilio.txt."
        ) from None


def _refusal(status: int, answer: bytes) -> SmsError:
    """Return what an answer that is no 2xx says of the text.

    Twilio adds codes, and splits old ones (July 2024). A new one in a 400 is taken for one
    about this number: the text surely did not leave, and another gateway may know better.
    """
    code = _fact(answer, "code") if 400 <= status < 500 else ""
    if not _CODE.fullmatch(code):
        return SmsError(f"the gateway answered {status}", fate_of(status))
    fate = _FATES.get(int(code), Fate.NOT_HERE if status == 400 else fate_of(status))
    return SmsError(f"the gateway answered {status} ({code})", fate)


def _fact(answer: bytes, name: str) -> str:
    """Return the text or number under *name* in a JSON answer, or ""."""
    fact = facts_in(answer).get(name, "")
    return str(fact) if type(fact) in {str, int} else ""
