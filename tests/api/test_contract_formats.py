"""Formats, and which refusal answers first (docs/contract.md, section 2)."""

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from optin.conf import Rate
from optin.models import PendingOtp, ProviderUser, User
from tests.kit.clients import FORMATS, MEDIA_TYPES, Answer, Api, bearer, write
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

JSON, TEXT_JSON, XML, TEXT_XML = MEDIA_TYPES


# -- the type of the answer --------------------------------------------------------


# -- types and encodings of the body -----------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.api+json",
        "application/problem+xml",
        "application/octet-stream",
        "json",
        "*/*",
        "application/*",
        "application/json, text/xml",
        ";charset=utf-8",
        "\xe9",
    ],
)
def test_body_of_another_type(api: Api, phone: Phone, media_type: str) -> None:
    answer = api.post("opt-in-to-2fa", f'{{"MobileNumber": "{NUMBER}"}}', media_type=media_type)
    assert answer.brief == (415, "unsupported_media_type")
    assert phone.messages == []


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", ""])
def test_another_encoding_declared(api: Api, phone: Phone, media_type: str, charset: str) -> None:
    """S-22"""
    answer = api.opt_in(NUMBER, media_type=f'{media_type}; charset="{charset}"')
    assert answer.brief == (400, "invalid_request")
    assert phone.messages == []


# -- size --------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize(("size", "status"), [(16 * 1024, 200), (16 * 1024 + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_size(
    api: Api, phone: Phone, media_type: str, size: int, status: int, chunked: bool
) -> None:
    content = write("OptInTo2FARequest", {"MobileNumber": NUMBER}, media_type).ljust(size)
    if chunked:
        answer = post_chunked(api, io.BytesIO(content), media_type=media_type)
    else:
        answer = api.post("opt-in-to-2fa", content, media_type=media_type)
    assert answer.status == status
    assert len(phone.messages) == (status == 200)
    assert answer.code == ("too_large" if status == 413 else "")
    assert answer.media_type == f"{media_type}; charset=utf-8"


@pytest.mark.parametrize("length", ["16385", "0016385", "9" * 20, "9" * 5000])
def test_declared_size_is_enough_to_refuse(api: Api, length: str) -> None:
    assert api.post("opt-in-to-2fa", b"{}", CONTENT_LENGTH=length).brief == (413, "too_large")


@pytest.mark.parametrize("length", ["-1", "x", "+2", "\u0662", "1.5"])
def test_malformed_length_is_no_500(api: Api, length: str) -> None:
    assert api.post("opt-in-to-2fa", b"{}", CONTENT_LENGTH=length).brief == (400, "invalid_request")


def test_body_that_breaks_off(api: Api, phone: Phone) -> None:
    content = f'{{"MobileNumber": "{NUMBER}"}}'
    answer = api.post("opt-in-to-2fa", content[:-1], CONTENT_LENGTH=str(len(content)))
    assert answer.brief == (400, "invalid_request")
    assert phone.messages == []


# -- chunked bodies ----------------------------------------------------------------


