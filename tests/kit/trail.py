"""What the audit trail says: one event, a repeat, nothing; and a database that refuses it."""

import importlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from optin.audit import repeats
from optin.models import AuditEvent, RefusalCount
from optin.origin import Face, Origin

_GUARDS = importlib.import_module("optin.migrations.0003_trail_and_roles")
"""The migration that makes the triggers."""


@contextmanager
def unguarded() -> Iterator[None]:
    """A restored copy, whose owner has dropped the triggers."""
    editor = SimpleNamespace(connection=connection)
    _GUARDS.unprotect(None, editor)
    try:
        yield
    finally:
        _GUARDS.protect(None, editor)


def tell(kind: str, outcome: str = "ok", at: datetime | None = None, **facts: Any) -> AuditEvent:
    """Add an event of now, about nobody, apart from *facts*."""
    facts = {"user_id": None, "origin": Origin(Face.WEB, ip="192.0.2.1"), **facts}
    with transaction.atomic():
        event: AuditEvent = AuditEvent.objects.record(
            AuditEvent.Kind(kind), outcome, now=at or timezone.now(), **facts
        )
    return event


def decisions(**which: Any) -> "Counter[tuple[str, str, int | None]]":
    """How often each kind and outcome was decided about whom, of those that *which* names.

    Told by events, or counted where an equal refusal was told before.
    """
    found: Counter[tuple[str, str, int | None]] = Counter()
    for event in AuditEvent.objects.filter(**which):
        found[event.kind, event.outcome, event.user_id] += event.data.get("repeated", 1)
    for row in RefusalCount.objects.untold().filter(**which):
        found[row.kind, row.outcome, row.user_id] += row.untold
    return found


def decided_by(rule: str, count: int = 0, limit: int = 0) -> dict[str, Any]:
    """What the event of a request for a text holds about the decision."""
    return {"rule": rule, "count": count, "limit": limit}


@contextmanager
def one_event(
    kind: AuditEvent.Kind, outcome: str, data: dict[str, Any] | None = None, **facts: Any
) -> Iterator[None]:
    """Assert that exactly this event is added (S-52), or the first of a count without an event."""
    known = {event.pk for event in all_told()}
    yield
    (event,) = (event for event in all_told() if event.pk not in known)
    assert (event.kind, event.outcome) == (kind, outcome)
    assert {name: getattr(event, name) for name in facts} == facts
    if data is not None:
        assert event.data == data


def all_told() -> list[AuditEvent]:
    """All events, and those that stand for refusals of which there is only a count."""
    events = list(AuditEvent.objects.order_by("pk"))
    for row in RefusalCount.objects.filter(told=0).order_by("pk"):
        event = repeats.as_event(row)
        assert event.data.pop("repeated") == row.count
        assert event.data.pop("alone")
        assert event.data.pop("since") <= event.data.pop("until")
        events += [event] * row.count
    return events


@contextmanager
def one_repeat(kind: AuditEvent.Kind, outcome: str) -> Iterator[None]:
    """Assert that a refusal is counted with an equal one before, and that no event is added."""
    counts = RefusalCount.objects.filter(kind=kind, outcome=outcome)
    events, before = AuditEvent.objects.count(), sum(counts.values_list("count", flat=True))
    yield
    assert AuditEvent.objects.count() == events
    assert sum(counts.values_list("count", flat=True)) == before + 1


def newest_event() -> AuditEvent:
    return AuditEvent.objects.latest("pk")


@contextmanager
def audit_trail_full() -> Iterator[None]:
    """Let the database refuse every new audit event."""
    if connection.vendor == "sqlite":
        make = "BEFORE INSERT ON optin_auditevent BEGIN SELECT RAISE(ABORT, 'full'); END"
        drop = "DROP TRIGGER optin_test_full"
    else:
        make = (
            "BEFORE INSERT ON optin_auditevent FOR EACH ROW "
            "EXECUTE FUNCTION optin_auditevent_refuse()"
        )
        drop = "DROP TRIGGER optin_test_full ON optin_auditevent"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TRIGGER optin_test_full {make}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(drop)


def sql(statement: str, *params: Any) -> None:
    """Do what somebody does who can write to the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def database_now() -> datetime:
    """The database's own time: the test's clock stands still, the triggers' does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        (now,) = cursor.fetchone()
    if isinstance(now, str):
        now = datetime.fromisoformat(f"{now}+00:00")
    found: datetime = now
    return found


FULL_ORIGIN = Origin(
    Face.WEB,
    actor_id=7,
    client="app:3",
    ip="2001:db8::1",
    user_agent="Mozilla/5.0 \u00e9",
    request_id="a" * 32,
)
"""An origin that has everything."""

CHANGED: dict[str, Any] = {
    "at": timedelta(milliseconds=1),
    "kind": AuditEvent.Kind.CHECK,
    "outcome": "ok",
    "face": Face.API,
    "actor_id": 8,
    "user_id": 8,
    "other_user_id": None,
    "file_id": 778,
    "provider_user_id": 42,
    "number_digest": "ce" * 32,
    "last_three": "157",
    "client": "",
    "ip": "2001:db8::2",
    "user_agent": "",
    "request_id": "b" * 32,
    "reason": "",
    "data": {"try": 2},
    "key_id": "other",
    "previous": "1:0123456789abcdef",
}
