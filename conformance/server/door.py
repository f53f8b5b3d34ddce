"""The HTTP server: it takes requests, prints a line for each, and a summary at the end."""

import ipaddress
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from conformance import report
from conformance.server import calls, oauth
from conformance.server.answers import Refused, Reply, in_common
from conformance.server.bodies import CODES
from conformance.server.people import ACCESS_LIFETIME, People
from conformance.server.visits import HEADERS, Visit
from conformance.wire import Request

_AT_ONCE = 10  # seconds after a 500
_MOST_READ = 1 << 20  # bytes of a body that is too large, read so that its client gets an answer


@dataclass(frozen=True)
class Seen:
    """A request that was answered: what was wrong with it, and what would be better."""

    title: str
    answer: str
    wrong: list[str]
    better: list[str]

    def __str__(self) -> str:
        state = "WRONG" if self.wrong else "right"
        rest = [f"       {told}" for told in self.wrong]
        rest += [f"       Better: {told}" for told in self.better]
        return "\n".join([f"{state}  {self.title}  {self.answer}", *rest])


@dataclass
class Desk:
    """Answers requests, one at a time, and tells of each by ``tell``."""

    base_url: str
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    rotate: bool = False
    expire: int | None = None
    vary: bool = False
    seen: list[Seen] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        lifetime = ACCESS_LIFETIME if self.expire is None else self.expire
        self.people = People(self._text, self.clock, rotate=self.rotate, lifetime=lifetime)
        self._words = f"Run {uuid4().hex[:8]}" if self.vary else ""
        self._waits: dict[tuple[object, ...], tuple[float, str]] = {}
        self._first: dict[tuple[object, ...], tuple[float, bytes, Reply]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request, peer: str) -> Reply:
        with self._lock:
            reply = oauth.answer(request, self.people, self.base_url)
            visit = Visit(request, self.people, self.base_url, self._words)
            if not reply:
                reply = visit.refusal() or self._once(visit)
                self._wait(visit, reply)
            if not ipaddress.ip_address(peer).is_loopback:
                visit.advise("The request came without TLS", "3.1")
            told = f"{reply.status} {reply.code}".strip()
            self._see(Seen(visit.title, told, visit.wrong, visit.better))
            return reply

    def _see(self, seen: Seen) -> None:
        self.seen.append(seen)
        self.tell(str(seen))

    def _once(self, visit: Visit) -> Reply:
        """Return the first answer that was given for an ``Idempotency-Key`` (1.4)."""
        key = visit.request.headers.get("idempotency-key")
        if key is None or "Idempotency-Key" not in HEADERS.get(visit.call, ()):
            return self._decided(visit)
        credential = "token" if visit.bearer is not None else visit.parameter("wsaccesskey")
        body = visit.request.body
        call = (key, visit.person and visit.person.name, credential, visit.way.file, visit.call)
        ends, first_body, first = self._first.get(call, (0.0, b"", None))
        if first and ends > self.clock():
            if first_body != body:
                told = "The Idempotency-Key came before with another body"
                visit.tell(told, "1.4")
                return visit.way.faulty("body", f"{told}.")
            return replace(first, headers=first.headers | in_common())
        reply = self._decided(visit)
        if reply.code in {"", "2fa_code_required"}:
            self._first[call] = (self.clock() + 86400, body, reply)
        return reply

    def _decided(self, visit: Visit) -> Reply:
        try:
            return visit.way.granted(calls.decide(visit))
        except Refused as refused:
            if refused.fault:
                visit.tell(*refused.fault)
            if refused.advice:
                visit.advise(*refused.advice)
            return visit.way.decided(refused)

    def _wait(self, visit: Visit, reply: Reply) -> None:
        """Advise a client that did not wait as long as it was asked to."""
        who = visit.person.name if visit.person else visit.properties.get("username")
        body = "" if reply.code == "locked" else repr(visit.properties)
        call = (visit.call, who, body)
        until, told = self._waits.get(call, (0.0, ""))
        if until > self.clock():
            visit.advise(told, "5.3")
        if wait := int(reply.headers.get("Retry-After", 0)):
            told = "Retry-After of the answer before is not over"
            self._waits[call] = (self.clock() + wait, told)
        elif reply.status == 500:
            told = "The answer before was 500: report it, and do not repeat the request at once"
            self._waits[call] = (self.clock() + _AT_ONCE, told)

    def unreadable(self, status: int) -> None:
        """Tell of what came and is no HTTP."""
        self._see(Seen("no HTTP", str(status), ["The request is malformed (section 2.2)"], []))

    def _text(self, number: str, text: str) -> None:
        self.texts.insert(0, (number, text))
        self.tell(f"text   to ...{number[-3:]}: {text}")

    def simulator(self) -> Reply:
        """The texts as a page, as ``conformance.simulator`` reads them."""
        page = "".join(
            f'<p class="about">To {escape(number)}</p><p class="bubble">{escape(text)}</p>'
            for number, text in self.texts
        )
        headers = {"Content-Type": "text/html; charset=utf-8"} | in_common()
        return Reply(200, "", page.encode(), headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    desk: Desk

    def handle_one_request(self) -> None:
        try:
            self._take_one_request()
        except (ConnectionError, TimeoutError):  # the client has gone, or says nothing more
            self.close_connection = True

    def _take_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        # Not self.path: there, several slashes at the beginning are one already.
        target = self.raw_requestline.split()[1].decode("latin-1")
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._chunks() if "transfer-encoding" in headers else self._body()
        except ValueError:  # a length that is no number
            self.send_error(400)
            self.close_connection = True
            return
        request = Request(self.command, target, headers, body)
        if request.path == "/simulator/" and self.command == "GET":
            reply = self.desk.simulator()
        else:
            reply = self.desk.answer(request, self.client_address[0])
        self.send_response_only(reply.status)
        for name, value in (reply.headers | {"Content-Length": str(len(reply.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else reply.body)

    def _body(self) -> bytes:
        length = max(0, int(self.headers.get("Content-Length", 0)))
        self.close_connection |= length > _MOST_READ
        return self.rfile.read(min(length, _MOST_READ))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(32), 16):
            body += self.rfile.read(size)[: _MOST_READ - len(body)]
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.desk.unreadable(code)
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the desk tells of each request."""


@contextmanager
def serving(host: str, port: int, **how: Any) -> Iterator[Desk]:
    """Serve at *host* and *port*, or at a free port for 0; *how* is that of ``Desk``.

    :raises OSError: where this machine has no such address, or it is taken.
    """
    with ThreadingHTTPServer((host, port), _Handler) as server:
        desk = Desk(f"http://{host}:{server.server_port}", **how)
        server.RequestHandlerClass = type("Handler", (_Handler,), {"desk": desk})
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield desk
        finally:
            server.shutdown()


@contextmanager
def until_stopped() -> Iterator[None]:
    """Run the block until Ctrl-C or SIGTERM."""
    # SIGINT too: a shell lets what it starts in the background ignore it.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield


def serve(address: str, junit: Path | None, **how: Any) -> int:
    """Serve until Ctrl-C; return 1 if a request was wrong, 2 if none came, else 0.

    :param how: that of ``Desk``.
    :raises OSError, ValueError: where nothing can be served at *address*.
    """
    host, _, port = address.rpartition(":")
    open_door = serving(host or "127.0.0.1", int(port), tell=_print, **how)
    with until_stopped(), open_door as desk:
        _introduce(desk)
        threading.Event().wait()
    wrong = [seen for seen in desk.seen if seen.wrong]
    better = [seen for seen in desk.seen if seen.better]
    _print(f"\n{len(desk.seen)} requests: {len(wrong)} wrong, {len(better)} that could be better.")
    cases = [
        report.Case(each.title, f"request {n}: {each.answer}", failure="\n".join(each.wrong))
        for n, each in enumerate(desk.seen, 1)
    ]
    return report.end(cases, junit)


def _introduce(desk: Desk) -> None:
    _print(f"Serving {desk.base_url}. Ctrl-C ends it.")
    for person in desk.people.people:
        keys = [key for key, (owner, _) in desk.people.keys.items() if owner is person]
        files = " or ".join(map(str, person.files))
        own = f"FileId {files}, WsAccessKey {keys[0]}"
        _print(f"  username {person.name}, password {person.password}, {own}")
    _print("  Codes: " + ", ".join(f"{code} for {what}" for what, code in CODES.items()))


def _print(told: str) -> None:
    print(told, flush=True)
