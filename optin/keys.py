"""Keys: a ring that encrypts and makes codes, and one key that makes digests.

``OPTIN_KEYS`` is the ring. Its first key is current; the others still decrypt and
verify, so a key is rotated by putting a new one in front. Every ciphertext and
every pending code carries the id of its key; ``key_rotation`` encrypts anew, after which
the old one can go.

``OPTIN_DIGEST_KEY`` makes the digests by which rows are found and audit events
are proved. It does not change: a new key would find nothing.
``OPTIN_OLD_DIGEST_KEYS`` are keys that an earlier release changed; they only check what
they proved.

No key is used for two things: each use has a label, and works with
HMAC-SHA256(key, label).
"""

import base64
import hashlib
import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from optin.conf import conf

_NONCE_BYTES = 12  # NIST SP 800-38D 8.2.1: 96 bits


class UndecryptableError(Exception):
    """A stored value does not open: wrong ring, or a row that was tampered with."""


class UnknownDigestKeyError(Exception):
    """No digest key with this id is here."""


def derive(secret: str, label: str) -> bytes:
    """Return the 32-byte key that stands under *label* for any text *secret*."""
    return hmac.digest(secret.encode(), label.encode(), "sha256")


@lru_cache(maxsize=64)
def _subkey(key: bytes, label: str) -> bytes:
    return hmac.digest(key, label.encode(), "sha256")


def current_id() -> str:
    """Return the id of the key that new ciphertexts and codes use."""
    return next(iter(conf.keys))


def has(kid: str) -> bool:
    """Whether the ring holds a key with this id."""
    return kid in conf.keys


def code_key(kid: str) -> bytes:
    """Return the key for codes under *kid*.

    :raises UndecryptableError: if the ring no longer holds it.
    """
    return _ring_key(kid, "code")


def key_id(stored: str) -> str:
    """Return the id of the key with which the ciphertext *stored* was made."""
    return stored.partition(":")[0]


def is_current(stored: str) -> bool:
    """Whether the ciphertext *stored* was made with the current key."""
    return key_id(stored) == current_id()


def encrypt(text: str, *, context: str) -> str:
    """Return *text* as ``kid:base64``, openable only with the same *context*."""
    kid = current_id()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_ring_key(kid, "encrypt")).encrypt(nonce, text.encode(), context.encode())
    return f"{kid}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def decrypt(stored: str, *, context: str) -> str:
    """Return the text that was encrypted with the same *context*.

    :raises UndecryptableError: wrong ring, wrong context or damaged value.
    """
    kid, _, encoded = stored.partition(":")
    box = AESGCM(_ring_key(kid, "encrypt"))
    try:
        raw = base64.urlsafe_b64decode(encoded)
        return box.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode()).decode()
    except (InvalidTag, ValueError):
        raise UndecryptableError("a stored value does not open with its key") from None


def digest(label: str, text: str, *, key_id: str | None = None) -> str:
    """Return the keyed digest of *text* for look-ups under *label*, in hex.

    :param key_id: of a former digest key; None: the current one.
    :raises UnknownDigestKeyError: if there is none with this id.
    """
    key = digest_key(label, key_id=key_id)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def digest_key(label: str, *, key_id: str | None = None) -> bytes:
    """Return the key of ``digest``, for whoever makes many."""
    return _subkey(conf.digest_key if key_id is None else _digest_key(key_id), label)


def digest_key_id() -> str:
    """Return a short public name of the digest key, kept with audit events."""
    return _digest_key_id(conf.digest_key)


def digest_key_ids() -> list[str]:
    """Return the ids of the digest keys that are here, the current one first."""
    return [_digest_key_id(key) for key in (conf.digest_key, *conf.old_digest_keys)]


def has_digest_key(key_id: str) -> bool:
    """Whether the digest key with this id is here, as the current one or a former one."""
    try:
        _digest_key(key_id)
    except UnknownDigestKeyError:
        return False
    return True


def _digest_key_id(key: bytes) -> str:
    return _subkey(key, "key id").hex()[:8]


def _digest_key(key_id: str) -> bytes:
    for key in (conf.digest_key, *conf.old_digest_keys):
        if _digest_key_id(key) == key_id:
            return key
    raise UnknownDigestKeyError(key_id)


def sha256(text: str) -> str:
    """Return the plain digest of *text*, in hex: for random secrets only."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ring_key(kid: str, label: str) -> bytes:
    try:
        return _subkey(conf.keys[kid], label)
    except KeyError:
        raise UndecryptableError(f"key {kid!r} is not in OPTIN_KEYS") from None
