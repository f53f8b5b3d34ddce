"""The home page: how much there was of what, today and in the last 30 days (P-20).

It reads what ``statistics`` keeps, and the few counters of budgets that are running. Each
chart is drawn here, to scale, beside a table that says the same.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from optin.admin.charts import (
    Bar,
    Bars,
    Chart,
    Part,
    Row,
    Table,
    bar_width,
    columns,
    day_name,
    grouped,
)
from optin.admin.rows import plain
from optin.conf import conf
from optin.models import Figure, File, Guard
from optin.models.messages import State
from optin.support import budgets, statistics
from optin.support.budgets import Budget
from optin.support.statistics import Amount, Figures
from optin.support.wording import moment

MAY_SEE = "optin.view_auditevent"

STALE = timedelta(minutes=15)
"""Figures older than that are said to be: they are counted each 5 minutes."""

SHOWN = 10
"""Rows of a table of what stands out."""

What = Figure.What


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the home page shows of the figures to whoever asks."""
    user: Any = request.user
    if not user.has_perm(MAY_SEE):
        return {}
    now = timezone.now()
    if conf.delivery == "inline":
        # Where there are no workers, whoever looks has them counted: an hour or two, each by
        # an index, and at most once a minute.
        statistics.roll_up(now)
    found = statistics.read(now)
    return {
        "figures": {
            "zone": conf.time_zone,
            "today": day_name(found.today),
            "as_of": moment(found.as_of) if found.as_of else "",
            "since": _since(found),
            "is_stale": found.as_of is None or now - found.as_of > STALE,
            "is_empty": found.is_empty,
            "sums": _sums(found),
            "budgets": _budgets(found, now),
            "charts": [_opt_ins(found), _texts(found), _spend(found), _locks(found)],
            "shares": list(_shares(found, now)),
        }
    }


def _since(found: Figures) -> str:
    """Say when counting began, if that is within the days that are shown."""
    if found.since is None or statistics.day_of(found.since) <= found.days[0]:
        return ""
    return moment(found.since)


# -- words -------------------------------------------------------------------------


def _money(cost: Decimal) -> str:
    return f"{cost:,.2f}"


def _percent(part: int, whole: int) -> str:
    """Return a share; nothing where there is nothing to share."""
    return f"{round(part * 100 / whole)} %" if whole else "-"


# -- today and 30 days, in one table -----------------------------------------------


def _sums(found: Figures) -> Table:
    def row(title: str, what: str, *names: str) -> Row:
        of_today = found.of(what, *names, day=found.today)
        return title, grouped(of_today.count), grouped(found.of(what, *names).count)

    def conversion(day: date | None) -> str:
        ended = found.of(What.OPT_IN, "proved", "failed", day=day).count
        return _percent(found.of(What.OPT_IN, "proved", day=day).count, ended)

    cost = found.of(What.TEXT, day=found.today).cost, found.of(What.TEXT).cost
    rows = [
        row("Opt-ins started", What.OPT_IN),
        row("Opt-ins verified", What.OPT_IN, "proved"),
        row("Opt-ins failed", What.OPT_IN, "failed"),
        row("Opt-ins waiting for the code", What.OPT_IN, "waiting"),
        (
            "Conversion: verified, of those verified or failed",
            conversion(found.today),
            conversion(None),
        ),
        row("Texts", What.TEXT),
        row("Texts delivered", What.TEXT, State.DELIVERED),
        row("Texts sent, no receipt yet", What.TEXT, State.SENT),
        row("Texts failed", What.TEXT, State.FAILED),
        row("Texts not sent: the code no longer worked", What.TEXT, State.EXPIRED),
        row("Texts waiting to be sent", What.TEXT, State.QUEUED, State.SENDING),
        ("Cost of all texts", *map(_money, cost)),
        row("Requests for a text that a limit refused", What.REFUSED),
        row("Accounts locked", What.LOCK, "locked"),
        row("Accounts whose texted codes were disabled", What.LOCK, "disabled"),
    ]
    return Table("Today and the last 30 days", ("", "Today", "30 days"), rows)


def _budgets(found: Figures, now: datetime) -> Bars:
    """What the running windows have used: of all texts, and of the files that used most."""
    file_ids = found.files[:SHOWN]
    names = dict(File.objects.filter(pk__in=file_ids).values_list("pk", "name"))
    running = sorted(budgets.running(now, file_ids), key=_most_used)
    return Bars(
        "budgets",
        "Budgets that are running now",
        ("Budget", "Texts", "Limit", "Used", "Begins again"),
        [_budget(one, names) for one in running],
    )


def _most_used(one: Budget) -> tuple[bool, float]:
    return one.file_id is not None, -one.share


def _budget(one: Budget, names: dict[int, str]) -> Bar:
    name = "All files" if one.scope == "total" else "Signing in and changes"
    if one.file_id is not None:
        name = f"{plain(names.get(one.file_id, 'gone'))} ({one.file_id})"
    return Bar(
        name,
        bar_width(one.share),
        "bad" if one.share * 100 >= conf.alarm_share else "good",
        (grouped(one.used), grouped(one.limit), _percent(one.used, one.limit), moment(one.ends)),
    )


# -- day by day --------------------------------------------------------------------


def _daily(found: Figures, what: str, *names: str) -> list[int]:
    return [found.of(what, *names, day=day).count for day in found.days]


def _rows(found: Figures, *columns: Iterable[str]) -> list[Row]:
    """Return a row for each day, the newest first."""
    return [*zip(map(day_name, found.days), *columns, strict=True)][::-1]


