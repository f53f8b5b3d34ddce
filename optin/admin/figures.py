"""The page of figures: how much there was of what, today and in the last 30 days (P-20).

It reads what ``statistics`` keeps, and the few counters of budgets that are running. Each
chart is drawn here, to scale, with a table that says the same; each table is also a file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from optin.conf import ALARM_SHARE, conf
from optin.models import FactorCount, Figure, File
from optin.models.messages import State
from optin.support import budgets, health, statistics
from optin.support.cells import cell, lines
from optin.support.charts import (
    Chart,
    Part,
    Row,
    Share,
    Table,
    Value,
    bar_width,
    columns,
    day_name,
    raw,
)
from optin.support.statistics import Amount, Figures
from optin.support.wording import a_span, country, moment, plain

MAY_SEE = "optin.view_auditevent"

STALE = timedelta(minutes=15)
"""Figures older than that are said to be: they are counted each 5 minutes."""

SHOWN = 10
"""Rows of a table of what stands out."""

What = Figure.What


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows, as ``figures``.

    :raises PermissionDenied: unless who asks may read the audit log.
    """
    now = timezone.now()
    found = counted(request, now)
    return {
        "figures": {
            **about(found, now),
            "sums": _sums(found),
            "budgets": _budgets(found, now),
            "charts": [chart(found, found.days) for chart in _CHARTS],
            "shares": list(_shares(found)),
            "jobs": _jobs(),
        }
    }


def file(request: HttpRequest, slug: str) -> HttpResponse:
    """Return one of the tables as CSV, with all its rows.

    :raises PermissionDenied: as ``context``.
    """
    now = timezone.now()
    found = counted(request, now)
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


def counted(request: HttpRequest, now: datetime) -> Figures:
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


def about(found: Figures, now: datetime) -> dict[str, Any]:
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
    yield _sums(found)
    yield _budgets(found, now)
    yield from (chart(found, found.days).table for chart in _CHARTS)
    yield from _shares(found)
    yield _jobs()


# -- today and 30 days, in one table -----------------------------------------------


def _sums(found: Figures) -> Table:
    def row(title: str, what: str, *names: str) -> Row:
        return Row(title, tuple(found.of(what, *names, days=days).count for days in (today, month)))

    today, month = [found.today], found.days
    costs = [found.of(What.TEXT, days=days).cost for days in (today, month)]
    rows = [
        row("Opt-ins started", What.OPT_IN),
        row("Opt-ins verified", What.OPT_IN, "proved"),
        row("Opt-ins failed", What.OPT_IN, "failed"),
        row("Opt-ins waiting for the code", What.OPT_IN, "waiting"),
        Row(
            "Conversion: verified, of those verified or failed",
            (conversion(found, today), conversion(found, month)),
        ),
        row("Texts", What.TEXT),
        row("Texts delivered", What.TEXT, State.DELIVERED),
        row("Texts sent, no receipt yet", What.TEXT, State.SENT),
        row("Texts failed", What.TEXT, State.FAILED),
        row("Texts not sent: the code no longer worked", What.TEXT, State.EXPIRED),
        row("Texts waiting to be sent", What.TEXT, State.QUEUED, State.SENDING),
        Row(f"Cost of all texts, {conf.currency}", tuple(costs)),
        row("Requests for a text that a limit refused", What.REFUSED),
        row("Temporary locks of all codes", What.LOCK, "locked"),
        row("Locks of texted codes until further notice", What.LOCK, "disabled"),
    ]
    return Table("sums", "Today and the last 30 days", ("Figure", "Today", "30 days"), rows)


def conversion(found: Figures, days: Sequence[date]) -> Share:
    """Return the share of opt-ins that were verified, of those that ended in *days*."""
    ended = found.of(What.OPT_IN, "proved", "failed", days=days).count
    return Share(found.of(What.OPT_IN, "proved", days=days).count, ended)


def _budgets(found: Figures, now: datetime) -> Table:
    """How much the running windows have used: of all, and of the files that used most."""
    file_ids = found.files[:SHOWN]
    names = dict(File.objects.filter(pk__in=file_ids).values_list("pk", "name"))
    running = sorted(
        budgets.running(now, file_ids), key=lambda one: (one.file_id is not None, -one.share)
    )
    rows = [
        Row(
            budgets.name(one, names),
            (one.used, one.limit, a_span(one.seconds), Share(one.used, one.limit), one.ends),
            bar_width(one.share),
            "bad" if one.share * 100 >= ALARM_SHARE else "good",
        )
        for one in running
    ]
    columns = ("Budget", "Count", "Limit", "Each", "Used", "Begins again")
    return Table("budgets", "Budgets that are running now", columns, rows)


def _jobs() -> Table:
    rows = [Row(one.task, (one.failed, one.waiting)) for one in health.queued()]
    columns = ("Task", "Failed in 7 days", "Waiting")
    return Table("jobs", "Jobs of the workers", columns, rows)


# -- day by day --------------------------------------------------------------------


def _rows(days: Iterable[date], *columns: Iterable[Value]) -> list[Row]:
    """Return a row for each day, the newest first."""
    return [Row(day, tuple(cells)) for day, *cells in zip(days, *columns, strict=True)][::-1]


