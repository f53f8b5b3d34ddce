"""Passkeys and security keys (WebAuthn level 3): what a browser is asked, and what it answers.

The package ``webauthn`` reads and verifies the answers. A challenge is not stored. The page gets it
with a signature over the challenge, its purpose, its time and the session, and sends both back with
the answer. No attestation is asked for, and one that comes is dropped: keys of any maker are
accepted.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from django.core.signing import BadSignature, Signer
from django.utils import timezone
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    encode_cbor,
    parse_authentication_credential_json,
    parse_cbor,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from optin.conf import CLOCK_SLACK, conf

LIFETIME = timedelta(minutes=5)
"""How long a challenge can be answered."""

_LIFETIME_MS = LIFETIME // timedelta(milliseconds=1)

MAX_RESPONSE = 16 * 1024
"""Characters of the browser's response. One with an attestation has about 6,000."""

MAX_CREDENTIAL_ID = 1364
"""Characters of a credential's id in base64url: 1,023 bytes (WebAuthn 7.1)."""

ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_512,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
"""The kinds of keys that are taken, the preferred one first."""


REGISTRATION, PASSWORDLESS = "add", "alone"
"""The purposes of a challenge in addition to ``models.Purpose``: a new passkey, and signing in with
a passkey alone. The audit trail keeps the second."""


class PasskeyFault(StrEnum):
    """Why a response was refused. The audit trail keeps the values."""

    EXPIRED = "expired"
    OTHER_SESSION = "other_session"  # or for another purpose
    USED = "used"  # this challenge, or a later one
    WRONG_ORIGIN = "wrong_origin"
    UNKNOWN = "unknown"  # somebody else's passkey, or one that was removed
    NOT_VERIFIED = "not_verified"  # it did not verify the person, although it had to
    CLONED = "cloned"  # its signature counter did not grow
    INVALID = "invalid"


class PasskeyRefused(Exception):
    """The response of an authenticator was refused."""

    def __init__(self, fault: PasskeyFault) -> None:
        super().__init__(fault)
        self.fault = fault


class CredentialRecord(Protocol):
    """What is stored of a passkey (``models.Passkey``)."""

    credential_id: str
    public_key: str
    sign_count: int
    can_be_backed_up: bool
    transports: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a page asks a browser."""

    options: str  # JSON, as ``parseCreationOptionsFromJSON`` and its like read it
    challenge: str  # signed: it comes back with the answer


@dataclass(frozen=True, slots=True)
class PasskeyResponse:
    """What a form sends back. Nothing of it is checked yet."""

    credential: str  # ``PublicKeyCredential`` of the browser, as JSON
    challenge: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A passkey that a browser made. The names are those of ``models.Passkey``."""

    rp_id: str
    credential_id: str  # base64url
    public_key: str  # COSE, base64url
    sign_count: int
    can_be_backed_up: bool
    is_backed_up: bool
    transports: str  # with spaces between them
    asked_at: datetime


def are_offered() -> bool:
    """Whether browsers can use passkeys here. They allow none for an IP address."""
    with suppress(ValueError):
        ipaddress.ip_address(rp_id())
        return False
    return bool(rp_id())


def registration_options(
    name: str, handle: str, has: Iterable[CredentialRecord], *, session: str
) -> Options:
    """Return what asks a browser for a new passkey.

    :param handle: the user handle that the passkey stores. It must not identify the person.
    :param has: the passkeys of the user: where one of them is, the browser makes no second one.
    """
    challenge, signed = _new_challenge(REGISTRATION, session)
    options = generate_registration_options(
        rp_id=rp_id(),
        rp_name=conf.service_name,
        user_id=handle.encode(),
        user_name=name,
        challenge=challenge,
        timeout=_LIFETIME_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(has),
        supported_pub_key_algs=ALGORITHMS,
    )
    return Options(options_to_json(options), signed)


def authentication_options(
    purpose: str, has: Iterable[CredentialRecord], *, session: str
) -> Options:
    """Return what asks a browser to use one of the passkeys that somebody *has*.

    If they are not known yet (``PASSWORDLESS``), the browser may use any.
    """
    challenge, signed = _new_challenge(purpose, session)
    needs = UserVerificationRequirement
    options = generate_authentication_options(
        rp_id=rp_id(),
        challenge=challenge,
        timeout=_LIFETIME_MS,
        allow_credentials=_descriptors(has),
        user_verification=needs.REQUIRED if purpose == PASSWORDLESS else needs.PREFERRED,
    )
    return Options(options_to_json(options), signed)


