"""The audit trail: rows are added, never changed, and tell when one was."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from optin import keys
from optin.models import AuditEvent, audit
from optin.models.audit import MAX_USER_AGENT
from optin.origin import Face, Origin
from tests.kit.trail import FULL_ORIGIN, database_now, sql

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
COLUMNS = [field.attname for field in AuditEvent._meta.concrete_fields]


def record(now: datetime | None = None, origin: Origin = FULL_ORIGIN) -> AuditEvent:
    event: AuditEvent = AuditEvent.objects.record(
        Kind.VERIFY_OPT_IN,
        "otp_incorrect",
        now=now or timezone.now(),
        origin=origin,
        user_id=7,
        file_id=777,
        provider_user_id=41,
        other_user_id=8,
        number_digest="cd" * 32,
        last_three="156",
        reason="why \u00e9",
        data={"try": 1, "failures": 3, "rule": "x", "nested": {"b": [1, None], "a": True}},
    )
    return event


@pytest.fixture(params=[0, 29, 31], ids=["new", "29-days-old", "31-days-old"])
def event(request: pytest.FixtureRequest) -> AuditEvent:
    """By the database's clock: that is the one the triggers read."""
    return record(database_now() - timedelta(days=request.param))


def is_whole(event: AuditEvent) -> bool:
    """Whether the row, read again, still proves itself."""
    stored = AuditEvent.objects.get(pk=event.pk)
    return stored.digest == stored.content_digest() == event.digest


# -- by the ORM --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda event: AuditEvent.objects.get(pk=event.pk).save(update_fields=["outcome"]),
        lambda event: event.delete(),
        lambda event: AuditEvent.objects.filter(pk=event.pk).update(outcome="ok"),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.update_or_create(pk=event.pk, defaults={"outcome": "ok"}),
        lambda event: AuditEvent.objects.bulk_update([event], ["outcome"]),
    ],
    ids=["save", "delete", "update", "delete-all", "update_or_create", "bulk"],
)
def test_the_orm_changes_nothing(event: AuditEvent, change: Callable[[AuditEvent], object]) -> None:
    """S-53."""
    with pytest.raises(PermissionDenied):
        change(event)
    assert is_whole(event)


def test_the_orm_does_not_replace(event: AuditEvent) -> None:
    other = record()
    other.pk = event.pk
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEvent.objects.bulk_create(
            [other],
            update_conflicts=True,
            update_fields=["outcome"],
            unique_fields=["id"],
        )
    assert is_whole(event)


# -- by SQL ------------------------------------------------------------------------


def test_sql_updates_no_column(event: AuditEvent) -> None:
    """S-53, at any age; not even to the value it has."""
    for column in COLUMNS:
        with pytest.raises(DatabaseError), transaction.atomic():
            sql(f"UPDATE optin_auditevent SET {column} = {column} WHERE id = %s", event.pk)  # noqa: S608
        assert is_whole(event)


def test_sql_deletes_what_is_older_than_30_days(event: AuditEvent) -> None:
    """S-53."""
    young = event.at > database_now() - timedelta(days=30)
    if young:
        with pytest.raises(DatabaseError), transaction.atomic():
            sql("DELETE FROM optin_auditevent WHERE id = %s", event.pk)
    else:
        sql("DELETE FROM optin_auditevent WHERE id = %s", event.pk)
    assert AuditEvent.objects.filter(pk=event.pk).exists() is young


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "UPSERT", "COPY"])
def test_sqlite_replaces_nothing(verb: str, recursive: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("REPLACE is SQLite's")
    event = record()
    sql(f"PRAGMA recursive_triggers = {recursive}")
    columns = ", ".join(COLUMNS)
    values = columns.replace("outcome", "'ok'")
    upsert = " WHERE true ON CONFLICT (id) DO UPDATE SET outcome = 'ok'" if verb == "UPSERT" else ""
    if verb == "COPY":
        values = values.replace("id,", "id + 1,", 1)
    verb = {"UPSERT": "INSERT", "COPY": "REPLACE"}.get(verb, verb)
    try:
        with pytest.raises(DatabaseError), transaction.atomic():
            sql(
                f"{verb} INTO optin_auditevent ({columns}) "  # noqa: S608
                f"SELECT {values} FROM optin_auditevent{upsert}"
            )
    finally:
        sql("PRAGMA recursive_triggers = ON")
    assert is_whole(event)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE optin_auditevent",
        "TRUNCATE optin_auditevent CASCADE",
        "INSERT INTO optin_auditevent SELECT * FROM optin_auditevent "
        "ON CONFLICT (id) DO UPDATE SET outcome = 'ok'",
        "MERGE INTO optin_auditevent a USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
    ],
    ids=["truncate", "truncate-cascade", "upsert", "merge"],
)
def test_postgresql_refuses(statement: str) -> None:
    """S-53."""
    event = record(database_now())
    with pytest.raises(DatabaseError), transaction.atomic():
        sql(statement)
    assert is_whole(event)


