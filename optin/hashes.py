"""Hashes of passwords that were made by other systems.

``read`` takes the formats that systems have. A slow hash is stored in a form below, and a fast one
only inside a slow one, so that the database holds no weak hash. The first sign-in with
the right password replaces either by a hash of the service's own
(``operations.passwords``).

Stored texts, of at most 128 characters:

    imported$2b$12$...                        bcrypt (crypt's own format)
    imported$sha256$2b$12$...                 the same, of the SHA-256 of the password in hex
    imported$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH
    imported$scrypt$14,8,1,32$SALT$HASH         the power of N, r, p, bytes of HASH
    imported$pbkdf2-sha512$100000,32$SALT$HASH  iterations, bytes of HASH
    wrapped$ITERATIONS$SALT$HASH$sha1$after$SALT
    wrapped$ITERATIONS$SALT$HASH$pbkdf2-sha1$1000,32$SALT
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

import argon2
import bcrypt
from django.contrib.auth.hashers import BasePasswordHasher, PBKDF2PasswordHasher

MAX_STORED = 128
"""Characters of the column ``User.password``."""

FEWEST_ITERATIONS = 10_000
"""PBKDF2 with fewer counts as fast (NIST SP 800-63B 5.1.1.2: "at least 10,000 iterations")."""

# Each bound is what takes about a second on one core of a server of 2025, or 256 MiB.
MOST_ITERATIONS: Final = {"sha1": 5_000_000, "sha256": 5_000_000, "sha512": 1_500_000}
MOST_ROUNDS = 13
"""Of bcrypt, as the power of two."""
MOST_MEMORY = 256 * 2**20
"""Bytes of memory of scrypt and argon2id."""
MOST_PASSES = 3
"""Of argon2id, with the most memory; with less memory, more."""
MOST_LANES = 16
"""Threads of argon2id."""
MOST_BLOCKS = 2**21
"""``N * r * p`` of scrypt."""

SHORTEST, KEPT = 16, 32
"""The fewest bytes of a hash that are taken, and the most that are kept. With fewer, a second
password could be right. PBKDF2 and scrypt begin alike, however many bytes one asks for."""

LONGEST = 512
"""Characters of a hash that can be read."""

BCRYPT_BYTES = 72
"""Bytes of a password that bcrypt looks at. Its library refuses longer ones."""


_NO_FORMAT = "is in no format that can be imported. Is it plain text, or cut off?"


class UnfitHash(ValueError):
    """This is no hash that can be imported; the message says why, without a part of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What computes a hash from a password: a function, its parameters, and a salt."""

    name: str
    parameters: str
    salt: bytes

    def __str__(self) -> str:
        return f"{self.name}${self.parameters}${_text(self.salt)}"

    @classmethod
    def of(cls, text: str) -> Self:
        name, parameters, salt = text.split("$")
        return cls(name, parameters, _bytes(salt))

    def compute(self, password: str) -> bytes:
        given = password.encode()
        if self.name == "scrypt":
            power, r, p, size = self._numbers()
            return hashlib.scrypt(
                given, salt=self.salt, n=2**power, r=r, p=p, maxmem=2 * MOST_MEMORY, dklen=size
            )
        if self.name.startswith("pbkdf2-"):
            iterations, size = self._numbers()
            digest = self.name.removeprefix("pbkdf2-")
            return hashlib.pbkdf2_hmac(digest, given, self.salt, iterations, size)
        salted = self.salt + given if self.parameters == "before" else given + self.salt
        return hashlib.new(self.name, salted, usedforsecurity=False).digest()

    def _numbers(self) -> list[int]:
        return [int(each) for each in self.parameters.split(",")]


@dataclass(frozen=True, slots=True)
class Fast:
    """A hash that is stored only inside a slow one."""

    known: Known
    digest: bytes

    def wrapped(self, like: str = "") -> str:
        """Return the text to store. It takes as long as a hash of the service's own.

        :param like: a stored text: if it holds the same hash, it is returned.
        """
        salt, iterations = secrets.token_urlsafe(12), PBKDF2PasswordHasher.iterations
        if like.startswith("wrapped$") and like.endswith(f"${self.known}"):
            _, count, salt, *_ = like.split("$")
            iterations = int(count)
        outer = _wrap(self.digest, salt, iterations)
        return f"wrapped${iterations}${salt}${_text(outer)}${self.known}"


def read(text: str) -> str | Fast:
    """Return the text to store for the hash *text* of another system, or what is to be wrapped.

    :raises UnfitHash: if it is in no format that is known, or too costly to check.
    """
    for form, take in _FORMS if len(text) <= LONGEST else ():
        if found := re.fullmatch(form, text, re.ASCII):
            try:
                taken = take(*found.groups())
            except binascii.Error:
                break
            if _length(taken) > MAX_STORED:
                raise UnfitHash("has a salt or a hash that is too long to be stored")
            return taken
    raise UnfitHash(_NO_FORMAT)


def is_imported(stored: str) -> bool:
    """Whether *stored* is a hash that came from another system."""
    return stored.startswith(("imported$", "wrapped$"))


def _length(taken: str | Fast) -> int:
    """Return how many characters are stored."""
    if isinstance(taken, str):
        return len(taken)
    return len(f"wrapped${PBKDF2PasswordHasher.iterations}${'-' * 16}${'-' * 43}${taken.known}")


# -- the formats -------------------------------------------------------------------


def _bcrypt(text: str, rounds: str) -> str:
    if not 4 <= int(rounds) <= MOST_ROUNDS:
        raise UnfitHash(f"costs too much: only 4 to {MOST_ROUNDS} rounds of bcrypt are taken")
    return f"imported{text}"


def _bcrypt_sha256(text: str, rounds: str) -> str:
    return _bcrypt(f"$sha256{text}", rounds)


def _argon2id(memory: str, passes: str, lanes: str, salt: str, digest: str) -> str:
    size, times, threads = int(memory) * 1024, int(passes), int(lanes)
    if size > MOST_MEMORY or size * times > MOST_MEMORY * MOST_PASSES or threads > MOST_LANES:
        raise UnfitHash("costs too much: too much memory, or too many passes of argon2id")
    if not (times and 8 <= 8 * threads <= int(memory)) or len(_bytes(salt)) < 8:
        raise UnfitHash("has parameters that argon2id does not take")
    if len(_bytes(digest)) < SHORTEST:
        raise UnfitHash("is too short to tell passwords apart")
    # Its library takes no other spelling.
    costs = f"m={int(memory)},t={times},p={threads}"
    return f"imported$argon2id$v=19${costs}${_text(_bytes(salt))}${_text(_bytes(digest))}"


def _scrypt(power: str, r: str, p: str, salt: bytes, digest: bytes) -> str:
    n, each = 2 ** int(power), 128 * int(r)
    if not (n > 1 and each and int(p) and int(power) < 16 * int(r)):
        raise UnfitHash("has parameters that scrypt does not take")
    if n * each > MOST_MEMORY or n * int(r) * int(p) > MOST_BLOCKS:
        raise UnfitHash("costs too much: too much memory, or too many blocks of scrypt")
    if len(digest) < SHORTEST:
        raise UnfitHash("is too short to tell passwords apart")
    kept = digest[:KEPT]
    known = Known("scrypt", f"{int(power)},{int(r)},{int(p)},{len(kept)}", salt)
    return f"imported${known}${_text(kept)}"


def _pbkdf2(name: str, iterations: str, salt: bytes, digest: bytes) -> str | Fast:
    count = int(iterations)
    if count > MOST_ITERATIONS[name]:
        raise UnfitHash("costs too much: too many iterations of PBKDF2")
    if count < 1 or len(digest) < SHORTEST:
        raise UnfitHash("is too short to tell passwords apart")
    # A block of SHA-1 has 20 bytes, and each block takes all iterations.
    kept = digest[: 20 if name == "sha1" else KEPT]
    known = Known(f"pbkdf2-{name}", f"{count},{len(kept)}", salt)
    if count < FEWEST_ITERATIONS:
        return Fast(known, kept)
    return f"imported${known}${_text(kept)}"


def _identity(encoded: str) -> str | Fast:
    """ASP.NET Core Identity: version 2 begins with 0, version 3 with 1 and its parameters."""
    raw = base64.b64decode(encoded, validate=True)
    if raw[0] == 0 and len(raw) == 49:
        return _pbkdf2("sha1", "1000", raw[1:17], raw[17:])
    function, iterations, size = (int.from_bytes(raw[at : at + 4], "big") for at in (1, 5, 9))
    if raw[0] != 1 or function > 2:
        raise UnfitHash(_NO_FORMAT)
    name = ("sha1", "sha256", "sha512")[function]
    return _pbkdf2(name, str(iterations), raw[13 : 13 + size], raw[13 + size :])


def _ldap(name: str, encoded: str) -> Fast:
    """RFC 2307 and what came after it: the hash and then the salt, in base64."""
    digest = {"": "sha1", "MD5": "md5"}.get(name, f"sha{name}")
    raw, size = _bytes(encoded), hashlib.new(digest, usedforsecurity=False).digest_size
    return _salted(digest, raw[size:], raw[:size], "after")


def _salted(name: str, salt: bytes, digest: bytes, place: str) -> Fast:
    if len(digest) != hashlib.new(name, usedforsecurity=False).digest_size:
        raise UnfitHash("is shorter or longer than a hash of its kind")
    return Fast(Known(name, place, salt), digest)


def _django_scrypt(n: str, salt: str, r: str, p: str, digest: str) -> str:
    power = int(n).bit_length() - 1
    if int(n) != 2**power:
        raise UnfitHash("has parameters that scrypt does not take")
    return _scrypt(str(power), r, p, salt.encode(), _bytes(digest))


# Base64, also as passlib writes it.
_B = r"([A-Za-z0-9+/.]+=*)"
# The last characters of the salt and of the hash hold two and four bits.
_BCRYPT = r"(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26])"
_FORMS: Sequence[tuple[str, Callable[..., str | Fast]]] = (
    (rf"(?:bcrypt\$)?{_BCRYPT}", _bcrypt),
    (rf"bcrypt_sha256\${_BCRYPT}", _bcrypt_sha256),
    (
        rf"(?:argon2)?\$argon2id\$v=19\$m=([0-9]{{1,7}}),t=([0-9]{{1,3}}),p=([0-9]{{1,3}})\${_B}\${_B}",
        _argon2id,
    ),
    (
        rf"\$scrypt\$ln=([0-9]{{1,2}}),r=([0-9]{{1,3}}),p=([0-9]{{1,3}})\${_B}\${_B}",
        lambda n, r, p, salt, digest: _scrypt(n, r, p, _bytes(salt), _bytes(digest)),
    ),
    (rf"scrypt\$([0-9]{{1,8}})\$([^$]+)\$([0-9]{{1,3}})\$([0-9]{{1,3}})\${_B}", _django_scrypt),
    (
        rf"\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?([0-9]{{1,8}})(?:,l=[0-9]+)?\${_B}\${_B}",
        lambda name, count, salt, digest: _pbkdf2(
            name or "sha1", count, _bytes(salt), _bytes(digest)
        ),
    ),
    (
        rf"pbkdf2_(sha1|sha256)\$([0-9]{{1,8}})\$([^$]+)\${_B}",
        lambda name, count, salt, digest: _pbkdf2(name, count, salt.encode(), _bytes(digest)),
    ),
    (rf"\{{S?SHA(|256|512)\}}{_B}", _ldap),
    (rf"\{{S?(MD5)\}}{_B}", _ldap),
    (
        r"(md5|sha1|sha256|sha512)\$([^$]*)\$((?:[0-9A-Fa-f]{2})+)",
        lambda name, salt, digest: _salted(name, salt.encode(), bytes.fromhex(digest), "before"),
    ),
    (r"(A[A-Q][A-Za-z0-9+/]{60,}=*)", _identity),
)
"""Each format, and what takes its parts."""


# -- checked at a sign-in ----------------------------------------------------------


class Imported(BasePasswordHasher):
    """Checks a hash that was stored as it came."""

    algorithm = "imported"

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether *password* is right. A wrong one takes as long as with the service's hash.

        Otherwise the time would tell who was imported. It still tells if the imported hash is
        slower than the service's.
        """
        begun = time.perf_counter()
        right = self._matches(password, encoded.removeprefix(self.algorithm))
        if not right:
            _spend(time.perf_counter() - begun)
        return right

    def must_update(self, encoded: str) -> bool:
        return True

    def _matches(self, password: str, rest: str) -> bool:
        if rest.startswith("$sha256$2"):
            inner = hashlib.sha256(password.encode()).hexdigest()
            return bcrypt.checkpw(inner.encode(), rest.removeprefix("$sha256").encode())
        if rest.startswith("$2"):
            return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], rest.encode())
        if rest.startswith("$argon2id$"):
            try:
                return argon2.PasswordHasher().verify(rest, password)
            except argon2.exceptions.VerifyMismatchError:
                return False
        known, _, digest = rest[1:].rpartition("$")
        return hmac.compare_digest(Known.of(known).compute(password), _bytes(digest))


