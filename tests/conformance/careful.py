"""A careful client that makes all the calls, and the mistakes that it does not make."""

import json
from collections.abc import Callable, Iterator, Mapping
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
        return Request(call.method, target, headers, body)

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
    Mistake("token in place of Bearer", "verify by key", headers(authorization="Token x"),
        "Authorization is not of the scheme Bearer: it is ignored (section 3.1)", is_wrong=False),
    Mistake("cookie", "ping", headers(cookie="a=b"),
        "There is a Cookie: it is ignored (section 3.1)", is_wrong=False),
    Mistake("unknown parameter", "ping", query("page=1"),
        "The parameter 'page' is unknown, and ignored (section 1.1)", is_wrong=False),
    Mistake("password in the query", "sign in", target("token", "token?password=x"),
        "There is a secret in the query: addresses are logged (section 3.1)", is_wrong=False),
    Mistake("key made up", "verify by key", target("ann-key-777", "nobody"),
        "The WsAccessKey is unknown (section 3.1)"),
    Mistake("key of another file", "verify by key", target("FileId=777", "FileId=778"),
        "FileId is not open to this person, token or key (section 3.1)"),
    Mistake("file with a zero", "opt in", target("=777", "=0777"),
        f"FileId is no id: {_IDS} (section 1.3)"),
    Mistake("no body", "opt in", lambda r: replace(r, body=b""),
        "MobileNumber is missing (section 1.2)"),
    Mistake("array", "opt in", lambda r: replace(r, body=b"[]"),
        "The body is not one JSON object (section 2.2)"),
    Mistake("UTF-16", "opt in", lambda r: replace(r, body=r.body.decode().encode("utf-16")),
        "The body is not UTF-8 (section 2.2)"),
    Mistake("NUL", "opt in", body("}", "}\0"), "The body has a NUL in it (section 2.2)"),
    Mistake("NaN", "opt in", body("{", '{"x": NaN, '),
        "NaN and Infinity are no JSON (section 2.2)"),
    Mistake("nested too deep", "opt in", body("{", '{"x": ' + "[" * 16 + "]" * 16 + ", "),
        "The body is nested over 16 levels deep (section 2.2)"),
    Mistake("id as a decimal", "mistype", properties(ProviderUserId=1.0),
        f"ProviderUserId is no id: {_IDS} (section 1.3)"),
    Mistake("code of an app", "mistype", properties(Otp="123 450"),
        "Otp is not 7 digits (section 1.3)"),
    Mistake("namespace", "verify by key", body("OptInRequest>", 'OptInRequest xmlns="urn:x">', 1),
        "An element of the XML is in a namespace (section 2.2)"),
    Mistake("DTD", "verify by key", body("<Verify", "<!DOCTYPE x><Verify"),
        "The body is not well-formed XML, or has a DTD (section 2.2)"),
    Mistake("XML in another encoding", "verify by key",
        body("<Verify", '<?xml version="1.0" encoding="utf-16"?><Verify'),
        "The XML declares another encoding than UTF-8 (section 2.2)"),
    Mistake("element twice", "verify by key", body("</Otp>", "</Otp><Otp>1</Otp>"),
        "A property was given twice in the XML (section 2.2)"),
    Mistake("element in a value", "verify by key", body("<Otp>", "<Otp><b/>"),
        "A property of the XML has elements in it (section 2.2)"),
    Mistake("form", "opt in", headers(content_type=FORM),
        "Content-Type is none that this call reads (section 2.2)"),
    Mistake("no type", "opt in", headers(content_type=None),
        "Content-Type is none that this call reads (section 2.2)"),
    Mistake("grant of a client", "sign in", body("grant_type=password", "grant_type=client"),
        "grant_type is not password (section 3.5)"),
    Mistake("scope of nobody", "sign in", body("&password", "&scope=delete&password"),
        "scope names a word or a file that cannot be granted (section 3.2)"),
    Mistake("password as a number", "ask for a code", properties(password=1),
        "password is not a string (section 1.2)"),
    Mistake("form with a name twice", "sign in", body("&password", "&scope=&SCOPE=&password"),
        "A name was given twice in the body (section 2.2)"),
    Mistake("long reference", "opt in", headers(client_reference="x" * 65),
        "Client-Reference does not have 1 to 64 visible ASCII characters (section 1.1)"),
    Mistake("key with a blank", "opt in", headers(idempotency_key="a b"),
        "Idempotency-Key does not have 1 to 64 visible ASCII characters (section 1.1)"),
]
# fmt: on


