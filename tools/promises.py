"""The page of promises: what the settings in force allow, and when each promise was last tried.

``docs/guarantees.md`` has the promises themselves, with the commands that show them.
"""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_safe

from optin.admin import figures
from optin.admin.site import site
from optin.audit import notes
from optin.conf import GUESS_BUDGET, OBSERVABLE, conf
from optin.support import statistics
from optin.support.charts import Row, Table
from optin.support.wording import length, moment
from tools import guesses
from tools.rehearsals import kept
from tools.rehearsals.report import written


def page(request: HttpRequest) -> TemplateResponse:
    """Show it to who may read the audit log."""
    user: Any = request.user
    if not user.has_perm(figures.MAY_SEE):
        raise PermissionDenied
    now = timezone.now()
    rows = guesses.budget()
    context = {
        **site.each_context(request),
        "title": "Promises",
        "promises": {
            "guesses": _guesses(rows),
            "limits": _limits(now),
            "observed": bool(conf.observe),
            "bound": GUESS_BUDGET,
            "is_above": rows[-1].chance * 100 > GUESS_BUDGET,
            "rehearsals": [(moment(one.at) if one.at else "", one) for one in kept.promises()],
            "notaries": [_notary(place, now) for place in notes.places()],
        },
    }
    return TemplateResponse(request, "admin/promises.html", context)


def _guesses(rows: list[guesses.Row]) -> Table:
    return Table(
        "guesses",
        "Guesses at the codes of one account",
        ("Codes", "In an hour", "In a day", "In a year", "Chance in a year"),
        [
            Row(
                guesses.NAMES[row.kind].capitalize(),
                (row.hour, row.day, row.year, guesses.percent(row.chance)),
            )
            for row in rows
        ],
    )


def _limits(now: datetime) -> Table:
    counts = statistics.observed(now)
    rows = []
    for setting in OBSERVABLE:
        value = written(setting.__get__(conf, type(conf)))
        mode = "observe" if conf.is_observed(setting) else "enforce"
        cells = (value, "off" if value == "0" else mode, counts.get(setting.name, 0))
        rows.append(Row(setting.name, cells))
    columns = ("Setting", "Value", "Mode", "Would have refused in 7 days")
    return Table("limits", "Limits on texts", columns, rows)


def _notary(place: notes.Place, now: datetime) -> dict[str, Any]:
    return {
        "name": place.name,
        "at": moment(place.newest.at) if place.newest else "",
        "last_id": place.newest.last_id if place.newest else 0,
        "overdue": length(place.waits(now)) if place.is_overdue(now) else "",
    }


site.pages.append(path("promises/", site.admin_view(require_safe(page)), name="promises"))