class Wrapped(Imported):
    """Checks a fast hash inside a slow one."""

    algorithm = "wrapped"

    def _matches(self, password: str, rest: str) -> bool:
        iterations, salt, digest, known = rest[1:].split("$", 3)
        outer = _wrap(Known.of(known).compute(password), salt, int(iterations))
        return hmac.compare_digest(outer, _bytes(digest))


def _wrap(inner: bytes, salt: str, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", inner, salt.encode(), iterations)


def _spend(seconds: float) -> None:
    """Take up what is left of the time of an own hash, of which *seconds* have passed."""
    left = 1 - seconds / own_seconds()
    if left > 0:
        iterations = max(1, int(PBKDF2PasswordHasher.iterations * left))
        hashlib.pbkdf2_hmac("sha256", b"", b"", iterations)


@cache
def own_seconds() -> float:
    """Return how many seconds a hash of the service's own takes here: the least of three looks."""

    def look() -> float:
        begun = time.perf_counter()
        hashlib.pbkdf2_hmac("sha256", b"", b"", PBKDF2PasswordHasher.iterations // 10)
        return 10 * (time.perf_counter() - begun)

    return min(look() for _ in range(3))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Decode base64, also as passlib writes it: with ``.`` for ``+``, and without an end."""
    bare = text.replace(".", "+").rstrip("=")
    return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
