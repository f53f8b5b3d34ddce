"""A trail to seal, to tamper with and to check."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.utils import timezone

from optin import seals
from optin.models import AuditEvent, AuditSeal
from tests.domain.test_audit import ORIGIN

GUARDS = [
    importlib.import_module(f"optin.migrations.{name}")
    for name in ("0002_append_only_audit", "0004_audit_seals")
]
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
        origin=ORIGIN,
        **fields,
    )
    return event


def record_many(count: int, *, age: timedelta = OLD) -> None:
    """*count* equal events, made by the database: the own digest leaves out the id."""
    first = record(age)
    columns = ", ".join(
        field.attname for field in AuditEvent._meta.concrete_fields if not field.primary_key
    )
    numbers = "WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < %s) "
    sql(
        f"{numbers if connection.vendor == 'sqlite' else ''}"  # noqa: S608
        f"INSERT INTO optin_auditevent ({columns}) SELECT {columns} FROM optin_auditevent, "
        f"{'n' if connection.vendor == 'sqlite' else 'generate_series(2, %s) n(x)'} "
        f"WHERE id = %s",
        count,
        first.pk,
    )


def sql(statement: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


@contextmanager
def unguarded() -> Iterator[None]:
    """A restored copy, whose owner has dropped the triggers."""
    editor = SimpleNamespace(connection=connection)
    for guard in GUARDS:
        guard.unprotect(None, editor)
    try:
        yield
    finally:
        for guard in GUARDS:
            guard.protect(None, editor)


def change(row: models.Model, **values: Any) -> None:
    """Change *row* as SQL would."""
    with unguarded():
        models.QuerySet(type(row)).filter(pk=row.pk).update(**values)


def remove(*rows: models.Model) -> None:
    with unguarded():
        for row in rows:
            models.QuerySet(type(row)).filter(pk=row.pk)._raw_delete("default")


def seal_rows(size: int = 10, ranges: int = 1) -> list[AuditSeal]:
    """Seal *ranges* ranges of *size* events each."""
    for _ in range(ranges):
        record_many(size)
        assert seals.seal(timezone.now()) == 1
    return list(AuditSeal.objects.order_by("-first_id")[:ranges])[::-1]


def verify(now: datetime | None = None, **options: Any) -> list[str]:
    """What a check finds."""
    findings = seals.verify(now or timezone.now(), seals.Tally(), **options)
    return [finding.text for finding in findings]


def run(*arguments: str) -> tuple[int, list[str]]:
    """Run the command; return its exit status and its lines."""
    out, status = StringIO(), 0
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=StringIO())
    except SystemExit as exc:
        status = int(str(exc.code))
    return status, out.getvalue().splitlines()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of ``optin.audit`` so far."""

    def lines() -> list[str]:
        records = [*caplog.get_records("setup"), *caplog.get_records("call")]
        return [record.getMessage() for record in records if record.name == "optin.audit"]

    return lines
