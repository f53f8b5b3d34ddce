"""An authority for certificates, which only tests and measurements believe."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_CERTIFIES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Vouches for the servers of an installation: ``path`` is what believes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        built = _builder(self._name, self._name, self._key, days=365)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        built = built.add_extension(_CERTIFIES, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        built = built.add_extension(own, critical=False)
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
        # Python 3.13 wants it to be named.
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        built = built.add_extension(above, critical=False)
        return _written(self._folder / f"{name}.pem", key, built.sign(self._key, hashes.SHA256()))


def _written(path: Path, key: ec.EllipticCurvePrivateKey, made: x509.Certificate) -> Path:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
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
