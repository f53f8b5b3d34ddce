"""Sinks for the lines of the audit stream: the standard output, or a file.

A sink writes a whole batch of lines, or raises ``OSError``. In this case, it may have written some
of the lines, so the caller writes the whole batch again.

- ``stdout``: one write for each line. A pipe takes up to 4096 bytes at once, so the lines of a log
  in the same pipe come between them, and not within.
- ``file:PATH``: the file is opened for each batch, so rotation needs no signal. A line of which
  only a part was written is cut off before the next one.
"""

import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

_TAIL = 64 * 1024  # bytes in which the end of the last whole line is looked for


class Busy(Exception):
    """Another process of this machine writes to the file."""


class Sink(Protocol):
    def write(self, lines: Sequence[str]) -> str:
        """Write *lines*; return a mark of what is there now.

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
    kind, _, path = target.partition(":")
    if kind == "file":
        file = _locked(path)
        try:
            yield _File(file)
        finally:
            os.close(file)
    else:
        yield _Stdout()


# -- the standard output -----------------------------------------------------------


class _Stdout:
    is_torn = False  # of this process: the last line may not have its end

    def write(self, lines: Sequence[str]) -> str:
        file = sys.stdout.fileno()
        if _Stdout.is_torn:
            _write_all(file, b"\n")
        _Stdout.is_torn = True
        for line in lines:
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

    def write(self, lines: Sequence[str]) -> str:
        self._mend()
        _write_all(self._file, "".join(f"{line}\n" for line in lines).encode())
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
