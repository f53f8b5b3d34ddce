"""Tables of figures, and drawings of them: a column for each day.

A table holds values. ``words`` writes one for a page, ``raw`` for a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from optin.support.wording import moment

WIDTH, HEIGHT = 300, 100
"""The size of a drawing, in units of its own."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share in percent; nothing if the whole is 0."""

    part: int
    whole: int

    def __bool__(self) -> bool:
        return bool(self.part)

    def __str__(self) -> str:
        return f"{self.percent} %" if self.whole else ""

    @property
    def percent(self) -> int:
        return round(self.part * 100 / self.whole)


Value = str | int | Decimal | date | Share  # a datetime is a date


def day_name(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def words(value: Value) -> str:
    """Write *value* as people read it."""
    match value:
        case datetime():
            return moment(value)
        case date():
            return day_name(value)
        case Decimal():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}"
    return str(value) or "-"


def raw(value: Value) -> str | int:
    """Write *value* as a spreadsheet reads it."""
    match value:
        case datetime():
            return moment(value)
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:.2f}"
        case int():
            return value
    return str(value)


# -- tables ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    head: Value
    cells: tuple[Value, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it tells of nothing: there was none of all that it counts."""
        return not any(self.cells)

    @property
    def words(self) -> list[str]:
        return [words(value) for value in (self.head, *self.cells)]


@dataclass(frozen=True, slots=True)
class Table:
    slug: str
    title: str
    columns: tuple[str, ...]
    rows: list[Row]
    note: str = ""

    @property
    def shown(self) -> list[Row]:
        """The rows that tell of something."""
        return [row for row in self.rows if not row.is_empty]

    @property
    def has_left_out(self) -> bool:
        return len(self.shown) < len(self.rows)


# -- drawings ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of things in a chart: how it looks, what it is called, how many there were."""

    look: str  # a class of the sheet
    name: str
    counts: list[int]

    @property
    def total(self) -> str:
        return words(sum(self.counts))


@dataclass(frozen=True, slots=True)
class Box:
    look: str
    x: str
    y: str
    width: str
    height: str
    says: str


@dataclass(frozen=True, slots=True)
class Tick:
    """What is written below a column."""

    place: str  # the middle of the column, in percent of the width
    anchor: str  # a class of the sheet: which end of the words stands there
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, one for each day, and the table that says the same."""

    table: Table
    summary: str  # for whom the drawing tells nothing
    parts: list[Part]
    boxes: list[Box]
    top: str  # what its height stands for
    half: str
    weeks: list[str]  # where each begins
    ticks: list[Tick]
    line: str = ""  # how high the line of a limit is
    line_name: str = ""


def columns(steps: Sequence[date], table: Table, parts: list[Part], *, limit: int = 0) -> Chart:
    """Draw a column for each day: its parts, of which each has so many, on each other.

    :param limit: what a line is drawn at.
    """
    totals = [sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)]
    # A limit far above all columns would press them flat: its line is at the top.
    is_far = limit > 3 * max(totals)
    top = _round_up(max(*totals, 0 if is_far else limit))
    step, boxes = WIDTH / len(totals), []
    for n, name in enumerate(steps):
        below = 0.0
        for part in parts:
            height = part.counts[n] / top * HEIGHT
            below += height
            if part.counts[n]:
                place = (n * step + step * 0.1, HEIGHT - below, step * 0.8, height)
                x, y, width, high = map(_at, place)
                says = f"{words(name)}, {part.name}: {words(part.counts[n])}"
                boxes.append(Box(part.look, x, y, width, high, says))
    highest = max(range(len(totals)), key=lambda n: totals[n])
    return Chart(
        table=table,
        summary=f"{table.title}. Most: {words(totals[highest])}, {words(steps[highest])}. "
        "The table says the same.",
        parts=[part for part in parts if any(part.counts)],
        boxes=boxes,
        top=words(top),
        half=words(top // 2),
        weeks=[_at(n * step) for n, name in enumerate(steps) if n and name.weekday() == 0],
        ticks=_ticks(steps),
        line=_at(0 if is_far else HEIGHT - limit / top * HEIGHT) if limit else "",
        line_name=f"budget {words(limit)} a day{', above this scale' if is_far else ''}",
    )


def _ticks(days: Sequence[date]) -> list[Tick]:
    """Write below each Monday, and below the last day."""
    last = len(days) - 1
    said = {
        n: f"{day.day} {day:%b}"
        for n, day in enumerate(days)
        if day.weekday() == 0 and n <= last - len(days) // 8
    }
    return [
        Tick(_at((n + 0.5) / len(days) * 100), _anchor(n, last), words)
        for n, words in {**said, last: "today"}.items()
    ]


def _anchor(n: int, last: int) -> str:
    return "start" if n == 0 else "end" if n == last else "middle"


def _round_up(count: int) -> int:
    """Return the next number that an axis is easily read with, and so is its half."""
    unit: int = 10 ** (len(str(count)) - 1)
    return next(n for n in (2 * unit, 4 * unit, 6 * unit, 8 * unit, 10 * unit) if n >= count)


def _at(place: float) -> str:
    """Return a place in a drawing, without what nobody sees."""
    return f"{place:.2f}".rstrip("0").rstrip(".")
