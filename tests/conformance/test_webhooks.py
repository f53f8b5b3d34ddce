"""The receiver and the sender of webhooks find nothing wrong with each other, and all else."""

import hashlib
import hmac
import json
import re
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from conformance import signing
from conformance.__main__ import main
from conformance.listen import Listener, serving
from conformance.send import samples
from conformance.wire import Answer, Request, Wire
from optin.events import News
from tests.kit.server import ROOT
from tests.kit.wire import Request as Sent
from tests.kit.wire import Server, says
from tests.kit.wire import serving as receiving

KEY = b"a key of 24 bytes or so."
SECRET = f"whsec_{b64encode(KEY).decode()}"
OTHER = f"whsec_{b64encode(KEY[::-1]).decode()}"
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, which other processes have too."""


def test_the_types_are_those_of_the_service() -> None:
    assert set(News) == signing.TYPES


# -- the receiver ------------------------------------------------------------------


@dataclass
class Sender:
    """Sends events to a listener whose clock stands still."""

    listener: Listener = field(default_factory=lambda: Listener([SECRET], print, lambda: NOW))

    def send(
        self, sequence: int | None = 1, *, path: str = "/", at: int = NOW, **how: Any
    ) -> tuple[int, str]:
        """Send an event; return the answer, and what was told of it, without its title."""
        event = {"type": how.get("kind", "number.activated"), "timestamp": "2027-01-15T08:00:00Z"}
        event["data"] = {"FileId": 777, "Sequence": sequence, "Reason": how.get("reason", "")}
        body = how.get("body", json.dumps(event).encode())
        message_id = how.get("message_id", f"msg_{sequence}")
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": signing.signature(
                how.get("secret", SECRET), message_id, str(at), body
            ),
            **how.get("headers", {}),
        }
        status = self.listener.answer(path, headers, how.get("arrives", body))
        told = self.listener.received[-1]
        state = "WRONG " if told.wrong else ""
        return status, state + " ".join([*told.wrong, *told.notes])


def test_what_is_right_is_taken() -> None:
    sender = Sender()
    events = [sender.send(4), sender.send(5), sender.send(None, kind="endpoint.test")]
    late = [sender.send(6, at=NOW - 300), sender.send(7, at=NOW + 300)]
    assert events + late == [(204, "")] * 5
    sender.listener.secrets = [OTHER, SECRET]
    assert sender.send(8) == sender.send(9, secret=OTHER) == (204, "")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"secret": OTHER}, "No signature is"),
        ({"arrives": b"{}"}, "No signature is"),
        ({"headers": {"webhook-id": "msg_other"}}, "No signature is"),
        ({"headers": {"webhook-signature": "v1,\u00e9 v2"}}, "No signature is"),
        ({"headers": {"webhook-signature": ""}}, "webhook-id, webhook-timestamp or"),
        ({"headers": {"webhook-timestamp": "soon"}}, "webhook-timestamp must be"),
        ({"at": NOW - 301}, "webhook-timestamp is 301 seconds old"),
        ({"at": NOW + 301}, "webhook-timestamp is 301 seconds ahead"),
    ],
)
def test_what_is_not_signed_is_refused(how: dict[str, Any], told: str) -> None:
    status, words = Sender().send(**how)
    assert status == 400
    assert words.startswith(f"WRONG {told}")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 99_999, b"\xff", b'{"type": "a", "timestamp": "", "data": {}}']
)
def test_a_body_that_is_no_event_is_wrong(body: bytes) -> None:
    assert Sender().send(body=body)[1].startswith("WRONG The body is no event")


def test_repeats_and_gaps_are_told() -> None:
    sender = Sender()
    sender.send(4)
    assert sender.send(4) == (204, "The webhook-id came before. Drop this one.")
    assert sender.send(4, reason="x")[1].startswith("WRONG The webhook-id came before, with")
    assert sender.send(4, message_id="new")[1] == "WRONG The Sequence before was 4: it must rise."
    assert sender.send(6)[1].startswith("The Sequence before was 4: events are missing")
    assert sender.send(6, path="/500", message_id="first there") == (500, "")
    assert sender.send(6, path="/500", message_id="first there") == (
        *(500, "The webhook-id came before. This is another attempt."),
    )
    assert sender.send(7, kind="number.seen")[1].startswith("The type is unknown here")


@contextmanager
def listening() -> Iterator[tuple[str, Listener]]:
    listener = Listener([SECRET], print)
    with serving("127.0.0.1", 0, listener) as base_url:
        yield base_url, listener


def post(base_url: str, path: str, **headers: str) -> Answer:
    (first, *_) = samples(SECRET, int(time.time()))
    return Wire(base_url).send(Request("POST", path, {**first.headers, **headers}, first.body))


def test_a_path_asks_for_its_answer() -> None:
    with listening() as (base_url, listener):
        statuses = {path: post(base_url, path).status for path in ("/a/500", "/410", "/429?a=b")}
        assert statuses == {"/a/500": 500, "/410": 410, "/429?a=b": 429}
        assert post(base_url, "/429").headers["Retry-After"] == "10"
        with socket.create_connection(("127.0.0.1", int(base_url.rpartition(":")[2]))) as line:
            line.sendall(b"POST /garbage HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert not line.recv(100).startswith(b"HTTP")
        before = len(listener.received)
        for length in ("", "x", "-1", "9" * 5000, "9999999"):
            assert post(base_url, "/", **{"Content-Length": length}).status == 411
        assert len(listener.received) == before


@pytest.mark.slow
def test_a_slow_answer_comes_too_late() -> None:
    with listening() as (base_url, _):
        began = time.monotonic()
        assert post(base_url, "/slow").status == 204
        assert time.monotonic() - began > signing.PATIENCE + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secrets", "stop", "status"),
    [([SECRET], signal.SIGINT, 0), ([OTHER], signal.SIGTERM, 1), ([], signal.SIGINT, 2)],
    ids=["right", "wrong", "nothing came"],
)
def test_it_sums_up_at_the_end(
    tmp_path: Path, secrets: list[str], stop: signal.Signals, status: int
) -> None:
    junit = tmp_path / "junit.xml"
    command = [sys.executable, "-m", "conformance", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--junit", str(junit), "--secret", *(secrets or [SECRET])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stdout
        (base_url,) = re.findall(r"http://[\d.:]+\d", listener.stdout.readline())
        for _ in secrets:
            post(base_url, "/hook")
        listener.send_signal(stop)
        told = listener.stdout.read()
    assert listener.returncode == status
    assert f"{len(secrets)} requests: {status % 2} wrong." in told
    suite = fromstring(junit.read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == (str(len(secrets)), str(status % 2))


@pytest.mark.parametrize("mode", [["--listen", "127.0.0.1:0"], ["--send", "http://127.0.0.1:1/"]])
@pytest.mark.parametrize("secret", ["whsec_", "whsec_no-base64!", "whsec_\u00e9"])
def test_a_secret_that_is_none(
    mode: list[str], secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*mode, "--secret", secret]) == 2
    assert capsys.readouterr().err.startswith("Could not run: a secret is whsec_ and base64")


# -- the sender --------------------------------------------------------------------


def careful(headers: Mapping[str, str], body: bytes, now: float, **wrong: Any) -> int:
    """Return the status that a receiver answers with; *wrong* says what it does otherwise."""
    message_id, at, given = (
        headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if abs(now - int(at or 0)) > wrong.get("tolerance", 300):
        return 400
    signed = wrong.get("signed", lambda *parts: b".".join(parts))
    parts = [message_id.encode(), at.encode(), wrong.get("read", bytes)(body)]
    digest = hmac.digest(KEY, signed(*parts), hashlib.sha256)
    fits = wrong.get("fits", lambda expected, signatures: expected in signatures.split())
    if not fits(f"v1,{b64encode(digest).decode()}", given):
        return int(wrong.get("refused", 400))
    event = json.loads(body)
    return int(wrong.get("handle", lambda event: 204)(event))


MISTAKES: dict[str, dict[str, Any]] = {
    "it verifies nothing": {"fits": lambda expected, given: True},
    "it takes old timestamps": {"tolerance": 10**10},
    "it takes a few minutes more": {"tolerance": 599 + 60},
    "it takes what has no signature": {"fits": lambda e, given: not given or e in given.split()},
    "it compares beginnings": {"fits": lambda e, given: any(map(e.startswith, given.split()))},
    "it ignores the version": {"fits": lambda e, given: e.removeprefix("v1,") in given},
    "it reads the first signature only": {"fits": lambda e, given: given.split()[:1] == [e]},
    "it reads one signature only": {"fits": lambda e, given: given == e},
    "it reads the last signature only": {"fits": lambda e, given: given.split()[-1:] == [e]},
    "it signs no id": {"signed": lambda i, at, body: body},
    "it writes the body anew": {"read": lambda body: json.dumps(json.loads(body)).encode()},
    "it fails at what is not signed": {"refused": 500},
    "it redirects": {"handle": lambda event: 302},
    "it refuses unknown types": {"handle": lambda e: 204 if e["type"] in signing.TYPES else 400},
    "it refuses unknown properties": {"handle": lambda e: 400 if "Colour" in e["data"] else 204},
    "it needs a number": {"handle": lambda e: 204 if e["data"]["ProviderUserId"] else 500},
    "it needs a Sequence": {"handle": lambda e: 204 if e["data"]["Sequence"] else 500},
    "it needs ASCII": {"handle": lambda e: 204 if str(e).isascii() else 500},
}


def tried(receive: Callable[[Server, Sent], int], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Try a receiver; return what failed."""

    def answer(line: socket.socket) -> None:
        says(receive(server, server.requests[-1]))(line)

    with receiving(None, answer) as server:
        status = main(["--send", server.url, "--secret", SECRET])
    told = capsys.readouterr().out
    failed = [line for line in told.splitlines() if line.startswith("FAILED")]
    assert f"requests: {len(failed)} failed." in told
    assert status == bool(failed)
    return failed


