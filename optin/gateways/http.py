"""A gateway that takes texts by HTTP, described by settings.

One POST for each text. What to send is a template of JSON or of a form, in whose values
``{to}``, ``{body}``, ``{reference}`` and ``{sender}`` stand for the text's own. The
gateway is not trusted: its status decides, its words are never kept.
"""

import json
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from optin.gateways.protocol import TIMEOUT, SmsError

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; a longer one has no id for us."""

MAX_ID = 100
"""Characters of a gateway's id that are kept."""

# RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4: of the 4xx, these are about the moment.
_TRY_AGAIN = {408, 425, 429}
_WORDS = re.compile(r"\{(to|body|reference|sender)\}")
_NO_DIGITS, _LONG_NUMBER = re.compile(r"[^0-9]+"), re.compile(r"[0-9]{6,}")
_LOCAL_DIGITS = 8
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


class Http:
    name = "http"

    def __init__(
        self,
        *,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: str,
        sender: str,
        id_path: str,
        idempotency_header: str,
        https_only: bool,
    ) -> None:
        """Read the settings; ``optin.conf`` says what each means.

        :raises ValueError: if they do not fit together, with the reason as a sentence
            that holds no value.
        """
        if not url:
            raise ValueError("OPTIN_GATEWAY_HTTP_URL is not set.")
        if https_only and not url.lower().startswith("https://"):
            raise ValueError("OPTIN_GATEWAY_HTTP_URL must begin with https://.")
        self._url = url
        self._headers = CaseInsensitiveDict(headers)
        self._headers.setdefault("Content-Type", _JSON)
        self._headers.setdefault("User-Agent", "optin")
        self._template = _template(body, self._headers["Content-Type"])
        self._sender = sender
        self._id_path = id_path.split(".") if id_path else []
        self._idempotency_header = idempotency_header

    def send(self, *, to: str, body: str, reference: str) -> str:
        """Post the text; see ``gateways.Gateway.send``. Without an id in the answer: ""."""
        words = {"to": to, "body": body, "reference": reference, "sender": self._sender}
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if self._idempotency_header:
            headers[self._idempotency_header] = reference
        filled = self._encode(_filled(self._template, words))
        status, answer = _Call(self._url, headers, filled, reads=bool(self._id_path)).run()
        if not 200 <= status < 300:
            final = 400 <= status < 500 and status not in _TRY_AGAIN
            raise SmsError(f"the gateway answered {status}", permanent=final)
        theirs = self._id_in(answer)
        return "" if _repeats(theirs, to, body) else theirs[:MAX_ID]

    def _encode(self, filled: Any) -> bytes:
        if _media_type(self._headers["Content-Type"]) == _FORM:
            return urlencode(filled).encode()
        return json.dumps(filled).encode()

    def _id_in(self, answer: bytes) -> str:
        """Return the id in the *answer*, or "": the text was taken, whatever is in it."""
        if not self._id_path:
            return ""
        try:
            found = json.loads(answer)
            for step in self._id_path:
                found = found[int(step) if isinstance(found, list) else step]
            text = str(found) if type(found) in {str, int} else ""
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
        # What is no visible text, such as a NUL or half a surrogate, no database keeps. And
        # an id is one word: a sentence may be the request, repeated with all its secrets.
        return text if text.isprintable() and " " not in text else ""


class _Call:
    """One POST, ended after ``TIMEOUT`` seconds, however slowly its bytes come.

    The time-outs of sockets are for each byte anew, and none is for looking a name up.
    So a thread of its own makes the call, and this one hangs up on it.
    """

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes, *, reads: bool) -> None:
        """*reads*: whether the body of an answer is of use."""
        self._request = url, headers, body
        self._reads = reads
        self._status = 0
        self._answer = b""
        self._failure = ""
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._over = False

    def run(self) -> tuple[int, bytes]:
        """Return the status, and what came of the body: nothing if not all came in time.

        :raises SmsError: if there was no status.
        """
        thread = threading.Thread(target=self._post, name="sms-gateway", daemon=True)
        thread.start()
        thread.join(TIMEOUT)
        late = thread.is_alive()
        # Before hanging up: headers that break off then would pass for whole ones.
        status, answer = self._status, self._answer
        self._hang_up()
        # A status is the gateway's word: to send again would be to send twice.
        if status:
            return status, b"" if late else answer
        raise SmsError(
            f"the gateway did not answer within {TIMEOUT} seconds"
            if late
            else f"the gateway could not be reached ({self._failure})"
        )

    def opened(self, line: socket.socket) -> None:
        """Hold a handle to the connection; refuse one that comes too late.

        :raises OSError: if the call is over, so that nothing is sent any more.
        """
        with self._lock:
            if self._over:
                line.close()
                raise OSError("the call is over")
            # A duplicate, since TLS takes the original over.
            self._line = line.dup()

    def _hang_up(self) -> None:
        with self._lock:
            self._over = True
            if self._line:
                with suppress(OSError):  # where the gateway did first
                    self._line.shutdown(socket.SHUT_RDWR)
                self._line.close()

    def _post(self) -> None:
        url, headers, body = self._request
        try:
            with requests.Session() as session:
                # No proxy, no netrc and no bundle of certificates from the environment.
                session.trust_env = False
                session.headers.clear()
                session.mount("https://", _Adapter(self))
                session.mount("http://", _Adapter(self))
                with session.post(
                    url,
                    data=body,
                    headers=headers,
                    # Longer: whoever is late is hung up on as a whole, and said to be late.
                    timeout=TIMEOUT + 1,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    self._status = response.status_code
                    answer = response.raw.read(MAX_ANSWER + 1) if self._reads else b""
                    self._answer = answer if len(answer) <= MAX_ANSWER else b""
        except Exception as exc:
            # Whatever an answer does to the client. Its words may hold the address, which
            # may hold a secret.
            self._failure = type(exc).__name__


class _Adapter(HTTPAdapter):
    """Tells the call of each connection, while it can still be hung up."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        call = self._call

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                call.opened(line)
                return line

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                call.opened(line)
                return line

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _repeats(theirs: str, to: str, body: str) -> bool:
    """Whether an id tells the number or the code, which must not be kept with it.

    With whatever stands between the digits, and with or without the country code.
    """
    digits = _NO_DIGITS.sub("", theirs)
    return any(told in digits for told in (to[-_LOCAL_DIGITS:], *_LONG_NUMBER.findall(body)))


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
