"""The home page: what needs attention, six figures, and two charts (P-20).

``figures`` has all the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from optin.admin import figures
from optin.models import Figure
from optin.models.messages import State
from optin.operations import staff
from optin.support import health, statistics
from optin.support.charts import Chart, Share, words
from optin.support.health import Need
from optin.support.statistics import Figures
from optin.support.wording import some

WEEK = 7
"""Days, up to yesterday: today is not over, and has a figure of its own."""

SPANS = {
    1: ("24 hours", "Last 24 hours"),
    WEEK + 1: ("Week", "Today and the week before"),
    statistics.DAYS: ("30 days", "Last 30 days"),
}
"""The spans that charts may show: their days, address and name."""

What = Figure.What


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the home page shows of the figures to whoever asks."""
    user: Any = request.user
    if not user.has_perm(figures.MAY_SEE):
        return {}
    now = timezone.now()
    found = figures.counted(request, now)
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, SPANS) else WEEK + 1
    return {
        "home": {
            **figures.about(found, now),
            "tiles": _tiles(found),
            "needs": [(need.words, _place(need, user)) for need in health.needs(now)],
            "charts": _charts(found, days, now),
            "days": days,
            "span": SPANS[days][1],
            "spans": [(each, link) for each, (link, _) in SPANS.items()],
        }
    }


def _place(need: Need, user: Any) -> str:
    """Return where to look at what *need* is about; "" if that is not for this member of staff."""
    if need.model is None:
        return reverse("admin:figures")
    opts = need.model._meta
    if not user.has_perm(staff.sees(need.model)):
        return ""
    name = f"admin:{opts.app_label}_{opts.model_name}"
    if need.pk is not None:
        return reverse(f"{name}_change", args=[need.pk])
    return f"{reverse(f'{name}_changelist')}?{urlencode(need.filters)}"


def _charts(found: Figures, days: int, now: datetime) -> list[Chart]:
    if days == 1:
        steps = figures.by_hour(statistics.read_hours(now, What.OPT_IN, What.TEXT))
        return [chart(steps, "Hour from", "now") for chart in (figures.opt_ins, figures.texts)]
    steps = figures.by_day(found, days)
    return [figures.opt_ins(steps), figures.texts(steps)]


# -- six figures -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: today, in the week before, and how that differs from the week before that."""

    title: str
    today: str
    week: str
    change: str


def _tiles(found: Figures) -> list[Tile]:
    def count(what: str, *names: str) -> Callable[[list[date]], int]:
        return lambda days: found.within(what, *names, days=days).count

    measures: dict[str, Callable[[list[date]], int | Share]] = {
        "Opt-ins started": count(What.OPT_IN),
        "Opt-ins verified": count(What.OPT_IN, "proved"),
        "Conversion": partial(figures.conversion, found),
        "Texts": count(What.TEXT),
        "Texts failed": count(What.TEXT, State.FAILED),
        "Locks": count(What.LOCK, "locked"),
    }
    past = found.days[:-1]
    week, before = past[-WEEK:], past[-2 * WEEK : -WEEK]
    is_known = found.is_whole_from(before[0])
    return [
        Tile(
            title,
            words(measure([found.today])),
            words(measure(week)),
            _change(measure(week), measure(before)) if is_known else "",
        )
        for title, measure in measures.items()
    ]


def _change(week: int | Share, before: int | Share) -> str:
    """Say how a week differs from the one before."""
    if isinstance(week, Share) and isinstance(before, Share):
        if not (week.whole and before.whole):
            return ""
        points = week.percent - before.percent
        if not points:
            return "the same"
        return f"{some(abs(points), 'point')} {'more' if points > 0 else 'less'}"
    assert isinstance(week, int)
    assert isinstance(before, int)
    if week == before:
        return "the same"
    if not before:
        return "none before"
    percent = round((week - before) * 100 / before)
    if not percent:
        return "about the same"
    return f"{abs(percent):,}\N{NO-BREAK SPACE}% {'more' if percent > 0 else 'fewer'}"
