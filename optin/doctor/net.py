"""Reach another server: its name, its port, its certificate."""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from optin.doctor.findings import Finding, fault, warning

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
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            raise Unreachable(f"The name {self.host} does not resolve.") from None
        line = self._first([(str(to[0]), self.port) for *_, to in found], patience)
        if not self.tls:
            return line
        try:
            return self.tls.wrap_socket(line, server_hostname=self.host)
        except OSError as exc:
            line.close()
            raise Unreachable(f"{self}: {_why_no_tls(exc)}.") from None

    def _first(self, addresses: list[tuple[str, int]], patience: float) -> socket.socket:
        said: list[str] = []
        ends = time.monotonic() + patience
        for address in addresses:
            left = max(ends - time.monotonic(), 0.1)
            try:
                return socket.create_connection(address, timeout=left)
            except TimeoutError:
                said.append("it does not answer")
            except OSError as exc:
                said.append((exc.strerror or os.strerror(exc.errno or 0)).lower())
        raise Unreachable(f"No connection to {self}: {', '.join(dict.fromkeys(said))}.")


_NOT_VALID = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "nobody vouches for its certificate (its issuer is not known here)",
    20: "nobody vouches for its certificate (its issuer is not known here)",
    21: "nobody vouches for its certificate (it does not send the certificate of its issuer)",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
"""OpenSSL's numbers (X509_V_ERR_...)."""


def _why_no_tls(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _NOT_VALID.get(exc.verify_code, f"its certificate is refused ({exc.verify_code})")
    if isinstance(exc, TimeoutError):
        return "it takes the connection, but says nothing"
    return "it does not speak TLS as expected"


def ends_soon(line: socket.socket, what: str, *, do: str) -> Iterator[Finding]:
    """Warn if the certificate of *what* ends soon."""
    days = days_left(line)
    if days is not None and days < SOON:
        yield warning(
            f"The certificate of {what} ends in {days} days.",
            seen="The certificate that it sent.",
            do=do,
        )


def days_left(line: socket.socket) -> int | None:
    """Return for how many days the certificate is valid; None without TLS."""
    sent = line.getpeercert() if isinstance(line, ssl.SSLSocket) else None
    if not sent:
        return None
    return int((ssl.cert_time_to_seconds(str(sent["notAfter"])) - time.time()) // 86_400)


def unreachable(what: str, exc: Unreachable, *, do: str) -> Finding:
    """Return the fault that *what* cannot be reached."""
    return fault(f"{what} cannot be reached. {exc}", seen="A connection from this machine.", do=do)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    ours: str
    """The address from which this machine asked."""


def ask(
    place: Place,
    method: str,
    path: str,
    headers: Mapping[str, str] = {},
    body: bytes = b"",
) -> Answer:
    """Send one HTTP request, and read the answer (64 KB of it).

    :raises Unreachable: if there is none.
    """
    with closing(place.connect()) as line:
        ours = line.getsockname()[0]  # the answer may close it
        asked = http.client.HTTPConnection(place.host, place.port, timeout=PATIENCE)
        asked.sock = line
        # Its headers come first: who refuses the length answers, and hangs up on the body.
        with suppress(OSError):
            asked.request(method, path, body or None, dict(headers))
        try:
            said = asked.getresponse()
            return Answer(said.status, said.headers, said.read(65536), ours)
        except (OSError, http.client.HTTPException):
            raise Unreachable(f"{place} takes the connection, but does not answer.") from None
