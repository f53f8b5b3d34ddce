"""The page of figures: conversion, spend and locks of the last 30 days (P-20).

It reads what ``statistics`` keeps, and the counters of budgets that are running. Each
chart is drawn here, to scale, with a table that says the same; each table is also a file.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from optin.conf import conf
from optin.models import Figure
from optin.support import budgets, statistics
from optin.support.cells import cell, lines
from optin.support.charts import (
    Chart,
    Part,
    Row,
    Share,
    Table,
    Value,
    columns,
    day_name,
    raw,
)
from optin.support.statistics import Figures
from optin.support.wording import a_span, moment

MAY_SEE = "optin.view_auditevent"

STALE = timedelta(minutes=15)
"""Figures older than that are said to be: they are counted each 5 minutes."""

What = Figure.What


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows, as ``figures``.

    :raises PermissionDenied: unless who asks may read the audit log.
    """
    now = timezone.now()
    found = _counted(request, now)
    return {
        "figures": {
            **_about(found, now),
            "budgets": _budgets(now),
            "charts": [chart(found, found.days) for chart in _CHARTS],
        }
    }


def file(request: HttpRequest, slug: str) -> HttpResponse:
    """Return one of the tables as CSV, with all its rows.

    :raises PermissionDenied: as ``context``.
    """
    now = timezone.now()
    found = _counted(request, now)
    table = next((table for table in _tables(found, now) if table.slug == slug), None)
    if table is None:
        raise Http404
    rows = [(row.head, *row.cells) for row in table.rows]
    written = [[cell(raw(value)) for value in row] for row in rows]
    response = HttpResponse(
        lines([table.columns, *written]), content_type="text/csv; charset=utf-8"
    )
    name = f"figures-{slug}-{found.today.isoformat()}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _counted(request: HttpRequest, now: datetime) -> Figures:
    """Return the figures, counted anew where nothing else counts them.

    :raises PermissionDenied: unless who asks may read the audit log.
    """
    user: Any = request.user
    if not user.has_perm(MAY_SEE):
        raise PermissionDenied
    if conf.delivery == "inline":
        # Without workers, the page counts them: an hour or two, by an index, at most once a minute.
        statistics.roll_up(now)
    return statistics.read(now)


def _about(found: Figures, now: datetime) -> dict[str, Any]:
    """Say when and from when on it was counted."""
    return {
        "zone": conf.time_zone,
        "today": day_name(found.today),
        "as_of": moment(found.as_of) if found.as_of else "",
        "since": _since(found),
        "is_stale": found.as_of is None or now - found.as_of > STALE,
        "is_empty": found.is_empty,
    }


def _since(found: Figures) -> str:
    """Say when counting began, if that is within the days that are shown."""
    if found.since is None or statistics.day_of(found.since) <= found.days[0]:
        return ""
    return moment(found.since)


def _tables(found: Figures, now: datetime) -> Iterator[Table]:
    yield _budgets(now)
    yield from (chart(found, found.days).table for chart in _CHARTS)


def _share(found: Figures, day: date) -> Share:
    """Return the share of opt-ins that were verified, of those that ended on *day*."""
    ended = found.of(What.OPT_IN, "proved", "failed", days=[day]).count
    return Share(found.of(What.OPT_IN, "proved", days=[day]).count, ended)


def _budgets(now: datetime) -> Table:
    """How much the running windows of all files have used."""
    rows = [
        Row(
            budgets.name(one, {}),
            (one.used, one.limit, a_span(one.seconds), Share(one.used, one.limit), one.ends),
        )
        for one in sorted(budgets.running(now, []), key=lambda one: -one.share)
    ]
    columns = ("Budget", "Count", "Limit", "Each", "Used", "Begins again")
    return Table("budgets", "Budgets that are running now", columns, rows)


# -- day by day --------------------------------------------------------------------


def _rows(days: Iterable[date], *columns: Iterable[Value]) -> list[Row]:
    """Return a row for each day, the newest first."""
    return [Row(day, tuple(cells)) for day, *cells in zip(days, *columns, strict=True)][::-1]


def _conversion(found: Figures, days: list[date]) -> Chart:
    """Draw the opt-ins by what became of them."""
    verified, failed, waiting = (
        found.counts(What.OPT_IN, name, days=days) for name in ("proved", "failed", "waiting")
    )
    shares = [_share(found, day) for day in days]
    table = Table(
        "conversion",
        "Conversion of opt-ins",
        ("Day", "Started", "Verified", "Failed", "Waiting", "Conversion"),
        _rows(days, found.counts(What.OPT_IN, days=days), verified, failed, waiting, shares),
        "Each number that somebody started to opt in, at the time of its last code. Failed: "
        "the code expired, had no tries left, or another account uses the number.",
    )
    parts = [
        Part("good", "verified", verified),
        Part("bad", "failed", failed),
        Part("open", "waiting", waiting),
    ]
    return columns(days, table, parts)


def _spend(found: Figures, days: list[date]) -> Chart:
    counts = found.counts(What.BUDGET, days=days)
    limit = min((rate.count for rate in conf.sends_total if rate.seconds == 86_400), default=0)
    table = Table(
        "spend",
        "Spend against the budget",
        ("Day", "Texts", "Of the budget", f"Cost, {conf.currency}"),
        _rows(
            days,
            counts,
            [Share(n, limit) for n in counts],
            [found.of(What.BUDGET, days=[day]).cost for day in days],
        ),
        "Texts for opting in and out, which the budget limits; texts for signing in have a "
        "ceiling of their own.",
    )
    return columns(days, table, [Part("fair", "texts", counts)], limit=limit)


def _locks(found: Figures, days: list[date]) -> Chart:
    locked, disabled = (found.counts(What.LOCK, name, days=days) for name in ("locked", "disabled"))
    table = Table(
        "locks",
        "Locks",
        ("Day", "Temporary", "Texted codes"),
        _rows(days, locked, disabled),
        "Wrong codes locked all codes of an account for a while, or its texted codes until further "
        "notice. One account can count several times.",
    )
    parts = [Part("fair", "temporary", locked), Part("bad", "texted codes", disabled)]
    return columns(days, table, parts)


_CHARTS = (_conversion, _spend, _locks)
