"""References: seven characters that lead staff to what happened to one request.

A refused person reads them out, and a client logs them. The second of a request and one byte are
encrypted into 30 bits. So nothing is stored for a reference, every answer has one whatever was
decided, and only this service can read it back. Whoever guesses one learns nothing: no page and no
call takes a reference, except the search of staff (``support.references``).

The seventh character checks the other six. With one of them wrong, or with two exchanged, a
reference is none, and of invented ones 31 of 32 are none.

The byte leads to the audit event: it is a random byte of the id of the request, from ``CAUSES`` to
255. If the request was refused before any decision, there is no event, and the byte is the number
of the cause, below ``CAUSES``.

**What a stranger could learn from a cause.** They can send any number of requests in one second and
compare the references: two of the same cause are equal. More bytes for each cause would not help,
because the bytes of two causes differ in any case, and all of them are soon collected. So a cause
never tells more than the client knows: it follows from the status and the code of the answer, and
from what was sent. For example, ``INVALID_KEY`` is the cause whether the key is unknown or revoked
or its owner is deactivated. Staff learn the rest from the first characters of the key. What may or
may not have an event, such as a refresh token that is not valid, has no cause: its reference leads
to the event, if there is one. Only the causes of a 503 differ where answers do not, and these are
about the service, not about anybody's account.

Somebody else's reference says nothing to a stranger, unless they were refused for the same cause in
the same second.
"""

import hmac
import re
import secrets
import time
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError

from optin import keys

KEPT = timedelta(days=30)
"""A reference of an older request leads nowhere. Seconds of 22 bits repeat after 48 days."""

HEADER = "Support-Reference"

NAMED = 10
"""Characters of a request id that a reference stands for: its second, and one random byte."""

SECOND = 8
"""Characters of a request id that are its second, in hex: so its log line begins."""

CAUSES = 64
"""Bytes below this are causes. The random byte of an id is this or more."""


class Undecided(IntEnum):
    """Why a request was refused before anything was decided.

    A number is not given to another cause: references with it live for 30 days.
    """

    # Credentials.
    NO_CREDENTIAL = 0
    KEYS_OFF = 1
    INVALID_TOKEN = 2
    INVALID_KEY = 3
    TWO_PEOPLE = 4
    UNKNOWN_CLIENT = 5
    CLIENT_GRANT = 6
    PASSWORD_CALLS_OFF = 7
    GRANT_TYPE = 8
    UNKNOWN_SCOPE = 9
    # A file or a scope that does not do, from a caller with too many requests: no event is written.
    FILE_UNTOLD = 10
    SCOPE_UNTOLD = 11
    # Faults of what was sent.
    MALFORMED = 16
    NO_NUMBER = 17
    ONLY_FICTION = 18
    TOO_LARGE = 19
    MEDIA_TYPE = 20
    METHOD = 21
    NO_ADDRESS = 22
    FOREIGN_HOST = 23
    CURSOR_GONE = 24
    REHEARSED = 25
    ENDPOINT = 26
    # Too many requests.
    USER_REQUESTS = 32
    NETWORK_REQUESTS = 33
    PAGE_REQUESTS = 34
    BUSY = 35
    # Faults.
    DATABASE_AWAY = 40
    NOT_WRITTEN = 41
    INTERNAL = 42
    # Pages. 50 was given before.
    CSRF = 48
    SESSION_ENDED = 49
    NOT_STAFF = 51
    LINK_GONE = 52
    BAD_CONSENT = 53


