"""The events that staff ask for, page by page, each page in the same time (P-22).

Each filter (account, file, event, outcome, face) has an index in the order of the list. If there
are several filters, the search reads the index of the rarest one, and compares each event with the
others. Perhaps no event fits. So one search stops after ``LOOKED_AT`` events, and returns how far
back it looked and where to go on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from optin.models import AuditEvent
from optin.models.audit import LAST

LOOKED_AT = 10_000
"""Events that are compared in one look, at most. Each may stand on another page of the disk."""

SLACK = timedelta(minutes=5)
"""An event gets its id when it is written, its time when its operation began: the two orders
differ by less than this."""


@dataclass(frozen=True, slots=True)
class Found:
    """The events that one look found, newest first."""

    events: list[AuditEvent]
    further: int | None = None  # the id below which the next look goes on, if there is more
    looked_back_to: datetime | None = None  # where it ended early, and there may be more


def _page(events: list[AuditEvent], limit: int) -> Found:
    """Leave out the last one, which was read to know whether there are more."""
    more = len(events) > limit
    return Found(events[:limit], events[limit - 1].pk if more else None)


@contextmanager
def _in_order() -> Iterator[None]:
    """Let the database read the events in the order of an index, and stop in time.

    It would read all that a fact leads to and sort that, where it takes them for few.
    """
    if connection.vendor != "postgresql":  # SQLite would let nobody write meanwhile
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        yield


@dataclass(frozen=True)
class Search:
    """The events of which all *facts* are true (columns that have an index, and their
    values), and *rest*, and that began at *first* or later, and before *end*."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    first: datetime | None = None
    end: datetime | None = None
    rest: Q = field(default_factory=Q)

    def look(self, limit: int, *, below: int | None = None, columns: Sequence[str] = ()) -> Found:
        """Return the newest events whose id is under *below*, *limit* at most.

        It takes as many statements whatever there is, and none reads more than
        ``LOOKED_AT`` events, or *limit*, and what is written meanwhile.

        :param columns: if given, an event may be a named tuple of ``pk`` and these: it is read in
            half of the time.
        """
        above, top = self._ids
        span = (above, min(below or LAST, top))
        names = list(self.facts) or [""]
        with _in_order():
            if len(names) == 1 and not (self.first or self.end or self.rest):
                events: Any = self._led(names[0], span)
                if columns:
                    events = events.values_list("pk", *columns, named=True)
                return _page(list(events[: limit + 1]), limit)
            reached = {name: self._reach(name, span) for name in names}
            # Whose events reach back furthest is the rarest.
            name = min(names, key=lambda each: reached[each] or 0)
            # By ids, not by their number: by now there may be newer ones.
            within = (reached[name] or above, span[1])
            found = _page(list(self._compared(name, within, limit + 1)), limit)
        return self._cut(found, reached[name])

    def all(self, batch: int, columns: Sequence[str] = ()) -> Iterator[list[AuditEvent]]:
        """Return every event by one look after the other, so that no statement takes long."""
        found = self.look(batch, columns=columns)
        yield found.events
        while found.further:
            found = self.look(batch, below=found.further, columns=columns)
            yield found.events

    def _cut(self, found: Found, beyond: int | None) -> Found:
        """Say where the look ended, if that was for the number of events: before *beyond*."""
        at = AuditEvent.objects.filter(pk=beyond or 0).values_list("at", flat=True).first()
        if found.further or beyond is None:
            return found
        return Found(found.events, beyond + 1, at)

    @cached_property
    def _ids(self) -> tuple[int, int]:
        """Between which ids the days are: so that the list goes on by the ids."""
        above, below = 0, LAST
        if self.first:
            earlier = AuditEvent.objects.filter(pk__gt=0, at__lt=self.first - SLACK)
            above = earlier.order_by("-at", "-pk").values_list("pk", flat=True).first() or above
        if self.end:
            later = AuditEvent.objects.filter(pk__gt=0, at__gte=self.end + SLACK)
            below = later.order_by("at", "pk").values_list("pk", flat=True).first() or below
        return above, below

    def _led(self, name: str, span: tuple[int, int]) -> QuerySet[AuditEvent]:
        """The events that the fact *name* leads to; without one, all."""
        above, below = span
        if name:
            return AuditEvent.objects.led_by(name, self.facts[name], above=above, below=below)
        return AuditEvent.objects.filter(pk__gt=above, pk__lt=below).order_by("-pk")

    def _reach(self, name: str, span: tuple[int, int]) -> int | None:
        """The id of the first event that a look led by *name* does not come to.

        The further back, the rarer is what leads. The index alone is read for it.
        """
        ids = self._led(name, span).values_list("pk", flat=True)
        return next(iter(ids[LOOKED_AT : LOOKED_AT + 1]), None)

    def _compared(self, name: str, span: tuple[int, int], limit: int) -> Any:
        """The events that *name* leads to and of which the rest is true as well.

        Compared outside of what leads: else the rest would decide how events are looked for,
        and perhaps how many. The number is what keeps them apart, for the database.
        """
        led = self._led(name, span)[: 2 * LOOKED_AT]
        rest = {key: value for key, value in self.facts.items() if key != name}
        if self.first:
            rest["at__gte"] = self.first
        if self.end:
            rest["at__lt"] = self.end
        fitting = AuditEvent.objects.filter(self.rest, **rest).order_by(*led.query.order_by)[:limit]
        within, given = led.query.sql_with_params()
        sql, compared = fitting.query.sql_with_params()
        table = f'FROM "{AuditEvent._meta.db_table}"'
        looked_at = f'FROM ({within}) AS "{AuditEvent._meta.db_table}"'
        return AuditEvent.objects.raw(sql.replace(table, looked_at, 1), (*given, *compared))