def test_nothing_is_wrong_with_a_careful_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    seen = set()

    def receive(server: Server, request: Sent) -> int:
        assert request.line.startswith("POST /send?key=sesame-key ")
        status = careful(request.headers, request.body, time.time())
        if status == 204:
            seen.add(request.headers["webhook-id"])
        return status

    with receiving(None, says(204)) as server:
        main(["--send", server.url, "--secret", SECRET])
    (handled,) = re.findall(r"must have handled (\d+) events", capsys.readouterr().out)
    assert tried(receive, capsys) == []
    assert len(seen) == int(handled)


@pytest.mark.parametrize("wrong", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_receiver_is_found(
    wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def receive(server: Server, request: Sent) -> int:
        try:
            return careful(request.headers, request.body, time.time(), **wrong)
        except ValueError:
            return 400

    assert tried(receive, capsys)


def test_the_receiver_of_the_kit_takes_what_its_sender_sends() -> None:
    with listening() as (base_url, _):
        assert main(["--send", f"{base_url}/hook", "--secret", SECRET]) == 0
        assert main(["--send", f"{base_url}/garbage", "--secret", SECRET]) == 1


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main(["--send", f"http://127.0.0.1:{port}/", "--secret", SECRET]) == 2
    assert main(["--send", "ftp://127.0.0.1/", "--secret", SECRET]) == 2
