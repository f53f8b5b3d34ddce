"""Pages that ask for a code: one way to show, check, send and help, for each purpose."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views import View

from optin import codes, passkeys
from optin.errors import MalformedCode
from optin.messaging import waits
from optin.models import Purpose, User
from optin.models.second_factors import Overview, overview
from optin.operations import authenticators, challenges
from optin.operations.challenges import Waiting
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.outcomes import CodeOutcome, NotCompared, whole_seconds
from optin.passkeys import Options, PasskeyResponse
from optin.runtime.redirects import SeeOther
from optin.support import requests
from optin.web import sessions, typed, words
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
    sends_itself = True
    takes_recovery = True  # where no recovery code counts, no app and no passkey does
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
        """Lead to the sign-in when there is nobody to ask."""
        return SeeOther("sign-in", then=request.path)

    def waiting(self) -> Waiting | None:
        return challenges.waiting(self.person, self.purpose)

    def number_of(self, waiting: Waiting) -> str:
        """Return the number to which the code went, as the page of the code shows it."""
        return waiting.number.masked_number

    def send(self) -> Sending:
        origin = sessions.origin_of(self.request)
        return challenges.challenge(self.person, self.purpose, origin=origin)

    def is_stopped(self) -> bool:
        """Whether no text goes to the number, and the person may know it."""
        return authenticators.is_stopped(self.person)

    def check(self, attempt: str | PasskeyResponse) -> Verification:
        """Hand the code, or the response of a passkey, to its operation."""
        origin = sessions.origin_of(self.request)
        return challenges.check(self.person, self.purpose, attempt, origin=origin)

    def verified(self, result: Verification) -> HttpResponse:
        """Lead on after a right code."""
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
        factors = overview(self.person)
        context = self._context(factors)
        if self.step == "help":
            context["text_request_id"] = requests.of_last_text(self.person)
            return page(request, "not_received.html", **context)
        refused, waiting = sessions.take_refused(request), context["waiting"]
        cause = waiting or context["locked"] or context["no_texts"]
        if (expired := refused.pop("expired", "")) and cause:
            refused["code"] = expired
        elif expired:
            context["expired"] = context["has_errors"] = True
        if waiting:
            context["number"] = self.number_of(waiting)
            context["lifetime"] = words.lifetime(waiting, told_tries=bool(refused))
        form = CodeForm(
            refused.get("code", ""),
            by_passkey=refused.get("passkey", ""),
            by_text=waiting.code.digits if waiting else 0,
            by_app=context["by_app"],
            # After a refusal somebody presses the button: else what fills a field in by itself
            # would try again and again.
            sends_itself=self.sends_itself and not refused,
        )
        recovery = RecoveryForm(refused.get("recovery", ""))
        takes_recovery = self.takes_recovery and factors.recovery_codes and not context["locked"]
        return page(
            request,
            self.template,
            recovery if recovery.errors else form,
            focus="code" if self._asks_for_code(context) else "",
            code_form=form,
            recovery=recovery if takes_recovery else None,
            **context,
        )

    def _context(self, factors: Overview) -> dict[str, Any]:
        """Return what the page of the code and that of help say."""
        locked, no_texts = words.locked(self.person), self._no_texts(factors)
        waiting, by_app = self._awaited(factors)
        said = words.delivery(waiting.text, briefly=self.step != "help") if waiting else ""
        wait = waiting.resend_in if waiting else None
        return {
            "waiting": waiting,
            "factors": factors,
            "here": self.address(),
            "send": self.address("send"),
            "help": self.address("help"),
            "delivery": said,
            "usual_wait": self._usual_wait(waiting),
            "resend_in": whole_seconds(wait) if wait else 0,
            # Without a script there is no countdown, so the page names the next whole minute.
            "resend_at": timezone.now() + wait + timedelta(minutes=1) if wait else None,
            "locked": locked,
            "no_texts": no_texts,
            "can_text": bool(factors.number) and not locked and not no_texts,
            "by_app": by_app,
            "has_field": bool(waiting) or by_app,
            "passkey": self._passkey(factors),
            **self.context(),
        }

    def _asks_for_code(self, context: dict[str, Any]) -> bool:
        """Whether entering a code is the one task of the page."""
        is_second = context["passkey"] and not context["waiting"]
        return (self.sends_itself and not is_second) or "expired" in context

    def _passkey(self, factors: Overview) -> Options | None:
        """Return what a passkey is asked, if the person has one that counts here."""
        if not (self.takes_recovery and factors.usable_passkeys):
            return None
        session = sessions.origin_of(self.request).session
        return passkeys.authentication_options(
            self.purpose, factors.usable_passkeys, session=session
        )

    def _awaited(self, factors: Overview) -> tuple[Waiting | None, bool]:
        """Return the texted code that may be entered now, and whether the code of an app may be."""
        if words.locked(self.person):
            return None, False
        # While texts are switched off, a code that was sent before is not accepted.
        waiting = None if self._is_off(factors) else self.waiting()
        return waiting, self.takes_recovery and bool(factors.app)

    def _usual_wait(self, waiting: Waiting | None) -> str:
        """Say how long the text may take. A sandbox's goes to no phone."""
        if waiting is None or waiting.text.state not in words.AWAITED or self.person.is_test:
            return ""
        by_anybody = self.purpose is Purpose.OPT_IN
        wait = waits.expected(
            waiting.text, waiting.number, timezone.now(), open_to_anybody=by_anybody
        )
        return words.usual_wait(wait)

    def _is_off(self, factors: Overview) -> bool:
        """Whether no texted code is accepted, by a count, by staff, or because the SIM is new."""
        if self.purpose is Purpose.OPT_IN:
            return bool(factors.user.otp_disabled_at)
        sim_refuses = factors.sim and not factors.sim.lets_through(self.purpose, timezone.now())
        return factors.takes_no_texts or bool(sim_refuses)

    def _no_texts(self, factors: Overview) -> str:
        """Say why no text can be sent, and what else there is; "" if one can."""
        if self._is_off(factors):
            return words.switched_off(factors, changing=self.purpose is Purpose.OPT_IN)
        is_usable = factors.has_codes or factors.usable_passkeys
        if self.takes_recovery and factors.passkeys and not is_usable:
            return words.passkeys_elsewhere(factors)
        return words.stopped(self.purpose, factors) if self.is_stopped() else ""

    def post(self, request: HttpRequest) -> HttpResponse:
        if self.step == "send":
            factors = overview(self.person)
            sending = self.send()
            said = words.sending(sending, self.purpose, factors)
            sessions.flash(request, said, refused=sending.outcome not in words.SENT)
            return SeeOther(self.address())
        if "passkey" in request.POST and self.takes_recovery:
            result = self._result("passkey", response_in(request))
        elif "recovery" in request.POST:
            result = self._result("recovery", typed.plain(request.POST["recovery"]))
        else:
            result = self._result("code", typed.code(request.POST.get("code", "")))
        return self.verified(result) if result else SeeOther(self.address())

    def _result(self, field: str, attempt: str | PasskeyResponse) -> Verification | None:
        """Check the attempt; nothing where it was refused, which the next page tells."""
        try:
            result = self.check(attempt)
        except MalformedCode:
            result = None
        if result and result.outcome in self.settled:
            return result
        said = self._refusal(field, attempt if isinstance(attempt, str) else "", result)
        if result and result.outcome is CodeOutcome.OTP_EXPIRED:
            field = "expired"
        sessions.refuse(self.request, field, said, mistyped=result is None)
        return None

    def _refusal(self, field: str, text: str, result: Verification | None) -> str:
        """Say why *text* did not do; it can be no code where there is no *result*."""
        factors = overview(self.person)
        waiting, by_app = self._awaited(factors)
        by_text = waiting.code.digits if waiting else 0
        if result is None:
            return words.malformed(field, text, by_text=by_text, by_app=by_app)
        if result.data.get("why") == NotCompared.MADE_SINCE:
            return words.made_since()
        # It has the length of another code, so it was compared with none.
        unheard = result.outcome is CodeOutcome.OTP_INCORRECT and not result.compared
        awaited = words.code_lengths(by_text, by_app=by_app) if by_text or by_app else set()
        if unheard and awaited and len(codes.clean(text)) not in awaited:
            return words.malformed(field, text, by_text=by_text, by_app=by_app)
        # One with tries left was compared with a text.
        is_of_app = (
            field == "code"
            and len(codes.clean(text)) == codes.APP_DIGITS
            and result.tries_left is None
        )
        takes_two = factors.app and factors.user.takes_two_codes(timezone.now())
        if takes_two and is_of_app and result.outcome is CodeOutcome.OTP_INCORRECT:
            return words.takes_two()
        return words.refusal(result, factors)


def response_in(request: HttpRequest) -> PasskeyResponse:
    """Return what the browser answered for a passkey."""
    return PasskeyResponse(request.POST.get("passkey", ""), request.POST.get("challenge", ""))
