"""What acts for a person, on one page: where they are signed in, applications, keys (P-16)."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from optin.errors import FactorNeeded
from optin.operations import access
from optin.operations.sign_in import PASSWORD_CLIENTS
from optin.origin import browser
from optin.runtime.redirects import SeeOther
from optin.web import consent, sessions, words
from optin.web.forms import BrowserForm
from optin.web.pages import form_page, page, signed_in
from optin.web.sessions import user_of, who_asks


@form_page
@signed_in
def access_page(request: HttpRequest) -> HttpResponse:
    sessions.standing(request).demand(timezone.now())
    places = sessions.places(request)
    if request.method != "POST":
        return _page(request, places)
    if "name" in request.POST:
        return _rename(request, places)
    try:
        if "others" in request.POST:
            _sign_out_others(request)
        else:
            _sign_out(request, places, request.POST.get("session", ""))
    except FactorNeeded:
        sessions.flash(request, _("Enter a code. Then press the button again."))
        raise
    return SeeOther("access")


def _page(
    request: HttpRequest, places: list[sessions.Place], form: BrowserForm | None = None
) -> HttpResponse:
    return page(
        request,
        "access.html",
        form,
        places=[(place, _program(place)) for place in places],
        change=form or BrowserForm(initial={"name": places[0].name}),
        applications=[_in_words(allowed) for allowed in _applications(request)],
        keys=access.keys_of(user_of(request)),
        barred=words.programs_barred(user_of(request)),
    )


def _program(place: sessions.Place) -> str:
    return browser(place.user_agent) or _("Unknown browser")


def _rename(request: HttpRequest, places: list[sessions.Place]) -> HttpResponse:
    """Give this browser a name."""
    form = BrowserForm(request.POST)
    if not form.is_valid():
        return _page(request, places, form)
    response = SeeOther("access")
    sessions.name_browser(request, response, form.cleaned_data["name"])
    return response


def _sign_out(request: HttpRequest, places: list[sessions.Place], handle: str) -> None:
    """End one of the *places* of whoever asks; no other session is within reach."""
    others = (place for place in places if place.handle == handle and not place.is_here)
    place = next(others, None)
    ended = place and access.sign_out(
        user_of(request), **who_asks(request), end=lambda: sessions.end_row(place.row)
    )
    if place and ended:
        sessions.forget_factor(request)  # the next sign-out needs a new code
        name = place.name or _program(place)
        sessions.flash(request, _("Signed out: %(browser)s.") % {"browser": name})
    else:
        sessions.flash(request, _("That device is signed out already."))


def _sign_out_others(request: HttpRequest) -> None:
    access.sign_out_others(
        user_of(request), **who_asks(request), keep_session=sessions.renew_for_others(request)
    )
    sessions.flash(request, _("All other devices are signed out."))


def _applications(request: HttpRequest) -> list[access.Allowed]:
    return access.applications_of(user_of(request), timezone.now())


def _in_words(allowed: access.Allowed) -> dict[str, Any]:
    application = allowed.application
    return {
        "id": application.pk,
        "name": _title(application),
        "since": allowed.since,
        "rights": consent.rights_of(allowed.scope),
        "files": consent.files_of(allowed.scope),
    }


def _title(application: Any) -> str:
    if application.client_id == PASSWORD_CLIENTS:
        return _("Apps that sign in with your password")
    name: str = application.name
    return name


# -- what is revoked, on a page of its own that names it ----------------------------


@form_page
@signed_in
def revoke_application(request: HttpRequest, pk: int) -> HttpResponse:
    """End what one of the applications of whoever asks was granted."""
    sessions.standing(request).demand(timezone.now())
    allowed = {each.application.pk: each for each in _applications(request)}.get(pk)
    if allowed and request.method != "POST":
        facts = [
            (_("App"), _title(allowed.application)),
            (_("Allowed since"), words.moment(allowed.since)),
        ]
        return page(request, "revoke.html", facts=facts)
    ended = allowed and access.revoke_application(
        user_of(request), allowed.application, **who_asks(request)
    )
    done = _("Access ended: %(name)s.") % {"name": _title(allowed.application)} if allowed else ""
    return _revoked(request, done if ended else "")


@form_page
@signed_in
def revoke_key(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of the access keys of whoever asks."""
    sessions.standing(request).demand(timezone.now())
    key = {each.pk: each for each in access.keys_of(user_of(request))}.get(pk)
    if key and request.method != "POST":
        used = words.moment(key.last_used_at) if key.last_used_at else _("Not used yet")
        facts = [
            (_("Name"), key.name),
            (_("Begins with"), key.prefix),
            (_("Organisation"), key.file.name),
            (_("Last used"), used),
        ]
        return page(request, "revoke.html", key=key, facts=facts)
    ended = key and access.revoke_key(user_of(request), key.pk, **who_asks(request))
    return _revoked(request, _("Access key revoked.") if ended else "")


def _revoked(request: HttpRequest, done: str) -> HttpResponse:
    sessions.flash(request, done or _("This access has ended already."))
    return SeeOther("access")
