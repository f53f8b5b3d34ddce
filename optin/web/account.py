"""The account: what there is, and what happened to it."""

from heapq import merge
from operator import attrgetter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from optin.audit import repeats
from optin.models import AuditEvent, File, User
from optin.models.audit import LAST
from optin.operations import authenticators, email_changes, revocations
from optin.web.activity import Told, lines
from optin.web.pages import page, signed_in

_LINES_SHOWN = 20

_LOOKED_AT = 500
"""How many events are read for one page, at most: many may become one line."""


@require_safe
@signed_in
def account(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    factors = authenticators.overview(user)
    return page(
        request,
        "account.html",
        factors=factors,
        revocation=revocations.waiting_for(user, factors),
        waits=email_changes.waiting_for(user),
        files=File.objects.open_to(user).order_by("name"),
        manages=File.objects.managed_by(user).exists(),
        events=_lines(user, LAST, 3)[0],
    )


@require_safe
@signed_in
def activity(request: HttpRequest) -> HttpResponse:
    """The person's own events, newest first, a page at a time (P-09)."""
    user: Any = request.user
    before = request.GET.get("before", "")
    is_id = before.isascii() and before.isdigit() and len(before) < 19
    events, older = _lines(user, int(before) if is_id else LAST, _LINES_SHOWN)
    return page(
        request,
        "activity.html",
        events=events,
        older=older,
        is_older=is_id,
        revocation=revocations.waiting_for(user),
    )


def _lines(user: User, below: int, limit: int) -> tuple[list[Told], int | None]:
    """Return what happened to *user* before the event *below*, and where the next page starts."""
    found = list(AuditEvent.objects.about(user, below=below)[: _LOOKED_AT + 1])
    counted = repeats.without_event(user)
    if below < LAST:  # newer ones stand on the pages before
        newest = (
            AuditEvent.objects.about(user).filter(pk=below).values_list("at", flat=True).first()
        )
        counted = [event for event in counted if newest and event.at < newest]
    events = list(merge(counted, found[:_LOOKED_AT], key=attrgetter("at"), reverse=True))
    told, count = lines(events, limit)
    shown = [event.pk for event in events[:count] if event.pk > 0]
    return told, shown[-1] if shown and len(shown) < len(found) else None
