"""Verify one code: judge it, count it, use it up.

Judging is pure: what was read under the lock of the user goes in, a decision comes out.
The other operations do what follows from it, in the same transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from optin import codes, keys, passkeys
from optin.causes import Why
from optin.conf import CLOCK_SLACK, conf
from optin.errors import MalformedCode
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    File,
    Notice,
    Passkey,
    PendingOtp,
    ProviderUser,
    RecoveryCode,
    SimAnswer,
    User,
)
from optin.models.users import WrongCodes
from optin.operations.factors import Factors, Standing
from optin.origin import Origin
from optin.outcomes import MALFORMED, By, CodeOutcome, NotCompared
from optin.passkeys import (
    PASSWORDLESS,
    Assertion,
    PasskeyFault,
    PasskeyRefused,
    PasskeyResponse,
)

Kind = AuditEvent.Kind

REPEATED_WITHIN = timedelta(minutes=1)
"""The same code from the same session within this time is the same attempt (P-12)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to one attempt."""

    outcome: CodeOutcome
    tries_left: int | None = None
    retry_after: timedelta | None = None
    compared: bool = False  # only an attempt that was compared can be a failure
    by: By | None = None  # what was right
    repeated: bool = False  # it was decided a moment ago: nothing happens
    tried: PendingOtp | None = None  # the texted code that it was compared with
    step: int | None = None  # the time step of the app that it is for
    at_app: bool = False  # it was compared with the app's codes
    only_programs: bool = False  # it is refused to access keys and tokens, not to the person
    stays_on: bool = False  # another factor is left after one was removed
    data: dict[str, Any] = field(default_factory=dict)  # for the audit event


def parse(otp: str, user: User) -> str:
    """Return the digits of *otp*.

    :raises MalformedCode: unless their count is the configured one, or that of a code
        which was sent before the setting changed.
    """
    code = codes.parse(otp)
    if len(code) == conf.otp_digits:
        return code
    older = PendingOtp.objects.open().filter(provider_user__user=user, digits=len(code))
    if not older.exists():
        raise MalformedCode
    return code


@contextmanager
def wrong_length_is_told(
    kind: AuditEvent.Kind, text: str, user: User, *, origin: Origin, **about: Any
) -> Iterator[None]:
    """Record that *text* has too few or too many digits, if reading it in this block fails.

    Without it, staff could not tell a code with a digit missing from one that was never entered.

    :param about: fields of the event.
    """
    try:
        yield
    except MalformedCode:
        digits = codes.clean(text) if len(text) <= codes.MAX_LENGTH else ""
        if digits.isascii() and digits.isdecimal():
            data = {"digits": len(digits), **about.pop("data", {})}
            record_malformed(kind, user, origin, data, **about)
        raise


def record_malformed(
    kind: AuditEvent.Kind, user: User, origin: Origin, data: dict[str, Any], **about: Any
) -> None:
    """Record that *user* entered something that can be no code, or no mobile number.

    Equal ones are counted together (``refusal_counts``).
    """
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(
            kind, MALFORMED, now=timezone.now(), origin=origin, user_id=user.pk, data=data, **about
        )


def judge_opt_in(factors: Factors, row: ProviderUser | None, file: File, code: str) -> Verification:
    """Decide, and change nothing: in the order of docs/contract.md, section 4."""
    pending = factors.pending_of(row) if row else None
    # A code beside an active number is that of a change: it was begun with a factor.
    if refusal := barred(factors, changing=bool(pending and row is not factors.number)):
        return refusal
    if row is None or row.file_id != file.pk:
        return _incorrect(NotCompared.NUMBER_UNKNOWN)
    if pending is None:
        if row.confirmed:
            return Verification(CodeOutcome.ALREADY_VERIFIED)
        return _incorrect(NotCompared.NOTHING_PENDING)
    return _judge_code(pending, code, factors.now)


def judge(
    factors: Factors, code: str, place: str, *, recovery: RecoveryCode | None = None
) -> Verification:
    """Decide about an attempt at any factor that was read, and change nothing.

    :param place: the ``Origin.place`` where it was entered.
    :param recovery: the unused row of *code*, if it has the shape of a recovery code.
    """
    if codes.is_recovery(code):
        return _judge_recovery(factors, recovery)
    if factors.app and len(code) == codes.APP_DIGITS:
        return _judge_app(factors, factors.app, code, place)
    return _judge_text(factors, code)


def barred(factors: Factors, *, changing: bool = False) -> Verification | None:
    """Say why no texted code of this user is heard at all, if so.

    :param changing: it is the code of a new number: that staff suspended the present
        one does not matter.
    """
    active = factors.number
    suspended = bool(active and active.suspended_at and not changing)
    if suspended or any(count.disabled_at for count in factors.bars):
        by_person = suspended or factors.user.otp_disabled_at
        return Verification(CodeOutcome.FACTOR_DISABLED, only_programs=not by_person)
    return _locked(factors)


def _locked(factors: Factors) -> Verification | None:
    left = [wait for count in factors.bars if (wait := count.locked_for(factors.now))]
    return Verification(CodeOutcome.LOCKED, retry_after=max(left)) if left else None


def _judge_recovery(factors: Factors, recovery: RecoveryCode | None) -> Verification:
    if refusal := _locked(factors):
        return refusal
    if not factors.is_on:
        return Verification(CodeOutcome.NOT_OPTED_IN)
    if recovery is None:
        return Verification(CodeOutcome.OTP_INCORRECT, compared=True)
    data = {"recovery_code": recovery.pk}
    return Verification(CodeOutcome.OK, compared=True, by=By.RECOVERY, data=data)


def _judge_app(factors: Factors, app: AuthenticatorApp, code: str, place: str) -> Verification:
    """Decide about a code that may be the app's, or a texted one of the same length.

    A disabling or a suspension stops texts, but not the app. After many wrong codes it takes two
    in a row from one place (G-03): a guesser does not find two, but the owner has them.
    """
    if refusal := _locked(factors):
        return refusal
    try:
        step = app.step_of(code, factors.now)
        otherwise = Verification(CodeOutcome.OTP_INCORRECT, compared=True, at_app=True)
    except keys.UndecryptableError:
        step, otherwise = None, _incorrect(NotCompared.APP_KEY_GONE)
    takes_two = factors.user.takes_two_codes(factors.now)
    if step is not None and (not takes_two or app.is_second(step, place)):
        return Verification(CodeOutcome.OK, compared=True, by=By.APP, step=step)
    by_text = _judge_text(factors, code)
    if by_text.outcome is CodeOutcome.OK:
        return by_text
    if step is not None:
        return replace(_incorrect(NotCompared.FIRST_OF_TWO), step=step)
    return replace(by_text, at_app=otherwise.at_app) if by_text.compared else otherwise


def _judge_text(factors: Factors, code: str) -> Verification:
    """Decide about a code for the active number, in the order of docs/contract.md, section 4."""
    if refusal := barred(factors):
        return refusal
    row = factors.number
    if row is None:
        if factors.is_on:
            return _incorrect(NotCompared.NO_NUMBER)
        return Verification(CodeOutcome.NOT_OPTED_IN)
    pending = factors.pending_of(row)
    purpose = pending.purpose if pending else ""
    sim = SimAnswer.against(row, factors.now)
    if sim and not sim.lets_through(purpose, factors.now):
        return Verification(CodeOutcome.FACTOR_DISABLED, data={"rule": Why.SIM_SWAPPED.value})
    if pending is None:
        return _incorrect(NotCompared.NOTHING_PENDING)
    return _judge_code(pending, code, factors.now)


def _judge_code(pending: PendingOtp, code: str, now: datetime) -> Verification:
    if pending.is_expired(now):
        return Verification(CodeOutcome.OTP_EXPIRED)
    if pending.is_used_up():
        return Verification(CodeOutcome.OTP_EXHAUSTED)
    if len(code) != pending.digits:
        return _incorrect(NotCompared.OTHER_LENGTH)  # it could not have been right: no attempt
    try:
        right = pending.matches(code)
    except keys.UndecryptableError:
        # Its key has left the ring: nobody can verify it any more.
        return Verification(CodeOutcome.OTP_EXPIRED, data={"why": NotCompared.CODE_KEY_GONE.value})
    if right:
        return Verification(CodeOutcome.OK, compared=True, by=By.TEXT, tried=pending)
    return Verification(CodeOutcome.OTP_INCORRECT, compared=True, tried=pending)


def _incorrect(why: NotCompared) -> Verification:
    """The answer where nothing was compared: the same to the client, told to staff."""
    return Verification(CodeOutcome.OTP_INCORRECT, data={"why": why.value})


def check_any(
    factors: Factors,
    code: str | PasskeyResponse,
    *aims: object,
    origin: Origin,
    standing: Standing | None = None,
) -> Verification:
    """Judge an attempt at any factor that was read, and count it. The right code is used up.

    :param code: parsed, or the response of a passkey. A refused passkey is not counted.
    :param aims: as for ``attempt_digest``; the purpose comes first.
    :param standing: of the session that asks: a factor that it ``made_itself`` does not do.
    """
    if isinstance(code, PasskeyResponse):
        return _check_passkey(factors, code, *aims, origin=origin, standing=standing)
    attempt = attempt_digest(origin, code, *aims)
    if known := repeated(factors, factors.number, attempt):
        return known
    recovery = None
    if codes.is_recovery(code):
        recovery = RecoveryCode.objects.unused(factors.user, code)
    result = judge(factors, code, origin.place, recovery=recovery)
    if standing and standing.made_itself(_made_at(factors, recovery, result.by)):
        return _incorrect(NotCompared.MADE_SINCE)
    if result.outcome is CodeOutcome.OK:
        return _use_up(factors, result, recovery, attempt)
    if result.compared:
        return count_failure(factors, result, attempt)
    if factors.app and result.step is not None:  # right, but the app takes two codes in a row
        factors.app.keep_first(result.step, origin.place)
        remember(factors, attempt, result)
        factors.user.save_counts()
    return result


def _use_up(
    factors: Factors, result: Verification, recovery: RecoveryCode | None, attempt: str
) -> Verification:
    """Use up the right code, and end what wrong ones led to."""
    if result.tried:
        result.tried.close_as_verified(factors.now)
        number = result.tried.provider_user
        result = _let_through(_first_code(result, number), number, factors.now)
    if factors.app and result.step is not None:
        factors.app.use(result.step)
    if recovery:
        recovery.use(factors.now)
        delivery.notify(factors.user, Notice.Kind.RECOVERED, factors.now)
    if result.by is not By.TEXT:
        # Another factor ends the disabling of texted codes (S-07a).
        factors.count.set(disabled_at=None)
    count_right(factors, result, attempt)
    return result


def _check_passkey(
    factors: Factors,
    response: PasskeyResponse,
    *aims: object,
    origin: Origin,
    standing: Standing | None,
) -> Verification:
    """``check_any`` for a passkey, which nobody can guess: no lock and no disabling bars it."""
    user, now = factors.user, factors.now
    attempt = attempt_digest(origin, response, *aims)
    if known := repeated(factors, factors.number, attempt):
        return known
    purpose, passkey = str(aims[0]), None
    try:
        shown = passkeys.read_assertion(response, purpose, session=origin.session, now=now)
        refuse_used(user, shown.asked_at)
        passkey = _passkey_of(factors, shown, purpose)
        verified = shown.verify(passkey)
    except PasskeyRefused as refused:
        if passkey and refused.fault is PasskeyFault.CLONED:
            delivery.notify_again(user, Notice.Kind.PASSKEY_CLONED, now, about_id=passkey.pk)
        return passkey_refused(refused.fault, passkey)
    if standing and standing.made_itself(passkey.created_at):
        return passkey_refused(NotCompared.MADE_SINCE, passkey)
    passkey.use(verified.new_sign_count, now, is_backed_up=verified.credential_backed_up)
    user.passkey_challenge_at = shown.asked_at
    factors.count.set(disabled_at=None)
    data = {"passkey": passkey.pk}
    result = Verification(CodeOutcome.OK, compared=True, by=By.PASSKEY, data=data)
    count_right(factors, result, attempt)
    return result


def passkey_refused(
    why: PasskeyFault | NotCompared, passkey: Passkey | None = None
) -> Verification:
    which = {"passkey": passkey.pk} if passkey else {}
    return Verification(CodeOutcome.PASSKEY_REFUSED, data={"why": why.value, **which})


def _passkey_of(factors: Factors, shown: Assertion, purpose: str) -> Passkey:
    """Return the passkey of the user that gave an assertion.

    :raises PasskeyRefused: if they have none that may have given it.
    """
    no_handle = [] if purpose == PASSWORDLESS else [None]
    if shown.handle in {factors.user.handle.encode(), *no_handle}:
        for one in factors.passkeys:
            if one.credential_id == shown.credential_id:
                return one
    raise PasskeyRefused(PasskeyFault.UNKNOWN)


def refuse_used(user: User, asked_at: datetime) -> None:
    """Refuse a challenge that was made at *asked_at*, if it or a later one was answered before.

    :raises PasskeyRefused: if so.
    """
    if user.passkey_challenge_at and asked_at <= user.passkey_challenge_at:
        raise PasskeyRefused(PasskeyFault.USED)


def _made_at(factors: Factors, recovery: RecoveryCode | None, by: By | None) -> datetime | None:
    """Return when the factor *by* which a code was right was added."""
    if by is By.RECOVERY and recovery:
        return recovery.created_at
    row = {By.TEXT: factors.number, By.APP: factors.app}.get(by) if by else None
    return row.verified_at if row else None


def _first_code(result: Verification, number: ProviderUser) -> Verification:
    """Take away the mark of a number that was taken over: this code was the first from it."""
    if number.taken_over_at is None:
        return result
    number.prove()
    return replace(result, data={**result.data, "first_code": True})


def _let_through(result: Verification, number: ProviderUser, now: datetime) -> Verification:
    """End the permission of staff, if the texted code needed it."""
    sim = SimAnswer.against(number, now)
    if sim is None:
        return result
    sim.use()
    return replace(result, data={**result.data, "sim": "let_through"})


def attempt_digest(origin: Origin, code: str | PasskeyResponse, *aims: object) -> str:
    """Return what all sendings of *code* by one session have in common, "" without one.

    :param aims: what the code is to bring about: at something else it is another attempt.
    """
    if not origin.session:
        return ""
    aim = " ".join(map(str, aims))
    # The name goes into digests that are stored, so it stays.
    return keys.digest("guess", f"{origin.session} {aim} {code}")


def repeated(factors: Factors, row: ProviderUser | None, attempt: str) -> Verification | None:
    """Return what was decided about *attempt* a moment ago, if it was: nothing is counted.

    A double click, a reload and a second tab send the same code again.
    """
    user = factors.user
    if not attempt or attempt != user.last_attempt or user.last_attempt_at is None:
        return None
    # The first half may have been decided by another server, whose clock is ahead.
    if not -CLOCK_SLACK <= factors.now - user.last_attempt_at < REPEATED_WITHIN:
        return None
    outcome, _, by = user.last_attempt_as.partition(" ")
    pending = factors.pending_of(row) if row else None
    return Verification(
        CodeOutcome(outcome),
        tries_left=_tries_left(pending) if outcome != CodeOutcome.OK else None,
        by=By(by) if by else None,
        repeated=True,
    )


def count_right(factors: Factors, result: Verification, attempt: str) -> None:
    """Start the count again: a right code was entered."""
    remember(factors, attempt, result)
    factors.count.forget()
    factors.user.save_counts()


def count_failure(factors: Factors, result: Verification, attempt: str) -> Verification:
    """Count a wrong code: a try of the code and a failure of the user, who may lock."""
    user, count, now = factors.user, factors.count, factors.now
    # While the app takes two codes, one code opens nothing. So it is not counted as a guess.
    uses_up = result.at_app and not user.takes_two_codes(now)
    count.add()
    data: dict[str, Any] = {"failures": count.failures}
    if factors.by_program:
        data["programs"] = True
    if user.is_test:
        data["test"] = True
    if result.tried:
        result.tried.count_try()
        data["try"] = result.tried.tries
    else:
        data["by"] = (By.APP if result.at_app else By.RECOVERY).value
    if uses_up:
        data["app_until"] = user.count_app_failure(now).isoformat()
    bars, mail = bar(count, factors.by_program, now)
    if mail:
        delivery.notify(user, mail, now)
    data |= bars
    remember(factors, attempt, result)
    user.save_counts()
    return Verification(
        result.outcome,
        tries_left=_tries_left(result.tried),
        compared=True,
        tried=result.tried,
        data=data,
    )


def bar(
    count: WrongCodes, by_program: bool, now: datetime
) -> tuple[dict[str, Any], Notice.Kind | None]:
    """Lock or disable what *count* says; return this for the event, and the mail that is due."""
    locked, disabled = _NOTICES[by_program]
    if count.failures >= conf.disable_after and not count.disabled_at:
        count.set(disabled_at=now)
        return {"disabled": True}, disabled
    if count.failures % conf.lock_after:
        return {}, None
    nth = count.failures // conf.lock_after
    until = now + timedelta(seconds=conf.lock_seconds[min(nth, len(conf.lock_seconds)) - 1])
    count.set(locked_until=until)
    return {"locked_until": until.isoformat()}, locked


_NOTICES = {
    False: (Notice.Kind.LOCKED, Notice.Kind.DISABLED),
    True: (Notice.Kind.PROGRAMS_LOCKED, Notice.Kind.PROGRAMS_OFF),
}
"""The mails of a lock and a disabling, by whether they bar programs only."""


def _tries_left(pending: PendingOtp | None) -> int | None:
    return max(conf.otp_tries - pending.tries, 0) if pending else None


def remember(factors: Factors, attempt: str, result: Verification) -> None:
    """Keep what came of the attempt of a session; the caller saves the counts."""
    decided = f"{result.outcome} {result.by or ''}".strip()
    user, now = factors.user, factors.now
    user.last_attempt = attempt
    user.last_attempt_as, user.last_attempt_at = (decided, now) if attempt else ("", None)
