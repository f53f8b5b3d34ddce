"""The connections of a process, which its threads use in turns."""

import os
import threading
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


class Pool:
    """Lets so many connections be used at once, and keeps those open that nobody uses."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._places = threading.Semaphore(size)
        self._idle: deque[Line] = deque()
        metrics.POOL_LIMIT.set(size)

    def take(self, make: Callable[[], psycopg.Connection[Any]]) -> Line:
        """Return the connection that was used last, if one is idle and alive, or make another.

        :raises psycopg.OperationalError: if it cannot be made, or too many are in use for too long.
        """
        if not self._places.acquire(timeout=PATIENCE):
            raise psycopg.OperationalError(f"all {self.size} connections are in use")
        try:
            for line in self._idle_ones():
                if line.is_alive():
                    return line
            return Line(make())
        except BaseException:
            self._places.release()
            raise

    def give_back(self, line: Line) -> None:
        """Keep the connection if it is as good as new.

        If it broke in use, close all idle ones too. If the address of the database moved to another
        machine, no server closed them, so they look alive.
        """
        connection = line.connection
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if is_idle and connection.autocommit:
            self._idle.append(line)
        elif connection.broken:
            self.close()
        else:
            connection.close()
        self._places.release()

    def close(self) -> None:
        """Close the idle connections."""
        for line in self._idle_ones():
            line.connection.close()

    def _idle_ones(self) -> Iterator[Line]:
        with suppress(IndexError):
            while True:
                yield self._idle.pop()


_pools: dict[tuple[str, str], Pool] = {}


def pool_of(alias: str, database: dict[str, Any]) -> Pool:
    """Return the connections of this process to a database of the settings."""
    key = alias, database["NAME"]
    return _pools.get(key) or _pools.setdefault(key, Pool(database["POOL"]))


# Two processes must not use one connection.
os.register_at_fork(after_in_child=_pools.clear)
