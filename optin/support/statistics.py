"""Figures for the charts of staff: counted from the rows, hour by hour, and kept.

Codes and texts are purged after a day, and the service may learn late what became of a text. So
time is cut into spans of an hour. For a day from its start, while all its rows are there,
``roll_up`` counts a span again, ever more rarely. Then it counts the span for the last time and
settles it. ``purge`` calls ``roll_up`` first, so it deletes no row that was not counted.

It may run at any time, twice, and in many processes at once: the row of a span is the lock
of its figures. Each count reads no more than its span, by an index.

A day begins at midnight in ``TIME_ZONE``. Pages read only the figures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Max, Min, Sum

from optin.conf import conf
from optin.models import Figure, SmsMessage, Span
from optin.support import counting

INTACT = timedelta(hours=24)
"""For so long after a span began, what it is counted from is kept (``retention.ENDED_KEPT``)."""

DAYS = 30
"""Days that are shown, today among them; and how far back a first run, or a late one, goes."""

HOUR = timedelta(hours=1)

What = Figure.What


def roll_up(now: datetime) -> int:
    """Count what may have changed by *now*; return how many spans were counted.

    Spans that were missed are counted later, each in one short transaction.
    """
    _begin_spans(now)
    due = [span.pk for span in Span.objects.unsettled() if _is_due(span, now)]
    return sum(_count(pk, now) for pk in due)


# -- spans -------------------------------------------------------------------------


def _zone() -> ZoneInfo:
    return ZoneInfo(conf.time_zone)


def day_of(moment: datetime) -> date:
    """Return the day that *moment* is in, in the zone of the service."""
    return moment.astimezone(_zone()).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, _zone()).astimezone(UTC)


def _begin_spans(now: datetime) -> None:
    """Make the spans up to *now*, where they are not all made."""
    ends = _made_until()
    if ends and ends > now:
        return
    with transaction.atomic():
        # One after the other: at midnight one cuts a missed day into hours, and the next
        # would make it whole.
        list(Span.objects.select_for_update(no_key=True).order_by("-start")[:1])
        start = _made_until() or _first(now)
        start = max(start, _midnight(day_of(now) - timedelta(days=DAYS)))
        made = []
        while start <= now:
            end = _end(start, now)
            made.append(Span(start=start, end=end, day=day_of(start)))
            start = end
        Span.objects.bulk_create(made, ignore_conflicts=True)


def _made_until() -> datetime | None:
    ends: datetime | None = Span.objects.aggregate(end=Max("end"))["end"]
    return ends


def _first(now: datetime) -> datetime:
    """Return the start of the first hour that there is anything to count in."""
    text = SmsMessage.objects.aggregate(first=Min("created_at"))["first"]
    return _hour(min(text or now, now))


def _hour(moment: datetime) -> datetime:
    """Return the start of the hour that *moment* is in: not all zones differ by whole ones."""
    past = moment.astimezone(_zone())
    return moment - timedelta(
        minutes=past.minute, seconds=past.second, microseconds=past.microsecond
    )


def _end(start: datetime, now: datetime) -> datetime:
    """Return the end of the span from *start*: of its hour, or of a whole day that was missed."""
    midnight = _midnight(day_of(start) + timedelta(days=1))
    if midnight <= now - INTACT:
        return midnight
    return min(_hour(start) + HOUR, midnight)


def _is_due(span: Span, now: datetime) -> bool:
    return span.is_due(now) or now - span.start >= INTACT


def _count(pk: int, now: datetime) -> bool:
    """Count the span anew, unless another process just did; return whether it was counted."""
    with transaction.atomic():
        span = Span.objects.select_for_update(no_key=True).get(pk=pk)
        if span.is_settled or not _is_due(span, now):
            return False
        span.figures.all().delete()
        Figure.objects.bulk_create(counting.figures_of(span, now))
        span.made_at = now
        span.is_settled = now - span.start >= INTACT
        span.save(update_fields=["made_at", "is_settled"])
    return True


# -- read --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """A count, and its cost."""

    count: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.count + other.count, self.cost + other.cost)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the last ``DAYS`` days."""

    today: date
    since: datetime | None  # nothing before it was counted
    as_of: datetime | None
    amounts: dict[tuple[str, str], dict[date, Amount]]  # by what and name

    @property
    def days(self) -> list[date]:
        """The days, the oldest first."""
        return [self.today - timedelta(days=n) for n in reversed(range(DAYS))]

    @property
    def is_empty(self) -> bool:
        return not self.amounts

    def counts(self, what: str, *names: str, days: Iterable[date]) -> list[int]:
        """Return how many there were of *what* in each of *days*."""
        return [self.of(what, *names, days=[day]).count for day in days]

    def of(self, what: str, *names: str, days: Sequence[date] = ()) -> Amount:
        """Return how much there was of *what*, under any of *names*, or all; in *days*, or all."""
        found = [
            of_day
            for (its_what, name), of_day in self.amounts.items()
            if its_what == what and (not names or name in names)
        ]
        days = days or self.days
        return sum((of_day.get(day, Amount()) for of_day in found for day in days), Amount())


def read(now: datetime) -> Figures:
    """Return what was counted by *now*: two statements, however many rows were counted."""
    today = day_of(now)
    first = today - timedelta(days=DAYS - 1)
    spans = Span.objects.filter(day__gte=first).aggregate(since=Min("start"), as_of=Max("made_at"))
    rows = Figure.objects.filter(day__range=(first, today)).values_list("what", "name", "day")
    amounts: dict[tuple[str, str], dict[date, Amount]] = {}
    for what, name, day, *sums in rows.annotate(n=Sum("count"), price=Sum("cost")).order_by():
        amounts.setdefault((what, name), {})[day] = Amount(*sums)
    return Figures(today, spans["since"], spans["as_of"], amounts)
