"""Pages on which people add a passkey, and rename one."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from optin.models.second_factors import overview
from optin.operations import passkeys
from optin.origin import browser
from optin.outcomes import By, FactorOutcome
from optin.passkeys import are_offered, registration_options
from optin.runtime.redirects import SeeOther
from optin.web import sessions, words
from optin.web.code_pages import response_in
from optin.web.factors import added, barred
from optin.web.forms import PasskeyForm
from optin.web.pages import demand, form_page, next_page, on_to, page, signed_in
from optin.web.sessions import user_of, who_asks


@form_page
@signed_in
def add(request: HttpRequest) -> HttpResponse:
    """Ask for a name, and let the browser make the passkey."""
    if not are_offered():
        return SeeOther("two-factor", then=on_to(request))
    user = user_of(request)
    if request.method != "POST":
        demand(request, passkeys.to_add(sessions.standing(request)))
    factors, origin = overview(user), sessions.origin_of(request)
    form = PasskeyForm(request.POST or None, initial={"name": browser(origin.user_agent)})
    if form.is_valid():
        result = passkeys.add(
            user,
            form.cleaned_data["name"],
            response_in(request),
            **who_asks(request),
            keep_session=sessions.renew(request),
        )
        if result.outcome is FactorOutcome.OK:
            return added(request, result, By.PASSKEY)
        form.add_error(None, words.refusal(result, factors))
    return page(
        request,
        "passkey_add.html",
        form,
        focus="name",
        factors=factors,
        barred=barred(factors),
        passkey=registration_options(
            user.get_username(), user.handle, factors.passkeys, session=origin.session
        ),
    )


@form_page
@signed_in
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename a passkey."""
    found = user_of(request).passkeys.filter(pk=pk).first()
    if found is None:
        return SeeOther("two-factor")
    form = PasskeyForm(request.POST or None, initial={"name": found.name})
    if not form.is_valid():
        return page(request, "passkey_rename.html", form, focus="name")
    passkeys.rename(user_of(request), pk, form.cleaned_data["name"], **who_asks(request))
    sessions.flash(request, _("Passkey renamed."))
    return SeeOther(next_page(request, "two-factor"))