def read_registration(response: PasskeyResponse, *, session: str, now: datetime) -> Registration:
    """Return the new passkey in *response*.

    :raises PasskeyRefused: if it is not what the page of *session* asked for.
    """
    challenge, asked_at = _open(response, REGISTRATION, session, now)
    with _reading(response):
        credential = parse_registration_credential_json(response.credential)
        said = credential.response
        _check_client_data(said.client_data_json, challenge)
        said.attestation_object = _without_attestation(said.attestation_object)
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id(),
            expected_origin=_origin(),
            supported_pub_key_algs=ALGORITHMS,
        )
    credential_id = bytes_to_base64url(verified.credential_id)
    if len(credential_id) > MAX_CREDENTIAL_ID or verified.credential_id != credential.raw_id:
        raise PasskeyRefused(PasskeyFault.INVALID)
    return Registration(
        rp_id(),
        credential_id,
        bytes_to_base64url(verified.credential_public_key),
        verified.sign_count,
        verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        verified.credential_backed_up,
        " ".join(one.value for one in dict.fromkeys(said.transports or [])),
        asked_at,
    )


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion: it says which passkey was used. Nothing of it is verified yet."""

    credential: AuthenticationCredential
    challenge: bytes
    asked_at: datetime
    must_verify: bool

    @property
    def credential_id(self) -> str:
        return bytes_to_base64url(self.credential.raw_id)

    @property
    def handle(self) -> bytes | None:
        """The user handle, if the passkey sent one: a security key need not store it."""
        return self.credential.response.user_handle

    def verify(self, passkey: CredentialRecord) -> VerifiedAuthentication:
        """Verify the assertion with the public key of *passkey*, which has ``credential_id``.

        :raises PasskeyRefused: if the assertion is not valid, did not verify the person although
            it had to, or may come from a copy of the passkey.
        """
        with _reading():
            verified = verify_authentication_response(
                credential=self.credential,
                expected_challenge=self.challenge,
                expected_rp_id=rp_id(),
                expected_origin=_origin(),
                credential_public_key=base64url_to_bytes(passkey.public_key),
                credential_current_sign_count=0,  # compared below, to name the fault
            )
        is_synced = verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE
        if is_synced is not passkey.can_be_backed_up:
            raise PasskeyRefused(PasskeyFault.INVALID)  # it never changes (WebAuthn 7.2)
        if self.must_verify and not verified.user_verified:
            raise PasskeyRefused(PasskeyFault.NOT_VERIFIED)
        before, count = passkey.sign_count, verified.new_sign_count
        if (before or count) and count <= before:
            raise PasskeyRefused(PasskeyFault.CLONED)
        return verified


def read_assertion(
    response: PasskeyResponse, purpose: str, *, session: str, now: datetime
) -> Assertion:
    """Return the assertion in *response*. The caller finds its passkey and calls ``verify``.

    :raises PasskeyRefused: if it is not what the page of *session* asked for.
    """
    challenge, asked_at = _open(response, purpose, session, now)
    with _reading(response):
        credential = parse_authentication_credential_json(response.credential)
        _check_client_data(credential.response.client_data_json, challenge)
    return Assertion(credential, challenge, asked_at, must_verify=purpose == PASSWORDLESS)


@contextmanager
def _reading(response: PasskeyResponse | None = None) -> Iterator[None]:
    """Refuse what the library cannot read or verify: its parsers raise errors of all kinds.

    :param response: refused unread if it is too long.
    """
    if response and len(response.credential) > MAX_RESPONSE:
        raise PasskeyRefused(PasskeyFault.INVALID)
    try:
        yield
    except PasskeyRefused:
        raise
    except Exception as fault:
        raise PasskeyRefused(PasskeyFault.INVALID) from fault


def _check_client_data(text: bytes, challenge: bytes) -> None:
    """Check origin and challenge. The library raises the same error for both.

    None of our pages is ever shown in a frame, so an answer from a frame has a wrong origin.
    """
    said = parse_client_data_json(text)
    if said.origin != _origin() or said.cross_origin:
        raise PasskeyRefused(PasskeyFault.WRONG_ORIGIN)
    if said.challenge != challenge:
        raise PasskeyRefused(PasskeyFault.OTHER_SESSION)


def _without_attestation(text: bytes) -> bytes:
    data = parse_cbor(text)["authData"]
    return encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})


def _new_challenge(purpose: str, session: str) -> tuple[bytes, str]:
    challenge = secrets.token_bytes(32)
    text = f"{bytes_to_base64url(challenge)} {timezone.now().isoformat()}"
    return challenge, _signer(purpose, session).sign(text)


def _open(
    response: PasskeyResponse, purpose: str, session: str, now: datetime
) -> tuple[bytes, datetime]:
    """Return the challenge and its time, if this session got it for *purpose* lately."""
    try:
        challenge, at = _signer(purpose, session).unsign(response.challenge).split()
    except BadSignature:
        raise PasskeyRefused(PasskeyFault.OTHER_SESSION) from None
    asked_at = datetime.fromisoformat(at)
    if not asked_at - CLOCK_SLACK <= now < asked_at + LIFETIME:
        raise PasskeyRefused(PasskeyFault.EXPIRED)
    return base64url_to_bytes(challenge), asked_at


def _signer(purpose: str, session: str) -> Signer:
    return Signer(salt=f"optin.passkey {purpose} {session}")


def _descriptors(passkeys: Iterable[CredentialRecord]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=base64url_to_bytes(one.credential_id),
            transports=[AuthenticatorTransport(way) for way in one.transports.split()],
        )
        for one in passkeys
    ]


def rp_id() -> str:
    """Return the host that passkeys are bound to: on another host, browsers do not find them."""
    return urlsplit(conf.base_url).hostname or ""


def _origin() -> str:
    """As browsers write it: in lower case, and without the usual port."""
    address = urlsplit(conf.base_url)
    port = "" if address.port in {None, 443 if address.scheme == "https" else 80} else address.port
    return f"{address.scheme}://{address.hostname}{f':{port}' if port else ''}"
