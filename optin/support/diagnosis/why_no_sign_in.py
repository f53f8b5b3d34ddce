"""Why somebody cannot opt in or sign in, most likely cause first, and which removal is planned."""

from collections.abc import Iterator
from dataclasses import replace

from optin import phones
from optin.causes import Cause, Question, Why
from optin.conf import conf
from optin.models import AuditEvent, Passkey, ProviderUser, Purpose, Revocation
from optin.models.messages import State
from optin.outcomes import (
    MALFORMED,
    By,
    CodeOutcome,
    FactorOutcome,
    NotCompared,
    SignInOutcome,
)
from optin.support import wording
from optin.support.diagnosis.barriers import barred, reason_of
from optin.support.diagnosis.explanations import EXPLAINED, no_entry
from optin.support.diagnosis.facts import LATELY, Kind, Known, is_later
from optin.support.diagnosis.refusals import password_limit
from optin.support.passkey_faults import FAULT_WORDS
from optin.support.wording import moment, moment_by


def of_opt_in(known: Known) -> Iterator[Cause]:
    """What keeps a number from being verified: while nothing is on, a lock does too."""
    causes = [] if known.factors.is_on else list(barred(known))
    if _is_of_opt_in(known):
        causes += _of_attempt(known)
    yield from (replace(cause, question=Question.NO_OPT_IN) for cause in causes)


def of_entry(known: Known) -> Iterator[Cause]:
    if known.factors.is_on:
        yield from barred(known)
    yield from _of_app(known)
    yield from _of_password(known)
    if not _is_of_opt_in(known):
        yield from _of_attempt(known)
    yield from _of_passkey(known)
    yield from _of_waiting(known)
    yield from _of_factors(known)


def _of_app(known: Known) -> Iterator[Cause]:
    if known.factors.app and known.user.takes_two_codes(known.now):
        until = known.user.two_codes_until(known.now)
        when = moment_by(until) if until else "it gets them"
        yield no_entry(
            Why.TWO_CODES,
            f"After many wrong codes, the app takes two codes in a row until {when}.",
        )


def _of_password(known: Known) -> Iterator[Cause]:
    event = known.sign_in
    if not known.user.has_usable_password():
        yield no_entry(Why.NO_PASSWORD, "The account has no password.")
    if event is None or known.now - event.at >= LATELY:
        return
    if event.outcome == SignInOutcome.NOT_NOW and event.data.get("rule"):
        yield password_limit(Question.NO_ENTRY, event, known.now)
    elif event.outcome == SignInOutcome.INVALID_GRANT:
        yield wrong_password(event)


def wrong_password(event: AuditEvent) -> Cause:
    return no_entry(
        Why.WRONG_PASSWORD,
        f"At the last sign-in, {moment(event.at)}, the password was wrong.",
    )


def token_ended(event: AuditEvent) -> Cause:
    return no_entry(
        Why.TOKEN_ENDED,
        f"{wording.decided(event)}, at {moment(event.at)}: its token has expired or was ended, as "
        "by a new password, a second factor that was added or removed, or “That wasn't me”.",
        "Tell them to sign in again in the application.",
    )


def _is_of_opt_in(known: Known) -> bool:
    """Whether the last code that was entered was one of an opt-in, or of a change of number."""
    return known.attempt is not None and known.attempt.kind == Kind.VERIFY_OPT_IN


def _of_attempt(known: Known) -> Iterator[Cause]:
    event = known.attempt
    if event is None or known.now - event.at >= LATELY or not wording.is_refusal(event):
        return
    if event.outcome in {CodeOutcome.LOCKED, CodeOutcome.FACTOR_DISABLED} or any(barred(known)):
        return  # that is said, while it holds
    if event.data.get("failures") and not known.user.failures:
        return  # staff unlocked codes since
    yield code_refused(event, known)


def _of_passkey(known: Known) -> Iterator[Cause]:
    """A passkey that was refused lately, though another factor may have let them in since."""
    event = known.refused_passkey
    if event and known.now - event.at < LATELY:
        yield code_refused(event, known)


def code_refused(event: AuditEvent, known: Known) -> Cause:
    """Say why the code that *event* tells of did not do."""
    if event.outcome == CodeOutcome.MOBILE_NUMBER_IN_USE:
        return no_entry(
            Why.NUMBER_IN_USE,
            f"At the last try, {moment(event.at)}, the code was right, but another account uses "
            f"the number {phones.mask(event.last_three)}.",
        )
    details = "; ".join(wording.reasons(event))
    words = f"At the last try, {moment(event.at)}: {wording.decided(event)}"
    why = Why.CODE_REFUSED
    if event.outcome == CodeOutcome.PASSKEY_REFUSED:
        why = Why.PASSKEY_REFUSED
        used = [one for one in known.factors.passkeys if one.pk == event.data.get("passkey")]
        details = "; ".join([details, *(f"it is {wording.quoted(one.name)}" for one in used)])
    elif event.data.get("why") == NotCompared.FIRST_OF_TWO:
        why = Why.TWO_CODES
    said = f"{words} ({details})." if details else f"{words}."
    return no_entry(why, said, _another_code(event))


