"""The order of refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

from conformance.checks.ping import ELSEWHERE
from conformance.goldens import CALLS
from conformance.registry import check
from conformance.session import Session
from conformance.wire import JSON, Answer


@dataclass
class Faulty:
    """A verify that faults are put into, one after the other."""

    file: str
    credential: str
    method: str = "POST"
    path: str = CALLS["verify"].path
    query: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    body: bytes = b"{}"

    def send(self, s: Session) -> Answer:
        key = "" if "Authorization" in self.headers else self.credential
        target = f"{self.path}?{key}FileId={self.file}{self.query}"
        return s.send(self.method, target, self.body, self.headers)


def foreign_host(it: Faulty) -> None:
    it.headers["Host"] = "conformance.invalid"


def unknown_path(it: Faulty) -> None:
    it.path = "/User/verify"


def wrong_method(it: Faulty) -> None:
    it.method = "PUT"


def too_large(it: Faulty) -> None:
    it.body = it.body.ljust(16385)


def key_twice(it: Faulty) -> None:
    it.query = "&WsAccessKey=a&wsaccesskey=a"


def bad_token(it: Faulty) -> None:
    it.headers["Authorization"] = "Bearer conformance-unknown"


def malformed_file(it: Faulty) -> None:
    it.file = "0"


def file_of_others(it: Faulty) -> None:
    it.file = str(ELSEWHERE) if it.file != "0" else it.file


def wrong_type(it: Faulty) -> None:
    it.headers["Content-Type"] = "text/plain"


def malformed_body(it: Faulty) -> None:
    it.body = b"{" + b" " * len(it.body[1:])


Fault = Callable[[Faulty], None]
FAULTS: list[tuple[Fault, int, str]] = [
    (foreign_host, 400, "invalid_request"),
    (unknown_path, 404, "not_found"),
    (wrong_method, 405, "method_not_allowed"),
    (too_large, 413, "too_large"),
    (key_twice, 400, "invalid_request"),
    (bad_token, 401, "invalid_token"),
    (malformed_file, 400, "invalid_request"),
    (file_of_others, 403, "file_access_denied"),
    (wrong_type, 415, "unsupported_media_type"),
    (malformed_body, 400, "invalid_request"),
]
"""The faults that need no state of the server, in the order of the contract."""


@check
def each_alone(s: Session) -> None:
    """Each refusal has its status and its code. [2.4]"""
    for fault, status, code in FAULTS:
        _refused(s, [fault], status, code)


@check
def first_of_two(s: Session) -> None:
    """If two refusals apply, the first in the list answers. [2.4]"""
    for (first, status, code), (second, *other) in combinations(FAULTS, 2):
        if [status, code] != other:
            _refused(s, [first, second], status, code)


def _refused(s: Session, faults: list[Fault], status: int, code: str) -> None:
    s.options.need("file", "access_key")
    it = Faulty(str(s.options.file), s.query("").removesuffix("FileId="))
    for fault in faults:
        fault(it)
    s.expect(it.send(s), status, code)


@check
def token_calls(s: Session) -> None:
    """Token calls: 405, then 413, then 415, then 400 for the body. [2.4]"""
    path, plain = CALLS["token"].path, {"Content-Type": "text/plain"}
    for answer, status in (
        (s.send("PUT", path, b"x" * 16385, plain), 405),
        (s.send("POST", path, b"x" * 16385, plain), 413),
        (s.send("POST", f"{path}?WsAccessKey=a&wsaccesskey=a", b"x", plain), 400),
        (s.send("POST", path, b"x", plain), 415),
        (s.send("POST", path, b"x", {"Content-Type": JSON}), 400),
    ):
        s.expect(answer, status, "invalid_request")
