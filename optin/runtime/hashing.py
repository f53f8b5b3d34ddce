"""Hash passwords: a fixed number at once in each process; others wait in line, and no more.

A hash keeps a core busy for some tenths of a second, by design. Without a limit, many sign-ins
would slow down all other requests.

Whoever waits or hashes keeps no other request waiting: they hold a thread, of which there are many,
but no connection to the database, and they are not ``at_work``.

In a crowd, each network has a fair share of the line and of the turns. A part of the line and every
second turn belong to people who signed in from their network before: strangers cannot take these.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import Event, Lock, Semaphore

from django.contrib.auth.hashers import make_password, verify_password
from django.db import close_old_connections

from optin.conf import conf
from optin.errors import Busy
from optin.origin import CUSTOMER_V6, network_of
from optin.runtime import metrics

AT_WORK = 8
"""Requests that one process works on at once. More would take the interpreter from each other, and
a quick request would have to wait for it at each statement."""

WAITING = 80
"""Requests that may wait in one process. Of its 96 threads (``gunicorn.conf.py``), 8 more are for
those at work, and 8 for hashes."""

KEPT = 20
"""Places among these for people who signed in from their network before."""

PATIENCE = 20.0
"""Seconds that a request waits at most. Proxies wait for 30 and more."""

at_work = Semaphore(AT_WORK)
"""Gunicorn takes it for each request."""


@contextmanager
def place(ip: str, is_known: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Wait for a turn to hash, and hold it for the block.

    Ask for it before the password costs anything else.

    :param ip: the address of whoever asks.
    :param is_known: whether they signed in from their network before. Asked only if they must wait.
    :raises Busy: if others have a better claim to the last place in the line, or it takes too long.
    """
    line, asked = _line(), time.perf_counter()
    if not line.begins_at_once():
        mine = _Ticket(network_of(ip, 24, CUSTOMER_V6), network_of(ip, 32), is_known())
        if not line.waits(mine):
            metrics.HASHES_REFUSED.inc()
            raise Busy
    try:
        metrics.HASH_WAITS.observe(time.perf_counter() - asked)
        yield
    finally:
        line.call_next()


def make(password: str) -> str:
    """Return a new hash of *password*. Call it in a ``place``."""
    with _not_at_work():
        hashed: str = make_password(password)
    return hashed


def verify(password: str, encoded: str) -> tuple[bool, bool]:
    """Return whether *password* matches the hash *encoded*, and whether the hash is outdated.

    Call it in a ``place``.
    """
    with _not_at_work():
        judged: tuple[bool, bool] = verify_password(password, encoded)
    return judged


@contextmanager
def _not_at_work() -> Iterator[None]:
    """Let other requests have the connection to the database, and work meanwhile."""
    close_old_connections()
    at_work.release()
    try:
        yield
    finally:
        at_work.acquire()


@dataclass(eq=False)
class _Ticket:
    """A password that waits for its hash."""

    customer: str  # the largest network that one customer of a provider usually has
    household: str  # their network in it
    is_known: bool
    round: int = 0  # of the turns: each network has one in each round
    is_called: bool = False
    is_over: Event = field(default_factory=Event)


class _Line:
    def __init__(self, hashes: int) -> None:
        self.waiting: list[_Ticket] = []  # in the order in which they came
        self._free = hashes
        self._lock = Lock()
        self._last = _Ticket("", "", is_known=False)
        self._rounds = {False: 0, True: 0}

    def begins_at_once(self) -> bool:
        with self._lock:
            return self._takes_free()

    def waits(self, mine: _Ticket) -> bool:
        """Wait; return whether it is the turn of *mine*. If not, it has to go."""
        with self._lock:
            if self._takes_free():
                return True
            self._join(mine)
        with _not_at_work():
            mine.is_over.wait(PATIENCE)
        with self._lock:
            if not mine.is_over.is_set():
                self._end(mine)
        return mine.is_called

    def call_next(self) -> None:
        """Give the turn that ends to whoever waits, or to whoever comes next."""
        with self._lock:
            if not self.waiting:
                self._free += 1
                return
            turns = [one for one in self.waiting if one.is_known is not self._last.is_known]
            self._last = min(turns or self.waiting, key=lambda one: one.round)
            self._rounds[self._last.is_known] = self._last.round
            self._last.is_called = True
            self._end(self._last)

    def _takes_free(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        return True

    def _join(self, mine: _Ticket) -> None:
        """Put *mine* into the line. If it is too long, the last of the largest network goes."""
        like = [one for one in self.waiting if one.is_known is mine.is_known]
        before = [one.round for one in like if one.customer == mine.customer]
        mine.round = 1 + max(before, default=self._rounds[mine.is_known])
        self.waiting.append(mine)
        strangers = [one for one in self.waiting if not one.is_known]
        if len(strangers) > WAITING - KEPT:
            self._end(_last_of_largest(strangers))
        elif len(self.waiting) > WAITING:
            self._end(_last_of_largest(self.waiting))

    def _end(self, one: _Ticket) -> None:
        self.waiting.remove(one)
        one.is_over.set()


def _last_of_largest(crowd: list[_Ticket]) -> _Ticket:
    customers = Counter(one.customer for one in crowd)
    households = Counter(one.household for one in crowd)

    def size(one: _Ticket) -> tuple[int, int]:
        return customers[one.customer], households[one.household]

    return max(reversed(crowd), key=size)  # of equals, it returns the first


@cache
def _line() -> _Line:
    return _Line(conf.password_hashes)
