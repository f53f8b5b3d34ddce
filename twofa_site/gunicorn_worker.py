"""Gunicorn's worker of threads, which gives a thread to whole request heads only.

Gunicorn's own worker gives a thread to a connection at its first byte, and waits for the rest
without a limit: as many half heads as there are threads stop it. Here connections wait for
the rest of a head without a thread, and not for long. So do those that are over, for the client's
end: gunicorn waits for each in the main loop, 2 seconds.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

HEAD_WITHIN = 10.0
"""Seconds from the beginning of a connection, or of the wait for its next request, to the end of
a head (nginx has 60, Apache 20). As long for the client's end of a connection that is over."""

STALLS_AFTER = 20.0
"""Seconds without a byte of a body, or without a part of an answer being taken."""

_USUAL_HEAD, _LONGEST_HEAD = 4096, 65_536
"""Bytes. No proxy passes on a longer one (nginx: 32 KiB)."""

_END = b"\r\n\r\n"


class Worker(ThreadWorker):
    def accept(self, listener: Any) -> None:
        """Take a connection. For the last place, close the one that has waited longest.

        Otherwise enough half heads would keep all others out for ``HEAD_WITHIN``.
        """
        super().accept(listener)
        if self.nr_conns >= self.worker_connections and len(self.pending_conns) > 1:
            oldest = self.pending_conns.popleft()
            self.poller.unregister(oldest.sock)
            self._close(oldest)

    def enqueue_req(self, conn: Any) -> None:
        """Give a thread to *conn*, or let it wait where the head is not there yet."""
        conn.sock.setblocking(False)  # or all others would wait with it
        if self.cfg.is_ssl or _has_head(conn):
            _wake_beyond(conn, 0)
            super().enqueue_req(conn)
        else:
            self._wait(conn, self.on_pending_socket_readable)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if _has_head(conn):
            super().on_pending_socket_readable(conn, client)

    def handle_request(self, req: Any, conn: Any) -> Any:
        conn.sock.settimeout(STALLS_AFTER)
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep *conn*, or let it wait for the client's end where it is over.

        To close it at once could lose the answer, if the client still sends.
        """
        if fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it broke, or is closed
            self._close(conn)
        else:
            conn.sock.setblocking(False)
            self._wait(conn, self._drain)

    def _drain(self, conn: Any, client: Any) -> None:
        with suppress(OSError):
            if client.recv(_LONGEST_HEAD):
                return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def _wait(self, conn: Any, awake: Callable[[Any, Any], None]) -> None:
        conn.timeout = time.monotonic() + HEAD_WITHIN
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._awake, awake, conn))

    def _awake(self, awake: Callable[[Any, Any], None], conn: Any, client: Any) -> None:
        if client.fileno() >= 0:  # or ``accept`` has just closed it
            awake(conn, client)


def _has_head(conn: Any) -> bool:
    """Whether a whole head has arrived, or nothing more will.

    Where not, *conn* is readable again with the next byte only.
    """
    # Bytes that were read together with the body of the request before.
    known = conn.parser.unreader.buf.getvalue() if conn.parser else b""
    try:
        more = _peek(conn.sock)
    except BlockingIOError:
        return _END in known
    except OSError:
        return True  # it broke: a thread tidies up
    # Awake without another byte, it has come to its end.
    if not more or _END in known + more or len(more) == getattr(conn, "wakes_beyond", 0):
        return True
    if len(more) == _LONGEST_HEAD:
        with suppress(OSError):  # it broke
            conn.sock.shutdown(socket.SHUT_RD)  # no thread waits for the rest
        return True
    _wake_beyond(conn, len(more))
    return False


def _peek(sock: socket.socket) -> bytes:
    """Return what has arrived, and leave it there.

    :raises BlockingIOError: if nothing has.
    """
    # Most heads are short, and room for long ones takes time to make.
    more = sock.recv(_USUAL_HEAD, socket.MSG_PEEK)
    if len(more) < _USUAL_HEAD or _END in more:
        return more
    return sock.recv(_LONGEST_HEAD, socket.MSG_PEEK)


def _wake_beyond(conn: Any, count: int) -> None:
    """Let *conn* be readable once it holds more than so many bytes."""
    if count != getattr(conn, "wakes_beyond", 0):
        conn.wakes_beyond = count
        with suppress(OSError):  # it broke
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