def _opt_ins(found: Figures) -> Chart:
    verified, failed, waiting = (
        _daily(found, What.OPT_IN, name) for name in ("proved", "failed", "waiting")
    )
    started = map(sum, zip(verified, failed, waiting, strict=True))
    shares = [_percent(a, a + b) for a, b in zip(verified, failed, strict=True)]
    table = Table(
        "Opt-ins",
        ("Day", "Started", "Verified", "Failed", "Waiting", "Conversion"),
        _rows(
            found,
            *(map(grouped, counts) for counts in (started, verified, failed, waiting)),
            shares,
        ),
        "Each number that somebody started to opt in, on the day of its last code. Failed: "
        "the code expired, had no tries left, or another account uses the number.",
    )
    parts = [
        (Part("good", "verified"), verified),
        (Part("bad", "failed"), failed),
        (Part("open", "waiting"), waiting),
    ]
    return columns(found.days, table, parts, slug="opt-ins")


def _texts(found: Figures) -> Chart:
    states = {
        "delivered": _daily(found, What.TEXT, State.DELIVERED),
        "sent": _daily(found, What.TEXT, State.SENT),
        "failed": _daily(found, What.TEXT, State.FAILED),
        "not sent": _daily(found, What.TEXT, State.EXPIRED),
        "waiting": _daily(found, What.TEXT, State.QUEUED, State.SENDING),
    }
    total = _daily(found, What.TEXT)
    costs = [_money(found.of(What.TEXT, day=day).cost) for day in found.days]
    table = Table(
        "Texts by state",
        ("Day", "Texts", *(name.capitalize() for name in states), "Cost"),
        _rows(found, *(map(grouped, counts) for counts in (total, *states.values())), costs),
        "Sent: the gateway took the text, and there is no receipt yet. Not sent: the code no "
        "longer worked.",
    )
    looks = ("good", "fair", "bad", "dull", "open")
    parts = [
        (Part(look, name), counts)
        for look, (name, counts) in zip(looks, states.items(), strict=True)
    ]
    return columns(found.days, table, parts, slug="texts")


def _spend(found: Figures) -> Chart:
    count = _daily(found, What.BUDGET)
    costs = [_money(found.of(What.BUDGET, day=day).cost) for day in found.days]
    refused = _daily(found, What.REFUSED)
    a_day = [rate.count for rate in conf.sends_total if rate.seconds == 86_400]
    limit = min(a_day, default=0)
    shares = [_percent(n, limit) for n in count]
    table = Table(
        "Spend against the budget",
        ("Day", "Texts", "Of the budget", "Cost", "Refused"),
        _rows(found, map(grouped, count), shares, costs, map(grouped, refused)),
        "Texts for opting in and out, which the budget limits; texts for signing in have a "
        "ceiling of their own. Refused: by any limit, a closed prefix or a list, or withheld.",
    )
    return columns(found.days, table, [(Part("fair", "texts"), count)], slug="spend", limit=limit)


def _locks(found: Figures) -> Chart:
    locked, disabled = (_daily(found, What.LOCK, name) for name in ("locked", "disabled"))
    table = Table(
        "Locks",
        ("Day", "Locked", "Disabled"),
        _rows(found, map(grouped, locked), map(grouped, disabled)),
        "Accounts locked for a while, or whose texted codes were disabled, by wrong codes.",
    )
    parts = [(Part("fair", "locked"), locked), (Part("bad", "disabled"), disabled)]
    return columns(found.days, table, parts, slug="locks")


# -- which share was verified --------------------------------------------------------


def _shares(found: Figures, now: datetime) -> Iterable[Bars]:
    for what, column, nameless in (
        (What.COUNTRY, "Country", "other"),
        (What.GATEWAY, "Gateway", "none took it"),
    ):
        rows = [
            _share(name or nameless, found.of(what, name, day=found.today), found.of(what, name))
            for name in found.names(what)[:SHOWN]
        ]
        yield _bars(what, column, rows)
    called = _controlled_prefixes(now)
    prefixes = [_share(called.get(name, name), *sums) for name, *sums in found.prefixes[:SHOWN]]
    note = (
        "A prefix is a number less its last 4 digits. It is kept as a digest only, so it has a "
        "name here in place of its digits. Counted in the hours in which 5 texts or more went to "
        "it and it was among the 20 with most texts that nobody verified."
    )
    yield _bars(What.PREFIX, "Prefix", prefixes, note)


def _controlled_prefixes(now: datetime) -> dict[str, str]:
    """Say of prefixes what is in force for them."""
    words = {
        Guard.Kind.BREAKER: "closed by breaker {}",
        Guard.Kind.LIFT: "opened by staff",
        Guard.Kind.DENY: "on the deny list",
        Guard.Kind.SAFE: "on the safe list",
    }
    found: dict[str, list[str]] = {}
    controls = Guard.objects.in_force(now).filter(covers=Guard.Covers.PREFIX).order_by("-pk")
    for control in controls[:200]:
        name = statistics.name_of_prefix(control)
        found.setdefault(name, [control.region] if control.region else [])
        found[name].append(words[Guard.Kind(control.kind)].format(control.pk))
    return {name: f"{name} ({', '.join(words)})" for name, words in found.items()}


def _bars(slug: str, column: str, rows: list[Bar], note: str = "") -> Bars:
    columns = (column, "Texts today", "Verified", "Share", "Texts in 30 days", "Verified", "Share")
    return Bars(slug, f"By {column.lower()}", columns, rows, note)


def _share(name: str, today: Amount, all_days: Amount) -> Bar:
    share = all_days.verified / all_days.count if all_days.count else 0
    return Bar(plain(name), bar_width(share), "good", (*_of_texts(today), *_of_texts(all_days)))


def _of_texts(amount: Amount) -> Row:
    return grouped(amount.count), grouped(amount.verified), _percent(amount.verified, amount.count)
