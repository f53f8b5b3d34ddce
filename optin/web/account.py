"""The account: what there is, and what happened to it."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from optin import authenticators, revocations
from optin.models import AuditEvent, File
from optin.models.audit import LAST
from optin.web import words
from optin.web.pages import page, signed_in

_EVENTS_SHOWN = 20


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
        files=File.objects.open_to(user).order_by("name"),
        events=[words.event(event) for event in AuditEvent.objects.about(user)[:3]],
    )


@require_safe
@signed_in
def activity(request: HttpRequest) -> HttpResponse:
    """The person's own events, newest first, a page at a time (P-09)."""
    user: Any = request.user
    before = request.GET.get("before", "")
    is_id = before.isascii() and before.isdigit() and len(before) < 19
    events = AuditEvent.objects.about(user, below=int(before) if is_id else LAST)
    found = list(events[: _EVENTS_SHOWN + 1])
    shown = found[:_EVENTS_SHOWN]
    older = shown[-1].pk if len(found) > _EVENTS_SHOWN else None
    return page(
        request,
        "activity.html",
        events=[words.event(event) for event in shown],
        older=older,
        revocation=revocations.waiting_for(user),
    )
