"""Reach another server: its name, its port, its certificate."""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from optin.doctor.findings import Finding, warning

PATIENCE = 3.0
"""Seconds for one step."""

SOON = 14
"""Days before the end of a certificate from which on it is a warning."""


class Unreachable(Exception):
    """Raised if nobody answers. Its text is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """The address at which a server listens."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def connect(self, patience: float = PATIENCE) -> socket.socket:
        """Return a connection, with TLS if the place has it.

        :raises Unreachable: with the step that failed.
        """
        try:
            line = socket.create_connection((self.host, self.port), timeout=patience)
        except socket.gaierror:
            raise Unreachable(f"The name {self.host} does not resolve.") from None
        except TimeoutError:
            raise Unreachable(f"No connection to {self}: it does not answer.") from None
        except OSError as exc:
            why = os.strerror(exc.errno or 0).lower()
            raise Unreachable(f"No connection to {self}: {why}.") from None
        if not self.tls:
            return line
        try:
            return self.tls.wrap_socket(line, server_hostname=self.host)
        except OSError as exc:
            line.close()
            raise Unreachable(f"{self}: {_why_no_tls(exc)}.") from None


def _why_no_tls(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({exc.verify_message})"
    if isinstance(exc, TimeoutError):
        return "it takes the connection, but says nothing"
    return "it does not speak TLS as expected"


def ends_soon(line: socket.socket, what: str, *, do: str) -> Iterator[Finding]:
    """Warn if the certificate of *what* ends soon."""
    days = days_left(line)
    if days is not None and days < SOON:
        yield warning(f"The certificate of {what} ends in {days} days.", do=do)


def days_left(line: socket.socket) -> int | None:
    """Return for how many days the certificate is valid; None without TLS."""
    sent = line.getpeercert() if isinstance(line, ssl.SSLSocket) else None
    if not sent:
        return None
    return int((ssl.cert_time_to_seconds(str(sent["notAfter"])) - time.time()) // 86_400)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    ours: str
    """The address from which this machine asked."""


def ask(place: Place, path: str, headers: Mapping[str, str] = {}) -> Answer:
    """Get one page by HTTP, and read the answer (64 KB of it).

    :raises Unreachable: if there is none.
    """
    with closing(place.connect()) as line:
        ours = line.getsockname()[0]  # the answer may close it
        asked = http.client.HTTPConnection(place.host, place.port, timeout=PATIENCE)
        asked.sock = line
        try:
            asked.request("GET", path, headers=dict(headers))
            said = asked.getresponse()
            return Answer(said.status, said.headers, said.read(65536), ours)
        except (OSError, http.client.HTTPException):
            raise Unreachable(f"{place} takes the connection, but does not answer.") from None
