"""S-66. ``migrate`` beside a running service: it makes no request wait for long, and ends none."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from optin.audit import integrity, months
from optin.migrations._concurrently import AddIndexConcurrently
from optin.models import AuditEvent
from optin.origin import Face, Origin
from tests.kit.races import until, waiting
from tests.kit.server import database_url
from tests.kit.trail import sql

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = "0023_last_attempt"
"""The next one, 0024, changes three tables in one transaction: on the way back ``optin_guard``
first, and ``optin_sendcounter`` last."""


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: locks are waited for."""


@contextmanager
def migrating() -> Iterator["Future[None]"]:
    """Let ``migrate`` go back in a thread while it waits for a lock; then forward again."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(migrate, BEFORE)
        until(lambda: waiting() == 1)
        yield done
    done.result()
    migrate()


def migrate(*to: str) -> None:
    try:
        call_command("migrate", "optin", *to, verbosity=0)
    finally:
        connections.close_all()


@pytest.mark.postgresql
def test_a_migration_deadlocks_with_no_request() -> None:
    """A request reads one table and then writes another, which a migration locks before it."""
    with psycopg.connect(database_url()) as request:
        request.execute("SELECT count(*) FROM optin_sendcounter")
        with migrating():
            request.execute("LOCK TABLE optin_guard IN ROW EXCLUSIVE MODE")
            request.commit()


@pytest.mark.postgresql
def test_requests_do_not_wait_behind_a_migration_that_waits() -> None:
    """A transaction that lasts long keeps ``migrate`` waiting, but no other request."""
    with psycopg.connect(database_url()) as long:
        long.execute("SELECT count(*) FROM optin_guard")
        with migrating() as done:
            try:
                for _ in range(20):
                    read_within_a_second()
                assert not done.done()
            finally:
                long.commit()


def read_within_a_second() -> None:
    with psycopg.connect(database_url()) as request:
        request.execute("SET statement_timeout = 1000")
        request.execute("SELECT count(*) FROM optin_guard")
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
        assert months_with(index.name) == months_of_trail()
    with connection.schema_editor(atomic=False) as editor:
        add.database_backwards("optin", editor, after, before)
    assert index.name not in indexes()


def months_of_trail() -> list[int]:
    return months.attached() if connection.vendor == "postgresql" else []


def months_with(name: str) -> list[int]:
    """The partitions of the trail whose index is part of that of the table, and is used."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indrelid::regclass::text "
            "FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid "
            "WHERE inhparent = to_regclass(%s) AND indisvalid",
            [name],
        )
        return sorted(int(table.rpartition("_")[2]) for (table,) in cursor.fetchall())


def indexes() -> dict[str, Any]:
    with connection.cursor() as cursor:
        found: dict[str, Any] = connection.introspection.get_constraints(cursor, "optin_auditevent")
    return found


# -- the audit trail by months -----------------------------------------------------

ONE_TABLE = "0025_restores"


def record(age: timedelta = timedelta(0)) -> AuditEvent:
    event: AuditEvent = AuditEvent.objects.record(
        AuditEvent.Kind.CHECK, "ok", now=timezone.now() - age, origin=Origin(Face.WEB), user_id=7
    )
    return event


@pytest.fixture
def one_table() -> Iterator[None]:
    """The trail as it was before it had partitions."""
    migrate(ONE_TABLE)
    yield
    migrate()


@pytest.fixture
def reader() -> Iterator[str]:
    """A role that may read the trail, and delete from it; it had these rights before."""
    role = f"optin_reader_{os.getpid()}"
    sql(f"CREATE ROLE {role}")
    yield role
    sql(f"DROP OWNED BY {role}")
    sql(f"DROP ROLE {role}")


@pytest.mark.postgresql
def test_the_trail_keeps_events_ids_and_rights_when_it_is_partitioned(
    one_table: None, reader: str
) -> None:
    """The partitions themselves give no rights, so that nobody has more than before."""
    sql(f"GRANT SELECT, DELETE ON optin_auditevent TO {reader} WITH GRANT OPTION")
    sql(f"GRANT UPDATE (reason) ON optin_auditevent TO {reader}")
    sql(f"GRANT USAGE ON SEQUENCE optin_auditevent_id_seq TO {reader}")
    events, rights = [record(), record()], rights_of(reader)
    assert len(rights) == 4

    migrate()

    assert rights_of(reader) == rights
    assert rights_of(reader, months.name_of(0)) == []
    assert list(AuditEvent.objects.order_by("pk")) == events
    assert record().pk == events[-1].pk + 1
    assert list(integrity.verify(timezone.now(), integrity.Tally())) == []


@pytest.mark.postgresql
def test_a_trail_of_several_months_does_not_become_one_table() -> None:
    event = record(timedelta(days=40))
    months.cut(timezone.now())
    later = record()
    with pytest.raises(RuntimeError, match="several months"):
        migrate(ONE_TABLE)
    assert list(AuditEvent.objects.order_by("pk")) == [event, later]


@pytest.mark.postgresql
def test_a_trail_in_use_is_partitioned_as_soon_as_it_can_be(one_table: None) -> None:
    """Meanwhile others add events."""
    with psycopg.connect(database_url()) as long:
        long.execute("SELECT count(*) FROM optin_auditevent")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(migrate)
            until(lambda: waiting() == 1)
            record()
            long.commit()
            done.result()
    assert months.attached() == [*range(1 + months.AHEAD)]


def rights_of(role: str, table: str = "optin_auditevent") -> list[tuple[Any, ...]]:
    """What *role* may do with the table, its columns and its sequence."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, attname, privilege_type, is_grantable FROM ("
            " SELECT oid, relname, NULL AS attname, (aclexplode(relacl)).* FROM pg_class"
            " UNION ALL SELECT pg_class.oid, relname, attname, (aclexplode(attacl)).*"
            " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid) AS rights "
            "WHERE grantee = %s::regrole "
            "AND oid IN (%s::regclass, 'optin_auditevent_id_seq'::regclass) ORDER BY 1, 2, 3",
            [role, table],
        )
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return [right for right in found if table == "optin_auditevent" or "seq" not in right[0]]
