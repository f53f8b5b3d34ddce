"""Connections with half of a request head, or with no end: others are answered meanwhile."""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.server import serving

HEAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def first(line: socket.socket) -> None:
    line.sendall(HEAD + b"X-Half: ")


def second(line: socket.socket) -> None:
    """After a whole one, on the same connection."""
    line.sendall(HEAD + b"\r\n")
    while b"ok" not in line.recv(4096):
        pass
    first(line)


def behind(line: socket.socket) -> None:
    """Together with a whole one: the server has read it then."""
    line.sendall(HEAD + b"\r\n" + HEAD + b"X-Half: ")


def nothing(line: socket.socket) -> None:
    pass


def kept(line: socket.socket) -> None:
    """Whole, and the last; it stays open when it is answered."""
    line.sendall(HEAD + b"Connection: close\r\n\r\n")
    while line.recv(4096):
        pass


def half_closed(line: socket.socket) -> None:
    first(line)
    line.shutdown(socket.SHUT_WR)


def long(line: socket.socket) -> None:
    line.sendall(HEAD + (b"X-Half: " + b"a" * 8000 + b"\r\n") * 9)


def long_and_reset(line: socket.socket) -> None:
    """What arrived can still be read then, and all else fails."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.sendall(b"a" * 65_536)
    line.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def ask(port: int) -> None:
    with connect(port) as line:
        line.sendall(HEAD[:9])
        line.sendall(HEAD[9:] + b"Connection: close\r\n\r\n")
        assert line.recv(15) == b"HTTP/1.1 200 OK"


KINDS: list[Callable[[socket.socket], None]]
KINDS = [first, second, behind, nothing, kept, half_closed, long, long_and_reset]


@pytest.mark.slow
@pytest.mark.django_db
def test_half_sent_heads_hold_no_thread(tmp_path: Path) -> None:
    """One process works on 8 requests at once. 40 of each kind are closed after a while."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db'}"}
    with serving(tmp_path, env, workers=1) as server:
        ask(server.port)  # it has started
        workers = server.workers()
        lines = [(kind, connect(server.port)) for kind in KINDS for _ in range(40)]
        for kind, line in lines:
            kind(line)
        began = time.monotonic()
        ask(server.port)
        assert time.monotonic() - began < 5
        for _, line in lines:
            with line:
                assert _is_closed(line)
        assert time.monotonic() - began < 30
        assert server.workers() == workers


@pytest.mark.slow
@pytest.mark.django_db
def test_more_half_sent_heads_than_connections_keep_nobody_out(tmp_path: Path) -> None:
    """S-64. Those that have waited longest make room: the process has 900 places."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db'}"}
    with serving(tmp_path, env, workers=1) as server, ExitStack() as lines:
        ask(server.port)  # it has started
        workers = server.workers()
        for _ in range(1000):
            first(lines.enter_context(connect(server.port)))
        began = time.monotonic()
        ask(server.port)
        assert time.monotonic() - began < 3
        assert server.workers() == workers


def _is_closed(line: socket.socket) -> bool:
    try:
        while line.fileno() >= 0 and line.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True
