"""Signing in and out, and passwords."""

from dataclasses import replace
from typing import Any

from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from optin.conf import conf
from optin.errors import SamePassword, SignedOut
from optin.messaging import wording
from optin.models import Purpose, User
from optin.models.factors import has_active_factor
from optin.models.second_factors import overview
from optin.operations import opt_ins, own_removals, passwords, revocations, sign_in, texts_end
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import By, RevocationOutcome, SignInOutcome
from optin.passkeys import PASSWORDLESS, Options, are_offered, authentication_options
from optin.runtime.redirects import SeeOther
from optin.web import sessions, words
from optin.web.code_pages import CodePage, response_in
from optin.web.forms import NewPasswordForm, PasswordForm, RecoveryForm, ResetForm, SignInForm
from optin.web.pages import (
    form_page,
    next_page,
    on_to,
    open_to_all,
    page,
    refused_password,
    signed_in,
)
from optin.web.sessions import user_of, who_asks


@form_page
@sensitive_post_parameters("password")
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """Name and password; then the code, where two-factor sign-in is on (P-01)."""
    then = next_page(request, "account")
    if request.method != "POST" and request.user.is_authenticated:
        return SeeOther(then)
    if "passkey" in request.POST and conf.passkey_sign_in:
        return _by_passkey(request)
    form = SignInForm(request.POST or None)
    if not form.is_valid():
        return _ask_who(request, form)
    result = sign_in.sign_in(**form.cleaned_data, origin=sessions.origin_of(request))
    if result.outcome is SignInOutcome.SIGNED_IN and result.user:
        sessions.begin(request, result.user)
        return SeeOther(then)
    if result.outcome is SignInOutcome.CODE_REQUIRED and result.user:
        sessions.begin_half(request, result.user)
        if result.sending:
            factors = overview(result.user)
            said = words.sending(result.sending, Purpose.SIGN_IN, factors)
            sessions.flash(request, said, refused=result.sending.outcome not in words.SENT)
        return SeeOther("sign-in-code", then=request.GET.get("next", ""))
    return refused_password(request, "sign_in.html", form, result, passkey=_any_passkey(request))


def _ask_who(request: HttpRequest, form: SignInForm) -> HttpResponse:
    return page(request, "sign_in.html", form, focus="username", passkey=_any_passkey(request))


def _any_passkey(request: HttpRequest) -> Options | None:
    """Return what a browser is asked to sign in with a passkey alone, if that is offered."""
    if not (conf.passkey_sign_in and are_offered()):
        return None
    session = _origin_of_stranger(request).session
    return authentication_options(PASSWORDLESS, [], session=session)


def _by_passkey(request: HttpRequest) -> HttpResponse:
    user, result = sign_in.with_passkey(response_in(request), origin=_origin_of_stranger(request))
    if user:
        return _begin(request, user, result, by_password=False)
    form = SignInForm(request.POST)
    form.errors.clear()  # nothing was to be typed
    form.add_error(None, words.passkey_refused(result.data["why"]))
    return _ask_who(request, form)


def _origin_of_stranger(request: HttpRequest) -> Origin:
    """Return who asks, without a session: the secret of the CSRF cookie tells one browser apart."""
    get_token(request)
    return replace(sessions.origin_of(request), session=f"csrf {request.META['CSRF_COOKIE']}")


def _begin(
    request: HttpRequest, user: User, result: Verification, *, by_password: bool = True
) -> HttpResponse:
    """Sign *user* in after a second factor, and lead on."""
    sessions.begin(request, user, result, by_password=by_password)
    if revocations.signed_in(user, origin=sessions.origin_of(request)):
        said = _(
            "You're signed in, so two-factor sign-in stays on: the request to turn it off was "
            "cancelled. If you didn't make it, somebody knows your password: change it now."
        )
        sessions.flash(request, said, refused=True, to_password=True)
    return SeeOther(next_page(request, "account"))


