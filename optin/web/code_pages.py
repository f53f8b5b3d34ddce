"""Pages that ask for a code: one way to show, check, send and help, for each purpose."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views import View

from optin.errors import MalformedCode
from optin.models import Purpose, User
from optin.operations import authenticators, challenges
from optin.operations.challenges import Waiting
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.outcomes import CodeOutcome
from optin.runtime.redirects import SeeOther
from optin.web import sessions, words
from optin.web.forms import CodeForm, RecoveryForm
from optin.web.pages import page


class CodePage(View):
    """A page that asks for a code, and beside it ``-send`` and ``-help``.

    Every POST answers 303; a refusal travels in the session. So a reload asks nothing and
    counts nothing.
    """

    step = ""  # "send" sends a text again, "help" tells what to do without one
    name: str  # of the address
    purpose: Purpose
    template: str
    takes_recovery = True
    settled = frozenset({CodeOutcome.OK})  # what leads on

    person: User

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        person = self.who(request)
        if person is None:
            return self.gone(request)
        self.person = person
        return super().dispatch(request, *args, **kwargs)

    # -- what each purpose says for itself -----------------------------------------

    def who(self, request: HttpRequest) -> User | None:
        """Return whose code it is."""
        user: Any = request.user
        return user if user.is_authenticated else None

    def gone(self, request: HttpRequest) -> HttpResponse:
        """Where to go when there is nobody to ask."""
        return SeeOther("sign-in", then=request.path)

    def waiting(self) -> Waiting | None:
        return challenges.waiting(self.person, self.purpose)

    def send(self) -> Sending:
        origin = sessions.origin_of(self.request)
        return challenges.challenge(self.person, self.purpose, origin=origin)

    def is_stopped(self) -> bool:
        """Whether no text goes to the number, and the person may know it."""
        return authenticators.is_stopped(self.person)

    def check(self, text: str) -> Verification:
        """Hand the code to its operation."""
        raise NotImplementedError

    def verified(self, result: Verification) -> HttpResponse:
        """Where a right code leads."""
        raise NotImplementedError

    def context(self) -> dict[str, Any]:
        return {}

    # -- the same for all ----------------------------------------------------------

    def address(self, step: str = "") -> str:
        """Return the address of a step, with the query of this one."""
        return self.with_query(reverse(f"{self.name}-{step}" if step else self.name))

    def with_query(self, path: str) -> str:
        query = self.request.META.get("QUERY_STRING", "")
        return f"{path}?{query}" if query else path

    def get(self, request: HttpRequest) -> HttpResponse:
        if self.step == "send":
            return SeeOther(self.address())
        waiting, factors = self.waiting(), authenticators.overview(self.person)
        context = {
            "waiting": waiting,
            "factors": factors,
            "here": self.address(),
            "send": self.address("send"),
            "help": self.address("help"),
            "delivery": words.delivery(waiting.text) if waiting else "",
            "resend_in": _seconds(waiting),
            "person": self.person,
            "stopped": words.stopped(self.purpose) if self.is_stopped() else "",
            **self.context(),
        }
        if self.step == "help":
            return page(request, "not_received.html", **context)
        refused = sessions.take_refused(request)
        if waiting:
            context["lifetime"] = words.lifetime(waiting, told_tries=bool(refused))
        form = self._code_form(refused.get("code", ""), waiting, factors)
        recovery = RecoveryForm(refused.get("recovery", ""))
        return page(
            request,
            self.template,
            recovery if recovery.errors else form,
            code_form=form,
            recovery=recovery if self.takes_recovery and factors.recovery_codes else None,
            **context,
        )

    def _code_form(
        self, refused: str, waiting: Waiting | None, factors: authenticators.Overview
    ) -> CodeForm:
        # Where no recovery code counts, no app does: only the texted code is asked for.
        by_app = bool(factors.app and self.takes_recovery)
        has_field = bool(waiting or by_app)
        return CodeForm(refused, hint=_hint(waiting, by_app=by_app), has_field=has_field)

    def post(self, request: HttpRequest) -> HttpResponse:
        if self.step == "send":
            sessions.flash(request, words.sending(self.send(), self.purpose))
            return SeeOther(self.address())
        field = "recovery" if "recovery" in request.POST else "code"
        result = self._result(field, request.POST.get(field, ""))
        return self.verified(result) if result else SeeOther(self.address())

    def _result(self, field: str, text: str) -> Verification | None:
        """Check the code; nothing where it was refused, which the next page tells."""
        try:
            result = self.check(text)
        except MalformedCode:
            sessions.refuse(self.request, field, words.malformed(field, text))
            return None
        if result.outcome in self.settled:
            return result
        sessions.refuse(self.request, field, words.refusal(result))
        return None


def _seconds(waiting: Waiting | None) -> int:
    if waiting is None or waiting.resend_in is None:
        return 0
    return words.whole_seconds(waiting.resend_in)


def _hint(waiting: Waiting | None, *, by_app: bool) -> Any:
    if by_app and waiting:
        return _("The code from your app, or the one from the text message.")
    if by_app:
        return _("The 6 digits that your authenticator app shows now.")
    return ""
