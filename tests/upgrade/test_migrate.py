"""S-66. ``migrate`` beside a running service: it makes no request wait for long, and ends none."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, migrations, models
from django.db.migrations.loader import MigrationLoader

from optin.migrations._concurrently import AddIndexConcurrently
from tests.kit.races import waiting
from tests.kit.server import database_url, until
from tests.upgrade.rules import make_migration

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: locks are waited for."""


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch) -> str:
    """The last migration. Another one was applied after it, which changes two tables of requests:
    on the way back ``optin_user`` first, and ``optin_canary`` last."""
    last = max(name for app, name in MigrationLoader(None).disk_migrations if app == "optin")
    column: models.IntegerField[int, int] = models.IntegerField(db_default=0)
    two = [migrations.AddField(model, "x", column) for model in ("canary", "user")]
    load = MigrationLoader.load_disk

    def load_both(self: MigrationLoader) -> None:
        load(self)
        following = make_migration(two)
        vars(following)["dependencies"] = [("optin", last)]
        self.disk_migrations["optin", following.name] = following

    monkeypatch.setattr(MigrationLoader, "load_disk", load_both)
    migrate()
    return last


@contextmanager
def migrating(to: str) -> Iterator["Future[None]"]:
    """Let ``migrate`` go back in a thread while it waits for a lock."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(migrate, to)
        until(lambda: waiting() == 1)
        yield done
    done.result()


def migrate(*to: str) -> None:
    try:
        call_command("migrate", "optin", *to, verbosity=0)
    finally:
        connections.close_all()


@pytest.mark.postgresql
def test_a_migration_deadlocks_with_no_request(last: str) -> None:
    """A request reads one table and then writes another, which a migration locks before it.

    S-66.
    """
    with psycopg.connect(database_url()) as request:
        request.execute("SELECT count(*) FROM optin_canary")
        with migrating(last):
            request.execute("LOCK TABLE optin_user IN ROW EXCLUSIVE MODE")
            request.commit()


@pytest.mark.postgresql
def test_requests_do_not_wait_behind_a_migration_that_waits(last: str) -> None:
    """S-66. A transaction that lasts long keeps ``migrate`` waiting, but no other request."""
    with psycopg.connect(database_url()) as long:
        long.execute("SELECT count(*) FROM optin_user")
        with migrating(last) as done:
            try:
                for _ in range(20):
                    read_within_a_second()
                assert not done.done()
            finally:
                long.commit()


def read_within_a_second() -> None:
    with psycopg.connect(database_url()) as request:
        request.execute("SET statement_timeout = 1000")
        request.execute("SELECT count(*) FROM optin_user")
    time.sleep(0.05)


def test_an_index_is_made_and_taken_away() -> None:
    """On SQLite too. On PostgreSQL, what a stopped attempt has left does not stop the next one."""
    index = models.Index(fields=["reason"], name="audit_event_by_reason")
    add = AddIndexConcurrently("auditevent", index)
    before = MigrationLoader(connection).project_state()
    after = before.clone()
    add.state_forwards("optin", after)

    for _ in range(2 if connection.vendor == "postgresql" else 1):
        with connection.schema_editor(atomic=False) as editor:
            add.database_forwards("optin", editor, before, after)
        assert index.name in indexes()
    with connection.schema_editor(atomic=False) as editor:
        add.database_backwards("optin", editor, after, before)
    assert index.name not in indexes()


def indexes() -> dict[str, Any]:
    with connection.cursor() as cursor:
        found: dict[str, Any] = connection.introspection.get_constraints(cursor, "optin_auditevent")
    return found
