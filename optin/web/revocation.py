"""A removal of all second factors that waits: what it is, and cancelling it.

By the link of the mail or text, which needs nobody to be signed in, or on the page of the account.
"""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from optin.messaging import wording
from optin.models import Revocation
from optin.operations import revocations
from optin.runtime.redirects import SeeOther
from optin.web import sessions
from optin.web.pages import form_page, linked, signed_in


@form_page
def revocation(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the mailed link."""
    return _linked(request, wording.revocation_of(token))


@form_page
def texted(request: HttpRequest, token: str) -> HttpResponse:
    """The same page behind the short link of a text."""
    return _linked(request, wording.revocation_of_text(token))


def _linked(request: HttpRequest, found: Revocation | None) -> HttpResponse:
    newer, cancel = revocations.waiting_for, revocations.cancel
    return linked(request, "revocation.html", found, newer=newer, cancel=cancel)


@form_page
@signed_in
def cancel(request: HttpRequest) -> HttpResponse:
    """Cancel what waits for whoever is signed in; a GET, which follows a sign-in, nothing."""
    waits = Revocation.objects.open_of(sessions.user_of(request)).first()
    if waits and request.method == "POST":
        revocations.cancel(waits, origin=sessions.origin_of(request))
        sessions.flash(request, _("The removal was cancelled. Nothing is removed."))
    return SeeOther("account")
