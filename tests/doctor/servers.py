"""What stands around the installation: a gateway, a mail server."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

# -- a gateway ---------------------------------------------------------------------


@dataclass
class Gateway:
    """Takes texts over TLS, as Twilio does and as any gateway with HTTP does."""

    context: ssl.SSLContext
    account: str
    token: str
    port: int = 0
    texts: list[str] = field(default_factory=list)

    def judge(self, path: str, authorization: str, body: bytes) -> int:
        """Return the status of the answer."""
        if path.endswith("/Messages.json"):
            known = base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
            if authorization != f"Basic {known}":
                return 401
            if b"To=" not in body:
                return 400
        self.texts.append(body.decode())
        return 201


@contextmanager
def gateway(context: ssl.SSLContext, account: str, token: str) -> Iterator[Gateway]:
    made = Gateway(context, account, token)

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            # Here, in the thread of the connection; with the certificate of this moment.
            self.request = made.context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            self.request.close()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(made.judge(self.path, self.headers.get("Authorization", ""), body))
            taken = b'{"messages": [{"id": "m-1"}]}'
            self.send_header("Content-Length", str(len(taken)))
            self.end_headers()
            self.wfile.write(taken)

        def log_message(self, format: str, *args: object) -> None:
            """Write no log."""

    with _served(_Quiet(("127.0.0.1", 0), Handler)) as server:
        made.port = server.server_address[1]
        yield made


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


@contextmanager
def _served(server: Any) -> Iterator[Any]:
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# -- a mail server -----------------------------------------------------------------


class MailServer(ThreadingTCPServer):
    """Speaks SMTP with STARTTLS and a login, and takes no mail: the doctor sends none."""

    daemon_threads = True
    allow_reuse_address = True
    context: ssl.SSLContext
    lets_in = True
    is_deaf_to = ""
    """The command that it does not answer."""

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class _Speaks(StreamRequestHandler):
    server: MailServer

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.request.close()

    def handle(self) -> None:
        with suppress(OSError, ssl.SSLError):
            self.wfile.write(b"220 mail\r\n")
            while line := self.rfile.readline():
                self.answer(line.decode().upper().split())

    def answer(self, words: list[str]) -> None:
        match words:
            case [word, *_] if word == self.server.is_deaf_to:
                self.rfile.read()
            case ["EHLO", *_]:
                self.wfile.write(b"250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
            case ["STARTTLS"]:
                self.wfile.write(b"220 go on\r\n")
                self.request = self.server.context.wrap_socket(self.request, server_side=True)
                self.setup()
            case ["AUTH", *_] if self.server.lets_in:
                self.wfile.write(b"235 welcome\r\n")
            case ["AUTH", *_]:
                self.wfile.write(b"535 no\r\n")
            case ["QUIT"]:
                self.wfile.write(b"221 bye\r\n")
            case _:
                self.wfile.write(b"503 not expected\r\n")


@contextmanager
def mail_server(context: ssl.SSLContext, port: int = 0) -> Iterator[MailServer]:
    server = MailServer(("127.0.0.1", port), _Speaks)
    server.context = context
    with _served(server):
        yield server
