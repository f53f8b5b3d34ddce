"""One request: what it says, all its faults, and what a careful client would do better.

Each rule checks the request by itself, so that the server finds all faults. The answer names the
first one in the order of refusals.
"""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from conformance.goldens import CALL_OF_PATH, CALLS
from conformance.server import bodies
from conformance.server.answers import Reply, Way, negotiated
from conformance.server.bodies import Malformed, fold
from conformance.server.oauth import CLIENT
from conformance.server.people import RIGHTS, Grant, People, Person
from conformance.wire import FORM, MEDIA_TYPES, Request

HEADERS = {"opt-in": ("Client-Reference", "Idempotency-Key"), "opt-out": ("Idempotency-Key",)}
"""The headers that a call reads (1.1)."""
ORDER = (
    *("host", "not_found", "method_not_allowed", "too_large", "key twice"),
    *("invalid_client", "not_authenticated", "invalid_token"),
    *("query", "insufficient_scope", "file_access_denied"),
    *("unsupported_media_type", "unsupported_grant_type", "body", "header"),
)
"""Kinds of faults in the order of refusals (2.4): codes, or what ``invalid_request`` stands for."""

_ALLOW = {"events": {"full", "events"}, "ping": {*RIGHTS}}
"""The rights that allow a call (3.2); for others, ``_USER_CALLS``."""
_USER_CALLS = {"full", "2fa", "modify"}
_IDS = "1 to 2147483647, in digits, without a leading zero"


@dataclass(frozen=True)
class Fault:
    """Something wrong: one of ``ORDER``, a sentence, and its section of the contract.

    Nothing is told where the sentence is empty: the refusal is no fault of the client.
    """

    kind: str
    told: str
    section: str