def _another_code(event: AuditEvent) -> str:
    """Say which code would do in place of the one that *event* tells of."""
    if event.outcome in {CodeOutcome.LOCKED, CodeOutcome.FACTOR_DISABLED, SignInOutcome.NOT_NOW}:
        return "This is over. Tell them to ask for a new code, and to enter that."
    if event.kind == Kind.APP:
        return _OTHER_CODES[By.APP]
    if event.outcome == MALFORMED or event.data.get("why") == NotCompared.OTHER_LENGTH:
        return _ALL_DIGITS % conf.otp_digits
    for name in (event.outcome, event.data.get("why"), event.data.get("by")):
        if advice := _OTHER_CODES.get(str(name)):
            return advice
    return "Only the newest code works, for ten minutes at most. Tell them to ask for another."


_ALL_DIGITS = "Tell them to enter all %d digits of the code, as the text message has them."

_OTHER_CODES: dict[str, str] = {
    NotCompared.FIRST_OF_TWO: EXPLAINED[Why.TWO_CODES].staff,
    NotCompared.NUMBER_UNKNOWN: (
        "Tell the developers of the application: it sent the id of another opt-in. Meanwhile the "
        "person can turn two-factor on here, under “Security”."
    ),
    By.APP: (
        "Each code of the app works once, and for a minute at most. Tell them to enter the next "
        "code that it shows. If that fails too, the clock of their device may be wrong, or the app "
        "shows the codes of another account."
    ),
    NotCompared.MADE_SINCE: (
        "Tell them to use a second factor that they had before, or to sign out and sign in again."
    ),
    **{fault: words.advice for fault, words in FAULT_WORDS.items()},
    FactorOutcome.PASSKEY_LIMIT: "Tell them to remove one under “Security” first.",
    By.RECOVERY: (
        "Only recovery codes of the newest list work, and each works once. Tell them to enter one "
        "that they have not used."
    ),
}


def _of_waiting(known: Known) -> Iterator[Cause]:
    """They got as far as the code, and no further: the other question is theirs."""
    request, later = known.request, (known.attempt, known.sign_in)
    if request is None or request.data.get("purpose") != Purpose.SIGN_IN:
        return
    if request.kind == Kind.RESEND and wording.is_refusal(request):
        return  # staff asked, and perhaps for nothing
    stale = known.now - request.at >= LATELY or any(one and is_later(one, request) for one in later)
    if stale or any(barred(known)):
        return
    then, advice = "none was entered since", "If the text did not come, see above why."
    if _was_not_sent(known, request):
        then, advice = "no text was sent", "See above why there was no text."
    yield no_entry(
        Why.NO_CODE_ENTERED,
        f"A code to sign in was asked for at {moment(request.at)}, and {then}.",
        f"The password was right. {advice}",
    )


def _was_not_sent(known: Known, request: AuditEvent) -> bool:
    """Whether no text left after *request*, and none will."""
    text = known.text
    if wording.is_refusal(request):
        return True
    is_its = text is not None and text.pk == request.data.get("message")
    return bool(is_its and text and text.sent_at is None and text.state in _ENDED)


_ENDED = {State.FAILED, State.EXPIRED, State.WITHHELD}


def of_removal(known: Known) -> Iterator[Cause]:
    if waits := known.revocation:
        if waits.is_own:
            asked = f"Somebody with the password asked at {moment(waits.asked_at)}, on the sign-in "
            asked += "page, to remove all second factors."
        else:
            asked = f"{known.asked_by or 'An operator'} asked at {moment(waits.asked_at)} to "
            asked += f"remove all second factors, because: “{reason_of(waits)}”."
        yield Cause(
            Question.REMOVAL,
            Why.REVOCATION_WAITS,
            f"{asked} They will be removed at {moment_by(waits.due_at)}, unless somebody cancels "
            "this.",
            _until_then(known, waits),
        )


def _of_factors(known: Known) -> Iterator[Cause]:
    factors = known.factors
    if known.user.is_staff and not factors.is_on:
        yield no_entry(
            Why.SET_UP_FIRST,
            "This is a member of staff without a second factor: the admin needs one.",
            "Tell them to set one up after the password, as they are led to.",
        )
    if known.revocation_holds:
        return
    if factors.is_on and not factors.usable:
        yield no_entry(
            Why.NONE_USABLE,
            "No passkey of this account works: each was made for an earlier host of this service.",
            "Tell them to use a recovery code, then to add another factor."
            if factors.recovery_codes
            else _HAVE_REMOVED.capitalize(),
        )
    if len(factors.usable) != 1 or factors.recovery_codes:
        return
    (only,) = factors.usable
    if isinstance(only, ProviderUser):
        suspend = "press “Suspend” so that nobody else uses it, "
        suspend = "" if factors.takes_no_texts else suspend
        yield no_entry(
            Why.PHONE_ONLY,
            f"The phone with the number {only.masked_number} is the only way in: there is no "
            "authenticator app, and no recovery code is left.",
            f"If the phone is lost: {suspend}{_HAVE_REMOVED}",
        )
    elif isinstance(only, Passkey) and not only.is_backed_up:
        yield no_entry(
            Why.ONE_DEVICE_ONLY,
            f"The passkey {wording.quoted(only.name)} is the only way in: it is on one device "
            "only, and no recovery code is left.",
            f"If the device is lost: {_HAVE_REMOVED}",
        )


_HAVE_REMOVED = "make sure who calls, and have all second factors removed."


def _until_then(known: Known, waits: Revocation) -> str:
    if not waits.is_about(known.factors.added_at):
        return "Their factors are others by now: nothing will be removed."
    return (
        "Once the factors are removed, the password alone is enough. If the person did not ask "
        "for this, withdraw the removal, and ask them to change the password."
    )
