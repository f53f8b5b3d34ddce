"""What stands around the installation: a gateway, a mail server, an authority for certificates."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Vouches for the servers of an installation: ``path`` is what believes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        built = _builder(self._name, self._name, self._key, days=365)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path = folder / "authority.pem"
        made = built.sign(self._key, hashes.SHA256())
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str, *, days: int = 365, host: str = "localhost") -> Path:
        """Make a certificate for *host* and 127.0.0.1 that ends in *days*, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = [x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]
        built = _builder(who, self._name, key, days=days)
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
    )


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


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
            self.send_header("Content-Length", "0")
            self.end_headers()

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
    password = "mail-password"
    lets_in = True
    is_deaf = False

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
            if self.server.is_deaf:
                self.rfile.read()
            self.wfile.write(b"220 mail\r\n")
            while line := self.rfile.readline():
                self.answer(line.decode().upper().split())

    def answer(self, words: list[str]) -> None:
        match words:
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
