"""Hash passwords: a fixed number at once in each process. Others wait, for a limited time.

A hash keeps a core busy for some tenths of a second, by design. Without a limit, many sign-ins
would slow down all other requests.

Whoever waits or hashes holds a thread, of which some are left for other requests, but no
connection to the database.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore
from typing import NoReturn

from django.contrib.auth.hashers import make_password, verify_password
from django.db import close_old_connections

from optin.conf import conf
from optin.errors import Busy
from optin.runtime import metrics

PLACES = 54
"""Requests of one process that may hash or wait for it. Of its 64 threads (``gunicorn.conf.py``),
10 more are for other requests: as many as there are connections to the database."""

PATIENCE = 20.0
"""Seconds that a request waits at most. Proxies wait for 30 and more."""

_places = BoundedSemaphore(PLACES)


@contextmanager
def place() -> Iterator[None]:
    """Wait for a turn to hash, and hold it for the block.

    Ask for it before the password costs anything else.

    :raises Busy: if too many others wait, or it takes too long.
    """
    asked, turns = time.perf_counter(), _turns()
    close_old_connections()
    if not _places.acquire(blocking=False):
        _refuse()
    try:
        if not turns.acquire(timeout=PATIENCE):
            _refuse()
        try:
            metrics.HASH_WAITS.observe(time.perf_counter() - asked)
            yield
        finally:
            turns.release()
    finally:
        _places.release()


def _refuse() -> NoReturn:
    metrics.HASHES_REFUSED.inc()
    raise Busy


def make(password: str) -> str:
    """Return a new hash of *password*. Call it in a ``place``."""
    close_old_connections()
    hashed: str = make_password(password)
    return hashed


def verify(password: str, encoded: str) -> tuple[bool, bool]:
    """Return whether *password* matches the hash *encoded*, and whether the hash is outdated.

    Call it in a ``place``.
    """
    close_old_connections()
    judged: tuple[bool, bool] = verify_password(password, encoded)
    return judged


@cache
def _turns() -> BoundedSemaphore:
    return BoundedSemaphore(conf.password_hashes)
