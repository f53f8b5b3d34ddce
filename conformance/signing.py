"""What docs/events.md says of an event on its way: its types, its headers, its signature."""

import base64
import hashlib
import hmac

TYPES = frozenset(
    {
        *("number.activated", "number.changed", "number.removed"),
        *("factor.locked", "factor.disabled", "factor.unlocked"),
        *("revocation.planned", "revocation.cancelled", "revocation.done"),
        *("text.refused", "text.failed", "consent.given", "endpoint.test"),
    }
)
TOLERANCE = 300
"""Seconds by which ``webhook-timestamp`` may differ from the time."""

PATIENCE = 5
"""Seconds in which a receiver must answer."""


def key(secret: str) -> bytes:
    """Return the key in a secret such as ``whsec_...``.

    :raises ValueError: if there is none.
    """
    try:
        found = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        found = b""
    if not found:
        raise ValueError("a secret is whsec_ and base64, as the service shows it")
    return found


def signature(secret: str, message_id: str, at: str, body: bytes) -> str:
    """Return the signature of *body*; *message_id* and *at* are as the headers have them."""
    signed = f"{message_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key(secret), signed, hashlib.sha256)).decode()
