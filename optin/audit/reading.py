"""Read the rows of the trail, whatever was done to them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import DataError, models
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware

from optin.models import AuditEvent, AuditSeal
from optin.models.audit import LAST

_CHUNK = 2_000  # rows in memory at a time

NEVER = datetime.max.replace(tzinfo=UTC)
"""The time of a row whose own cannot be read."""

UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, DataError)
"""Exceptions that reading a row can raise if somebody tampered with its values."""

M = TypeVar("M", AuditEvent, AuditSeal)


def time_in(data: Mapping[str, Any], name: str) -> datetime | None:
    """Return the time that the facts of an event have under *name*; None if they have none."""
    try:
        at = parse_datetime(str(data.get(name, "")))
    except ValueError:
        return None
    return at if at and is_aware(at) else None


def count_in(data: Mapping[str, Any], name: str) -> int:
    """Return the count that the facts of an event have under *name*; 0 if they have none."""
    count = data.get(name)
    return count if isinstance(count, int) else 0


def events_of(one: AuditSeal) -> "models.QuerySet[AuditEvent]":
    return AuditEvent.objects.filter(pk__gte=one.first_id, pk__lte=one.last_id)


def all_seals() -> Iterator[AuditSeal]:
    """All seals, in their order."""
    from_id = -LAST - 1
    while True:
        seals = AuditSeal.objects.filter(first_id__gte=from_id).order_by("first_id")
        chunk = rows_of(seals[:_CHUNK], "first_id", "last_id", "count", "digest", "key_id", "proof")
        yield from chunk
        if not chunk:
            return
        from_id = chunk[-1].first_id + 1


def chunks(first: int, last: int) -> Iterator[list[AuditEvent]]:
    """The events of a range in the order of their ids; each chunk is one statement."""
    while True:
        events = AuditEvent.objects.filter(pk__gte=first, pk__lte=last).order_by("pk")
        chunk = rows_of(events[:_CHUNK], "key_id", "digest", "previous")
        if not chunk:
            return
        yield chunk
        first = chunk[-1].pk + 1


def rows_of(rows: "models.QuerySet[M]", *fields: str) -> list[M]:
    """Return *rows*. One that cannot be read has only *fields*, and its digest fails."""
    try:
        found = list(rows)
    except UNREADABLE:
        values = list(rows.values("pk", *fields))
        found = [_one(rows.model, value) for value in values]
    for row in found:
        # SQLite gives no time if the stored value is not one.
        row.at = row.at or NEVER
    return found


def _one(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model._base_manager.get(pk=values["pk"])
    except UNREADABLE:
        return model(**values, at=NEVER)
