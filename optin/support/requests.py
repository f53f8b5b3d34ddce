"""Find what was decided in one request, by its id, for staff (G-07)."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from optin.audit import repeats
from optin.models import AuditEvent, RefusalCount, User
from optin.models.refusal_counts import NAMED, WINDOW
from optin.runtime import request_ids
from optin.support import wording

LASTS = timedelta(minutes=2)
"""No request takes longer: so long after its beginning its decision may stand."""

SHOWN = 20
"""Requests of one second whose ids begin alike, at most."""

Kind = AuditEvent.Kind


def spelled(text: str) -> str:
    """Return *text* as a request id is written, or its first 12 characters or more; else ""."""
    text = re.sub(r"[\s-]", "", text).lower()
    return text if re.fullmatch("[0-9a-f]{12,32}", text) else ""


def find(text: str) -> list[AuditEvent]:
    """Return one event of each request whose id begins with *text*: the refusal, if there is one.

    The id has the second of the request. So only events of that time are read.
    """
    if not (request_id := spelled(text)):
        return []
    at = request_ids.second_of(request_id)
    found = AuditEvent.objects.filter(
        pk__gt=0, at__gte=at, at__lt=at + LASTS, request_id__startswith=request_id
    )
    of_requests: dict[str, AuditEvent] = {}
    for event in found.order_by("-at", "-pk")[:SHOWN]:
        # A sign-in that led to a text has two. What was refused is what they ask about.
        first = of_requests.setdefault(event.request_id, event)
        if wording.is_refusal(event) and not wording.is_refusal(first):
            of_requests[event.request_id] = event
    return [*of_requests.values()] or [*_counted(at, request_id)]


def _counted(at: datetime, request_id: str) -> Iterator[AuditEvent]:
    """Yield an event, not saved, for each refusal that was only counted."""
    counts = RefusalCount.objects.filter(
        first_at__gt=at - WINDOW,
        first_at__lt=at + LASTS,
        recent__contains=f"{request_id[:NAMED]} ",
    )
    yield from map(repeats.as_event, counts[:SHOWN])


def event_of(user: User, pk: int) -> AuditEvent | None:
    """Return the event about *user* with the id that ``find`` gave, negative for a count."""
    if pk > 0:
        return AuditEvent.objects.filter(pk=pk, user_id=user.pk).first()
    row = RefusalCount.objects.filter(pk=-pk, user_id=user.pk).first()
    return repeats.as_event(row) if row else None


def of_last_text(user: User) -> str:
    """Return the id of the last request for a text that has an event; "" without one."""
    asked = AuditEvent.objects.about(user).filter(kind__in=[Kind.OPT_IN, Kind.CHALLENGE])
    return asked.values_list("request_id", flat=True).first() or ""
