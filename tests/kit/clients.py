"""A client of the wire contract: any call, in any format, with either credential."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, set_token_value

from optin.models import User
from tests.kit.people import PASSWORD

MEDIA_TYPES = ("application/json", "text/json", "application/xml", "text/xml")
FORMATS = ("application/json", "text/xml")
"""One type of each format; the conformance kit and test_input_parsers.py take all."""

ROOTS = {
    "opt-in-to-2fa": "OptInTo2FARequest",
    "verify-2fa-opt-in": "Verify2FAOptInRequest",
    "opt-out-from-2fa": "OptOutFrom2FARequest",
}
"""The ``User/`` calls, and the models of their bodies."""

OF_ONE_REQUEST = frozenset({"X-Request-Id"})
"""Headers that differ from one request to the next, whatever is decided."""

NAMESPACES = (
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


@dataclass(frozen=True)
class Answer:
    """A parsed answer: the same for JSON and XML."""

    status: int
    media_type: str
    headers: Mapping[str, str]
    content: bytes
    data: dict[str, Any]

    @property
    def links(self) -> list[dict[str, str]]:
        links: list[dict[str, str]] = self.data["_links"]
        return links

    @property
    def code(self) -> str:
        """The code of a refusal; "" for a success."""
        if not self.data.get("_links"):
            return ""
        last = self.links[-1]
        return last["title"] if last["rel"] == "help" else ""

    @property
    def brief(self) -> tuple[int, str]:
        return self.status, self.code


@dataclass
class Api:
    """Speaks for one caller under one file; what it is not told, it leaves out."""

    token: str = ""
    key: str = ""
    file_id: object = 777
    media_type: str = "application/json"
    accept: str | None = None
    http: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def opt_in(self, number: object, **how: Any) -> Answer:
        return self.call("opt-in-to-2fa", {"MobileNumber": number}, **how)

    def verify(self, provider_user_id: object, otp: object, **how: Any) -> Answer:
        body = {"ProviderUserId": provider_user_id, "Otp": otp}
        return self.call("verify-2fa-opt-in", body, **how)

    def opt_out(self, otp: object = None, **how: Any) -> Answer:
        return self.call("opt-out-from-2fa", {} if otp is None else {"Otp": otp}, **how)

    def ping(self, **how: Any) -> Answer:
        return self.send("GET", "/authorisation/ping", **how)

    def call(self, call: str, body: Mapping[str, object], **how: Any) -> Answer:
        """POST *body*, written as the media type of the request has it."""
        media_type = how.get("media_type", self.media_type)
        return self.post(call, write(ROOTS[call], body, media_type), **how)

    def post(self, call: str, content: bytes | str, **how: Any) -> Answer:
        """POST *content* as it is, with the query that the call needs."""
        how.setdefault("query", self.query())
        return self.send("POST", f"/User/{call}", content, **how)

    def query(self) -> str:
        parameters = {"WsAccessKey": self.key, "FileId": self.file_id}
        return urlencode({name: value for name, value in parameters.items() if value})

    def send(
        self,
        method: str,
        path: str,
        content: bytes | str = b"",
        *,
        query: str = "",
        media_type: str | None = None,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
        **environ: Any,
    ) -> Answer:
        """Send anything. *environ* holds WSGI variables."""
        sent = dict(headers or {})
        accept = self.accept if accept is None else accept
        if accept is not None:
            sent.setdefault("Accept", accept)
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        response = self.http.generic(
            method,
            path,
            content.encode() if isinstance(content, str) else content,
            content_type=self.media_type if media_type is None else media_type,
            headers=sent,
            QUERY_STRING=query,
            **environ,
        )
        return read(cast(HttpResponse, response))


def read(response: HttpResponse) -> Answer:
    media_type = response.headers.get("Content-Type", "")
    data: dict[str, Any] = {}
    if response.content and "json" in media_type:
        parsed = json.loads(response.content)
        data = parsed if isinstance(parsed, dict) else {}  # of ping: a bare boolean
    elif response.content and "xml" in media_type:
        data = {child.tag: _value(child) for child in fromstring(response.content)}  # noqa: S314
    answer = Answer(response.status_code, media_type, response.headers, response.content, data)
    check_headers(answer)
    return answer


def check_headers(answer: Answer) -> None:
    """What holds for every answer, whatever a test looks at (docs/contract.md, section 5; S-61)."""
    headers = answer.headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert ("WWW-Authenticate" in headers) or answer.status != 401
    assert ("Allow" in headers) or answer.status != 405
    if answer.status in {429, 503}:
        assert re.fullmatch("[1-9][0-9]*", headers["Retry-After"])
    if answer.status == 429:
        # Some clients show no headers.
        said = str(answer.data.get("StatusMessage") or answer.data["error_description"])
        seconds = "second" if headers["Retry-After"] == "1" else "seconds"
        # After a STOP, nobody knows when to try again.
        is_stopped = "somebody answered STOP" in said
        assert said.endswith(f". Try again in {headers['Retry-After']} {seconds}.") != is_stopped
    assert "Set-Cookie" not in headers


def _value(element: Element) -> object:
    if element.tag == "_links":
        return [{child.tag: child.text or "" for child in link} for link in element]
    return int(element.text or "") if element.tag == "ProviderUserId" else element.text or ""


def write(root: str, body: Mapping[str, object], media_type: str) -> bytes:
    """Return *body* as a client writes it in *media_type*; ``None`` is null or nil."""
    if "xml" not in media_type:
        return json.dumps(body).encode()
    element = Element(root)
    for name, value in body.items():
        child = SubElement(element, name)
        if value is None:
            child.set("{http://www.w3.org/2001/XMLSchema-instance}nil", "true")
        else:
            child.text = str(value)
    return tostring(element)


def bearer(user: User | None, scope: str = "full", lifetime: timedelta = timedelta(hours=1)) -> str:
    """Make an access token as the authorization server keeps it; return its text."""
    text = f"token-{AccessToken.objects.count()}-of-{user.pk if user else 'nobody'}"
    token = AccessToken(user=user, scope=scope, expires=timezone.now() + lifetime)
    set_token_value(token, text)
    token.save()
    return text


FORM = "application/x-www-form-urlencoded"
BODIES = (*FORMATS, FORM)
"""What the token calls take."""

TOKEN_CALLS = ("token", "token-2fa", "refresh")

TOKEN_ROOTS = {
    "token": "OAuthPasswordCredentialsGrantRequest",
    "token-2fa": "OAuthPasswordCredentialsGrantRequest",
    "refresh": "OAuthRefreshAccessTokenRequest",
}


@dataclass
class Tokens:
    """Speaks from one address; a field that is ``None`` is left out."""

    ip: str = "192.0.2.1"
    call: str = "token"
    media_type: str = "application/json"
    accept: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def sign_in(self, username: str = "ann", password: str = PASSWORD, **fields: Any) -> Answer:
        return self.send(
            self.call,
            {"grant_type": "password", "username": username, "password": password},
            fields,
        )

    def refresh(self, refresh_token: str, **fields: Any) -> Answer:
        return self.send(
            "refresh", {"grant_type": "refresh_token", "refresh_token": refresh_token}, fields
        )

    def send(self, call: str, body: dict[str, Any], fields: dict[str, Any]) -> Answer:
        body = {name: value for name, value in {**body, **fields}.items() if value is not None}
        if self.media_type == FORM:
            content = urlencode(body).encode()
        else:
            content = write(TOKEN_ROOTS[call], body, self.media_type)
        return self.post(call, content)

    def post(self, call: str, content: bytes, method: str = "POST") -> Answer:
        return Api(media_type=self.media_type, accept=self.accept).send(
            method, f"/authorisation/{call}", content, headers=self.headers, REMOTE_ADDR=self.ip
        )


def error(answer: Answer) -> tuple[int, str]:
    """Status and RFC 6749 code; that it is such an answer and nothing else."""
    assert answer.data.keys() == {"error", "error_description"}
    assert answer.data["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status, answer.data["error"]


CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SELECT pg_advisory_xact_lock")
"""How statements begin that are not counted."""
