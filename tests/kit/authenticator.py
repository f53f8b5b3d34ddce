"""A browser with an authenticator: it answers the options of WebAuthn as a person's would.

What it answers has the shapes of ``PublicKeyCredential.toJSON()``. Like a browser, it trusts
nothing that it is told later: the origin is its own. Unlike one, it signs for any RP ID, as the
program of an attacker would.
"""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# WebAuthn level 3, 6.1: the bits of the flags.
PRESENT, VERIFIED, CAN_BE_BACKED_UP, BACKED_UP, NEW_KEY = 0x01, 0x04, 0x08, 0x10, 0x40

ES256 = -7


class NoKey(LookupError):
    """The authenticator has no key to answer with: the browser says NotAllowedError."""


class HasKey(ValueError):
    """The authenticator has a key of this account: the browser says InvalidStateError."""


@dataclass
class Key:
    """A discoverable credential."""

    rp_id: str
    user_handle: bytes
    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    sign_count: int = 0


@dataclass
class Authenticator:
    origin: str = "https://2fa.example.com"
    verifies: bool = True
    """Whether it asks for a PIN, a finger or a face."""
    counts: bool = True
    """Whether it counts signatures; keys that are copied between devices do not."""
    can_be_backed_up: bool = False
    is_backed_up: bool = False
    is_framed: bool = False
    """Whether the page stands in a frame of another website."""
    keys: list[Key] = field(default_factory=list)

    def clone(self) -> "Authenticator":
        """Another with the same keys: each counts on by itself."""
        return replace(self, keys=[replace(key) for key in self.keys])

    def create(self, options: str | dict[str, Any]) -> str:
        """Answer *options* to create a key; return the answer as JSON.

        Raises HasKey where *options* exclude one that is here.
        """
        options = _parsed(options)
        if any(self._is_among(key, options.get("excludeCredentials", [])) for key in self.keys):
            raise HasKey
        assert ES256 in [one["alg"] for one in options["pubKeyCredParams"]]
        # As authenticators do, it keeps one key of each account: the newest.
        account = (options["rp"]["id"], from_base64url(options["user"]["id"]))
        self.keys = [key for key in self.keys if (key.rp_id, key.user_handle) != account]
        self.keys.append(key := Key(*account))
        public = key.private.public_key()
        cose = _cose(public)
        named = bytes(16) + len(key.id).to_bytes(2, "big") + key.id + cose  # no model is told
        data = self._data(key, NEW_KEY) + named
        attestation = {"fmt": "none", "attStmt": {}, "authData": data}
        return self._answer(
            key,
            clientDataJSON=self._client_data("webauthn.create", options),
            attestationObject=cbor2.dumps(attestation),
            authenticatorData=data,
            publicKey=public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            publicKeyAlgorithm=ES256,
            transports=["internal", "hybrid"],
        )

    def get(self, options: str | dict[str, Any]) -> str:
        """Sign the challenge of *options* with the newest key that fits; return the answer as JSON.

        Raises NoKey where none fits.
        """
        options = _parsed(options)
        allowed = options.get("allowCredentials", [])
        fitting = [key for key in self.keys if key.rp_id == options["rpId"]]
        if allowed:
            fitting = [key for key in fitting if self._is_among(key, allowed)]
        if not fitting:
            raise NoKey
        key = fitting[-1]
        if self.counts:
            key.sign_count += 1
        data = self._data(key)
        client_data = self._client_data("webauthn.get", options)
        signed = data + hashlib.sha256(client_data).digest()
        return self._answer(
            key,
            clientDataJSON=client_data,
            authenticatorData=data,
            signature=key.private.sign(signed, ec.ECDSA(hashes.SHA256())),
            userHandle=key.user_handle,
        )

    @staticmethod
    def _is_among(key: Key, descriptors: list[dict[str, Any]]) -> bool:
        return to_base64url(key.id) in [one["id"] for one in descriptors]

    def _data(self, key: Key, flags: int = 0) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        flags |= CAN_BE_BACKED_UP if self.can_be_backed_up else 0
        flags |= BACKED_UP if self.is_backed_up else 0
        count = key.sign_count.to_bytes(4, "big")
        return hashlib.sha256(key.rp_id.encode()).digest() + bytes([flags]) + count

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        return json.dumps({**said, "crossOrigin": self.is_framed}).encode()

    def _answer(self, key: Key, **response: Any) -> str:
        return json.dumps(
            {
                "id": to_base64url(key.id),
                "rawId": to_base64url(key.id),
                "type": "public-key",
                "authenticatorAttachment": "platform",
                "clientExtensionResults": {},
                "response": {
                    name: to_base64url(value) if isinstance(value, bytes) else value
                    for name, value in response.items()
                },
            }
        )


def to_base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _parsed(options: str | dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(options) if isinstance(options, str) else options
    return parsed


def _cose(public: ec.EllipticCurvePublicKey) -> bytes:
    """RFC 9053, 7.1.1: an EC2 key on secp256r1, for ES256."""
    point = public.public_numbers()
    x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
    return cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: x, -3: y})
