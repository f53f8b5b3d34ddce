"""Repeated refusals: add their event when the hour is over, and show them as one line.

``models.refusal_counts`` says which refusals are counted, and how.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet

from optin.audit.reading import count_in, time_in
from optin.models import AuditEvent, RefusalCount, User
from optin.models.audit import LAST
from optin.models.refusal_counts import BEYOND, CHANGE_NOTHING, SEVERAL, network

CHUNK = 500
"""Closing events in one transaction."""

T = TypeVar("T")


def tell(now: datetime) -> int:
    """Add the events of repeats whose hour is over to the audit trail; return how many.

    It may run at any time, twice, and in many processes at once.
    """
    told = above = 0
    while True:
        with transaction.atomic(durable=True):
            # Past those that cannot be told.
            due = RefusalCount.objects.due(now).filter(pk__gt=above)
            ids = list(due.values_list("pk", flat=True)[:CHUNK])
            told += len(AuditEvent.objects.tell_repeats(due.filter(pk__in=ids), now))
        if len(ids) < CHUNK:
            return told
        above = ids[-1]


# -- read --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """How many decisions there were, when the first and the last of them were, and from where."""

    count: int
    first_at: datetime
    last_at: datetime
    network: str  # or SEVERAL

    def __add__(self, other: "Span") -> "Span":
        return Span(
            self.count + other.count,
            min(self.first_at, other.first_at),
            max(self.last_at, other.last_at),
            self.network if self.network == other.network else SEVERAL,
        )


def spans(events: Sequence[AuditEvent]) -> dict[int, Span]:
    """Return for each event, by its id, how many decisions it stands for, and when they were.

    The event of the first refusal also stands for equal ones that no event tells of yet.
    """
    times = [event.at for event in events if "repeated" not in event.data]
    rows = RefusalCount.objects.untold().filter(first_at__in=times)
    counting = {(row.kind, row.outcome, row.user_id, row.first_at): row for row in rows}
    return {event.pk: _span(event, counting) for event in events}


def _span(
    event: AuditEvent, counting: dict[tuple[str, str, int | None, datetime], RefusalCount]
) -> Span:
    data = event.data
    place = SEVERAL if "networks" in data else network(event.ip or "")
    since, until = (time_in(data, name) for name in ("since", "until"))
    if since and until:
        return Span(count_in(data, "repeated"), since, until, place)
    row = counting.get((event.kind, event.outcome, event.user_id, event.at))
    if row is None:
        return Span(1, event.at, event.at, place)
    return Span(1 + row.untold, event.at, row.last_at, row.network or place)


def span_of(events: Sequence[AuditEvent], each: dict[int, Span]) -> Span:
    """Return how many decisions *events* stand for together; ``spans`` returned *each*."""
    first, *others = (each[event.pk] for event in events)
    return sum(others, first)


def newest(events: QuerySet[AuditEvent], user: User, kinds: Iterable[str]) -> list[AuditEvent]:
    """Return the newest decisions about *user* of *events*, which are of *kinds*, newest first.

    For decisions that were only counted, there are events that are not saved, with an id above
    all others. An event that tells of several has the time of the last of them.
    """
    found = list(events[:_NEWEST])
    if all("repeated" in event.data for event in found):  # told together, after the latest
        found += events[_NEWEST:_LOOKED_AT]
    for event in found:
        event.at = _span(event, {}).last_at
    rows = RefusalCount.objects.untold().filter(user_id=user.pk, kind__in=kinds)
    for row in rows.order_by("-last_at", "-pk")[:_NEWEST]:
        found.append(as_event(row))
        found[-1].pk = LAST
    return sorted(found, key=lambda event: (event.at, event.pk), reverse=True)


def without_event(user: User) -> list[AuditEvent]:
    """Return what was only counted about *user* as events that are not saved, newest first.

    Their ids are negative.
    """
    rows = RefusalCount.objects.without_event(user).order_by("-last_at", "-pk")
    return [as_event(row) for row in rows[:_LOOKED_AT]]


def as_event(row: RefusalCount) -> AuditEvent:
    """Return the event, not saved, that stands for *row* on pages. Its id is negative."""
    event = AuditEvent.of_repeats(row, row.last_at)
    event.pk = -row.pk
    return event


_NEWEST = 10
"""Events among which the latest decision is: those of hours that are over are told soon after."""

_LOOKED_AT = 250
"""And where all of those tell of such hours: one for each bucket of networks and each rule."""


def may_come_from_anybody(event: AuditEvent) -> bool:
    """Whether a person without a valid credential can cause such an event."""
    return event.outcome in CHANGE_NOTHING | BEYOND | _CHARGED


_CHARGED = {"reset_asked", "mobile_number_in_use"}
"""Outcomes that a limit bounds, but that leave one event each."""


def in_runs(
    items: Iterable[T],
    key: Callable[[T], Hashable],
    is_noise: Callable[[T], bool],
    limit: int,
) -> list[list[T]]:
    """Group items with an equal *key* into one line each, *limit* lines at most.

    Noise is grouped until something else happened, so two kinds of refusals in turn fill only
    two lines. All other items are grouped only if they follow each other directly.

    :returns: the items of each line. Together they are the first items, without a gap.
    """
    found: list[list[T]] = []
    run: dict[Hashable, list[T]] = {}
    for item in items:
        alike = key(item)
        if not is_noise(item) and not (found and found[-1] is run.get(alike)):
            run.clear()
        if alike not in run and len(found) == limit:
            break
        if alike in run:
            run[alike].append(item)
        else:
            run[alike] = [item]
            found.append(run[alike])
    return found
