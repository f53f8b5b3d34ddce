"""Calls from threads that start together. Only PostgreSQL lets writers race."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from typing import TypeVar

from django.db import connection, connections

from optin.runtime import hashing

T = TypeVar("T")

THREADS = 16


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all *calls* from threads that start together; return the answers."""
    threads = min(THREADS, len(calls))
    start = Barrier(threads, timeout=30)

    def work(part: Sequence[Callable[[], T]]) -> list[T]:
        start.wait()
        try:
            return [call() for call in part]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(work, [calls[n::threads] for n in range(threads)])
        return list(itertools.chain.from_iterable(parts))


def within_an_hour() -> None:
    """Wait for the next hour if it begins within 20 seconds: hourly counts start again then."""
    if (left := 3600 - time.time() % 3600) < 20:
        time.sleep(left + 0.1)


def closing(call: Callable[[], T]) -> T:
    """Make *call* in a thread, which leaves no connection open."""
    try:
        return call()
    finally:
        connections.close_all()


def waiting() -> int:
    """How many connections wait for a lock in the database of the tests."""
    with connection.cursor() as cursor:
        # A transaction remembers the connections that there were at its first look.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        (count,) = cursor.fetchone()
    return int(count)


@contextmanager
def all_places_taken() -> Iterator[None]:
    """As many others hash, or wait for it, as may."""
    with ExitStack() as places:
        for _ in range(hashing.PLACES):
            places.enter_context(hashing._places)
        yield