# -- the digest --------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        Origin(Face.COMMAND),
        Origin(Face.API, ip="192.0.2.1", user_agent="\u4e16\U0001f512" * 300),
        Origin(Face.TOKEN, client="app:12", ip="2001:db8:0:1::2"),
    ],
    ids=["empty", "long-agent", "ipv6"],
)
def test_the_digest_survives_every_origin_and_time(origin: Origin) -> None:
    for microsecond in (0, 499_999, 999_999):
        event = record(timezone.now().replace(microsecond=microsecond), origin)
        assert is_whole(event)
    assert len(event.user_agent) <= MAX_USER_AGENT


def test_a_value_moved_to_another_column_shows() -> None:
    event = AuditEvent.objects.get(pk=record().pk)
    event.user_id, event.actor_id = event.other_user_id, event.user_id
    assert event.content_digest() != event.digest


def test_nobody_without_the_key_makes_a_digest(settings: Any) -> None:
    event = record()
    settings.OPTIN_DIGEST_KEY = b"x" * 32
    event.key_id = keys.digest_key_id()
    assert not event.is_proved()
    event.key_id = event.digest
    assert not event.is_proved()
    assert event.key_id != record().key_id


# -- the event before --------------------------------------------------------------


def before(event: AuditEvent) -> str | None:
    return AuditEvent.objects.get(pk=event.pk).previous


def test_each_event_names_the_one_that_its_thread_wrote_before() -> None:
    one, two = record(), record()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(record).result()
        pool.submit(connections.close_all).result()
    three = record()
    assert before(two) == one.name()
    assert before(three) == two.name()
    # Nobody wrote before these.
    assert all(re.fullmatch("[0-9a-f]{32}", before(event) or "") for event in (one, other))
    assert before(one) != before(other)


def lose(*, commit: bool, events: int = 1) -> list[AuditEvent]:
    """Events of a transaction of whose end the service hears nothing."""
    with transaction.atomic():
        made = [record() for _ in range(events)]
        connection.run_on_commit.clear()  # as a lost connection does
        transaction.set_rollback(not commit)
    return made


@pytest.mark.parametrize("first", [True, False])
def test_what_was_rolled_back_is_not_named_and_lets_nothing_be_forgotten(first: bool) -> None:
    """Otherwise whoever lets inserts fail could then remove what no event names."""
    name = None if first else record().name()
    for _ in range(2):
        gone = lose(commit=False)[0]
        assert name in {gone.previous, None}
        name = gone.previous
    event = record()
    assert before(event) == name
    assert before(record()) == event.name()


def test_in_one_transaction_each_event_names_the_one_that_still_stands() -> None:
    with transaction.atomic():
        one = record()
        with transaction.atomic():
            gone = record()
            transaction.set_rollback(True)
        two = record()
    assert gone.previous == before(two) == one.name()
    assert before(record()) == two.name()


@pytest.mark.parametrize("events", [1, 3])
def test_an_event_whose_commit_was_not_confirmed_is_named_if_it_is_there(events: int) -> None:
    """No other may name the event before it."""
    record()
    *_, last = lose(commit=True, events=events)
    third = record()
    assert before(third) == last.name()
    assert before(record()) == third.name()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_names_nothing_of_its_parent() -> None:
    name = record().name()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, audit._thread.newest.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) != name.encode() == audit._thread.newest.encode()
    os.close(reading)
    os.close(writing)
