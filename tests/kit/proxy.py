"""A proxy that changes one thing about the service behind it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from conformance.wire import Answer, Request, Wire

Forward = Callable[[Request], "Reply"]
Alter = Callable[[Request, Forward], "Reply"]


@dataclass(frozen=True)
class Reply:
    """An answer on its way back. Names of headers are in lower case."""

    request: Request
    status: int
    headers: dict[str, str]
    body: bytes

    def with_headers(self, **changed: str | None) -> "Reply":
        """Set headers; None takes one away."""
        named = {name.replace("_", "-"): value for name, value in changed.items()}
        kept = {**self.headers, **{n: v for n, v in named.items() if v is not None}}
        return replace(self, headers={n: v for n, v in kept.items() if named.get(n, v) is not None})

    def with_body(self, old: bytes, new: bytes) -> "Reply":
        return replace(self, body=self.body.replace(old, new))

    @property
    def is_xml(self) -> bool:
        return "xml" in self.headers.get("content-type", "")

    @property
    def read(self) -> Answer:
        return Answer(self.request, self.status, _message(self.headers), self.body)


def _message(headers: dict[str, str]) -> HTTPMessage:
    message = HTTPMessage()
    for name, value in headers.items():
        message[name] = value
    return message


class Proxy:
    """Passes requests on to ``service``, by way of ``alter``."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.base_url = f"http://127.0.0.1:{server.server_port}"
        self.service: Wire | None = None
        self.alter: Alter = unaltered
        self._settled: dict[tuple[object, ...], Reply] = {}

    def answer(self, request: Request) -> Reply:
        return self.alter(request, self._forward)

    def _forward(self, request: Request) -> Reply:
        """Ask the service; what it answers the same each time is asked once for all runs."""
        key = (request.method, request.target, tuple(request.headers.items()), request.body)
        if key in self._settled:
            return self._settled[key].with_headers(x_request_id=uuid4().hex)
        assert self.service
        answer = self.service.send(request)
        hop = {"connection", "content-length", "transfer-encoding"}
        headers = {n.lower(): v for n, v in answer.headers.items() if n.lower() not in hop}
        reply = Reply(request, answer.status, headers, answer.body)
        if answer.code in _ALWAYS_SO or b"2147483647" in request.body:
            self._settled[key] = reply
        return reply


_ALWAYS_SO = {
    *("not_found", "method_not_allowed", "too_large", "unsupported_media_type"),
    *("not_authenticated", "invalid_token", "insufficient_scope", "file_access_denied"),
    *("invalid_request", "mobile_number_invalid", "region_not_allowed"),
}
"""Codes of the answers that depend on the request only."""


def unaltered(request: Request, forward: Forward) -> Reply:
    return forward(request)


@contextmanager
def proxying() -> Iterator[Proxy]:
    """Serve a proxy on a free port; its ``service`` is to be set."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        proxy = Proxy(server)
        server.RequestHandlerClass = type("Handler", (_Handler,), {"proxy": proxy})
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield proxy
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        # Not self.path: there, several slashes at the beginning are one already.
        target = self.raw_requestline.split()[1].decode("latin-1")
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        is_chunked = headers.pop("Transfer-Encoding", "") == "chunked"
        headers.pop("Content-Length", None)
        body = self._chunks() if is_chunked else self._body()
        reply = self.proxy.answer(Request(self.command, target, headers, body, is_chunked))
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
