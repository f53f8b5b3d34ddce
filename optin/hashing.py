"""Hash passwords: so many at once in a process, a few that wait, and no more.

A hash keeps a core busy for a tenth of a second and more, by design. Without a bound,
whoever signs in often enough slows everybody else's requests.

Hashes are made by threads of their own, which give way to all others on Linux: the
requests that wait for no hash keep their share of the processor. Nothing else happens in
these threads; the database is left to the caller's.
"""

import os
import sys
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

NICENESS = 10
"""Of the threads that hash. Linux gives such a thread a tenth of the processor that it gives
to one that is ready too, and all of it while none is."""


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
    return _in_turn(make_password, password)


def verify(password: str, encoded: str) -> tuple[bool, bool]:
    """Return whether *password* is that of the hash *encoded*, and whether that is outdated.

    Call it in a ``place``.
    """
    return _in_turn(verify_password, password, encoded)


def _in_turn(work: Callable[..., Any], *args: Any) -> Any:
    return _hashers().threads.submit(work, *args).result()


@cache
def _hashers() -> _Hashers:
    """The threads of this process. They begin with its first hash: it must not be forked after."""
    count = conf.password_hashes
    threads = ThreadPoolExecutor(count, "hasher", initializer=_give_way)
    return _Hashers(threads, BoundedSemaphore(count + WAITING))


def _give_way() -> None:
    # Elsewhere it is the niceness of the whole process.
    if sys.platform == "linux":
        os.nice(NICENESS)
