"""The connections of a process: psycopg's pool, with the check of ``optin.database``."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import OperationalError, connection

from bench import round_trips
from optin.database.base import DatabaseWrapper

pytestmark = [pytest.mark.postgresql, pytest.mark.pipeline, pytest.mark.django_db]


def users_of_one(**options: object) -> list[DatabaseWrapper]:
    """Four users of one connection."""
    settings = connection.settings_dict
    pool = settings["OPTIONS"]["pool"] | {"max_size": 1} | options
    one = {**settings, "OPTIONS": settings["OPTIONS"] | {"pool": pool}}
    made = [DatabaseWrapper(one, "one") for _ in range(4)]
    for line in made:
        line.inc_thread_sharing()
    return made


@pytest.fixture
def lines() -> Iterator[list[DatabaseWrapper]]:
    made = users_of_one()
    yield made
    for line in made:
        line.close()
    made[0].close_pool()


def backend(line: DatabaseWrapper) -> int:
    """Return the id of the server's process behind a connection, and give that back."""
    with line.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
    line.close()
    return pid


def test_those_that_wait_come_in_turn(lines: list[DatabaseWrapper]) -> None:
    """Otherwise a busy thread takes the connection again and again, and others wait in vain."""
    begin = Barrier(len(lines))

    def use(line: DatabaseWrapper) -> int:
        times = 0
        begin.wait(30)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            backend(line)
            times += 1
        return times

    with ThreadPoolExecutor(4) as threads:
        times = list(threads.map(use, lines))
    assert min(times) > max(times) / 2


def test_nobody_waits_for_ever() -> None:
    first, second, *_ = users_of_one(timeout=0.1)
    try:
        first.ensure_connection()
        with pytest.raises(OperationalError):
            second.ensure_connection()
    finally:
        first.close()
        first.close_pool()


def test_to_look_at_a_connection_takes_no_round_trip(lines: list[DatabaseWrapper]) -> None:
    backend(lines[0])
    with round_trips.counted() as trips:
        backend(lines[1])
    assert trips == ["statement"]
