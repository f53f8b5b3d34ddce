"""Drawings for the home page: columns for days and bars for shares, each beside a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 300, 100
"""Of a drawing, in units of its own."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of things in a chart: how it looks, and what it is called."""

    look: str  # a class of the sheet
    name: str


@dataclass(frozen=True, slots=True)
class Box:
    look: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Row
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, one for each day, and the table that says the same."""

    slug: str
    summary: str  # for whom the drawing tells nothing
    parts: tuple[Part, ...]
    boxes: list[Box]
    top: str  # what its height stands for
    first: str
    last: str
    table: Table
    line: str = ""  # how high the line of a limit is
    line_name: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a table, with a bar for the share that it names."""

    name: str
    width: str
    look: str
    cells: Row


@dataclass(frozen=True, slots=True)
class Bars:
    slug: str
    title: str
    columns: Row
    rows: list[Bar]
    note: str = ""


def day_name(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def grouped(count: int) -> str:
    return f"{count:,}"


def _at(place: float) -> str:
    """Return a place in a drawing, without what nobody sees."""
    return f"{place:.2f}".rstrip("0").rstrip(".")


def columns(
    days: Sequence[date],
    table: Table,
    parts: Sequence[tuple[Part, Sequence[int]]],
    *,
    slug: str,
    limit: int = 0,
) -> Chart:
    """Draw a column for each day: its parts, of which each has so many a day, on each other."""
    totals = [sum(counts) for counts in zip(*(counts for _, counts in parts), strict=True)]
    # A limit far above all columns would press them flat.
    shown_limit = limit if 0 < limit <= 3 * max(totals) else 0
    top = max(*totals, shown_limit, 1)
    step, boxes = WIDTH / len(totals), []
    for n in range(len(totals)):
        below = 0.0
        for part, counts in parts:
            height = counts[n] / top * HEIGHT
            below += height
            if counts[n]:
                place = (n * step + step * 0.1, HEIGHT - below, step * 0.8, height)
                boxes.append(Box(part.look, *map(_at, place)))
    highest = max(range(len(totals)), key=lambda n: totals[n])
    return Chart(
        slug=slug,
        summary=f"{table.title}, day by day. Most on {day_name(days[highest])}: "
        f"{grouped(totals[highest])}. The table says the same.",
        parts=tuple(part for part, _ in parts),
        boxes=boxes,
        top=grouped(top),
        first=day_name(days[0]),
        last=day_name(days[-1]),
        table=table,
        line=_at(HEIGHT - shown_limit / top * HEIGHT) if shown_limit else "",
        line_name=f"budget of a day: {grouped(limit)}" if shown_limit else "",
    )


def bar_width(share: float) -> str:
    return _at(min(share, 1) * WIDTH)
