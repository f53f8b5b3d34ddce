"""Events and seals, and what somebody with the database could do to them."""

import secrets
import threading
from collections.abc import Iterable
from copy import copy
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import connection, connections, models, transaction
from django.utils import timezone

from optin import database
from optin.audit import integrity, seals
from optin.models import AuditEvent, AuditSeal
from tests.kit.trail import FULL_ORIGIN, sql, unguarded

OLD = timedelta(minutes=6)


def record(age: timedelta = OLD, **changes: Any) -> AuditEvent:
    """An event that is *age* old."""
    fields: dict[str, Any] = {
        "user_id": 7,
        "file_id": 777,
        "provider_user_id": 41,
        "other_user_id": 8,
        "number_digest": "cd" * 32,
        "last_three": "156",
        "reason": "why",
        "data": {"try": 1, "rule": "x"},
        **changes,
    }
    event: AuditEvent = AuditEvent.objects.record(
        AuditEvent.Kind.VERIFY_OPT_IN,
        "otp_incorrect",
        now=timezone.now() - age,
        origin=FULL_ORIGIN,
        **fields,
    )
    return event


def record_many(count: int, *, age: timedelta = OLD) -> None:
    """*count* events that say the same, as of so many threads that write one each."""
    first = record(age)
    AuditEvent.objects.bulk_create((another(first) for _ in range(count - 1)), batch_size=1000)


def another(event: AuditEvent, **changes: Any) -> AuditEvent:
    """An event of another thread that says what *event* says, unsaved, with a digest of its own."""
    made = copy(event)
    made.pk, made.previous = None, secrets.token_hex(16)
    made._state = models.base.ModelState()
    for name, value in changes.items():
        setattr(made, name, value)
    made.digest = made.content_digest()
    return made


def change(row: models.Model, **values: Any) -> None:
    """Change *row* as SQL would."""
    with unguarded():
        models.QuerySet(type(row)).filter(pk=row.pk).update(**values)


def put(*events: AuditEvent, pk: int) -> None:
    """Add *events* under *pk* and the ids after it, as SQL would."""
    fields = [f.attname for f in AuditEvent._meta.concrete_fields if not f.primary_key]
    rows = [{name: getattr(event, name) for name in fields} for event in events]
    with unguarded():
        AuditEvent.objects.bulk_create(AuditEvent(id=n, **row) for n, row in enumerate(rows, pk))


def spoil_the_time(row: AuditEvent | AuditSeal) -> None:
    """Store what no program can read."""
    garbage = "'infinity'" if connection.vendor == "postgresql" else "'when?'"
    with unguarded():
        sql(f"UPDATE {row._meta.db_table} SET at = {garbage} WHERE id = %s", row.pk)  # noqa: S608


def forge_restore(first: int, last: int, *, key_id: str) -> None:
    """Add a new digest key, and a restore that lost these events, as SQL would: without a key."""
    gap = {"lost_from": first, "lost_to": last}
    for pk, kind, outcome, data in (
        (last + 1, AuditEvent.Kind.KEYS, "redigested", {}),
        (last + 2, AuditEvent.Kind.RESTORE, "begun", gap),
    ):
        values = {"face": "command", "key_id": key_id, "digest": "\u00e9" * 64, "data": data}
        put(AuditEvent(at=timezone.now(), kind=kind, outcome=outcome, **values), pk=pk)
    sequence_ends_at(last + 2)


def remove(*rows: models.Model) -> None:
    with unguarded():
        for row in rows:
            models.QuerySet(type(row)).filter(pk=row.pk)._raw_delete("default")


def sequence_ends_at(last: int) -> None:
    """Let the ids go on after *last*."""
    if connection.vendor == "postgresql":
        sql("SELECT setval('optin_auditevent_id_seq', %s, %s)", max(last, 1), last > 0)
    else:
        sql("UPDATE sqlite_sequence SET seq = %s WHERE name = 'optin_auditevent'", last)


def content_of(events: Iterable[AuditEvent]) -> seals.Content:
    """What a seal over *events* says of them; it needs no key."""
    content = seals.Content()
    for event in events:
        content.add(event.pk, event.key_id, event.digest)
    return content


def seal_rows(size: int = 10, ranges: int = 1) -> list[AuditSeal]:
    """Seal *ranges* ranges of *size* events each."""
    for _ in range(ranges):
        record_many(size)
        assert seals.seal(timezone.now()) == 1
    return list(AuditSeal.objects.order_by("-first_id")[:ranges])[::-1]


def verify(now: datetime | None = None, **options: Any) -> list[str]:
    """What a check finds."""
    findings = integrity.verify(now or timezone.now(), integrity.Tally(), **options)
    return [finding.text for finding in findings]


def run(*arguments: str) -> tuple[int, list[str]]:
    """Run the command; return its exit status and its lines."""
    out, status = StringIO(), 0
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=StringIO())
    except SystemExit as exc:
        status = int(str(exc.code))
    return status, out.getvalue().splitlines()


class Writer:
    """A transaction that has added an old event and stays open."""

    def __init__(self) -> None:
        self._wrote, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                record()
                # As if it read something: otherwise the event is added with the commit only.
                database.run([])
                self._wrote.set()
                assert self._end.wait(30)
        finally:
            connections.close_all()

    def __enter__(self) -> "Writer":
        self._thread.start()
        assert self._wrote.wait(30)
        return self

    def commit(self) -> None:
        self._end.set()
        self._thread.join(30)

    def __exit__(self, *_: object) -> None:
        self.commit()
