"""A careful client that makes all the calls, and the mistakes that it does not make."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from conformance.goldens import CALLS
from conformance.wire import FORM, JSON, XML, Answer, Request, Wire, write

FILE = {"FileId": "777"}
KEY = {"WsAccessKey": "ann-key-777"}
PASSWORD = {"grant_type": "password", "username": "ann", "password": "ann-password"}
NUMBER = "0491 570 156"
OPT_IN, SIGN_IN, OPT_OUT = "0123456", "0234567", "0345678"
"""The codes that the strict server always texts."""


@dataclass
class Careful:
    """Goes its way step by step. ``altered`` is applied to the last one."""

    base_url: str
    tokens: list[dict[str, Any]] = field(default_factory=list)

    def send(self, request: Request) -> Answer:
        return Wire(self.base_url).send(request)

    def request(
        self,
        name: str,
        properties: Mapping[str, object] | None = None,
        kind: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Request:
        """A call, with the newest token if there is one and the query has no key."""
        call = CALLS[name]
        headers = {"Accept": XML if kind == XML else JSON}
        if self.tokens and not call.is_token_call and "WsAccessKey" not in (query or {}):
            headers["Authorization"] = f"Bearer {self.tokens[-1]['access_token']}"
        body = b""
        if properties is not None:
            headers["Content-Type"] = kind
            is_form = kind == FORM
            body = (
                urlencode(properties).encode() if is_form else write(call.model, properties, kind)
            )
        target = f"{call.path}?{urlencode(query)}" if query else call.path
        return Request("GET" if name == "ping" else "POST", target, headers, body)

    def steps(self) -> dict[str, Callable[[], Request]]:
        """All its requests, by name, in order: each is made once those before are answered."""
        verify = {"ProviderUserId": 1, "Otp": OPT_IN}
        by_key = FILE | KEY
        return {
            "sign in": lambda: self.request("token", PASSWORD, FORM),
            "ping": lambda: self.request("ping", query=FILE),
            "refresh": lambda: self.request("refresh", self._refresh()),
            "opt in": lambda: self.request("opt-in", {"MobileNumber": NUMBER}, query=FILE),
            "mistype": lambda: self.request("verify", verify | {"Otp": "9999999"}, query=FILE),
            "verify by key": lambda: self.request("verify", verify, XML, query=by_key),
            "ask for a code": lambda: self.request("token", PASSWORD),
            "sign in by code": lambda: self.request(
                "token-2fa", PASSWORD | {"verification_code": SIGN_IN}, XML
            ),
            "ask to opt out": lambda: self.request("opt-out", query=FILE),
            "opt out": lambda: self.request("opt-out", {"Otp": "0345 678"}, query=FILE),
        }

    def _refresh(self) -> dict[str, object]:
        return {"grant_type": "refresh_token", "refresh_token": self.tokens[-1]["refresh_token"]}

    def go(self, until: str = "", alter: Callable[[Request], Request] | None = None) -> None:
        """Send all requests, or those as far as *until*, which *alter* alters."""
        for name, step in self.steps().items():
            request = step()
            answer = self.send(alter(request) if alter and name == until else request)
            if answer.get("access_token"):
                self.tokens.append(answer.data)
            if name == until:
                return


Alter = Callable[[Request], Request]


@dataclass(frozen=True)
class Mistake:
    """What a client gets wrong in one step, and what the server must tell: this and no more."""

    name: str
    step: str
    alter: Alter
    told: str
    is_wrong: bool = True


def headers(**changed: str | None) -> Alter:
    """Set headers; None takes one away."""
    named = {name.replace("_", "-").title(): value for name, value in changed.items()}

    def alter(request: Request) -> Request:
        kept = {**request.headers, **named}
        return replace(request, headers={n: v for n, v in kept.items() if v is not None})

    return alter


def query(more: str) -> Alter:
    return lambda request: replace(request, target=f"{request.target}&{more}".replace("?&", "?"))


def target(old: str, new: str) -> Alter:
    return lambda request: replace(request, target=request.target.replace(old, new))


def body(old: str, new: str, times: int = -1) -> Alter:
    def alter(request: Request) -> Request:
        assert old.encode() in request.body
        return replace(request, body=request.body.replace(old.encode(), new.encode(), times))

    return alter


def properties(**changed: object) -> Alter:
    """Change a body in JSON."""
    return lambda request: replace(
        request, body=json.dumps({**json.loads(request.body), **changed}).encode()
    )


_IDS = "1 to 2147483647, in digits, without a leading zero"
# The formatter would give each argument a line.
# fmt: off
MISTAKES = [
    Mistake("file twice", "opt in", query("fileid=777"), "FileId was given twice (section 1.1)"),
    Mistake("no file", "opt in", target("FileId=777", ""), "FileId is missing (section 1.1)"),
    Mistake("file of others", "opt in", target("777", "888"),
        "FileId is not open to this person, token or key (section 3.1)"),
    Mistake("GET", "opt in", lambda r: replace(r, method="GET"),
        "The method of this call is POST (section 1.1)"),
    Mistake("path", "opt in", target("opt-in", "optin"), "No call has this path (section 1.1)"),
    Mistake("host", "ping", headers(host="other.example"),
        "The Host is another server (section 2.4)"),
    Mistake("no credential", "opt in", headers(authorization=None),
        "There is neither a bearer token nor a WsAccessKey (section 3.1)"),
    Mistake("token made up", "opt in", headers(authorization="Bearer x"),
        "The bearer token is unknown, or has no person (section 3.1)"),
    Mistake("client made up", "sign in", headers(authorization="Basic x"),
        "The client id or its secret is not right (section 3.3)"),
    Mistake("two people", "opt in", query("wsaccesskey=ben-key-888"),
        "The WsAccessKey and the bearer token belong to two people (section 3.1)"),
    Mistake("another type", "opt in", headers(content_type="text/plain"),
        "Content-Type is none that this call reads (section 2.2)"),
    Mistake("another charset", "opt in", headers(content_type=f"{JSON}; charset=iso-8859-1"),
        "The charset is not utf-8 (section 2.2)"),
    Mistake("number as a number", "opt in", properties(MobileNumber=491570156),
        "MobileNumber is not a string (section 1.2)"),
    Mistake("too long", "opt in", properties(x="x" * 16384),
        "The body is over 16 KiB (section 2.2)"),
    Mistake("no JSON", "opt in", body("}", ",}"), "The body is not JSON (section 2.2)"),
    Mistake("given twice", "opt in", body("{", '{"mobilenumber": "1", '),
        "A name was given twice in the body (section 2.2)"),
    Mistake("code as a number", "mistype", properties(Otp=123456),
        "Otp is a JSON number: a number loses leading zeros (section 1.3)"),
    Mistake("code without its zero", "mistype", properties(Otp="123456"),
        "Otp is not 7 digits. It has lost its leading zero (section 1.3)"),
    Mistake("id made up", "mistype", properties(ProviderUserId=7),
        "ProviderUserId is none that this person got under this file (section 4.2)"),
    Mistake("another root", "verify by key", body("Verify2FAOptInRequest", "VerifyRequest"),
        "The root of the XML is not Verify2FAOptInRequest (section 2.2)"),
    Mistake("types of Rails", "verify by key", body("UserId>", 'UserId type="integer">', 1),
        "The XML has an attribute that is not of xsi (section 2.2)"),
    Mistake("grant_type", "refresh", properties(grant_type="password"),
        "grant_type is not refresh_token (section 3.5)"),
    Mistake("refresh token made up", "refresh", properties(refresh_token="x"),
        "No such refresh_token was ever given out (section 3.5)"),
    Mistake("no code at all", "sign in by code", body(SIGN_IN, "12345"),
        "verification_code is none of the codes that there are (section 1.3)"),
    Mistake("no Accept", "ping", headers(accept=None),
        "There is no Accept: say which type the answer shall have (section 2.1)", is_wrong=False),
    Mistake("token in the query", "ping", query("access_token=x"),
        "There is a secret in the query: addresses are logged (section 3.1)", is_wrong=False),
    Mistake("misspelt", "opt in", properties(Mobile="1"),
        "The property 'Mobile' is unknown, and ignored (section 1.2)", is_wrong=False),
]
# fmt: on