# -- habits ------------------------------------------------------------------------


@dataclass
class Clock:
    """The clock of the strict server."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


Steps = Iterator[None]


@dataclass(frozen=True)
class Habit:
    """What a client gets wrong over several requests: ``go`` yields before the one that shows it.

    The server has nothing to say until then.
    """

    go: Callable[[Careful, Clock], Steps]
    told: str
    rotate: bool = False


def too_early(client: Careful, clock: Clock) -> Steps:
    client.go("opt in")
    again = client.steps()["opt in"]()
    client.send(again)  # the first call said nothing of a wait
    yield
    client.send(again)
    clock.now += 30
    client.send(again)


def with_an_ended_token(client: Careful, clock: Clock) -> Steps:
    """A client may learn from the answer that its token has ended: once."""
    client.go("sign in")
    clock.now += 3600
    ping = client.steps()["ping"]()
    client.send(ping)
    yield
    client.send(ping)


def with_a_replaced_token(client: Careful, clock: Clock) -> Steps:
    client.go("sign in")
    refresh = client.steps()["refresh"]()
    assert [client.send(refresh).status for _ in range(2)] == [200, 200]  # within 10 seconds
    clock.now += 10
    yield
    client.send(refresh)


def a_token_for_each_request(client: Careful, clock: Clock) -> Steps:
    for _ in range(2):
        client.go("ping")
    yield
    client.go("sign in")


def with_the_refresh_token(client: Careful, clock: Clock) -> Steps:
    client.go("sign in")
    yield
    token = client.tokens[-1]["refresh_token"]
    client.go("ping", headers(authorization=f"Bearer {token}"))


def with_a_scope_that_is_too_narrow(client: Careful, clock: Clock) -> Steps:
    client.tokens.append(client.send(client.request("token", PASSWORD | {"scope": "view"})).data)
    yield
    client.send(client.steps()["opt in"]())


def codes_after_the_last_try(client: Careful, clock: Clock) -> Steps:
    client.go("opt in")
    mistype = client.steps()["mistype"]()
    codes = [client.send(mistype).code for _ in range(6)]
    assert codes == ["otp_incorrect"] * 5 + ["otp_exhausted"]
    yield
    client.send(mistype)


def a_500_at_once(client: Careful, clock: Clock) -> Steps:
    client.go("sign in")
    opt_in = properties(MobileNumber="0491 573 770")(client.steps()["opt in"]())
    assert client.send(opt_in).status == 500
    yield
    client.send(opt_in)


def an_idempotency_key_for_all(client: Careful, clock: Clock) -> Steps:
    key = headers(idempotency_key="always-the-same")
    client.go("opt in", key)
    again = client.send(key(client.steps()["opt in"]()))
    assert again.status == 200
    yield
    client.send(properties(MobileNumber="0491 570 157")(key(client.steps()["opt in"]())))


HABITS = [
    Habit(too_early, "Retry-After of the answer before is not over (section 5.3)"),
    Habit(
        with_an_ended_token, "The token has ended, as was answered before: refresh it (section 3.4)"
    ),
    Habit(
        with_a_replaced_token,
        "The refresh_token was replaced by another, in the answer to its use (section 3.4)",
        rotate=True,
    ),
    Habit(
        a_token_for_each_request,
        "The two tokens of before were used once at most: use a token until it ends (section 3.4)",
    ),
    Habit(with_the_refresh_token, "The bearer token is a refresh token (section 3.1)"),
    Habit(
        with_a_scope_that_is_too_narrow,
        "The scope of the token does not allow this call (section 3.2)",
    ),
    Habit(
        codes_after_the_last_try,
        "The code has ended, as was answered before: ask for a new one (section 4.2)",
    ),
    Habit(
        a_500_at_once,
        "The answer before was 500: report it, and do not repeat the request at once (section 5.3)",
    ),
    Habit(
        an_idempotency_key_for_all,
        "The Idempotency-Key came before with another body (section 1.4)",
    ),
]

NOT_NOTICEABLE = {
    "It does not check the certificate of the server": "there is no TLS here",
    "It follows redirects with its credentials": "no answer is a redirect",
    "It waits for an answer forever": "each answer comes at once",
    "It decides by the words of an answer": "only you see what it does then. Try `--vary`",
    "It takes `already_verified` after a lost answer for a failure": "no answer is lost here",
    "It logs passwords, tokens or codes": "only its own logs show that",
}
"""What no request shows, and why."""