def opt_ins(found: Figures, days: list[date]) -> Chart:
    """Draw the opt-ins by what became of them."""
    verified, failed, waiting = (
        found.counts(What.OPT_IN, name, days=days) for name in ("proved", "failed", "waiting")
    )
    shares = [conversion(found, [day]) for day in days]
    table = Table(
        "opt-ins",
        "Opt-ins by result",
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


_STATES = {
    "delivered": ("good", [State.DELIVERED]),
    "no receipt yet": ("fair", [State.SENT]),
    "failed": ("bad", [State.FAILED]),
    "not sent": ("dull", [State.EXPIRED]),
    "waiting": ("open", [State.QUEUED, State.SENDING]),
}
"""How each state of texts looks, and what it is in the figures."""


def texts(found: Figures, days: list[date]) -> Chart:
    """Draw the texts by state."""
    parts = [
        Part(look, name, found.counts(What.TEXT, *states, days=days))
        for name, (look, states) in _STATES.items()
    ]
    table = Table(
        "texts",
        "Texts by state",
        ("Day", "Texts", *(part.name.capitalize() for part in parts), _cost()),
        _rows(
            days,
            found.counts(What.TEXT, days=days),
            *(part.counts for part in parts),
            [found.of(What.TEXT, days=[day]).cost for day in days],
        ),
        "No receipt yet: the gateway took the text, and the carrier has not confirmed it. Not "
        "sent: the code no longer worked.",
    )
    return columns(days, table, parts)


def _cost() -> str:
    return f"Cost, {conf.currency}"


def _spend(found: Figures, days: list[date]) -> Chart:
    counts = found.counts(What.BUDGET, days=days)
    limit = min((rate.count for rate in conf.sends_total if rate.seconds == 86_400), default=0)
    table = Table(
        "spend",
        "Spend against the budget",
        ("Day", "Texts", "Of the budget", _cost(), "Refused"),
        _rows(
            days,
            counts,
            [Share(n, limit) for n in counts],
            [found.of(What.BUDGET, days=[day]).cost for day in days],
            found.counts(What.REFUSED, days=days),
        ),
        "Texts for opting in and out, which the budget limits; texts for signing in have a "
        "ceiling of their own. Refused: by any limit, a closed prefix or a list, or withheld.",
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


_KINDS = {
    "several": ("more", "several factors"),
    "passkey": ("good", "passkey only"),
    "app": ("fair", "app only"),
    "texts": ("open", "text only"),
    "none": ("dull", "no second factor"),
}
"""How each count of second factors looks, and what it is called."""


def factors(days: list[date], file: File | None = None) -> Chart:
    """Draw the members of *file*, or of all, by their second factors."""
    found = FactorCount.objects.filter(day__range=(days[0], days[-1]))
    found = found.filter(file=file) if file else found
    sums = found.values_list("day").annotate(**{f"n_{name}": Sum(name) for name in _KINDS})
    by_day = {day: dict(zip(_KINDS, counts, strict=True)) for day, *counts in sums.order_by()}
    parts = [
        Part(look, title, [by_day.get(day, {}).get(name, 0) for day in days], is_stock=True)
        for name, (look, title) in _KINDS.items()
    ]
    members = [sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)]
    texts = next(part.counts for part in parts if part.name == _KINDS["texts"][1])
    table = Table(
        "factors",
        "Members by second factor",
        ("Day", "Members", *(part.name.capitalize() for part in parts), "Share of text only"),
        _rows(
            days,
            members,
            *(part.counts for part in parts),
            [Share(*each) for each in zip(texts, members, strict=True)],
        ),
        "Members with an active account, counted once a day."
        + ("" if file else " Who belongs to two files counts twice. Sandboxes are left out."),
    )
    return columns(days, table, parts)


_CHARTS: list[Callable[[Figures, list[date]], Chart]] = [
    *(opt_ins, texts, _spend, _locks),
    lambda found, days: factors(days),
]


# -- which share was verified --------------------------------------------------------


def _shares(found: Figures) -> Iterator[Table]:
    for what, column, nameless in (
        (What.COUNTRY, "Country", "other"),
        (What.GATEWAY, "Gateway", "none took it"),
    ):
        rows = [
            _share(
                (country(name) if what is What.COUNTRY else name) or nameless,
                found.of(what, name, days=[found.today]),
                found.of(what, name),
            )
            for name in found.names(what)[:SHOWN]
        ]
        yield _by(what, column, rows)


def _by(slug: str, column: str, rows: list[Row]) -> Table:
    columns = (column, "Texts today", "Verified", "Share", "Texts in 30 days", "Verified", "Share")
    return Table(slug, f"By {column.lower()}", columns, rows)


def _share(name: str, today: Amount, all_days: Amount) -> Row:
    share = all_days.verified / all_days.count if all_days.count else 0
    return Row(plain(name), (*_of_texts(today), *_of_texts(all_days)), bar_width(share))


def _of_texts(amount: Amount) -> tuple[int, int, Share]:
    return amount.count, amount.verified, Share(amount.verified, amount.count)
