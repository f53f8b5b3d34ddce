"""Ping."""

from conformance.registry import check
from conformance.session import Session
from conformance.wire import MEDIA_TYPES

ELSEWHERE = 2147483647
"""A FileId that is well-formed and that nobody has."""


@check
def bare(s: Session) -> None:
    """Ping answers a bare true, in each format. [1.1]"""
    for kind in MEDIA_TYPES:
        answer = s.expect(s.call("ping", accept=kind), 200)
        expected = b"<boolean>true</boolean>" if "xml" in kind else b"true"
        s.equal(answer, answer.body, expected, "the body")


@check
def head(s: Session) -> None:
    """HEAD has the headers of GET, and no body. [4.1]"""
    got, of_head = s.call("ping"), s.call("ping", method="HEAD")
    s.expect(of_head, 200)
    s.equal(of_head, of_head.body, b"", "the body")
    for name in ("Content-Type", "Cache-Control"):
        s.equal(of_head, of_head.headers.get(name), got.headers.get(name), name)


@check
def token_alone(s: Session) -> None:
    """A bearer token is answered without a FileId, and with its own. [4.1]"""
    s.expect(s.call("ping", credential="token"), 200)
    s.options.need("file")
    s.expect(s.call("ping", credential="token", query=f"FileId={s.options.file}"), 200)


@check
def key_alone(s: Session) -> None:
    """An access key is answered without a FileId, and with its own. [4.1]"""
    s.expect(s.call("ping", credential="key"), 200)
    s.expect(s.call("ping", credential="key", query=s.query(s.options.file)), 200)


@check
def refusal(s: Session) -> None:
    """A refusal is a BaseResponseModel, not a boolean. [1.2]"""
    for kind in MEDIA_TYPES:
        s.expect(s.call("ping", accept=kind, credential="none"), 401, "not_authenticated")


@check
def malformed_file(s: Session) -> None:
    """A malformed FileId is refused here too. [1.1]"""
    for value in ("", "0", "0777", "x"):
        s.expect(s.call("ping", query=s.query(value)), 400, "invalid_request")
