"""The home page: what needs attention, six figures, and two charts (P-20).

``figures`` has all the others.
"""

from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from optin.admin import figures
from optin.models import Figure, User
from optin.models.messages import State
from optin.operations import staff
from optin.support import health
from optin.support.charts import WEEK, Share, words
from optin.support.health import Need
from optin.support.statistics import Figures
from optin.support.wording import plain

ENOUGH = 3
"""Days from which one can say what is usual."""

What = Figure.What


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the home page shows of the figures to whoever asks."""
    user: Any = request.user
    if not user.has_perm(figures.MAY_SEE):
        return {}
    now = timezone.now()
    found = figures.counted(request, now)
    days = found.last(WEEK + 1)
    return {
        "home": {
            **figures.about(found, now),
            "tiles": _tiles(found),
            "needs": [_need(need, user) for need in health.needs(now, *_LISTED)],
            "charts": [figures.opt_ins(found, days), figures.texts(found, days)],
        }
    }


_LISTED = [condition for condition in health.CONDITIONS if condition != health.stopped_texts]
"""The banner of each page tells of the stop of all texts."""


def _need(need: Need, user: Any) -> tuple[str, str]:
    """Return what *need* says, with the name of whom it is about, and where to look."""
    place = _place(need, user)
    about = User.objects.filter(pk=need.pk).first() if place and need.model is User else None
    words = need.words.removesuffix(".")
    return f"{words}: {plain(about.get_username())}." if about else need.words, place


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


# -- six figures -------------------------------------------------------------------


def _tiles(found: Figures) -> list[dict[str, str]]:
    """Return each figure: today, on a usual day, in the week before."""

    def count(what: str, *names: str) -> Callable[[list[date]], int]:
        return lambda days: found.of(what, *names, days=days).count

    measures: dict[str, Callable[[list[date]], int | Share]] = {
        "Opt-ins started": count(What.OPT_IN),
        "Opt-ins verified": count(What.OPT_IN, "proved"),
        "Conversion": lambda days: figures.conversion(found, days),
        "Texts": count(What.TEXT),
        "Texts failed": count(What.TEXT, State.FAILED),
        "Locks": count(What.LOCK, "locked"),
    }
    week = found.last(WEEK + 1)[:-1]  # today is not over, and has a figure of its own
    known = [day for day in week if found.is_whole_from(day)]
    return [
        {
            "title": title,
            "today": words(measure([found.today])),
            "usual": _usual([measure([day]) for day in known]),
            "week": words(measure(week)),
        }
        for title, measure in measures.items()
    ]


def _usual(values: list[int | Share]) -> str:
    """Say what is usual: the median of days; "" if too few are known."""
    known = sorted(
        (value for value in values if not isinstance(value, Share) or value.whole),
        key=lambda value: value.percent if isinstance(value, Share) else value,
    )
    if len(known) < ENOUGH:
        return ""
    median = known[(len(known) - 1) // 2]
    return f"Usually {words(median)}{'' if isinstance(median, Share) else ' a day'}"
