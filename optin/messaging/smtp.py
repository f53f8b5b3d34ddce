"""The mail server, with a time limit for each mail.

The time-out of smtplib covers one operation on the socket: if a server sends a byte every few
seconds, smtplib waits without end. Here a timer ends the connection.
"""

import smtplib
import socket
from contextlib import suppress
from threading import Timer
from typing import Any

from django.core.mail.backends import smtp

PATIENCE = 20.0
"""Seconds that a connection may last. With TLS and a login the server sends some 15 replies. Much
less than ``MAIL_LEASE``."""


class _Timed(smtplib.SMTP):
    """A connection that is cut off ``PATIENCE`` seconds after it was made.

    It overrides a private method of smtplib; ``SMTP_SSL`` wraps what that returns.
    """

    _end: Timer | None = None
    _handle: socket.socket

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        line: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        # A second handle: TLS takes over the first one.
        self._handle = line.dup()
        self._end = Timer(PATIENCE, _cut, [self._handle])
        self._end.daemon = True
        self._end.start()
        return line

    def close(self) -> None:
        super().close()
        if self._end:
            self._end.cancel()
            self._handle.close()


class _TimedSSL(smtplib.SMTP_SSL, _Timed):
    pass


def _cut(line: socket.socket) -> None:
    """End the connection: a thread that waits to read from it sees its end."""
    with line, suppress(OSError):  # it may have ended
        line.shutdown(socket.SHUT_RDWR)


class EmailBackend(smtp.EmailBackend):
    """Django's backend, with connections that have a time limit."""

    @property
    def connection_class(self) -> Any:
        return _TimedSSL if self.use_ssl else _Timed
