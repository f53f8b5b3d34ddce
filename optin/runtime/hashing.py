"""Hash passwords: a fixed number at once in each process, a short queue, and no more.

A hash keeps a core busy for a tenth of a second and more, by design. Without a limit, many
sign-ins would slow down all other requests.

Threads of their own make the hashes, in the order of the requests. These threads do nothing
else: only the caller's thread uses the database.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from django.contrib.auth.hashers import make_password, verify_password

from optin.conf import conf
from optin.errors import Busy
from optin.runtime import metrics

WAITING = 3
"""How many requests may wait while others hash. Each holds one of the 8 threads of
``gunicorn.conf.py``: with one hash at a time, half of the threads stay free for other requests.
The last one waits for three hashes, some tenths of a second."""


class _Hashers(NamedTuple):
    threads: ThreadPoolExecutor
    places: SimpleQueue[None]
    """Those that are free."""


@contextmanager
def place() -> Iterator[None]:
    """Hold one of the places for hashing and waiting, for the block.

    Take it before all else: then a refusal costs nothing and reveals nothing.

    :raises Busy: if there is none.
    """
    places = _hashers().places
    try:
        places.get_nowait()
    except Empty:
        metrics.HASHES_REFUSED.inc()
        raise Busy from None
    try:
        yield
    finally:
        places.put(None)


def refuses() -> bool:
    """Whether all places are taken: the caller refuses the request then, before it costs anything.

    Such a refusal is counted here.
    """
    is_full = _hashers().places.empty()
    if is_full:
        metrics.HASHES_REFUSED.inc()
    return is_full


def make(password: str) -> str:
    """Return a new hash of *password*. Call it in a ``place``."""
    hashed: str = _in_turn(make_password, password)
    return hashed


def verify(password: str, encoded: str) -> tuple[bool, bool]:
    """Return whether *password* matches the hash *encoded*, and whether the hash is outdated.

    Call it in a ``place``.
    """
    judged: tuple[bool, bool] = _in_turn(verify_password, password, encoded)
    return judged


def _in_turn(work: Callable[..., Any], *args: Any) -> Any:
    asked = time.perf_counter()

    def begin() -> Any:
        metrics.HASH_WAITS.observe(time.perf_counter() - asked)
        return work(*args)

    return _hashers().threads.submit(begin).result()


@cache
def _hashers() -> _Hashers:
    """The threads of this process. The first hash starts them: do not fork the process after it."""
    hashers = _Hashers(ThreadPoolExecutor(conf.password_hashes, "hasher"), SimpleQueue())
    for _ in range(conf.password_hashes + WAITING):
        hashers.places.put(None)
    return hashers
