"""Find the event that a reference (``runtime.references``) leads to, for staff (G-07)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from optin.audit import repeats
from optin.models import AuditEvent, RefusalCount, User
from optin.models.refusal_counts import WINDOW
from optin.runtime import references
from optin.support import wording
from optin.support.diagnosis.before_a_decision import REASONS, Reason
from optin.support.entries import Position

LASTS = timedelta(minutes=2)
"""No request takes longer: so long after its beginning its decision may stand."""

SHOWN = 20
"""Requests of one second that may share a reference, at most: one in 192 does."""

Kind = AuditEvent.Kind


@dataclass(frozen=True, slots=True)
class Led:
    """The result of one request, and its place in the timeline of the account."""

    event: AuditEvent  # not saved, where the refusal was only counted
    position: Position


def find(text: str, now: datetime) -> list[Led]:
    """Return what the reference *text* leads to: nothing, if it is none, or is too old."""
    return [led for at, beginning in references.read(text, now) for led in _led(at, beginning)]


@dataclass(frozen=True, slots=True)
class Untold:
    """A request of which no event tells."""

    at: datetime  # the second when it began
    begins: str  # how its request id begins
    reason: Reason | None  # if nothing was decided, and it is known why


def untold(text: str, now: datetime) -> list[Untold]:
    """Return the requests of the reference *text*, to which ``find`` gives no event.

    There can be several after a change of keys.
    """
    found = []
    for at, beginning in references.read(text, now):
        cause = references.cause(beginning)
        reason = REASONS[cause] if cause is not None else None
        found.append(Untold(at, beginning[: references.SECOND], reason))
    return found


def event_of(user: User, pk: int) -> AuditEvent | None:
    """Return the event about *user* with the id that ``find`` gave, negative for a count."""
    if pk > 0:
        return AuditEvent.objects.filter(pk=pk, user_id=user.pk).first()
    row = RefusalCount.objects.filter(pk=-pk, user_id=user.pk).first()
    return repeats.as_event(row) if row else None


def of_last_text(user: User) -> str:
    """Return the reference of the last request for a text that has an event; "" without one."""
    asked = AuditEvent.objects.about(user).filter(kind__in=[Kind.OPT_IN, Kind.CHALLENGE])
    request_id = asked.values_list("request_id", flat=True).first()
    return references.of(request_id) if request_id else ""


def _led(at: datetime, beginning: str) -> Iterator[Led]:
    found = AuditEvent.objects.filter(
        pk__gt=0, at__gte=at, at__lt=at + LASTS, request_id__startswith=beginning
    )
    of_requests: dict[str, AuditEvent] = {}
    for event in found.order_by("-at", "-pk")[:SHOWN]:
        # A sign-in that led to a text has two. What was refused is what they ask about.
        first = of_requests.setdefault(event.request_id, event)
        if wording.is_refusal(event) and not wording.is_refusal(first):
            of_requests[event.request_id] = event
    yield from (Led(event, _just_above(event)) for event in of_requests.values())
    counted = RefusalCount.objects.filter(
        first_at__gt=at - WINDOW, first_at__lt=at + LASTS, recent__contains=f"{beginning} "
    )
    told = {(event.kind, event.outcome, event.at) for event in of_requests.values()}
    for row in counted.order_by("-last_at", "-pk")[:SHOWN]:
        if (row.kind, row.outcome, row.first_at) not in told:
            yield _of_count(row)


def _just_above(event: AuditEvent) -> Position:
    return Position(event.at + timedelta(microseconds=1), _LAST_RANK, 0, event.pk + 1)


_LAST_RANK = 3


def _of_count(row: RefusalCount) -> Led:
    """The event that tells of *row*: that of the last ones, else that of the first, else none."""
    if row.told and row.user_id is not None:
        since = row.first_at.isoformat()
        alike = AuditEvent.objects.led_by("user_id", row.user_id).filter(
            kind=row.kind, outcome=row.outcome, at__gte=row.first_at
        )
        for event in alike[:_LOOKED_AT]:
            if event.at == row.first_at or event.data.get("since") == since:
                return Led(event, _just_above(event))
    event = repeats.as_event(row)
    newest = AuditEvent.objects.filter(pk__gt=0, at__lte=row.last_at).order_by("-at", "-pk")
    below = newest.values_list("pk", flat=True).first() or 0
    position = Position(row.last_at, _LAST_RANK, row.pk + 1, below + 1)
    return Led(event, position)


_LOOKED_AT = 250
