"""The mail server, which may take so long for one mail and no longer.

A time-out of smtplib is that of one operation on the socket: a server that sends a byte each
few seconds is waited for without end. Here a timer ends the connection, whatever is waited for.
"""

import smtplib
import socket
from contextlib import suppress
from threading import Timer
from typing import Any

from django.core.mail.backends import smtp

PATIENCE = 20.0
"""Seconds from the connection to its end: with TLS and a login some 15 replies. Much less than
``MAIL_LEASE``."""


class _Timed(smtplib.SMTP):
    """A connection that is cut off ``PATIENCE`` seconds after it was made.

    The name is smtplib's own, in which ``SMTP_SSL`` wraps what it gets.
    """

    _end: Timer | None = None
    _handle: socket.socket

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        line: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        # A handle of its own: TLS takes the other one over.
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
    """End the connection. Whoever waits for it reads its end."""
    with line, suppress(OSError):  # it may have ended
        line.shutdown(socket.SHUT_RDWR)


class EmailBackend(smtp.EmailBackend):
    """Django's, with connections that end."""

    @property
    def connection_class(self) -> Any:
        return _TimedSSL if self.use_ssl else _Timed
