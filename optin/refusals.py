"""Refusals that repeat: told when their hour is over, and read as one line.

What is counted, and how, stands with the rows (``models.refusals``).
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import transaction
from django.utils.dateparse import parse_datetime

from optin.models import AuditEvent, RefusalCount

CHUNK = 500
"""Closing events in one transaction."""

T = TypeVar("T")


def tell(now: datetime) -> int:
    """Tell the audit trail of the repeats whose hour is over; return by how many events.

    It may run at any time, twice, and in many processes at once.
    """
    told = 0
    while True:
        with transaction.atomic(durable=True):
            made = AuditEvent.objects.tell_repeats(RefusalCount.objects.due(now)[:CHUNK], now)
        told += made
        if made < CHUNK:
            return told


# -- read --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """So many decisions, the first and the last of them at these times."""

    count: int
    first_at: datetime
    last_at: datetime

    def __add__(self, other: "Span") -> "Span":
        return Span(
            self.count + other.count,
            min(self.first_at, other.first_at),
            max(self.last_at, other.last_at),
        )


def spans(events: Sequence[AuditEvent]) -> dict[int, Span]:
    """Return for each event, by its id, how many decisions it stands for, and when they were.

    The first of equal refusals stands also for those that no event tells of yet.
    """
    times = [event.at for event in events if "repeated" not in event.data]
    rows = RefusalCount.objects.untold().filter(first_at__in=times)
    counting = {(row.kind, row.outcome, row.user_id, row.first_at): row for row in rows}
    return {event.pk: _span(event, counting) for event in events}


def _span(
    event: AuditEvent, counting: dict[tuple[str, str, int | None, datetime], RefusalCount]
) -> Span:
    data = event.data
    since, until = (parse_datetime(str(data.get(name, ""))) for name in ("since", "until"))
    if since and until:
        return Span(int(data["repeated"]), since, until)
    row = counting.get((event.kind, event.outcome, event.user_id, event.at))
    if row is None:
        return Span(1, event.at, event.at)
    return Span(1 + row.untold, event.at, row.last_at)


def in_runs(
    items: Iterable[T], key: Callable[[T], Hashable], ends_run: Callable[[T], bool]
) -> list[list[T]]:
    """Put together what is equal by *key*, in a run of refusals or one after the other.

    A run goes on until something that *ends_run*. So whoever causes refusals of two kinds in
    turn fills two lines, and what they happened between keeps its place.
    """
    found: list[list[T]] = []
    run: dict[Hashable, list[T]] = {}
    for item in items:
        alike = key(item)
        if ends_run(item) and not (found and found[-1] is run.get(alike)):
            run.clear()
        if alike in run:
            run[alike].append(item)
        else:
            run[alike] = [item]
            found.append(run[alike])
    return found