def post_chunked(api: Api, stream: object, *, call: str = "opt-in-to-2fa", **how: Any) -> Answer:
    """POST *stream* as a server passes on a chunked body: with no length, and an end."""
    how.setdefault("media_type", JSON)
    environ = {
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "CONTENT_TYPE": how["media_type"],
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    return api.post(call, b"", **how, **environ)


class Broken(io.RawIOBase):
    """A body whose next chunk is not one."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


class Endless(io.RawIOBase):
    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "it would never come back"
        self.given += size
        return b" " * size


def test_chunked_body_of_no_chunks_is_empty(api: Api) -> None:
    answer = post_chunked(api, io.BytesIO(), media_type="")
    assert answer.data["StatusMessage"] == "MobileNumber is required."


@pytest.mark.parametrize(
    "error", [ValueError("bad"), OSError("bad"), EOFError(), Exception("InvalidChunkSize")]
)
@pytest.mark.parametrize("media_type", FORMATS)
def test_malformed_chunk(api: Api, media_type: str, error: Exception) -> None:
    answer = post_chunked(api, Broken(error), media_type=media_type)
    assert answer.brief == (400, "invalid_request")
    assert answer.data["StatusMessage"] == "The body could not be read."
    assert answer.media_type == f"{media_type}; charset=utf-8"


def test_malformed_chunk_is_no_empty_body(api: Api, active: ProviderUser, phone: Phone) -> None:
    """An empty body of an opt-out asks for a text; one that broke off asks for nothing."""
    texts = len(phone.messages)
    answer = post_chunked(api, Broken(OSError()), call="opt-out-from-2fa")
    assert answer.brief == (400, "invalid_request")
    assert len(phone.messages) == texts
    assert post_chunked(api, io.BytesIO(), call="opt-out-from-2fa").code == "2fa_code_required"


def test_malformed_chunk_comes_after_the_other_refusals(user: User) -> None:
    assert post_chunked(Api(token="bad"), Broken(OSError())).code == "invalid_token"
    api = Api(token=bearer(user))
    answer = post_chunked(api, Broken(OSError()), media_type="text/plain")
    assert answer.code == "unsupported_media_type"


def test_endless_body(api: Api) -> None:
    stream = Endless()
    assert post_chunked(api, stream).brief == (413, "too_large")
    assert stream.given <= 17 * 1024


# -- which refusal answers ---------------------------------------------------------


@dataclass
class Sent:
    """A request to verify, which faults are put into one after the other."""

    user: User
    settings: Settings
    token: str
    content: bytes
    method: str = "POST"
    path: str = "/User/verify-2fa-opt-in"
    query: list[str] = field(default_factory=lambda: ["FileId=777"])
    media_type: str = JSON
    host: str = "2fa.example.com"

    def send(self, **how: Any) -> Answer:
        how.setdefault("media_type", self.media_type)
        return Api(token=self.token).send(
            self.method,
            self.path,
            self.content,
            query="&".join(self.query),
            headers={"Host": self.host},
            **how,
        )


def foreign_host(sent: Sent) -> None:
    sent.host = "evil.example.net"


def unknown_path(sent: Sent) -> None:
    sent.path = "/User/verify"


def wrong_method(sent: Sent) -> None:
    sent.method = "PUT"


def too_large(sent: Sent) -> None:
    sent.content = sent.content.ljust(16 * 1024 + 1)


def key_given_twice(sent: Sent) -> None:
    sent.query += ["WsAccessKey=a", "wsaccesskey=b"]


def bad_token(sent: Sent) -> None:
    sent.token = "bad"


def malformed_query(sent: Sent) -> None:
    sent.query[0] = "FileId=0"


def scope_too_small(sent: Sent) -> None:
    # A token that is bad already has no scope.
    sent.token = bearer(sent.user, "other") if sent.token != "bad" else "bad"


def throttled(sent: Sent) -> None:
    sent.settings.OPTIN_REQUESTS_PER_USER = (Rate(1, 60),)
    Api(token=bearer(sent.user)).ping()


def wrong_type(sent: Sent) -> None:
    sent.media_type = "text/plain"


def malformed_body(sent: Sent) -> None:
    sent.content = b"{" + b" " * len(sent.content[1:])


def disabled(sent: Sent) -> None:
    User.objects.filter(pk=sent.user.pk).update(otp_disabled_at=timezone.now())


Fault = Callable[[Sent], None]

# In the order of the contract. The messages tell the several 400s apart.
FAULTS: list[tuple[Fault, int, str, str]] = [
    (foreign_host, 400, "invalid_request", "Host"),
    (unknown_path, 404, "not_found", ""),
    (wrong_method, 405, "method_not_allowed", ""),
    (too_large, 413, "too_large", ""),
    (key_given_twice, 400, "invalid_request", "given twice"),
    (bad_token, 401, "invalid_token", ""),
    (malformed_query, 400, "invalid_request", "FileId"),
    (scope_too_small, 403, "insufficient_scope", ""),
    (throttled, 429, "throttled", ""),
    (wrong_type, 415, "unsupported_media_type", ""),
    (malformed_body, 400, "invalid_request", "JSON"),
    (disabled, 403, "factor_disabled", ""),
]
PAIRS = list(itertools.pairwise(FAULTS))
"""Each against the next: they are looked at one after the other, so that all others follow."""


@pytest.fixture
def sent(user: User, pending: ProviderUser, phone: Phone, settings: Settings) -> Sent:
    body = {"ProviderUserId": pending.pk, "Otp": phone.code()}
    return Sent(user, settings, bearer(user), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=[f"{a[0].__name__}-{b[0].__name__}" for a, b in PAIRS]
)
def test_of_two_faults_the_first_answers(
    sent: Sent,
    first: tuple[Fault, int, str, str],
    second: tuple[Fault, int, str, str],
) -> None:
    for fault in sorted((first[0], second[0]), key=lambda fault: fault is too_large):
        fault(sent)
    answer = sent.send()
    assert answer.brief == first[1:3]
    assert first[3] in answer.data["StatusMessage"]
    assert not ProviderUser.objects.filter(confirmed=True).exists()


# -- methods, hosts, unknown addresses ---------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("call", ["opt-in-to-2fa", "verify-2fa-opt-in", "opt-out-from-2fa"])
def test_user_calls_are_post_only(api: Api, phone: Phone, call: str, method: str) -> None:
    """S-40: no GET sends a message. S-61"""
    answer = api.send(method, f"/User/{call}", query="FileId=777")
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert method == "HEAD" or answer.code == "method_not_allowed"
    assert phone.messages == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_ping_is_get_only(api: Api, method: str) -> None:
    answer = api.send(method, "/authorisation/ping")
    assert answer.brief == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_method_override_is_not_believed(api: Api, phone: Phone) -> None:
    answer = api.send(
        "GET", "/User/opt-in-to-2fa", headers={"X-HTTP-Method-Override": "POST"}, query="FileId=777"
    )
    assert answer.status == 405


@pytest.mark.parametrize("host", ["2fa.example.com", "2fa.example.com:8443", "2FA.Example.com"])
def test_own_host(api: Api, host: str) -> None:
    assert api.ping(headers={"Host": host}).status == 200


def test_wrong_code_is_no_fault_of_the_request(sent: Sent, phone: Phone) -> None:
    """The operation's own refusals come last, and only they count."""
    sent.content = sent.content.replace(phone.code().encode(), wrong(phone.code()).encode())
    assert sent.send().brief == (400, "otp_incorrect")
    assert PendingOtp.objects.get().tries == 1
