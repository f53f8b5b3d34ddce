"""Bodies that come in parts, or with another length or encoding (docs/contract.md, section 2)."""

import io
from typing import Any

import pytest

from optin.models import ProviderUser, User
from tests.kit.clients import MEDIA_TYPES, Answer, Api, bearer
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

JSON, TEXT_JSON, XML, TEXT_XML = MEDIA_TYPES


# -- size --------------------------------------------------------------------------


def test_declared_size_is_enough_to_refuse(api: Api) -> None:
    def sent(length: str) -> tuple[int, str]:
        return api.post("opt-in-to-2fa", b"{}", CONTENT_LENGTH=length).brief

    for length in ("16385", "0016385", "9" * 20, "9" * 5000):
        assert sent(length) == (413, "too_large")
    for length in ("-1", "x", "+2", "\u0662", "1.5"):
        assert sent(length) == (400, "invalid_request")


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
def test_malformed_chunk(api: Api, error: Exception) -> None:
    answer = post_chunked(api, Broken(error))
    assert answer.brief == (400, "invalid_request")
    assert answer.data["StatusMessage"] == "The body could not be read."


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
    """S-20."""
    stream = Endless()
    assert post_chunked(api, stream).brief == (413, "too_large")
    assert stream.given <= 17 * 1024


@pytest.mark.parametrize("host", ["2fa.example.com", "2fa.example.com:8443", "2FA.Example.com"])
def test_own_host(api: Api, host: str) -> None:
    assert api.ping(headers={"Host": host}).status == 200
