"""Challenge somebody who has opted in: text a code, verify it, opt out with it."""

from dataclasses import dataclass, replace
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from optin import codes, limits
from optin.conf import conf
from optin.errors import KeyReused
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    File,
    IdempotencyKey,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    SmsMessage,
    User,
)
from optin.operations import sandbox, sim_swaps, verification
from optin.operations.factors import (
    Factors,
    Standing,
    end_if_unusable,
    read_caller_locked,
    read_locked,
    record,
    refuse_ended,
)
from optin.operations.sending import Sending, barred, text_code
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import CodeOutcome, SendOutcome
from optin.passkeys import PASSWORDLESS, PasskeyResponse

Kind = AuditEvent.Kind


@limits.decided_again
def challenge(
    user: User,
    purpose: Purpose,
    *,
    origin: Origin,
    file: File | None = None,
    key: IdempotencyKey | None = None,
) -> Sending:
    """Text a code for *purpose* to the user's active number.

    :param key: as for ``opt_ins.opt_in``.
    :raises KeyReused: if *key* came with something else.
    """
    answer = sim_swaps.ask(user)
    try:
        with transaction.atomic(durable=True):
            factors = read_caller_locked(user, purpose, origin=origin)
            if origin.session:
                refuse_ended(factors, user)
            sim_swaps.keep(answer, factors, origin)
            if first := key.first(factors.now) if key else None:
                return Sending(SendOutcome(first["outcome"]), data=first)
            result = challenge_locked(factors, purpose, origin=origin, file=file)
            if key and (result.is_text or result.outcome is SendOutcome.WAITING):
                key.keep(factors.now, outcome=result.outcome, rule=result.facts["rule"])
    except (KeyReused, IntegrityError):
        if answer:  # it stays, or the next request like this would ask the provider again
            with transaction.atomic(durable=True):
                sim_swaps.keep(answer, read_locked(user, purpose), origin)
        raise
    return result


def challenge_locked(
    factors: Factors,
    purpose: Purpose,
    *,
    origin: Origin,
    file: File | None = None,
) -> Sending:
    """``challenge`` for a caller that holds the lock of the user."""
    row = factors.number
    result = text_challenge(factors, row, purpose, origin, file)
    data = {**result.facts, "purpose": purpose}
    record(Kind.CHALLENGE, result.outcome, factors, row, origin, data=data, file=file)
    return result


def check(
    user: User,
    purpose: Purpose,
    attempt: str | PasskeyResponse,
    *,
    origin: Origin,
    file: File | None = None,
    standing: Standing | None = None,
) -> Verification:
    """Check one attempt at any of the user's factors, for *purpose*; it can be right once.

    :param attempt: a code, or the response of a passkey.
    :param standing: as for ``verification.check_any``.
    :raises MalformedCode: if *attempt* cannot be a code; nothing is counted.
    """
    data, code = {"purpose": purpose}, attempt
    if isinstance(attempt, str):
        with verification.wrong_length_is_told(Kind.CHECK, attempt, user, origin=origin, data=data):
            code = codes.parse_any(attempt)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, purpose, every_factor=True, origin=None)
        if origin.session:
            refuse_ended(factors, user)
        result = check_locked(factors, purpose, code, origin=origin, file=file, standing=standing)
    return result


def check_locked(
    factors: Factors,
    purpose: Purpose,
    code: str | PasskeyResponse,
    *,
    origin: Origin,
    file: File | None = None,
    standing: Standing | None = None,
    passwordless: bool = False,
) -> Verification:
    """``check`` for a caller that holds the lock of the user and parsed the code.

    :param passwordless: for a passkey that signs in alone.
    """
    asked_for = PASSWORDLESS if passwordless else purpose
    result = verification.check_any(factors, code, asked_for, origin=origin, standing=standing)
    if not result.repeated:
        by = {"by": result.by} if result.by else {}
        aim = {"aim": asked_for} if passwordless else {}
        data = {**result.data, **by, "purpose": purpose, **aim}
        if purpose == Purpose.SIGN_IN and result.outcome is CodeOutcome.OK:
            limits.remember_network(factors.user, origin, factors.now)
        record(Kind.CHECK, result.outcome, factors, factors.number, origin, data=data, file=file)
    return result


