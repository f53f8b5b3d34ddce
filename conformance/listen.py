"""A receiver of webhooks, to try a sender: it verifies each event and prints it.

The last part of the path asks for an answer: see ``_ANSWERS``.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conformance import report, signing
from conformance.server.door import until_stopped

_ANSWERS = {"500": 500, "410": 410, "429": 429, "slow": 204, "garbage": 0}
"""The status for each path; 0: no HTTP. Other paths get 204, or 400 if the event is not signed."""

_SLOW = signing.PATIENCE + 2  # seconds
_GARBAGE = b"\x16\x03\x01 This is no HTTP.\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """A request: what was wrong with it, and what its receiver must know."""

    title: str
    wrong: list[str]
    notes: list[str]

    def __str__(self) -> str:
        state = "WRONG" if self.wrong else "right"
        return "\n       ".join([f"{state}  {self.title}", *self.wrong, *self.notes])


@dataclass
class _Inbox:
    """What came to one path before."""

    is_good: bool  # whether the path answers 2xx
    bodies: dict[str, bytes] = field(default_factory=dict)  # by webhook-id
    last: dict[int, int] = field(default_factory=dict)  # Sequence by FileId

    def look(
        self, event: dict[str, Any], message_id: str, body: bytes
    ) -> tuple[list[str], list[str]]:
        """Return what is wrong with a signed event, and what its receiver must know."""
        wrong: list[str] = []
        notes: list[str] = []
        if event["type"] not in signing.TYPES:
            notes.append("The type is unknown here. Later releases may add types: accept it.")
        if before := self.bodies.get(message_id):
            if before != body:
                wrong.append("The webhook-id came before, with another body.")
            todo = "Drop this one." if self.is_good else "This is another attempt."
            notes.append(f"The webhook-id came before. {todo}")
        elif (sequence := event["data"]["Sequence"]) is not None:
            last = self.last.get(event["data"]["FileId"], sequence - 1)
            if sequence <= last:
                wrong.append(f"The Sequence before was {last}: it must rise.")
            elif sequence > last + 1:
                notes.append(
                    f"The Sequence before was {last}: events are missing, unless somebody chose "
                    "types or skipped events."
                )
            self.last[event["data"]["FileId"]] = max(last, sequence)
        self.bodies[message_id] = body
        return wrong, notes


@dataclass
class Listener:
    """Takes events that are signed with one of *secrets*, and tells of each by ``tell``."""

    secrets: Sequence[str]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._inboxes: dict[str, _Inbox] = {}

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status for what came to *path*; 0: no HTTP.

        :param headers: with names in lower case.
        """
        with self._lock:
            asked = _name(path)
            event, fault = _read(body), self._unsigned(headers, body)
            wrong, told = [fault], "not verified"
            notes: list[str] = []
            if not fault and event is None:
                wrong = ["The body is no event with type, timestamp and data (docs/events.md)."]
            elif not fault and event is not None:
                inbox = self._inboxes.setdefault(path, _Inbox(_ANSWERS.get(asked, 204) == 204))
                wrong, notes = inbox.look(event, headers["webhook-id"], body)
                told = f"{_plain(event['type'])}  {json.dumps(event['data'])}"
            status = _ANSWERS.get(asked, 400 if fault else 204)
            said = {"slow": f"204 after {_SLOW} seconds"}.get(asked, str(status or "garbage"))
            self.received.append(Received(f"{_plain(path)}  {said}  {told}", wrong, notes))
            self.tell(str(self.received[-1]))
            return status

    def _unsigned(self, headers: Mapping[str, str], body: bytes) -> str:
        """Say why nothing shows that the event is of the service; "" if it is."""
        parts = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
        message_id, at, signatures = parts
        if not all(parts):
            return "webhook-id, webhook-timestamp or webhook-signature is missing."
        if not re.fullmatch(r"[0-9]{1,12}", at):
            return "webhook-timestamp must be in seconds since 1970."
        age = int(self.clock()) - int(at)
        if abs(age) > signing.TOLERANCE:
            differs = f"{abs(age)} seconds {'old' if age > 0 else 'ahead'}"
            return f"webhook-timestamp is {differs}: at most {signing.TOLERANCE} are allowed."
        right = {signing.signature(secret, message_id, at, body) for secret in self.secrets}
        if right.isdisjoint(signatures.split()):
            return "No signature is that of the body with the secret."
        return ""


def _read(body: bytes) -> dict[str, Any] | None:
    """Return the event in *body*; None where there is none."""
    try:
        match json.loads(body):
            case {
                "type": str(),
                "timestamp": str(),
                "data": {"FileId": int(), "Sequence": int() | None},
            } as event:
                return dict(event)
    except (ValueError, RecursionError):
        pass
    return None


def _plain(text: str) -> str:
    """Return *text* without what could control a terminal."""
    return json.dumps(text)[1:-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    listener: Listener

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # the sender has gone
            super().handle()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,6}", length):
            self.send_error(411)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.listener.answer(self.path, headers, self.rfile.read(int(length)))
        if not status:
            self.wfile.write(_GARBAGE)
            self.close_connection = True
            return
        if _name(self.path) == "slow":
            time.sleep(_SLOW)
        self.send_response_only(status)
        if status == 429:
            self.send_header("Retry-After", "10")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the listener tells of each event."""


def _name(path: str) -> str:
    """Return the last part of *path*, which names the answer."""
    return path.partition("?")[0].rpartition("/")[2]


@contextmanager
def serving(host: str, port: int, listener: Listener) -> Iterator[str]:
    """Let *listener* answer at *host* and *port*, or at a free port for 0; give the address.

    :raises OSError: where this machine has no such address, or it is taken.
    """
    handler = type("Handler", (_Handler,), {"listener": listener})
    with ThreadingHTTPServer((host, port), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()


def listen(address: str, secrets: Sequence[str], junit: Path | None) -> int:
    """Listen until Ctrl-C; return 1 if a request was wrong, 2 if none came, else 0.

    :raises OSError, ValueError: where nobody can listen at *address*, or a secret is none.
    """
    host, _, port = address.rpartition(":")
    for secret in secrets:
        signing.key(secret)
    listener = Listener(secrets, lambda told: print(told, flush=True))
    with until_stopped(), serving(host or "127.0.0.1", int(port), listener) as base_url:
        others = ", ".join(f"/{name}" for name in _ANSWERS)
        listener.tell(f"Listening at {base_url}/. Ctrl-C ends it.\n  Other answers: {others}")
        threading.Event().wait()
    received = listener.received
    wrong = [each for each in received if each.wrong]
    listener.tell(f"\n{len(received)} requests: {len(wrong)} wrong.")
    cases = [
        report.Case("listen", f"request {n}: {each.title}", failure="\n".join(each.wrong))
        for n, each in enumerate(received, 1)
    ]
    return report.end(cases, junit)
