"""References: six characters that lead staff to what happened to one request.

A refused person reads them out, and a client logs them. The time of a request and one random byte
of its id are encrypted into 30 bits. So nothing is stored for a reference, every answer has one
whatever was decided, and only this service can read the time back. Whoever guesses one learns
nothing: no page and no call takes a reference, except the search of staff
(``support.references``).
"""

import re
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from optin import keys

KEPT = timedelta(days=30)
"""A reference of an older request leads nowhere. Seconds of 22 bits repeat after 48 days."""

HEADER = "Support-Reference"

NAMED = 10
"""Characters of a request id that a reference stands for: its second, and one random byte."""

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""32 letters and digits, without I, L, O and U (Crockford's base 32)."""

_READ_AS = str.maketrans("ILO", "110")
_SECONDS = 2**22
_ROUNDS = 8
_HALF = 15  # bits

_AHEAD = timedelta(minutes=1)
"""The clocks of two machines may differ by so much."""


def new_request_id() -> str:
    """Return an id of 32 hex digits: the second of the request, then 96 random bits."""
    return f"{int(time.time()):08x}{secrets.token_hex(12)}"


def of(request_id: str) -> str:
    """Return the reference of the request with this id, as ``7KD-2QM``."""
    seconds, byte = int(request_id[:8], 16), int(request_id[8:NAMED], 16)
    number = _shuffle((seconds % _SECONDS) << 8 | byte)
    text = "".join(_LETTERS[number >> shift & 31] for shift in range(25, -1, -5))
    return f"{text[:3]}-{text[3:]}"


def read(text: str, now: datetime) -> Iterator[tuple[datetime, str]]:
    """Yield for *text*, written in any usual way, the second of its request and how its id begins.

    Nothing if *text* can be no reference, or its request is older than ``KEPT``. A digest key that
    was replaced is tried too, so there may be several.
    """
    letters = re.sub(r"[\s\-\u2010-\u2015.]", "", text).upper().translate(_READ_AS)
    if len(letters) != 6 or not set(letters) <= set(_LETTERS):
        return
    shuffled = sum(_LETTERS.index(each) << 5 * n for n, each in enumerate(reversed(letters)))
    for key_id in keys.digest_key_ids():
        seconds, byte = divmod(_unshuffle(shuffled, key_id), 256)
        latest = int((now + _AHEAD).timestamp())
        second = latest - (latest - seconds) % _SECONDS
        at = datetime.fromtimestamp(second, tz=UTC)
        if now - at <= KEPT:
            yield at, f"{second:08x}{byte:02x}"


# -- a keyed permutation of 30 bits: a Feistel network --------------------------------


def _shuffle(number: int) -> int:
    left, right = divmod(number, 1 << _HALF)
    for n in range(_ROUNDS):
        left, right = right, left ^ _mixed(n, right)
    return left << _HALF | right


def _unshuffle(number: int, key_id: str) -> int:
    left, right = divmod(number, 1 << _HALF)
    for n in reversed(range(_ROUNDS)):
        left, right = right ^ _mixed(n, left, key_id), left
    return left << _HALF | right


def _mixed(n: int, half: int, key_id: str = "") -> int:
    return int(keys.digest("reference", f"{n} {half}", key_id=key_id)[:8], 16) % (1 << _HALF)