@dataclass
class Visit:
    """A request, as it is read. Names of its headers are in lower case.

    *wrong* and *better* are for the person who reads along, and grow as it is answered. What
    would only be better the contract allows.
    """

    request: Request
    people: People
    base_url: str
    words: str = ""
    wrong: list[str] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    person: Person | None = None
    properties: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def call(self) -> str:
        """The call, or "" where the path is none of the contract."""
        return CALL_OF_PATH.get(self.request.path.removesuffix("/"), "")

    @property
    def title(self) -> str:
        path = CALLS[self.call].path if self.call else ascii(self.request.path)[1:61]
        return f"{self.request.method[:20]} {path}"

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The parameters, with their names in lower case."""
        pairs = parse_qsl(self.request.target.partition("?")[2], keep_blank_values=True)
        return [(fold(name), value) for name, value in pairs]

    def parameter(self, name: str) -> str | None:
        return next((value for given, value in self.query if given == name), None)

    @property
    def media_type(self) -> str:
        """The type of the body."""
        kind = self.request.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()

    @property
    def way(self) -> Way:
        kind = negotiated(self.request.headers.get("accept"), self.media_type)
        return Way(self.base_url, self.call, self.parameter("fileid") or "", kind, self.words)

    @property
    def is_token_call(self) -> bool:
        return bool(self.call) and CALLS[self.call].is_token_call

    @property
    def bearer(self) -> str | None:
        return self._authorization("bearer")

    @property
    def basic(self) -> str | None:
        return self._authorization("basic")

    def _authorization(self, wanted: str) -> str | None:
        scheme, _, text = self.request.headers.get("authorization", "").partition(" ")
        return text.strip() if scheme.lower() == wanted else None

    def tell(self, told: str, section: str) -> None:
        """Tell something wrong."""
        self.wrong.append(f"{told.removesuffix('.')} (section {section})")

    def advise(self, told: str, section: str) -> None:
        """Tell what would be better."""
        self.better.append(f"{told} (section {section})")

    def refusal(self) -> Reply | None:
        """Return the answer to the first fault, if there is any, and tell all."""
        found = [*self._address(), *self._body(), *self._headers()]
        if self.is_token_call:
            found += self._client()
        elif self.call:
            found += [*self._file(), *self._credentials()]
        for fault in found:
            if fault.told:
                self.tell(fault.told, fault.section)
        self._advise()
        if not found:
            return None
        first = min(found, key=lambda fault: ORDER.index(fault.kind))
        return self.way.faulty(first.kind, first.told)

    def _address(self) -> Iterator[Fault]:
        own = self.base_url.partition("//")[2]
        if self.request.headers.get("host", "") not in {own, f"localhost:{own.split(':')[-1]}"}:
            yield Fault("host", "The Host is another server.", "2.4")
        if not self.call:
            yield Fault("not_found", "No call has this path.", "1.1")
        elif self.request.method not in CALLS[self.call].allow.split(", "):
            told = f"The method of this call is {CALLS[self.call].allow.split(',')[0]}."
            yield Fault("method_not_allowed", told, "1.1")
        if len(self.request.body) > bodies.MOST_BYTES:
            yield Fault("too_large", "The body is over 16 KiB.", "2.2")
        named = {"fileid": "FileId", "wsaccesskey": "WsAccessKey"}
        for name, times in Counter(name for name, _ in self.query).items():
            if times > 1:
                told = f"{named.get(name, 'An unknown parameter')} was given twice."
                yield Fault("key twice" if name == "wsaccesskey" else "query", told, "1.1")

    def _file(self) -> Iterator[Fault]:
        file = self.parameter("fileid")
        if file is None and self.call != "ping":
            yield Fault("query", "FileId is missing.", "1.1")
        elif file is not None and not bodies.is_id(file):
            yield Fault("query", f"FileId is no id: {_IDS}.", "1.3")

        for name, least, most in (("after", 0, 2**63 - 1), ("limit", 1, 100)):
            text = self.parameter(name) if self.call == "events" else None
            if (name, text) == ("after", "latest"):
                continue
            is_number = text is None or re.fullmatch("0|[1-9][0-9]{0,18}", text)
            if not is_number or not least <= int(text or least) <= most:
                yield Fault("query", f"{name} is no number from {least} to {most}.", "1.1")

    def _headers(self) -> Iterator[Fault]:
        for name in HEADERS.get(self.call, ()):
            value = self.request.headers.get(name.lower(), "x")
            if not re.fullmatch("[!-~]{1,64}", value):
                told = f"{name} does not have 1 to 64 visible ASCII characters."
                yield Fault("header", told, "1.1")

    def _client(self) -> Iterator[Fault]:
        pair = b64encode(":".join(CLIENT.values()).encode()).decode()
        if self.basic not in (None, pair):
            yield Fault("invalid_client", "The client id or its secret is not right.", "3.3")

    def _credentials(self) -> Iterator[Fault]:
        key, token = self.parameter("wsaccesskey"), self.bearer
        holders: list[Grant] = []
        if key:
            person, of_key = self.people.keys.get(key, (None, 0))
            holders.append(Grant(person, RIGHTS, (of_key,), 0))
            if not person:
                yield Fault("invalid_token", "The WsAccessKey is unknown.", "3.1")
        if token is not None:
            holders.append(self.people.access.get(token) or Grant(None, (), (), 0))
            yield from self._token(token, holders[-1])
        if not holders:
            told = "There is neither a bearer token nor a WsAccessKey."
            yield Fault("not_authenticated", told, "3.1")
        if not holders or any(not holder.person for holder in holders):
            return
        self.person = holders[0].person
        if holders[-1].person is not self.person:
            told = "The WsAccessKey and the bearer token belong to two people."
            yield Fault("invalid_token", told, "3.1")
            return
        if not {*holders[-1].rights} & _ALLOW.get(self.call, _USER_CALLS):
            told = "The scope of the token does not allow this call."
            yield Fault("insufficient_scope", told, "3.2")
        file = self.parameter("fileid") or ""
        if bodies.is_id(file) and any(int(file) not in holder.files for holder in holders):
            told = "FileId is not open to this person, token or key."
            yield Fault("file_access_denied", told, "3.1")

    def _token(self, token: str, grant: Grant) -> Iterator[Fault]:
        if token in self.people.refresh:
            yield Fault("invalid_token", "The bearer token is a refresh token.", "3.1")
        elif not grant.person:
            yield Fault("invalid_token", "The bearer token is unknown, or has no person.", "3.1")
        elif grant.ends <= self.people.now():
            yield Fault("invalid_token", "", "3.4")
            if grant.was_refused:
                self.advise("The token has ended, as was answered before: refresh it", "3.4")
            grant.was_refused = True
        grant.uses += 1

    def _body(self) -> Iterator[Fault]:
        call = CALLS[self.call] if self.call else None
        body, kind = self.request.body, self.media_type
        if not call or not call.model or len(body) > bodies.MOST_BYTES:
            return
        if body and kind not in MEDIA_TYPES and not (call.is_token_call and kind == FORM):
            told = "Content-Type is none that this call reads."
            yield Fault("unsupported_media_type", told, "2.2")
            return
        known = bodies.names(call.model)
        try:
            self.properties = bodies.read(self.request, call.model)
        except Malformed as exc:
            yield Fault("body", exc.told, exc.section)
            return
        given = self.properties.get("grant_type") or ""
        expected = "refresh_token" if self.call == "refresh" else "password"
        if "grant_type" in known and given not in ("", expected):
            yield Fault("unsupported_grant_type", f"grant_type is not {expected}.", "3.5")
        for fault in bodies.faults(call.model, self.properties):
            yield Fault("body", fault.told, fault.section)
        for name in self.properties.keys() - set(known):
            self.advise(f"The property {ascii(name)[:40]} is unknown, and ignored", "1.2")

    def _advise(self) -> None:
        headers = self.request.headers
        known = {"fileid", "wsaccesskey"} | ({"after", "limit"} if self.call == "events" else set())
        for name in {name for name, _ in self.query} - known:
            if any(word in name for word in ("token", "password", "code", "otp", "secret")):
                self.advise("There is a secret in the query: addresses are logged", "3.1")
            else:
                self.advise(f"The parameter {ascii(name)[:40]} is unknown, and ignored", "1.1")
        if "accept" not in headers:
            self.advise("There is no Accept: say which type the answer shall have", "2.1")
        if "cookie" in headers:
            self.advise("There is a Cookie: it is ignored", "3.1")
        is_client = self.is_token_call and self.basic is not None
        if self.bearer is None and "authorization" in headers and not is_client:
            self.advise("Authorization is not of the scheme Bearer: it is ignored", "3.1")
