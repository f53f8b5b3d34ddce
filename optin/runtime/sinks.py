"""Sinks for the lines of the audit stream: the standard output, a file, or a syslog collector.

A sink writes a whole batch of lines, or raises ``OSError``. In this case, it may have written some
of the lines, so the caller writes the whole batch again.

- ``stdout``: one write for each line. A pipe takes up to 4096 bytes at once, so the lines of a log
  in the same pipe come between them, and not within.
- ``file:PATH``: the file is opened for each batch, so rotation needs no signal. A line of which
  only a part was written is cut off before the next one.
- ``syslog://HOST:PORT``: RFC 5424 over TCP, each message with its length before it (octet
  counting, RFC 6587, 3.4.1). So a line may have any length. A batch is one connection: the sink
  closes its side, and waits until the collector has closed the other. This shows that the
  collector has read everything. UDP is not supported, because it loses lines without an error.
"""

import errno
import fcntl
import os
import socket
import stat
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

PATIENCE = 10.0
"""Seconds that a collector may take to accept a batch, and as many to read it. Both together must
be less than ``idle_in_transaction_session_timeout``."""

AUDIT_INFO = 13 * 8 + 6
"""Facility "log audit", severity "informational" (RFC 5424, 6.2.1)."""

_TAIL = 64 * 1024  # bytes in which the end of the last whole line is looked for


class Busy(Exception):
    """Another process of this machine writes to the file."""


class Sink(Protocol):
    def write(self, lines: Sequence[tuple[str, str]]) -> str:
        """Write *lines*, each with its message id (one word); return a mark of what is there now.

        :raises OSError: if not all of them may have arrived.
        """

    def was_cut(self, mark: str) -> bool:
        """Whether the lines up to *mark* were cut off, and the last ones perhaps not kept."""


@contextmanager
def opened(target: str) -> Iterator[Sink]:
    """Yield the sink that *target* names.

    :raises OSError: if it cannot be opened.
    :raises Busy: if another process of this machine writes to it.
    """
    parts = urlsplit(target)
    if parts.scheme == "syslog":
        yield _Syslog(parts.hostname or "", parts.port or 0)
    elif parts.scheme == "file":
        file = _locked(parts.path)
        try:
            yield _File(file)
        finally:
            os.close(file)
    else:
        yield _Stdout()


# -- the standard output -----------------------------------------------------------


class _Stdout:
    is_torn = False  # of this process: the last line may not have its end

    def write(self, lines: Sequence[tuple[str, str]]) -> str:
        file = sys.stdout.fileno()
        if _Stdout.is_torn:
            _write_all(file, b"\n")
        _Stdout.is_torn = True
        for line, _ in lines:
            _write_all(file, f"{line}\n".encode())
        _Stdout.is_torn = False
        return ""

    def was_cut(self, mark: str) -> bool:
        return False


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


# -- a file ------------------------------------------------------------------------


def _locked(path: str) -> int:
    """Open the file at *path*, create it if it is missing, and take its lock.

    The lock keeps out a writer that has lost its connection, and with it the lock of the database.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "it is no regular file")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, found):
                return file
        except BlockingIOError:
            os.close(file)
            raise Busy from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # it was rotated in the meantime


def _is_at(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except FileNotFoundError:
        return False


class _File:
    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, lines: Sequence[tuple[str, str]]) -> str:
        self._mend()
        _write_all(self._file, "".join(f"{line}\n" for line, _ in lines).encode())
        os.fsync(self._file)
        return f"{self._id()}:{os.fstat(self._file).st_size}"

    def was_cut(self, mark: str) -> bool:
        """``copytruncate`` copies the file and then cuts it: what is written in between is in
        neither of them."""
        known, _, size = mark.rpartition(":")
        return known == self._id() and os.fstat(self._file).st_size < int(size)

    def _id(self) -> str:
        found = os.fstat(self._file)
        return f"{found.st_dev}:{found.st_ino}"

    def _mend(self) -> None:
        """Cut off what is left of a line whose writer was killed, or found the disk full."""
        size = os.fstat(self._file).st_size
        start = max(0, size - _TAIL)
        tail = os.pread(self._file, size - start, start)
        if not tail or tail.endswith(b"\n"):
            return
        whole = tail.rfind(b"\n") + 1
        try:
            if not whole and start:
                raise OSError  # a line of this length is not ours: keep it
            os.ftruncate(self._file, start + whole)
        except OSError:  # also where the file may only be appended to (chattr +a)
            _write_all(self._file, b"\n")


# -- syslog ------------------------------------------------------------------------


class _Syslog:
    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    def write(self, lines: Sequence[tuple[str, str]]) -> str:
        frames = b"".join(_frame(line, message_id) for line, message_id in lines)
        ends = time.monotonic() + PATIENCE
        with socket.create_connection(self._address, timeout=PATIENCE) as line_out:
            _wait_until(ends, line_out)
            line_out.sendall(frames)
            line_out.shutdown(socket.SHUT_WR)
            ends = time.monotonic() + PATIENCE
            _wait_until(ends, line_out)
            while line_out.recv(4096):
                _wait_until(ends, line_out)
            if _unread(line_out):
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return ""

    def was_cut(self, mark: str) -> bool:
        return False


def _wait_until(ends: float, line_out: socket.socket) -> None:
    """Let the next call end then. The time-out of a socket is for each ``recv`` anew."""
    line_out.settimeout(max(ends - time.monotonic(), 0.01))


def _unread(line_out: socket.socket) -> bool:
    """Whether the collector closed its side too early: it was stopped, or died.

    Its kernel acknowledges nothing that arrives after that. If something had arrived that was not
    read, it resets the connection.
    """
    unacknowledged = fcntl.ioctl(line_out, termios.TIOCOUTQ, bytes(4))
    return any(unacknowledged) or bool(line_out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _frame(line: str, message_id: str) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    host = socket.gethostname() or "-"
    # JSON in ASCII needs no byte order mark (RFC 5424, 6.4).
    message = f"<{AUDIT_INFO}>1 {at} {host} optin {os.getpid()} {message_id} - {line}".encode()
    return b"%d %b" % (len(message), message)
