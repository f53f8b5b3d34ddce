"""One-time codes, derived rather than stored.

A pending code keeps a random nonce. Its digits are HOTP (RFC 4226) under
``HMAC-SHA256(key, fields)``, where the fields bind the code to the number, the
purpose, the file and its own row. Sender and verifier both compute it, so a copy
of the database, a queue or a log has no code in it, and a nonce copied to another
row gives another code.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass

import pyotp

from optin import keys
from optin.errors import MalformedCode

NONCE_BYTES = 20
"""160 random bits, the secret length that RFC 4226 section 4 R6 recommends."""

LENGTHS = (6, 7)
"""Digits a texted code may have. NIST asks for 6; at 8 HOTP's truncation to 31
bits makes some codes 5 % likelier than others."""

MAX_LENGTH = 64
"""Longest text that is looked at, in characters (S-20)."""

_LABEL = b"optin code v1"

# Any Unicode white space, the hyphen and the dashes that people and keyboards put in.
_SEPARATORS = re.compile(r"[\s\-\u2010-\u2015]")
# Not str.isdigit or \d: both accept the digits of other scripts.
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Binding:
    """What a code is bound to. Any other value in any field gives another code."""

    nonce: str
    provider_user_id: int
    purpose: str
    file_id: int | None
    number_digest: str


def new_nonce() -> str:
    """Return ``NONCE_BYTES`` fresh random bytes, in hex."""
    return secrets.token_hex(NONCE_BYTES)


def clean(text: str) -> str:
    """Return *text* without the white space, hyphens and dashes people put in.

    :raises MalformedCode: if *text* is longer than ``MAX_LENGTH``.
    """
    if len(text) > MAX_LENGTH:
        raise MalformedCode
    return _SEPARATORS.sub("", text)


def parse(text: str) -> str:
    """Return the digits of the code in *text*; ``LENGTHS`` says how many can be right.

    :raises MalformedCode: if anything but ASCII digits is left of it. Such a text
        can never be right, so it is not a guess and costs no try.
    """
    code = clean(text)
    if not _DIGITS.fullmatch(code) or len(code) not in LENGTHS:
        raise MalformedCode
    return code


def derive(binding: Binding, *, kid: str, digits: int) -> str:
    """Return the code of *binding* under key *kid*, leading zeros kept.

    :raises keys.UndecryptableError: if the ring no longer holds *kid*.
    """
    secret = hmac.digest(keys.code_key(kid), _message(binding), "sha256")
    return pyotp.HOTP(base64.b32encode(secret).decode(), digits=digits).at(0)


def matches(code: str, binding: Binding, *, kid: str, digits: int) -> bool:
    """Whether *code* is the code of *binding*, compared in constant time."""
    return hmac.compare_digest(code.encode(), derive(binding, kid=kid, digits=digits).encode())


def _message(binding: Binding) -> bytes:
    """Return the fields, each with its length in front, so that none runs into the next."""
    fields = (
        _LABEL,
        bytes.fromhex(binding.nonce),
        str(binding.provider_user_id).encode(),
        binding.purpose.encode(),
        b"" if binding.file_id is None else str(binding.file_id).encode(),
        bytes.fromhex(binding.number_digest),
    )
    return b"".join(len(part).to_bytes(2, "big") + part for part in fields)
