"""A real server on this machine, which may do anything with a request."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.certificates import tls

KEY = "sesame-key"
"""The secret in the address and in a header."""

CODE = "1234567"
BODY = f"{CODE} is your code.\n\n@2fa.example.com #{CODE}"
REFERENCE = "sms-17"

Answer = Callable[[socket.socket], None]


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Reads one request for each connection, and lets ``answer`` do with it what it likes."""

    listener: socket.socket
    answer: Answer
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None
    deaf: bool = False

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}/send?key={KEY}"

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=[line], daemon=True).start()

    def serve(self, line: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(line, server_side=True) if self.tls else line as end:
                if not self.deaf:
                    self.requests.append(read(end))
                self.answer(end)
        except OSError:
            pass  # the other side hung up


@contextmanager
def serving(certificate: Path | None, answer: Answer) -> Iterator[Server]:
    """A server at a port of its own, until the block ends; without a *certificate*, of http."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, answer, tls=tls(certificate) if certificate else None)
        threading.Thread(target=server.run, daemon=True).start()
        yield server
        server.stopped.set()
        listener.shutdown(socket.SHUT_RDWR)


def read(line: socket.socket) -> Request:
    with line.makefile("rb") as file:
        first = file.readline().decode().strip()
        if not first:
            raise ConnectionError("hung up before anything was asked")
        headers = {}
        while header := file.readline().decode().strip():
            name, _, value = header.partition(": ")
            headers[name] = value
        return Request(first, headers, file.read(int(headers["Content-Length"])))


def says(status: int, body: bytes | str = b"", *headers: str) -> Answer:
    """Answer with *status* and *body*."""
    body = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", "Connection: close"]

    def answer(line: socket.socket) -> None:
        line.sendall("\r\n".join([*head, *headers, "", ""]).encode() + body)

    return answer


AWKWARD = [
    'say "no", \\ and \\n',
    "two\r\nlines\tand\x00nothing",
    "caf\u00e9 \u4f60 \U0001f600",
    "{to} {sender} {reference} {body} {{to}} {0} %s",
    '"}, "to": "+61400000000", "x": "',
    "a=b&to=+61400000000&c=%26+d",
    "",
]


def hangs(line: socket.socket) -> None:
    time.sleep(8)


def trickles(line: socket.socket) -> None:
    """One byte of a header each half second: each is in time for a socket's time-out."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(16):
        time.sleep(0.5)
        line.sendall(b"x")


def in_5_seconds(began: float) -> bool:
    return 4.5 < time.perf_counter() - began < 7


def no_call_is_left() -> bool:
    """Whether all threads of calls end at once."""
    for thread in threading.enumerate():
        if thread.name == "line":
            thread.join(1)
    return "line" not in {thread.name for thread in threading.enumerate()}
