"""Hash passwords: so many at once in a process, a few that wait, and no more.

A hash keeps a core busy for a tenth of a second and more, by design. Without a bound,
whoever signs in often enough slows everybody else's requests.

Hashes are made by threads of their own, in the order in which they were asked for. Nothing
else happens in these threads; the database is left to the caller's.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore
from typing import Any, NamedTuple

from django.contrib.auth.hashers import make_password, verify_password

from optin.conf import conf
from optin.errors import Busy

WAITING = 3
"""How many may wait for the hashes that are being made. Each holds one of the 8 threads of
``gunicorn.conf.py``: with one hash at a time, half of them are left to other requests. The
last waits for three hashes, some tenths of a second."""


class _Hashers(NamedTuple):
    threads: ThreadPoolExecutor
    places: BoundedSemaphore


@contextmanager
def place() -> Iterator[None]:
    """Keep a place among those who hash or wait, for the block.

    Take it first of all: who is refused has cost nothing and learns nothing.

    :raises Busy: if there is none.
    """
    places = _hashers().places
    if not places.acquire(blocking=False):
        raise Busy
    try:
        yield
    finally:
        places.release()


def is_full() -> bool:
    """Whether there is no place now: who would ask for one can be refused before anything."""
    places = _hashers().places
    if not places.acquire(blocking=False):
        return True
    places.release()
    return False


def make(password: str) -> str:
    """Return a new hash of *password*. Call it in a ``place``."""
    hashed: str = _in_turn(make_password, password)
    return hashed


def verify(password: str, encoded: str) -> tuple[bool, bool]:
    """Return whether *password* is that of the hash *encoded*, and whether that is outdated.

    Call it in a ``place``.
    """
    judged: tuple[bool, bool] = _in_turn(verify_password, password, encoded)
    return judged


def _in_turn(work: Callable[..., Any], *args: Any) -> Any:
    return _hashers().threads.submit(work, *args).result()


@cache
def _hashers() -> _Hashers:
    """The threads of this process. They begin with its first hash: it must not be forked after."""
    count = conf.password_hashes
    return _Hashers(ThreadPoolExecutor(count, "hasher"), BoundedSemaphore(count + WAITING))
