"""One-time codes: of text messages, authenticator apps and recovery lists.

A texted code is derived rather than stored. A pending code keeps a random nonce. Its
digits are HOTP (RFC 4226) under ``HMAC-SHA256(key, fields)``, where the fields bind the
code to the number, the purpose, the file and its own row. Sender and verifier both
compute it, so a copy of the database, a queue or a log has no code in it, and a nonce
copied to another row gives another code.

An app's code is TOTP (RFC 6238) with the values that every app knows. A recovery code
is random, and only its digest is kept.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

import pyotp

from optin import keys
from optin.errors import MalformedCode

NONCE_BYTES = 20
"""160 random bits, the secret length that RFC 4226 section 4 R6 recommends."""

LENGTHS = (6, 7)
"""Digits a texted code may have. NIST asks for 6; at 8 HOTP's truncation to 31
bits makes some codes 5 % likelier than others."""

APP_DIGITS = 6
"""Digits of an authenticator app's code: the one length that every app shows."""

APP_STEP = 30
"""Seconds in one time step of an app (RFC 6238, 5.2)."""

APP_PAIR = 10
"""Time steps within which the second of two codes in a row counts: five minutes, of slow people."""

RECOVERY_CODES = 10
"""Codes on one list."""

RECOVERY_LENGTH = 16
"""Characters of a recovery code, 5 bits each: 80 in all. From 64 on no count of failures
is needed to protect one (NIST SP 800-63B-4 3.1.2.2)."""

MAX_LENGTH = 64
"""Longest text that is looked at, in characters (S-20)."""

_LABEL = b"optin code v1"

SEPARATORS = re.compile(r"[\s\-\u2010-\u2015]")
"""Any Unicode white space, the hyphen and the dashes that people and keyboards put in."""

# Not str.isdigit or \d: both accept the digits of other scripts.
_DIGITS = re.compile(r"[0-9]+")
# Crockford's base 32: no I, L, O, U, which people take for others.
_RECOVERY = re.compile(rf"[0-9A-HJKMNP-TV-Z]{{{RECOVERY_LENGTH}}}")
_LOOK_ALIKES = str.maketrans("ILO", "110")
_FROM_BASE32 = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")


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
    return SEPARATORS.sub("", text)


def parse(text: str) -> str:
    """Return the digits of the code in *text*; ``LENGTHS`` says how many can be right.

    :raises MalformedCode: if anything but ASCII digits is left of it. Such a text
        can never be right, so it is no attempt and costs no try.
    """
    code = clean(text)
    if not _DIGITS.fullmatch(code) or len(code) not in LENGTHS:
        raise MalformedCode
    return code


def parse_any(text: str) -> str:
    """Return the texted, app's or recovery code in *text*, in its one spelling.

    :raises MalformedCode: if it has the shape of none of them.
    """
    code = clean(text)
    if len(code) == RECOVERY_LENGTH and code.isascii():
        recovery = code.upper().translate(_LOOK_ALIKES)
        if _RECOVERY.fullmatch(recovery):
            return recovery
    return parse(code)


def is_recovery(code: str) -> bool:
    """Whether the parsed *code* has the shape of a recovery code."""
    return len(code) == RECOVERY_LENGTH


def new_recovery_code() -> str:
    """Return 80 fresh random bits, as a person copies them: ``XXXX-XXXX-XXXX-XXXX``."""
    raw = base64.b32encode(secrets.token_bytes(RECOVERY_LENGTH * 5 // 8)).decode()
    text = raw.translate(_FROM_BASE32)
    return "-".join(text[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4))


def new_app_secret() -> str:
    """Return a fresh secret for an authenticator app: 160 bits in base 32."""
    return pyotp.random_base32()


def app_uri(secret: str, *, name: str, issuer: str) -> str:
    """Return the ``otpauth://`` address of *secret*, which an app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def app_step(code: str, secret: str, *, now: datetime, after: int) -> int | None:
    """Return the time step after *after* whose code is *code*, if there is one near *now*.

    Near is one step to either side: clocks differ, and people are slow (RFC 6238, 5.2).
    Compared in constant time. A step that was used counts no more: keep the one returned.
    """
    hotp = pyotp.HOTP(secret, digits=APP_DIGITS)
    current = app_step_at(now)
    found = None
    for step in (current - 1, current, current + 1):
        right = hmac.compare_digest(code.encode(), hotp.at(step).encode())
        if right and step > after:
            found = step
    return found


def app_step_at(moment: datetime) -> int:
    """Return the time step of *moment* (RFC 6238, 4.2)."""
    return int(moment.timestamp()) // APP_STEP


def derive(binding: Binding, *, kid: str, digits: int) -> str:
    """Return the code of *binding* under key *kid*, leading zeros kept.

    :raises keys.UndecryptableError: if the ring no longer holds *kid*.
    """
    return _Hotp(hmac.digest(keys.code_key(kid), _message(binding), "sha256"), digits).at(0)


class _Hotp(pyotp.HOTP):
    """HOTP with a secret in bytes: pyotp reads base 32, twice for each code."""

    def __init__(self, secret: bytes, digits: int) -> None:
        self._secret = secret
        super().__init__("", digits=digits)

    def byte_secret(self) -> bytes:
        return self._secret


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
