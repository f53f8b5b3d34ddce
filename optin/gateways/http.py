"""A gateway that takes texts by HTTP, described by settings.

One POST for each text. What to send is a template of JSON or of a form, in whose values
``{to}``, ``{body}``, ``{reference}`` and ``{sender}`` stand for the text's own. The
gateway is not trusted: its words are never kept, and a 2xx counts as a yes only with what the
settings say is in it, or if its body does not come in time.
"""

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.utils.datastructures import CaseInsensitiveMapping

from optin.conf import Setting, conf, kinds, parse
from optin.conf.faults import remote, sendable
from optin.conf.kinds import text
from optin.gateways.call import Call
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

MAX_ID = 100
"""Characters of a gateway's id that are kept."""

# Refusals that will pass (RFC 9110, 15.5.9 and 15.6.4; RFC 8470, 5.2; RFC 6585, 4), and refusals of
# our account or our address.
_NOT_NOW, _NOT_US = {408, 425, 429, 503}, {401, 402, 403, 404, 405, 407}
_IN_CONFLICT = 409  # with another attempt under the same reference, which may have left
_WORDS = re.compile(r"\{(to|body|reference|sender|valid_for|receipt_url)\}")
_NO_DIGITS, _LONG_NUMBER = re.compile(r"[^0-9]+"), re.compile(r"[0-9]{6,}")
_LOCAL_DIGITS = 8
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


_STATES = {
    "delivered": Report.DELIVERED,
    "failed": Report.FAILED,
    "undelivered": Report.FAILED,
    "rejected": Report.FAILED,
    "expired": Report.FAILED,
    "opted_out": Report.OPTED_OUT,
    "stop": Report.OPTED_OUT,
    "opted_in": Report.OPTED_IN,
    "start": Report.OPTED_IN,
    "unstop": Report.OPTED_IN,
    "yes": Report.OPTED_IN,
}
"""What usual gateways call the states of a receipt."""


class Http:
    """Its settings say how the gateway is asked, and how it answers."""

    name = "http"
    prefix = "GATEWAY_HTTP_"

    url = text(30, "Where it posts a text to.", remote)
    headers: Setting[tuple[tuple[str, str], ...]] = Setting(
        31,
        (),
        parse=parse.headers,
        fault=sendable,
        doc="Its headers, as Name: value, separated by two pipe characters.",
    )
    body = text(
        32,
        "What it posts: JSON or a form, with {to}, {body}, {reference} and {sender} in its values.",
    )
    sender = text(33, "What {sender} stands for: the name or number that texts come from.")
    id = text(34, "Where its answer, in JSON, has its id of the text. It must be there.")
    taken: Setting[tuple[str, ...]] = Setting(
        127,
        (),
        parse=parse.field,
        doc="What its answer, in JSON, has if it took the text: path=value. Without a value, "
        "nothing may be there.",
    )
    receipt_id = text(37, "The field of a receipt with the gateway's id of the text.", default="id")
    receipt_state = text(
        38, "The field of a receipt that says delivered, failed, ...", default="status"
    )
    receipt_from = text(56, "The field of a receipt with the number from which STOP or START came.")
    regions = kinds.regions(39)
    price = kinds.price(40)

    def __init__(self) -> None:
        """:raises ValueError: if the settings do not fit, as a sentence that holds no value."""
        if not self.url:
            raise ValueError("OPTIN_GATEWAY_HTTP_URL is not set.")
        if not (settings.DEBUG or self.url.lower().startswith("https://")):
            raise ValueError("OPTIN_GATEWAY_HTTP_URL must begin with https://.")
        self._headers = _headers(("Content-Type", _JSON), ("User-Agent", "optin"), *self.headers)
        self._template = _template(self.body, self._headers["Content-Type"])

    def send(self, text: Text) -> str:
        """Post the text; see ``gateways.Gateway.send``. Without an id in the answer: ""."""
        words = {
            "to": text.to,
            "body": text.body,
            "reference": text.reference,
            "sender": text.sender or self.sender,
            "valid_for": str(text.valid_for),
            "receipt_url": text.receipt_url,
        }
        headers = _headers(
            *self._headers.items(),
            ("Accept-Encoding", "identity"),
            ("Idempotency-Key", text.reference),  # the same for each attempt at one text
        )
        filled = self._encode(_filled(self._template, words))
        reads = bool(self.id or self.taken)
        call = Call(self.url, headers, filled, reads=reads, patience=text.patience)
        status, answer = call.run()
        if not 200 <= status < 300:
            raise SmsError(f"the gateway answered {status}", fate_of(status))
        if not reads or answer is None:
            return ""
        return kept_id(self._id_in(answer, status), text)

    def receipt(self, callback: Callback) -> Receipt:
        """Read a receipt of JSON or of a form, by the names that the settings give."""
        check_secret(callback)
        facts = _facts(callback)
        word = facts.get(self.receipt_state, "").strip().lower()
        theirs, ours = facts.get(self.receipt_id, ""), facts.get("reference", "")
        number = _e164(facts.get(self.receipt_from, "")) if self.receipt_from else ""
        if not (theirs or ours or number):
            raise Malformed
        # A word that is not known tells nothing: that of another carrier, or a step between.
        report = _STATES.get(word, Report.UNDER_WAY)
        reason = word if word in _STATES else ""
        return Receipt(report, ours, theirs[:MAX_ID], reason, number)

    def _encode(self, filled: Any) -> bytes:
        if _media_type(self._headers["Content-Type"]) == _FORM:
            return urlencode(filled).encode()
        return json.dumps(filled).encode()

    def _id_in(self, answer: bytes, status: int) -> str:
        """Return the id in the *answer*, "" where none is asked for.

        :raises SmsError: if the answer lacks what the settings say that it has.
        """
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            raise unclear(status) from None
        if self.taken and _word(_at(found, self.taken[0])) != self.taken[1]:
            raise unclear(status)
        theirs = _at(found, self.id) if self.id else ""
        if self.id and (type(theirs) not in {str, int} or theirs == ""):
            raise unclear(status)
        # An id is one word: a sentence may be the request, repeated with all its secrets.
        return str(theirs) if " " not in str(theirs) else ""