class SignInCode(CodePage):
    name = "sign-in-code"
    purpose = Purpose.SIGN_IN
    template = "sign_in_code.html"

    def who(self, request: HttpRequest) -> User | None:
        user = sessions.half_user(request)
        return user if user and has_active_factor(user) else None

    def gone(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return SeeOther(next_page(request, "account"))
        if sessions.is_half(request):
            said = _("Sign in again: your account was changed after you entered your password.")
            if sessions.half_is_late(request):
                said = _("Sign in again: the time to enter the code is over.")
            sessions.flash(request, said, refused=True)
        return SeeOther("sign-in", then=request.GET.get("next", ""))

    def context(self) -> dict[str, Any]:
        return {
            "lost": self.with_query(reverse("sign-in-recovery")),
            "sign_in": self.with_query(reverse("sign-in")),
        }

    def verified(self, result: Verification) -> HttpResponse:
        response = _begin(self.request, self.person, result)
        if result.by is By.RECOVERY:
            return self._replace_what_was_lost()
        then, texts_page = on_to(self.request), resolve_url("texts-end")
        if not then.startswith(texts_page) and texts_end.near(self.person):
            return SeeOther(texts_page, then=then)
        return response

    def _replace_what_was_lost(self) -> HttpResponse:
        """Lead to the factor that is lost: the next thing is a new one (P-08)."""
        factors = overview(self.person)
        if factors.passkeys and factors.has_several:
            sessions.flash(self.request, _("You're signed in. Replace what you've lost now."))
            return SeeOther("two-factor", then=on_to(self.request))
        if factors.number and opt_ins.files_for_numbers(self.person, factors):
            said = _("You're signed in. Enter your new number now.")
            if self.is_stopped():  # the person may have another way: the page says what they can do
                said = _("You're signed in.")
            sessions.flash(self.request, said)
            return SeeOther("number", then=on_to(self.request))
        if factors.passkeys:
            sessions.flash(self.request, _("You're signed in. Add another passkey now."))
            return SeeOther("passkey-add", then=on_to(self.request))
        sessions.flash(self.request, _("You're signed in. Set up an authenticator app now."))
        return SeeOther("app", then=on_to(self.request))


class SignInRecovery(SignInCode):
    """The same with a recovery code, for somebody who lost the rest."""

    name = "sign-in-recovery"

    def get(self, request: HttpRequest) -> HttpResponse:
        way = own_removals.way_of(self.person)
        is_offered = way.outcome is not RevocationOutcome.NOT_OFFERED
        return page(
            request,
            "sign_in_recovery.html",
            RecoveryForm(sessions.take_refused(request).get("recovery", "")),
            focus="recovery",
            factors=overview(self.person),
            locked=words.locked(self.person),
            here=self.address(),
            lost_all=self.with_query(reverse("sign-in-lost")) if is_offered else "",
            due=way.due_at if way.outcome is RevocationOutcome.ASKED else None,
            back=self.with_query(reverse("sign-in-code")),
        )


class SignInLost(SignInCode):
    """The way back for somebody who has lost everything: it says what will happen, and asks."""

    name = "sign-in-lost"

    def get(self, request: HttpRequest) -> HttpResponse:
        way = own_removals.way_of(self.person)
        if way.outcome is RevocationOutcome.NOT_OFFERED:
            return self._back()
        return page(
            request,
            "sign_in_lost.html",
            way=way,
            here=self.address(),
            back=self.with_query(reverse("sign-in-code")),
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        way = own_removals.ask(self.person, origin=sessions.origin_of(request))
        if way.outcome is RevocationOutcome.NOT_OFFERED:
            return self._back()
        return SeeOther(self.address())

    def _back(self) -> HttpResponse:
        return SeeOther(self.with_query(reverse("sign-in-recovery")))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if sessions.is_there(request):
        sessions.end(request)
        sessions.flash(request, _("You're signed out."))
    return SeeOther("sign-in")


@form_page
@sensitive_post_parameters("password")
@signed_in
def confirm(request: HttpRequest) -> HttpResponse:
    """The password again, before a change of how somebody signs in."""
    form = PasswordForm(request.POST or None)
    if not form.is_valid():
        return page(request, "confirm.html", form, focus="password")
    password, origin = form.cleaned_data["password"], sessions.origin_of(request)
    result = passwords.confirm(user_of(request), password, origin=origin)
    if result.outcome is not SignInOutcome.SIGNED_IN:
        return refused_password(request, "confirm.html", form, result)
    sessions.prove_password(request)
    return SeeOther(next_page(request, "account"))


# -- passwords ---------------------------------------------------------------------


def _same_password(request: HttpRequest, template: str, form: NewPasswordForm) -> HttpResponse:
    """Answer a new password that is the old one."""
    form.add_error("new_password1", _("That's your current password. Choose a different one."))
    return page(request, template, form)


@form_page
@sensitive_post_parameters()
@signed_in
def change_password(request: HttpRequest) -> HttpResponse:
    """A new password for somebody who has just given the old one."""
    if request.method == "POST" and _is_repeated(request):
        return SeeOther("account")
    sessions.standing(request).demand(timezone.now())
    form = NewPasswordForm(user_of(request), request.POST or None)
    if not form.is_valid():
        return page(request, "password.html", form)
    try:
        passwords.choose(
            user_of(request),
            form.cleaned_data["new_password1"],
            **who_asks(request),
            keep_session=sessions.renew_for_password(request),
        )
    except SamePassword:
        return _same_password(request, "password.html", form)
    except SignedOut:
        sessions.read_again(request)
        if not _is_repeated(request):
            raise
    said = _("Your password was changed. Your other devices were signed out.")
    if not has_active_factor(user_of(request)):
        said += " " + _("Two-factor sign-in is off. Turn it on under “Security”.")
    sessions.flash(request, said)
    return SeeOther("account")


def _is_repeated(request: HttpRequest) -> bool:
    """Whether the first half of a double click chose that password a moment ago."""
    user = user_of(request)
    form = NewPasswordForm(user, request.POST)
    if not sessions.chose_password(request) or not form.is_valid():
        return False
    new = form.cleaned_data["new_password1"]
    if not sessions.has_ended(request):
        return passwords.is_theirs(user, new)
    # The old id has proved nothing: whoever comes with it has tried a password.
    tried = passwords.confirm(user, new, origin=sessions.origin_of(request))
    if tried.outcome is not SignInOutcome.SIGNED_IN:
        return False
    sessions.prove_password(request, sessions.Step.CHOOSE)
    return True


@form_page
def reset_password(request: HttpRequest) -> HttpResponse:
    """Ask for a mail with a link. The answer is the same for everybody (S-38)."""
    form = ResetForm(request.POST or None)
    if not form.is_valid():
        return page(request, "password_reset.html", form)
    passwords.ask_reset(form.cleaned_data["email"], origin=sessions.origin_of(request))
    return SeeOther("password-reset-sent")


@form_page
@sensitive_post_parameters()
@open_to_all
def choose_new_password(request: HttpRequest, uidb64: str, token: str) -> HttpResponse:
    """The page behind the mailed link. It signs nobody in: the second factor comes after.

    The form stays at the address of the link, as no session holds a secret, and the address goes to
    no other site (Referrer-Policy). It must stay "same-origin": with "no-referrer" browsers send
    the form with ``Origin: null``, which CSRF refuses.
    """
    user = PasswordResetConfirmView().get_user(uidb64)
    invited = wording.is_of_invitation(token)
    if user is None or not user.is_active or not passwords.opens(user, token):
        return page(request, "password_new.html", status=404, invited=invited)
    form = NewPasswordForm(user, request.POST or None)
    if not form.is_valid():
        return page(request, "password_new.html", form, invited=invited)
    new, origin = form.cleaned_data["new_password1"], sessions.origin_of(request)
    try:
        passwords.choose(user, new, origin=origin, link=token)
    except SamePassword:
        return _same_password(request, "password_new.html", form)
    if invited:
        sessions.flash(request, _("Your password was saved. Sign in with it."))
        return SeeOther("sign-in", then=reverse("two-factor"))
    sessions.flash(request, _("Your password was changed. Sign in with the new one."))
    return SeeOther("sign-in")