def opt_out(
    user: User, file: File, otp: str, *, origin: Origin, key: IdempotencyKey | None = None
) -> Verification:
    """Check one attempt at the opt-out code; the right one releases the number.

    It must be the texted one: a client's call proves the phone.

    :param key: as for ``opt_ins.opt_in``.
    :raises KeyReused: if *key* came with something else.
    :raises MalformedCode: if *otp* cannot be a code; nothing is counted.
    """
    with verification.wrong_length_is_told(Kind.OPT_OUT, otp, user, origin=origin, file_id=file.pk):
        code = verification.parse(otp, user)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_OUT, origin=origin)
        now = factors.now
        if first := key.first(now) if key else None:
            return Verification(CodeOutcome.OK, stays_on=first["stays_on"])
        row = factors.number
        if factors.user.is_test:
            sandbox.prepare_opt_out(factors)
        result = verification.check_any(factors, code, Purpose.OPT_OUT, origin=origin)
        if result.outcome is CodeOutcome.OK and row:
            row.release(now)
            gone = end_if_unusable(factors.user)
            data = {"removed": ["number", "passkey"], "passkeys": gone} if gone else {}
            result = replace(result, stays_on=gone is None, data={**result.data, **data})
            delivery.notify(factors.user, Notice.Kind.RELEASED, now, row)
            if key:
                key.keep(now, stays_on=result.stays_on)
        record(Kind.OPT_OUT, result.outcome, factors, row, origin, data=result.data, file=file)
    return result


def text_challenge(
    factors: Factors,
    row: ProviderUser | None,
    purpose: Purpose,
    origin: Origin,
    file: File | None,
) -> Sending:
    if refusal := barred(factors):
        return refusal
    if row is None:
        return Sending(SendOutcome.NOT_OPTED_IN)
    is_test_opt_out = factors.user.is_test and purpose == Purpose.OPT_OUT
    if asked := is_test_opt_out and sandbox.answer_opt_out(factors, origin):
        return asked
    sim = sim_swaps.state(row, purpose, factors.now)
    if refusal := sim_swaps.refusal(sim):
        return refusal
    decision = limits.reserve_text(
        user_id=factors.user.pk,
        number_digest=row.number_digest,
        purpose=purpose,
        file_id=file.pk if file else None,
        origin=origin,
        now=factors.now,
        is_verified=row.is_proved,
        is_test=factors.user.is_test,
    )
    if isinstance(decision, limits.Refused):
        # A text left a moment ago, whatever else refuses the next.
        waiting = limits.Rule.RESEND_WAIT in decision.rules
        return Sending(
            SendOutcome.WAITING if waiting else SendOutcome.SEND_LIMIT,
            retry_after=decision.retry_after,
            data=decision.data,
        )
    sending = text_code(factors, row, purpose, None, decision)
    return replace(sending, data={**sending.data, "sim": sim}) if sim else sending


@dataclass(frozen=True, slots=True)
class Waiting:
    """A code that was texted and waits to be entered, for a page that asks for it."""

    number: ProviderUser
    code: PendingOtp
    text: SmsMessage  # the newest
    resend_in: timedelta | None  # nothing: now

    def tries_left(self) -> int:
        return max(conf.otp_tries - self.code.tries, 0)


def waiting(user: User, purpose: Purpose, provider_user_id: int | None = None) -> Waiting | None:
    """Return the code for *purpose* that *user* was texted: for one number, or the active one."""
    now = timezone.now()
    rows = ProviderUser.objects.of(user, purpose)
    wanted = [row for row in rows if row.pk == provider_user_id or provider_user_id is None]
    number = next((row for row in wanted if row.open_code), None)
    if number is None or number.open_code is None:
        return None
    if number.open_code.is_expired(now) or number.open_code.is_used_up():
        return None
    text = SmsMessage.objects.filter(pending_otp=number.open_code).latest("pk")
    wait = limits.resend_wait(user.pk, number.number_digest, purpose, now)
    return Waiting(number, number.open_code, text, wait.retry_after if wait else None)