def _headers(*pairs: tuple[str, str]) -> CaseInsensitiveMapping[str]:
    """Of two pairs with one name, the later counts."""
    return CaseInsensitiveMapping(pairs)


def _at(found: Any, path: str) -> Any:
    """Return what is under *path* in the JSON *found*; None if nothing is."""
    try:
        for step in path.split("."):
            found = found[int(step) if isinstance(found, list) else step]
    except (ValueError, LookupError, TypeError):
        return None
    return found


def _word(value: Any) -> str:
    """Return *value* as a setting writes it: "" for null, false and what is empty."""
    if isinstance(value, str):
        return value
    is_empty = value is None or value is False or value in ([], {})
    return "" if is_empty else json.dumps(value)


def unclear(status: int) -> SmsError:
    """The result of a 2xx that does not say that the gateway took the text.

    It may be an error, or the page of a hotspot. Still the text may have left.
    """
    return SmsError(f"the gateway answered {status}, but not that it took the text", Fate.UNKNOWN)


def fate_of(status: int) -> Fate:
    """The fate of the text, by a status that is no 2xx."""
    if status < 400 or status in _NOT_NOW | _NOT_US:
        return Fate.TRY_ANOTHER
    # A gateway that fails after it got the text, or behind a proxy, may have sent it.
    return Fate.UNKNOWN if status >= 500 or status == _IN_CONFLICT else Fate.REFUSED


def knows_us(url: str, headers: Mapping[str, str]) -> bool:
    """Whether a gateway accepts the credentials in *headers*. The request holds no text.

    :raises SmsError: if it says neither.
    """
    status, _ = Call(url, headers, b"", reads=False).run()
    if status in {401, 403}:
        return False
    if status != 400:
        raise SmsError(f"the gateway answered {status}", fate_of(status))
    return True


def kept_id(theirs: object, text: Text) -> str:
    """Return what may be kept of a gateway's own id; "" where it is none, or says too much."""
    if not isinstance(theirs, str) or not theirs.isprintable() or repeats(theirs, text):
        return ""
    return theirs[:MAX_ID]


def repeats(theirs: str, text: Text) -> bool:
    """Whether an id tells the number or the code, which must not be kept with it.

    With whatever stands between the digits, and with or without the country code.
    """
    digits = _NO_DIGITS.sub("", theirs)
    return any(
        told in digits for told in (text.to[-_LOCAL_DIGITS:], *_LONG_NUMBER.findall(text.body))
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _template(text: str, content_type: str) -> Any:
    """Read the template: JSON, or the pairs of a form."""
    name = "OPTIN_GATEWAY_HTTP_BODY"
    if not {"to", "body"} <= set(_WORDS.findall(text)):
        raise ValueError(f"{name} must have {{to}} and {{body}} in it.")
    try:
        match _media_type(content_type):
            case "application/json":
                return json.loads(text)
            case "application/x-www-form-urlencoded":
                return parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} must be written as its Content-Type says.") from None
    raise ValueError(f"The Content-Type of OPTIN_GATEWAY_HTTP_HEADERS must be {_JSON} or {_FORM}.")


def _filled(template: Any, words: dict[str, str]) -> Any:
    """Return *template* with *words* in its values, each put in once, as plain text."""
    match template:
        case str():
            return _WORDS.sub(lambda found: words[found[1]], template)
        case list():
            return [_filled(part, words) for part in template]
        case tuple():
            return template[0], _filled(template[1], words)
        case dict():
            return {name: _filled(part, words) for name, part in template.items()}
    return template


def check_secret(callback: Callback) -> None:
    """Let pass what came to the address that only the gateway knows.

    :raises Forged: otherwise, and where none was set.
    """
    secret = conf.receipt_secret
    if not secret or not hmac.compare_digest(callback.secret.encode(), secret.encode()):
        raise Forged


def _e164(text: str) -> str:
    """Return a number as gateways write it with its plus, which an address turns into a blank."""
    text = text.strip()
    return text if text.startswith(("+", "0")) or not text else f"+{text}"


def _facts(callback: Callback) -> dict[str, str]:
    """Return what a receipt says, by name: of its JSON or its form, and of its query.

    The query is the address that we gave with the text, so it counts more.
    """
    body = callback.body.decode("utf-8", "replace")
    try:
        if "json" in callback.headers.get("content-type", "").lower():
            found = json.loads(body)
        else:
            found = dict(parse_qsl(body, max_num_fields=100))
    except (ValueError, RecursionError):
        raise Malformed from None
    if not isinstance(found, dict):
        raise Malformed
    said = {str(k): str(v) for k, v in found.items() if type(v) in {str, int}}
    return {**said, **callback.query}
