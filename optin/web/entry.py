"""Signing in and out, and passwords."""

from typing import Any

from django.contrib.auth import views
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from optin.errors import SamePassword, SignedOut
from optin.models import File, Purpose, User
from optin.operations import (
    authenticators,
    challenges,
    own_removals,
    passwords,
    revocations,
    sign_in,
)
from optin.operations.verification import Verification
from optin.outcomes import By, RevocationOutcome, SignInOutcome
from optin.runtime import references
from optin.runtime.redirects import SeeOther
from optin.runtime.references import Undecided
from optin.web import sessions, words
from optin.web.code_pages import CodePage
from optin.web.forms import NewPasswordForm, PasswordForm, RecoveryForm, ResetForm, SignInForm
from optin.web.pages import (
    form_page,
    is_mistyped,
    next_page,
    on_to,
    page,
    refused_password,
    signed_in,
)


@form_page
@sensitive_post_parameters("password")
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """Name and password; then the code, where two-factor sign-in is on (P-01)."""
    then = next_page(request, "account")
    if request.method != "POST" and request.user.is_authenticated:
        return SeeOther(then)
    if "ended" in request.GET and request.method != "POST":
        references.mark(request.META, Undecided.SESSION_ENDED)
    form = SignInForm(request.POST or None)
    if not form.is_valid():
        return page(request, "sign_in.html", form)
    result = sign_in.sign_in(**form.cleaned_data, origin=sessions.origin_of(request))
    if result.outcome is SignInOutcome.SIGNED_IN and result.user:
        sessions.begin(request, result.user)
        return SeeOther(then)
    if result.outcome is SignInOutcome.CODE_REQUIRED and result.user:
        sessions.begin_half(request, result.user)
        if result.sending:
            factors = authenticators.overview(result.user)
            said = words.sending(result.sending, Purpose.SIGN_IN, factors)
            sessions.flash(request, said, refused=result.sending.outcome not in words.SENT)
        return SeeOther("sign-in-code", then=request.GET.get("next", ""))
    return refused_password(request, "sign_in.html", form, result)


