"""The pages on which people change their email address, and the pages behind the mailed links."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from optin.conf import conf
from optin.errors import UnfitAddress
from optin.messaging import wording
from optin.models import EmailChange
from optin.models.second_factors import overview
from optin.operations import email_changes
from optin.outcomes import EmailOutcome
from optin.runtime.redirects import SeeOther
from optin.web import sessions, words
from optin.web.forms import EmailForm
from optin.web.pages import demand, form_page, linked, page, signed_in
from optin.web.sessions import user_of, who_asks


@form_page
@signed_in
def email(request: HttpRequest) -> HttpResponse:
    """Name a new address; the link that confirms it goes there."""
    user = demand(request, sessions.standing(request).after_sign_in)
    form = EmailForm(request.POST or None)
    if form.is_valid():
        address = form.cleaned_data["email"]
        if said := _ask(request, address):
            form.add_error("email", said)
        else:
            sessions.flash(request, _("We sent the link."))
            return SeeOther("account")
    delay = words.delay_in_words(timedelta(seconds=conf.email_delay)) if conf.email_delay else ""
    waits = email_changes.waiting_for(user)
    return page(request, "email.html", form, waits=waits, delay=delay)


def _ask(request: HttpRequest, address: str) -> str:
    """Ask for *address*; return what is wrong with it, "" if a link was sent."""
    try:
        outcome = email_changes.ask(user_of(request), address, **who_asks(request))
    except UnfitAddress:
        return words.wrong_address(address)
    if outcome in _REFUSED:
        return _REFUSED[outcome]()
    return _barred(request, outcome)


def _barred(request: HttpRequest, outcome: EmailOutcome) -> str:
    """Say why nothing about the account may be changed now, if so."""
    if outcome is EmailOutcome.FACTOR_DISABLED:
        return words.switched_off(overview(user_of(request)), changing=True)
    if outcome is EmailOutcome.LOCKED:
        return _("Too many wrong codes. Your account is locked for a while. Try again later.")
    return ""


_REFUSED = {
    EmailOutcome.UNCHANGED: lambda: _("That's already your email address."),
    EmailOutcome.EMAIL_LIMIT: lambda: _(
        "You've asked for another email address too often today. Try again tomorrow."
    ),
    EmailOutcome.NO_MAIL: lambda: _(
        "This service sends no emails, so nobody can confirm an address. Contact support."
    ),
}


@form_page
@signed_in
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the link to the new address: a GET asks, a POST confirms the address.

    Only whoever asked for it sees it: somebody else may read that mailbox.
    """
    user = user_of(request)
    found = wording.change_to_prove(token)
    if found is None or found.user_id != user.pk:
        return page(request, "email_confirm.html", status=404)
    if request.method == "POST":
        outcome = email_changes.prove(user, found, **who_asks(request))
        if said := _barred(request, outcome):
            sessions.flash(request, said, refused=True)
        return SeeOther(request.path)
    is_over = found.is_open and not found.waits(timezone.now())
    if is_over or found.closed_as not in {"", EmailChange.Closed.DONE}:
        return page(request, "email_confirm.html", status=404)
    return page(request, "email_confirm.html", change=found)


@form_page
def stop(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the link to the old address."""
    found, newer = wording.change_to_stop(token), email_changes.waiting_for
    return linked(request, "email_stop.html", found, newer=newer, cancel=email_changes.cancel)


@form_page
@signed_in
def cancel(request: HttpRequest) -> HttpResponse:
    """Stop the change that waits for the user. A GET, which follows a sign-in, stops nothing."""
    waits = email_changes.waiting_for(user_of(request))
    if waits and request.method == "POST":
        email_changes.cancel(waits, origin=sessions.origin_of(request))
        sessions.flash(request, _("The change was cancelled. Your email address doesn't change."))
    return SeeOther("account")
