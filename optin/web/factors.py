"""Pages on which people turn two-factor sign-in on, change it, and turn it off."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import segno
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from optin import codes, keys, passkeys, phones
from optin.conf import conf
from optin.errors import InvalidMobileNumber, MalformedCode, OnlyFiction
from optin.models import File, Passkey, ProposedNumber, Purpose, User
from optin.models.passkeys import MOST_PASSKEYS
from optin.models.second_factors import Overview, overview
from optin.operations import authenticators, challenges, opt_ins, revocations, texts_end
from optin.operations.authenticators import Change, Removal
from optin.operations.challenges import Waiting
from optin.operations.factors import FRESH
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.outcomes import By, CodeOutcome, FactorOutcome
from optin.passkeys import PasskeyResponse
from optin.runtime.redirects import SeeOther
from optin.web import sessions, typed, words
from optin.web.code_pages import CodePage
from optin.web.forms import CodeForm, NumberForm
from optin.web.pages import demand, form_page, next_page, on_to, page, signed_in
from optin.web.sessions import user_of, who_asks

_SHOWN = TimestampSigner(salt="optin.recovery-codes")
_SHOWN_SEAL = "page.recovery-codes"
"""Browsers write the body of a form to disk, to restore a tab: no code is readable in it."""


@require_safe
@signed_in
def two_factor(request: HttpRequest) -> HttpResponse:
    """Whether it is on, since when, and the one thing to do next (P-02)."""
    user = user_of(request)
    factors, stopped = overview(user), authenticators.is_stopped(user)
    return page(
        request,
        "two_factor.html",
        factors=factors,
        revocation=revocations.waiting_for(user, factors),
        last_used=authenticators.last_used(user),
        stopped=stopped,
        has_choice=bool(factors.number and factors.works_without_texts)
        and (user.text_first or not stopped),
        switched_off=words.switched_off(factors, changing=True) if user.otp_disabled_at else "",
        new_sim=words.new_sim(factors),
        has_way_back=factors.works_without_texts or factors.recovery_codes,
        can_add_passkey=passkeys.are_offered() and len(factors.passkeys) < MOST_PASSKEYS,
        has_file=File.objects.open_to(user).exists(),
        waiting=_waiting_number(request, user),
        then=on_to(request),
    )


def _waiting_number(request: HttpRequest, user: User) -> Waiting | None:
    """Return the code for the number that was named last, where somebody walked away from it."""
    named = sessions.named_numbers(request)
    return challenges.waiting(user, Purpose.OPT_IN, int(named[-1])) if named else None


@require_safe
@signed_in
def success(request: HttpRequest) -> HttpResponse:
    """What was done, and what to do for the day it is lost (P-07)."""
    factors = overview(user_of(request))
    if not factors.is_on:
        return SeeOther("two-factor", then=on_to(request))
    return page(
        request,
        "success.html",
        factors=factors,
        changed=request.GET.get("done") == "changed" and factors.number,
        done=request.GET.get("done"),
        mailed=_is_mailed(user_of(request)),
        then=next_page(request, "two-factor"),
    )


# -- the number --------------------------------------------------------------------


@form_page
@signed_in
def number(request: HttpRequest) -> HttpResponse:
    """Name a number, to opt in or to take the place of the present one (P-03, P-08)."""
    factors = overview(user_of(request))
    user = demand(request, sessions.standing(request).to_replace(factors.number))
    files = opt_ins.files_for_numbers(user, factors)
    if not files and texts_end.near(user):
        return SeeOther("texts-end", then=on_to(request))
    proposed = None if factors.number else ProposedNumber.objects.filter(user=user).first()
    form = NumberForm(files, request.POST or None, proposed=proposed)
    if files and form.is_valid():
        file = form.cleaned_data.get("file") or files[0]
        sending = _opt_in(request, file, form)
        said = words.sending(sending, Purpose.OPT_IN, factors) if sending else ""
        if sending and (pk := sending.provider_user_id):
            sessions.name_number(request, pk, typed=form.asked == "number")
            sessions.flash(request, said, refused=sending.outcome not in words.SENT)
            return SeeOther("number-code", then=on_to(request), number=pk)
        if sending:
            form.add_error(form.asked, said)
    return page(
        request,
        "number.html",
        form,
        focus="" if "which" in form.fields else "number",
        factors=factors,
        files=files,
        stopped=authenticators.is_stopped(user),
        barred=barred(factors),
    )


def barred(factors: Overview) -> str:
    """Say why somebody with *factors* may set up none now; "" if they may."""
    user = factors.user
    switched_off = user.otp_disabled_at and words.switched_off(factors, changing=True)
    return words.locked(user) or switched_off or ""


def added(request: HttpRequest, result: Change, by: By) -> HttpResponse:
    """Lead on after a factor that needs no text was added."""
    if result.repeated:
        sessions.follow(request)
    sessions.prove(request, by)
    return SeeOther("success", then=on_to(request), done=by.value)


def _opt_in(request: HttpRequest, file: File, form: NumberForm) -> Sending | None:
    try:
        number = form.cleaned_data["number"]
        return opt_ins.opt_in(user_of(request), file, number, **who_asks(request))
    except OnlyFiction:
        said = _(
            "This organisation is a sandbox: it takes only mobile numbers that are kept free "
            "for films and books."
        )
        form.add_error(form.asked, said)
        return None
    except InvalidMobileNumber:
        said = words.wrong_number(form.cleaned_data["number"])
        form.add_error(form.asked, ValidationError(said, code="invalid"))
        return None


class NumberCode(CodePage):
    """The code that was texted to a new number, which ``?number=`` names.

    In the address, so that two tabs may wait for two numbers.
    """

    name = "number-code"
    purpose = Purpose.OPT_IN
    template = "number_code.html"
    takes_recovery = False
    # The form of a number that was verified, found again with the back button, leads on too.
    settled = frozenset({CodeOutcome.OK, CodeOutcome.ALREADY_VERIFIED})

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        asked = request.GET.get("number", "")
        if asked not in sessions.named_numbers(request) and not _waits(user_of(request), asked):
            return SeeOther("two-factor", then=on_to(request))
        sessions.demand_password(request)
        self.number, user = int(asked), user_of(request)
        # The file of the row: the person may have chosen another one while the code waits.
        file = File.objects.open_to(user).filter(provider_users__pk=self.number).first()
        if file is None:
            return SeeOther("two-factor", then=on_to(request))
        self.file = file
        return super().dispatch(request, *args, **kwargs)

    def waiting(self) -> Waiting | None:
        return challenges.waiting(self.person, self.purpose, self.number)

    def is_stopped(self) -> bool:
        return authenticators.is_stopped(self.person, pk=self.number)

    def send(self) -> Sending:
        return opt_ins.send_again(self.person, self.number, **who_asks(self.request))

    def number_of(self, waiting: Waiting) -> str:
        if sessions.is_typed(self.request, self.number):
            with suppress(keys.UndecryptableError):
                return phones.as_written(waiting.number.open_number(), conf.sms_regions[0])
        return super().number_of(waiting)

    def context(self) -> dict[str, Any]:
        return {
            "change_url": SeeOther("number", then=on_to(self.request)).url,
            # Only a texted code shows that a number is theirs, and it goes to that number.
            "can_text": False,
            "taken": opt_ins.belongs_to_another(self.person, self.number),
        }

    def check(self, attempt: str | PasskeyResponse) -> Verification:
        if isinstance(attempt, PasskeyResponse):
            raise MalformedCode  # it does not show that the number is theirs
        return opt_ins.verify_opt_in(
            self.person,
            self.file,
            self.number,
            attempt,
            origin=sessions.origin_of(self.request),
            keep_session=sessions.renew(self.request),
        )

    def verified(self, result: Verification) -> HttpResponse:
        if result.repeated:
            sessions.follow(self.request)
        sessions.leave_number(self.request)
        if result.outcome is CodeOutcome.OK:
            sessions.prove(self.request, By.TEXT)
        done = "changed" if result.data.get("replaced") else "number"
        return SeeOther("success", then=on_to(self.request), done=done)


def _waits(user: User, number: str) -> bool:
    """Whether a code for *number* waits, which was named in a session that ended since."""
    is_id = number.isascii() and number.isdigit() and len(number) <= 10
    return is_id and challenges.waiting(user, Purpose.OPT_IN, int(number)) is not None


class ProveCode(CodePage):
    """Any second factor, before a change."""

    name = "prove"
    purpose = Purpose.CHANGE
    template = "prove.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not overview(user_of(request)).is_on:
            return SeeOther(next_page(request, "two-factor"))
        sessions.demand_password(request)
        return super().dispatch(request, *args, **kwargs)

    def check(self, attempt: str | PasskeyResponse) -> Verification:
        return challenges.check(self.person, self.purpose, attempt, **who_asks(self.request))

    def verified(self, result: Verification) -> HttpResponse:
        sessions.prove_again(self.request, result)
        return SeeOther(next_page(self.request, "two-factor"))


# -- what a page asks for first ----------------------------------------------------


@form_page
@signed_in
def first(request: HttpRequest) -> HttpResponse:
    """Choose what is asked for first. A GET, which follows a proof, changes nothing."""
    if request.method == "POST":
        chosen = By.TEXT if request.POST.get("first") == "text" else By.APP
        done = authenticators.ask_first(user_of(request), chosen, **who_asks(request))
        if done and chosen is By.TEXT:
            sessions.flash(request, _("When you sign in, we text you a code at once."))
        elif done:
            said = _("When you sign in, we ask for the code from your authenticator app.")
            if overview(user_of(request)).usable_passkeys:
                said = _("When you sign in, we ask for your passkey.")
            sessions.flash(request, said)
    return SeeOther("two-factor")


# -- where texts end ----------------------------------------------------------------


@require_safe
@signed_in
def texts_are_ending(request: HttpRequest) -> HttpResponse:
    """Ask somebody who has texts at most to add another factor, before or after they end."""
    user, then = user_of(request), next_page(request, "account")
    file = texts_end.near(user)
    if file is None:
        return SeeOther(then)
    return page(
        request,
        "texts_end.html",
        file=file,
        has_ended=not file.takes_numbers_alone(timezone.localdate()),
        factors=overview(user),
        can_add_passkey=passkeys.are_offered(),
        then=then,
    )


# -- texts after a STOP -------------------------------------------------------------


@form_page
@signed_in
def texts(request: HttpRequest) -> HttpResponse:
    """Turn texts to the number on again. A GET, which follows a proof, shows the button again."""
    if request.method == "POST":
        result = authenticators.allow_texts(user_of(request), **who_asks(request))
        factors = overview(user_of(request))
        refused = result.outcome not in {FactorOutcome.OK, FactorOutcome.UNCHANGED}
        sessions.flash(request, words.allowed(result, factors), refused=refused)
    return SeeOther("two-factor")


# -- turning off -------------------------------------------------------------------


class OffCode(CodePage):
    """Any second factor, to remove what ``?what=`` names (P-08)."""

    name = "off"
    purpose = Purpose.OPT_OUT
    template = "off.html"
    sends_itself = False  # the page says what will happen before the button (P-08)

    removal: Removal
    one: Passkey | None  # if it is a passkey that is to be removed

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        sessions.standing(request).demand(timezone.now())
        asked, pk = request.GET.get("what", ""), request.GET.get("passkey", "")
        factors = overview(user_of(request))
        self.removal = Removal(asked) if asked in set(Removal) else Removal.ALL
        self.one = next((one for one in factors.passkeys if str(one.pk) == pk), None)
        has = {
            Removal.ALL: factors.is_on or request.method == "POST",
            Removal.NUMBER: factors.number,
            Removal.APP: factors.app,
            Removal.PASSKEY: self.one,
        }
        # What is gone was removed since, perhaps by the first half of a double click.
        if not has[self.removal]:
            return SeeOther("two-factor")
        # What is left must let the person in.
        if not factors.lets_in_without([has[self.removal]]):
            self.removal, self.one = Removal.ALL, None
        return super().dispatch(request, *args, **kwargs)

    def check(self, attempt: str | PasskeyResponse) -> Verification:
        return authenticators.turn_off(
            self.person,
            attempt,
            removal=self.removal,
            passkey_id=self.one.pk if self.one else None,
            **who_asks(self.request),
        )

    def verified(self, result: Verification) -> HttpResponse:
        said = words.removed(self.removal)
        if not overview(self.person).is_on:
            sessions.forget_factors(self.request)
            if _is_mailed(self.person):
                said = _("Two-factor sign-in is off. We sent you an email.")
        sessions.flash(self.request, said)
        return SeeOther("two-factor")

    def context(self) -> dict[str, Any]:
        factors = overview(self.person)
        is_of_codes = self.removal in {Removal.NUMBER, Removal.APP}
        return {
            "removal": self.removal,
            "removed": self.one,
            "held": words.held(factors),
            "ends_programs": is_of_codes and not (factors.number and factors.app),
            "mailed": _is_mailed(self.person),
        }


# -- the app -----------------------------------------------------------------------


@form_page
@signed_in
def app(request: HttpRequest) -> HttpResponse:
    """Set an authenticator app up: a secret to scan, and a code that shows that it was."""
    if request.method == "POST":
        return _set_up(request, user_of(request))
    factors = overview(user_of(request))
    user = demand(request, sessions.standing(request).to_replace(factors.app))
    waiting = authenticators.waiting_secret(user, origin=sessions.origin_of(request))
    secret, address = waiting or ("", "")
    return page(
        request,
        "app.html",
        CodeForm(sessions.take_refused(request).get("code", ""), by_app=True),
        factors=factors,
        barred=barred(factors),
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        address=address,
        picture=_picture(address),
    )


def _set_up(request: HttpRequest, user: User) -> HttpResponse:
    asking, then = who_asks(request), on_to(request)
    if "code" not in request.POST:
        begun = authenticators.begin_app(user, **asking)
        if begun.outcome is not FactorOutcome.STARTED:
            said = words.refusal(begun, overview(user))
            sessions.flash(request, said, refused=True)
        return SeeOther("app", then=then)
    text = typed.code(request.POST["code"])
    try:
        if len(codes.clean(text)) in set(codes.LENGTHS) - {codes.APP_DIGITS}:
            raise MalformedCode  # as long as a texted code may be, and no app's
        result = authenticators.confirm_app(
            user, text, **asking, keep_session=sessions.renew(request)
        )
    except MalformedCode:
        said = words.malformed("code", text, by_text=0, by_app=True)
        sessions.refuse(request, "code", said, mistyped=True)
        return SeeOther("app", then=then)
    if result.outcome is not FactorOutcome.OK:
        sessions.refuse(request, "code", words.refusal(result, overview(user)))
        return SeeOther("app", then=then)
    return added(request, result, By.APP)


def _picture(address: str) -> SafeString:
    """Draw the QR code of *address*: dark on white in either scheme, or apps do not read it."""
    if not address:
        return SafeString("")
    code = segno.make(address, error="m")
    return mark_safe(code.svg_inline(scale=5, light="#fff", dark="#000"))  # noqa: S308


# -- recovery codes ----------------------------------------------------------------


@form_page
@signed_in
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Make ten codes, which count at once, and show them.

    They travel in the signed form alone: no session and no database holds them. So the answer
    to the form shows them, and not a page behind it; the same form, sent again, shows the same.
    """
    user = user_of(request)
    factors = overview(user)
    if not factors.is_on:
        return SeeOther("two-factor", then=on_to(request))
    if request.method != "POST":
        return _offer_codes(request, user, factors)
    if "saved" in request.POST:
        sessions.flash(request, _("Recovery codes saved. Keep them where you can find them."))
        return SeeOther(next_page(request, "two-factor"))
    instead_of, texts = _codes_of(request, user)
    kept = Change(FactorOutcome.NOTHING_WAITING)
    if texts:
        kept = authenticators.keep_recovery_codes(
            user, texts, instead_of=instead_of, **who_asks(request)
        )
    if kept.outcome in {FactorOutcome.OK, FactorOutcome.UNCHANGED}:
        then = next_page(request, "two-factor")
        if "download" in request.POST:
            as_file = "\n".join([conf.service_name, user.get_username(), "", *texts, ""])
            headers = {"Content-Disposition": 'attachment; filename="recovery-codes.txt"'}
            return HttpResponse(as_file, "text/plain; charset=utf-8", headers=headers)
        again = request.POST["codes"]
        made = timezone.now()
        return page(request, "recovery_codes.html", codes=texts, signed=again, then=then, made=made)
    if kept.outcome is FactorOutcome.NOTHING_WAITING:
        sessions.flash(
            request, _("That page was out of date. Nothing was changed. Try again."), refused=True
        )
        return SeeOther("recovery-codes", then=on_to(request))
    sessions.flash(request, words.refusal(kept, factors), refused=True)
    return SeeOther(next_page(request, "two-factor"))


def _offer_codes(request: HttpRequest, user: User, factors: Overview) -> HttpResponse:
    texts = authenticators.new_recovery_codes(user, standing=sessions.standing(request))
    instead_of = authenticators.newest_recovery_code(user)
    return page(
        request,
        "recovery_codes.html",
        factors=factors,
        barred=barred(factors),
        signed=_SHOWN.sign(
            keys.encrypt(f"{user.pk} {instead_of} {' '.join(texts)}", context=_SHOWN_SEAL)
        ),
        then=next_page(request, "two-factor"),
    )


def _codes_of(request: HttpRequest, user: User) -> tuple[int, Sequence[str]]:
    """Return what the form was given, if it was ours and is fresh: the newest code of the list
    that it replaces, and the codes.
    """
    try:
        sealed = _SHOWN.unsign(request.POST.get("codes", ""), max_age=FRESH)
        shown = keys.decrypt(sealed, context=_SHOWN_SEAL)
    except (BadSignature, keys.UndecryptableError):
        return 0, []
    whose, instead_of, *texts = shown.split()
    return int(instead_of), texts if whose == str(user.pk) else []


def _is_mailed(user: User) -> bool:
    """Whether *user* is told of changes by email."""
    return bool(user.email) and revocations.mails_leave()
