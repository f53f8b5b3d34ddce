"""The account: what there is, and what happened to it."""

from heapq import merge
from operator import attrgetter

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from optin.audit import repeats
from optin.errors import FactorNeeded, PasswordNeeded
from optin.models import AuditEvent, File, User
from optin.models.audit import LAST
from optin.models.second_factors import overview
from optin.operations import access, email_changes, not_me, revocations
from optin.runtime.redirects import SeeOther
from optin.web import sessions
from optin.web.activity import Told, lines
from optin.web.pages import form_page, page, signed_in
from optin.web.sessions import user_of, who_asks
from optin.web.words import moment

_LINES_SHOWN = 20

_LOOKED_AT = 500
"""How many events are read for one page, at most: many may become one line."""


@require_safe
@signed_in
def account(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    factors = overview(user)
    files = File.objects.open_to(user).order_by("name")
    return page(
        request,
        "account.html",
        factors=factors,
        revocation=revocations.waiting_for(user, factors),
        waits=email_changes.waiting_for(user),
        files=[file.name for file in files],
        sandboxes=[file for file in files if file.is_sandbox],
        manages=File.objects.managed_by(user).exists(),
        events=_lines(user, LAST, 1)[0],
        has_keys=access.keys_of(user).exists(),
    )


@form_page
@signed_in
def activity(request: HttpRequest) -> HttpResponse:
    """The person's own events, newest first, a page at a time (P-09)."""
    if request.method == "POST":
        try:
            _shut_out(request)
        except PasswordNeeded:
            # On the page that asks for it.
            sessions.flash(request, _("Enter your password. Then press “That wasn't me” again."))
            raise
        except FactorNeeded:
            sessions.flash(request, _("Enter a code. Then press “That wasn't me” again."))
            raise
        return SeeOther("activity")
    user = user_of(request)
    factors = overview(user)
    before = request.GET.get("before", "")
    is_id = before.isascii() and before.isdigit() and len(before) < 19
    events, older = _lines(user, int(before) if is_id else LAST, _LINES_SHOWN)
    return page(
        request,
        "activity.html",
        events=events,
        older=older,
        is_older=is_id,
        factors=factors,
        revocation=revocations.waiting_for(user, factors),
        manages=File.objects.managed_by(user).exists(),
    )


def _shut_out(request: HttpRequest) -> None:
    """Carry out "that was not me": once, however often the button is pressed."""
    if sessions.has_ended(request):
        return  # the second half of a double click
    until = not_me.shut_out(
        user_of(request), **who_asks(request), keep_session=sessions.renew_for_not_me(request)
    )
    said = [_("All other devices and all apps are signed out, and staff are told.")]
    if until:
        others = _(
            "Until %(time)s, only accounts that once had your number can have codes texted to it."
        )
        said.append(others % {"time": moment(until)})
    said.append(_("If somebody else may know your password, change it now."))
    sessions.flash(request, " ".join(said), to_password=True)


def _read(user: User, below: int) -> tuple[list[AuditEvent], int]:
    """Return what happened to *user* before the event *below*, newest first.

    :returns: what is shown of it, and how many events of the trail were found.
    """
    found = list(AuditEvent.objects.about(user, below=below)[: _LOOKED_AT + 1])
    counted = repeats.without_event(user)
    if below < LAST:  # newer ones stand on the pages before
        newest = (
            AuditEvent.objects.about(user).filter(pk=below).values_list("at", flat=True).first()
        )
        counted = [event for event in counted if newest and event.at < newest]
    events = merge(counted, found[:_LOOKED_AT], key=attrgetter("at"), reverse=True)
    return list(events), len(found)


def _lines(user: User, below: int, limit: int) -> tuple[list[Told], int | None]:
    """Return what happened to *user* before the event *below*, and where the next page starts."""
    events, found = _read(user, below)
    told, count = lines(events, limit)
    shown = [event.pk for event in events[:count] if event.pk > 0]
    return told, shown[-1] if shown and len(shown) < found else None
