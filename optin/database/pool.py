"""The connections of a process, which its threads use in turns."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from optin.database.pipeline import Line
from optin.runtime import metrics

PATIENCE = 5.0
"""Seconds that a thread waits for a place."""

LIFETIME = 3600.0
"""Seconds after which a connection is renewed. The server's memory for each grows with its use."""


class Pool:
    """Limits how many connections are in use at once, and keeps idle ones open."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._free = size
        self._waiting: deque[threading.Event] = deque()  # the thread that came first is first
        self._idle: deque[Line] = deque()  # the one that was used last is last
        self._closed_at = 0.0
        metrics.POOL_LIMIT.set(size)

    def take(self, make: Callable[[], psycopg.Connection[Any]]) -> Line:
        """Return an idle connection that is alive, or make one.

        :raises psycopg.OperationalError: if it cannot be made, or too many are in use for too long.
        """
        self._take_place()
        try:
            for line in self._idle_ones():
                if line.is_alive():
                    return line
            opened = time.monotonic()  # first: the address may move while it is made
            return Line(make(), opened)
        except BaseException:
            self._free_place()
            raise

    def give_back(self, line: Line) -> None:
        """Keep the connection if it is idle and not too old.

        If it broke in use, close all others too. If the address of the database moved to another
        machine, they look alive, because no server closed them.
        """
        connection = line.connection
        oldest = max(self._closed_at, time.monotonic() - LIFETIME)
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        try:
            if is_idle and connection.autocommit and line.opened > oldest:
                self._idle.append(line)
            elif connection.broken:
                self.close()
            else:
                connection.close()
            with suppress(IndexError):
                if self._idle[0].opened <= oldest:
                    self._idle.popleft().connection.close()
        finally:
            self._free_place()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        self._closed_at = time.monotonic()
        for line in self._idle_ones():
            line.connection.close()

    def _idle_ones(self) -> Iterator[Line]:
        with suppress(IndexError):
            while True:
                yield self._idle.pop()

    def _take_place(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        if not turn.wait(PATIENCE):
            with self._lock:
                if not turn.is_set():
                    self._waiting.remove(turn)
                    raise psycopg.OperationalError(f"all {self.size} connections are in use")

    def _free_place(self) -> None:
        """Give the place to the thread that waits longest, so that no other takes it first."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


_pools: dict[tuple[str, str], Pool] = {}


def pool_of(alias: str, database: dict[str, Any]) -> Pool:
    """Return the connections of this process to a database of the settings."""
    key = alias, database["NAME"]
    return _pools.get(key) or _pools.setdefault(key, Pool(database["POOL"]))


# Two processes must not use one connection.
os.register_at_fork(after_in_child=_pools.clear)
