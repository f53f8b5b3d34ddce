"""The events of a range of time, for staff (P-22)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from optin.models import AuditEvent
from optin.models.audit import LAST

RANGE = timedelta(days=90)
"""How far the list goes back if staff name no first day."""

SLACK = timedelta(minutes=5)
"""An event gets its id when it is written, its time when its operation began: the two orders
differ by less than this."""


def within(
    events: QuerySet[AuditEvent], first: datetime, end: datetime | None
) -> QuerySet[AuditEvent]:
    """Return those of *events* that began at *first* or later, and before *end*.

    Between two ids: a list by ids reads nothing that is older or newer.
    """
    earlier = AuditEvent.objects.filter(pk__gt=0, at__lt=first - SLACK).order_by("-at", "-pk")
    above = earlier.values_list("pk", flat=True).first() or 0
    found = events.filter(pk__gt=above, at__gte=first)
    if end is None:
        return found
    later = AuditEvent.objects.filter(pk__gt=0, at__gte=end + SLACK).order_by("at", "pk")
    below = later.values_list("pk", flat=True).first() or LAST
    return found.filter(pk__lt=below, at__lt=end)


def batches(events: QuerySet[AuditEvent, Any], size: int) -> Iterator[list[Any]]:
    """Yield all of *events*, newest first, each batch by a statement of its own."""
    below = LAST
    while batch := list(events.filter(pk__lt=below).order_by("-pk")[:size]):
        yield batch
        below = batch[-1].pk
