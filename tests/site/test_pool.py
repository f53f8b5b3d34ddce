"""The connections of a process (``optin.database.pool``)."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from optin.database import pool
from optin.database.base import DatabaseWrapper

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]


@pytest.fixture
def lines() -> Iterator[list[DatabaseWrapper]]:
    """Four users of one connection."""
    made = [DatabaseWrapper({**connection.settings_dict, "POOL": 1}, "one") for _ in range(4)]
    for line in made:
        line.inc_thread_sharing()
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


def test_old_connections_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that nobody uses since a busy hour."""
    lines = [DatabaseWrapper(connection.settings_dict, "old") for _ in range(2)]
    try:
        for line in lines:
            line.ensure_connection()
        before = {backend(line) for line in lines}
        monkeypatch.setattr(pool, "LIFETIME", 0.0)
        backend(lines[0])
        monkeypatch.undo()
        for line in lines:
            line.ensure_connection()
        assert not before & {backend(line) for line in lines}
    finally:
        lines[0].close_pool()


def test_a_connection_that_cannot_be_closed_leaves_its_place(lines: list[DatabaseWrapper]) -> None:
    first, second, *_ = lines
    first.set_autocommit(False)  # so it is not kept

    def fail() -> None:
        raise OSError

    held = first.connection
    close, held.close = held.close, fail
    with pytest.raises(OSError):  # noqa: PT011
        first.close()
    close()
    assert backend(second)


def test_no_other_pool_is_below_this_one() -> None:
    """An option of DATABASE_URL asks Django for one."""
    options = connection.settings_dict["OPTIONS"] | {"pool": True}
    line = DatabaseWrapper(connection.settings_dict | {"OPTIONS": options}, "below")
    try:
        line.ensure_connection()
        assert not hasattr(line.connection, "_pool")
    finally:
        line.close()
        line.close_pool()