class SignInCode(CodePage):
    name = "sign-in-code"
    purpose = Purpose.SIGN_IN
    template = "sign_in_code.html"

    def who(self, request: HttpRequest) -> User | None:
        user = sessions.half_user(request)
        return user if user and authenticators.overview(user).is_on else None

    def gone(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return SeeOther(next_page(request, "account"))
        if sessions.is_half(request):
            references.mark(request.META, Undecided.SESSION_ENDED)
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

    def check(self, text: str) -> Verification:
        origin = sessions.origin_of(self.request)
        return challenges.check(self.person, self.purpose, text, origin=origin)

    def verified(self, result: Verification) -> HttpResponse:
        sessions.begin(self.request, self.person, result)
        if revocations.signed_in(self.person, origin=sessions.origin_of(self.request)):
            said = _(
                "You are signed in, so the removal of your second factors was cancelled. If you "
                "did not ask for the removal, somebody knows your password: change it now."
            )
            sessions.flash(self.request, said, refused=True, to_password=True)
        if result.by is By.RECOVERY:
            return self._replace_what_was_lost()
        return SeeOther(next_page(self.request, "account"))

    def _replace_what_was_lost(self) -> HttpResponse:
        """Lead to the factor of the phone that is lost: the next thing is a new one (P-08)."""
        has_file = File.objects.open_to(self.person).exists()
        if authenticators.overview(self.person).number and has_file:
            said = _("You are signed in. Enter your new number now.")
            if self.is_stopped():  # the person may have another way: the page says what they can do
                said = _("You are signed in.")
            sessions.flash(self.request, said)
            return SeeOther("number", then=on_to(self.request))
        sessions.flash(self.request, _("You are signed in. Set up an authenticator app now."))
        return SeeOther("app", then=on_to(self.request))


class SignInRecovery(SignInCode):
    """The same with a recovery code, for somebody without the phone."""

    name = "sign-in-recovery"

    def get(self, request: HttpRequest) -> HttpResponse:
        way = own_removals.way_of(self.person)
        is_offered = way.outcome is not RevocationOutcome.NOT_OFFERED
        return page(
            request,
            "sign_in_recovery.html",
            RecoveryForm(sessions.take_refused(request).get("recovery", "")),
            factors=authenticators.overview(self.person),
            locked=words.locked(self.person),
            here=self.address(),
            lost_all=self.with_query(reverse("sign-in-lost")) if is_offered else "",
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
        sessions.flash(request, _("You are signed out."))
    return SeeOther("sign-in")


@form_page
@sensitive_post_parameters("password")
@signed_in
def confirm(request: HttpRequest) -> HttpResponse:
    """The password again, before a change of how somebody signs in."""
    form = PasswordForm(request.POST or None)
    if not form.is_valid():
        return page(request, "confirm.html", form)
    user: Any = request.user
    result = passwords.confirm(
        user, form.cleaned_data["password"], origin=sessions.origin_of(request)
    )
    if result.outcome is not SignInOutcome.SIGNED_IN:
        return refused_password(request, "confirm.html", form, result)
    sessions.prove_password(request)
    return SeeOther(next_page(request, "account"))


# -- passwords, on Django's own views ----------------------------------------------


class _Refusing:
    """Answers a refused form as all pages do, with 422."""

    def form_invalid(self, form: Any) -> HttpResponse:
        view: Any = self
        if is_mistyped(form):
            references.mark(view.request.META, Undecided.FORM)
        response: HttpResponse = view.render_to_response(
            view.get_context_data(form=form), status=422
        )
        return response

    def refuse_same(self, form: Any) -> HttpResponse:
        """Answer a new password that is the old one."""
        form.add_error("new_password1", _("That is your current password. Choose a different one."))
        return self.form_invalid(form)


class ChangePassword(_Refusing, views.PasswordChangeView):
    """A new password for somebody who has just given the old one."""

    form_class = NewPasswordForm  # type: ignore[assignment]
    template_name = "password.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "POST" and self._is_repeated(request):
            return SeeOther("account")
        sessions.standing(request).demand(timezone.now())
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            passwords.choose(
                form.user,
                form.cleaned_data["new_password1"],
                origin=sessions.origin_of(self.request),
                standing=sessions.standing(self.request),
                keep_session=sessions.renew_for_password(self.request),
            )
        except SamePassword:
            return self.refuse_same(form)
        except SignedOut:
            sessions.read_again(self.request)
            if not self._is_repeated(self.request):
                raise
        sessions.flash(self.request, _("Your password was changed. Other sessions were ended."))
        return SeeOther("account")

    def _is_repeated(self, request: HttpRequest) -> bool:
        """Whether the first half of a double click chose that password a moment ago."""
        user: Any = request.user
        form = NewPasswordForm(user, request.POST)
        if not sessions.chose_password(request) or not form.is_valid():
            return False
        new = form.cleaned_data["new_password1"]
        if not sessions.has_ended(request):
            return passwords.is_theirs(user, new, origin=sessions.origin_of(request))
        # The old id has proved nothing: whoever comes with it has tried a password.
        tried = passwords.confirm(user, new, origin=sessions.origin_of(request))
        if tried.outcome is not SignInOutcome.SIGNED_IN:
            return False
        sessions.prove_password(request, sessions.Step.CHOOSE)
        return True


class ResetPassword(_Refusing, views.PasswordResetView):
    """Ask for a mail with a link. The answer is the same for everybody (S-38)."""

    form_class = ResetForm
    template_name = "password_reset.html"

    def form_valid(self, form: Any) -> HttpResponse:
        passwords.ask_reset(form.cleaned_data["email"], origin=sessions.origin_of(self.request))
        return SeeOther("password-reset-sent")


class ChooseNewPassword(_Refusing, views.PasswordResetConfirmView):
    """The page behind the mailed link. It signs nobody in: the second factor comes after."""

    form_class = NewPasswordForm
    template_name = "password_new.html"

    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        """Serve the form at the address of the link.

        Django's own way keeps the token in the session; here no session holds a secret, and
        the address goes to no other site (Referrer-Policy). It must stay "same-origin":
        with "no-referrer" browsers send the form with ``Origin: null``, which CSRF refuses.
        """
        self.user = self.get_user(kwargs["uidb64"])
        known = self.user is not None and self.user.is_active
        self.validlink = known and passwords.opens(self.user, kwargs["token"])
        if not self.validlink:
            references.mark(self.request.META, Undecided.LINK_GONE)
            return self.render_to_response(self.get_context_data(), status=404)
        return super(views.PasswordResetConfirmView, self).dispatch(*args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            passwords.choose(
                form.user,
                form.cleaned_data["new_password1"],
                origin=sessions.origin_of(self.request),
                link=self.kwargs["token"],
            )
        except SamePassword:
            return self.refuse_same(form)
        sessions.flash(self.request, _("Your password was changed. Sign in with the new one."))
        return SeeOther("sign-in")