_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""32 letters and digits, without I, L, O and U (Crockford's base 32)."""

_READ_AS = str.maketrans("ILO", "110")
_SECONDS = 2**22
_ROUNDS = 8
_LABEL = "reference"
_HALF = 15  # bits

_AHEAD = timedelta(minutes=1)
"""The clocks of two machines may differ by so much."""


def new_request_id() -> str:
    """Return an id of 32 hex digits: the second of the request, then 96 random bits.

    The first of them are a byte that is no cause.
    """
    byte = CAUSES + secrets.randbelow(256 - CAUSES)
    return f"{int(time.time()):08x}{byte:02x}{secrets.token_hex(11)}"


def mark(meta: MutableMapping[str, Any], cause: Undecided | None) -> None:
    """Let the reference of the request with these WSGI variables tell *cause*, if there is one.

    Among these variables no client can name it: its headers begin with HTTP_.
    """
    if cause is not None:
        meta[_MARK] = cause


def of_request(meta: Mapping[str, Any]) -> str:
    """Return the reference of the request with these WSGI variables."""
    return of(meta["REQUEST_ID"], meta.get(_MARK))


_MARK = "UNDECIDED"


def fault(exc: BaseException | None) -> Undecided:
    """Return the cause of a request that failed by *exc*."""
    name = getattr(getattr(exc, "__cause__", None), "sqlite_errorname", "")
    if name.startswith("SQLITE_READONLY"):
        return Undecided.NOT_WRITTEN
    if isinstance(exc, OperationalError | InterfaceError):
        return Undecided.DATABASE_AWAY
    return Undecided.NOT_WRITTEN if isinstance(exc, DatabaseError) else Undecided.INTERNAL


def of(request_id: str, cause: Undecided | None = None) -> str:
    """Return the reference of the request with this id, as ``7KD-2QMX``.

    :param cause: why it was refused, if nothing was decided.
    """
    seconds = int(request_id[:SECOND], 16)
    byte = int(request_id[SECOND:NAMED], 16) if cause is None else cause.value
    number = _shuffle((seconds % _SECONDS) << 8 | byte)
    values = [number >> shift & 31 for shift in range(25, -1, -5)]
    return _written([*values, _check(values, keys.digest_key(_LABEL))])


def spelled(text: str) -> str:
    """Return *text* as a reference is written; "" if it can be none."""
    values = _values(text)
    return _written(values) if values else ""


def read(text: str, now: datetime) -> Iterator[tuple[datetime, str]]:
    """Yield for *text*, written in any usual way, the second of its request and how its id begins.

    ``cause`` reads the cause from the latter: then no id begins so.

    Nothing if *text* can be no reference, or its request is older than ``KEPT``. A digest key that
    was replaced is tried too, so there may be several.
    """
    *first, check = _values(text) or [0]
    shuffled = sum(each << 5 * n for n, each in enumerate(reversed(first)))
    for key_id in keys.digest_key_ids() if first else ():
        if check != _check(first, keys.digest_key(_LABEL, key_id=key_id)):
            continue
        seconds, byte = divmod(_unshuffle(shuffled, key_id), 256)
        latest = int((now + _AHEAD).timestamp())
        second = latest - (latest - seconds) % _SECONDS
        at = datetime.fromtimestamp(second, tz=UTC)
        if now - at <= KEPT:
            yield at, f"{second:08x}{byte:02x}"


def cause(beginning: str) -> Undecided | None:
    """Return the cause in what ``read`` gave; None if an id begins so, or it is of no release."""
    byte = int(beginning[SECOND:], 16)
    return Undecided(byte) if byte in _NUMBERS else None


_NUMBERS = frozenset(Undecided)


# -- characters ----------------------------------------------------------------------


def _written(values: list[int]) -> str:
    text = "".join(_LETTERS[each] for each in values)
    return f"{text[:3]}-{text[3:]}"


def _values(text: str) -> list[int]:
    """Return what the characters of a reference stand for; nothing if *text* can be none."""
    letters = re.sub(r"[\s\-\u2010-\u2015.]", "", text).upper().translate(_READ_AS)
    if len(letters) != 7 or not set(letters) <= set(_LETTERS):
        return []
    return [_LETTERS.index(each) for each in letters]


def _check(values: list[int], key: bytes) -> int:
    """Return the character that checks *values*: a remainder, in the field of 32 elements.

    It is another one if any one of *values* is, or if two of them change places.
    """
    check = 0
    for each in values:
        check = _doubled(check) ^ each
    return _doubled(check) ^ _mixed(_ROUNDS, 0, key) & 31


def _doubled(element: int) -> int:
    return element << 1 ^ (0b100101 if element & 16 else 0)  # x^5 + x^2 + 1


# -- a keyed permutation of 30 bits: a Feistel network --------------------------------


def _shuffle(number: int) -> int:
    key = keys.digest_key(_LABEL)
    left, right = divmod(number, 1 << _HALF)
    for n in range(_ROUNDS):
        left, right = right, left ^ _mixed(n, right, key)
    return left << _HALF | right


def _unshuffle(number: int, key_id: str) -> int:
    key = keys.digest_key(_LABEL, key_id=key_id)
    left, right = divmod(number, 1 << _HALF)
    for n in reversed(range(_ROUNDS)):
        left, right = right ^ _mixed(n, left, key), left
    return left << _HALF | right


def _mixed(n: int, half: int, key: bytes) -> int:
    mixed = hmac.digest(key, f"{n} {half}".encode(), "sha256")
    return int.from_bytes(mixed[:4], "big") % (1 << _HALF)
