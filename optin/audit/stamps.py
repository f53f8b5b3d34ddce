"""Time stamps of an authority (RFC 3161): asked for, and checked.

An optional extra (``requirements-notary.txt``): the only module that needs the package
rfc3161-client. ``against.stamps`` imports it where a time stamp is in use.
"""

from datetime import UTC, datetime

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from optin.conf import conf

TYPE = "application/timestamp-query"
"""The media type of a request (RFC 3161, 3.4)."""


class NotProved(Exception):
    """A time stamp proves nothing, for this reason."""


def request(text: str) -> tuple[bytes, int]:
    """Return a request for a time stamp of *text*, and its nonce.

    It asks for the authority's own certificate, so that the stamp can be checked in later years.
    """
    asked = (
        TimestampRequestBuilder()
        .data(text.encode())
        .hash_algorithm(HashAlgorithm.SHA256)
        .cert_request(cert_request=True)
        .nonce(nonce=True)
        .build()
    )
    assert asked.nonce is not None
    return asked.as_bytes(), asked.nonce


def read(answer: bytes, *, text: str, nonce: int | None = None) -> datetime:
    """Check by the certificates of ``OPTIN_NOTARY_CA`` that *answer* stamps *text*; return when.

    The certificates must have been valid at the time of the stamp, not now.

    :param nonce: of the request; None: any.
    :raises NotProved: if the stamp is not what it should be.
    """
    try:
        stamp = decode_timestamp_response(answer)
    except ValueError:
        raise NotProved("it is no time stamp") from None
    if stamp.status not in {0, 1}:
        raise NotProved(f"the authority refused, with status {stamp.status}")
    try:
        verifier = VerifierBuilder(roots=_trusted(), nonce=nonce).build()
        verifier.verify_message(stamp, text.encode())
    except (VerificationError, ValueError) as exc:
        raise NotProved(_reason(exc)) from None
    at = stamp.tst_info.gen_time
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _trusted() -> list[x509.Certificate]:
    try:
        with open(conf.notary_ca, "rb") as file:
            return x509.load_pem_x509_certificates(file.read())
    except OSError:
        raise NotProved("OPTIN_NOTARY_CA cannot be read") from None


_REASONS = {
    "Nonce": "it answers another request",
    "Mismatch between messages": "it is about another text",
    "Error while verifying certificates": "no certificate of OPTIN_NOTARY_CA proves it",
}


def _reason(exc: Exception) -> str:
    told = str(exc)
    return next((words for start, words in _REASONS.items() if told.startswith(start)), told)
