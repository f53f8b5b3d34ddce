"""The operations: everything that changes the state of a second factor.

Each takes plain values and domain objects and returns a frozen result. Each is one
durable transaction: lock the user, read, decide in a pure function, write, record one
audit event, commit. So guesses at one user queue up, no answer leaves before the
commit that counted it, and no event stands without its change.

What has the wrong shape, or comes from somebody who is deactivated by now, is raised
(``errors``) and leaves nothing. What was decided is returned: an exception would take
the count and the audit event back.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from optin import codes, delivery, guesses, keys, limits, phones, staff
from optin.conf import conf
from optin.guesses import (
    Factors,
    Outcome,
    Standing,
    Verification,
    read_caller_locked,
    read_locked,
    refuse_ended,
)
from optin.models import (
    AuditEvent,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.factors import has_active_factor
from optin.origin import Origin

REPEAT_WHILE = timedelta(minutes=2)
"""A resend repeats a code that has at least this long to live (design, section 2)."""

Kind = AuditEvent.Kind
Closed = PendingOtp.Closed


@dataclass(frozen=True, slots=True)
class Sending:
    """The answer to a request for a text."""

    outcome: Outcome
    provider_user_id: int | None = None  # of the code that waits to be proved
    retry_after: timedelta | None = None
    data: dict[str, Any] = field(default_factory=dict)  # for the audit event
    is_withheld: bool = False  # no text leaves, but the outcome does not say so

    @property
    def decided(self) -> Outcome:
        """What staff are told."""
        return Outcome.WITHHELD if self.is_withheld else self.outcome


KeepSession = Callable[[User], None]


def end_session(user: User) -> None:
    """Keep no session: a client has none."""


# -- opting in ---------------------------------------------------------------------


def opt_in(
    user: User,
    file: File,
    mobile_number: str,
    *,
    origin: Origin,
    standing: Standing | None = None,
) -> Sending:
    """Text a code to *mobile_number*; asked again, text it again.

    :param standing: what the session of a page has proved. There an active number is
        changed so, by proving another; a client's credentials are not enough for that.
    :raises InvalidMobileNumber: unless it is a mobile number of some region.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* is given and has not proved enough.
    """
    number = phones.parse(mobile_number, home_region=conf.sms_regions[0])
    digest = ProviderUser.digest_of(number.e164)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_IN, every_factor=True)
        now = factors.now
        if standing:
            refuse_ended(factors, user)
            standing.demand(now, factor=factors.is_on)
        result = _may_opt_in(factors, number, digest, standing, now) or _send(
            factors, number, digest, file, origin, now
        )
        AuditEvent.objects.record(
            Kind.OPT_IN,
            result.decided,
            now=now,
            origin=origin,
            user_id=user.pk,
            file_id=file.pk,
            provider_user_id=result.provider_user_id,
            number_digest=digest,
            last_three=number.last_three,
            data=_decided(result, factors),
        )
    return result


def _may_opt_in(
    factors: Factors,
    number: phones.MobileNumber,
    digest: str,
    standing: Standing | None,
    now: datetime,
) -> Sending | None:
    """Say why no code may be made for *number*, if so."""
    if number.region not in conf.sms_regions:
        return Sending(Outcome.REGION_NOT_ALLOWED, data={"region": number.region})
    beyond = standing is not None and standing.is_beyond_texts
    if barred := guesses.barred(factors, now, changing=beyond):
        return Sending(barred.outcome, retry_after=barred.retry_after)
    if factors.active and factors.active.number_digest == digest:
        return Sending(Outcome.ALREADY_OPTED_IN)
    if factors.is_on and standing is None:
        return Sending(Outcome.ALREADY_OPTED_IN)
    return None


def _send(
    factors: Factors,
    number: phones.MobileNumber,
    digest: str,
    file: File,
    origin: Origin,
    now: datetime,
) -> Sending:
    """Reserve a text for *number* and send its code, unless a limit says no.

    If a rule about others says no, the result is as if the text was sent, but none leaves.
    """
    user = factors.user
    row = next((r for r in factors.rows.values() if r.number_digest == digest), None)
    decision = limits.reserve_text(
        user_id=user.pk,
        number_digest=digest,
        purpose=Purpose.OPT_IN,
        file_id=file.pk,
        origin=origin,
        now=now,
        number=number,
        is_proved=bool(row and row.verified_at),
    )
    if isinstance(decision, limits.Refused) and not isinstance(decision, limits.Withheld):
        return Sending(
            Outcome.SEND_LIMIT,
            row.pk if row and row.open_code else None,
            retry_after=decision.retry_after,
            data=decision.data,
        )
    if row is None:
        row = ProviderUser.objects.create(
            user=user,
            file=file,
            number_encrypted=ProviderUser.seal(number.e164, user),
            number_digest=digest,
            last_three=number.last_three,
            created_at=now,
        )
    elif row.file_id != file.pk or not keys.is_current(row.number_encrypted):
        row.file = file
        row.number_encrypted = ProviderUser.seal(number.e164, user)
        row.save(update_fields=["file", "number_encrypted"])
    return _text_code(row, Purpose.OPT_IN, factors.pending_of(row), file, decision, now)


def send_again(user: User, provider_user_id: int, *, origin: Origin, standing: Standing) -> Sending:
    """``opt_in`` again for a number that was named before, on a page that does not show it."""
    row = ProviderUser.objects.select_related("file").filter(user=user, pk=provider_user_id).first()
    # Purged, a day later; or the file is not theirs any more.
    if row is None or not File.objects.open_to(user).filter(pk=row.file_id).exists():
        return Sending(Outcome.NOT_OPTED_IN)
    try:
        number = row.open_number()
    except keys.UndecryptableError:
        return _refuse_unreadable(user, row, origin)
    return opt_in(user, row.file, number, origin=origin, standing=standing)


def _refuse_unreadable(user: User, row: ProviderUser, origin: Origin) -> Sending:
    """Record that nothing can be sent to *row*: the key of its number has left the ring."""
    result = Sending(Outcome.UNREADABLE)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_IN)
        refuse_ended(factors, user)
        data = _decided(result, factors)
        record(
            Kind.OPT_IN,
            result.outcome,
            factors,
            row,
            origin,
            factors.now,
            data=data,
            file=row.file,
        )
    return result


def verify_opt_in(
    user: User,
    file: File,
    provider_user_id: int,
    otp: str,
    *,
    origin: Origin,
    keep_session: KeepSession = end_session,
) -> Verification:
    """Check one guess at the code of an opt-in; the right one activates the number.

    :param keep_session: called within the transaction once all sessions are ended: the
        one in which it was done goes on.
    :raises MalformedCode: if *otp* cannot be a code; nothing is counted.
    """
    code = guesses.parse(otp, user)
    guess = guesses.attempt(origin, code, Purpose.OPT_IN, provider_user_id)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_IN)
        now = factors.now
        row = factors.rows.get(provider_user_id)
        if known := guesses.repeated(factors, row, guess, now):
            return known
        if origin.session:
            refuse_ended(factors, user)
        result = guesses.judge_opt_in(factors, row, file, code, now)
        old, other = factors.active, None
        if result.outcome is Outcome.OK and row:
            for_the_first_time = row.verified_at is None
            result, other = _activate(factors, row, result, guess, now)
            if not other:
                keep_session(factors.user)
                # Else one handset could hold a prefix open.
                if for_the_first_time:
                    _count_proof(row, factors.pending[row.pk])
        elif result.compared:
            result = guesses.count_failure(factors, result, guess, now)
        AuditEvent.objects.record(
            Kind.VERIFY_OPT_IN,
            result.outcome,
            now=now,
            origin=origin,
            user_id=user.pk,
            file_id=file.pk,
            provider_user_id=provider_user_id,
            other_user_id=other.user_id if other else None,
            number_digest=row.number_digest if row else "",
            last_three=row.last_three if row else "",
            data={**result.data, **_replaced(old, result)},
        )
    return result


def _replaced(old: ProviderUser | None, result: Verification) -> dict[str, Any]:
    """Say for the event which number gave way, if one did."""
    return {"replaced": old.pk} if old and result.outcome is Outcome.OK else {}


def _activate(
    factors: Factors, row: ProviderUser, result: Verification, guess: str, now: datetime
) -> tuple[Verification, ProviderUser | None]:
    """Make *row* the user's active number, now that its code was right.

    Returns the row of the user who has the number active already, if somebody has:
    then the code is used up, and nothing else changes but the count.
    """
    user, old = factors.user, factors.active
    factors.pending[row.pk].close_as_proved(now)
    other = ProviderUser.objects.active_owner(row.number_digest) or _confirm(row, old, now)
    if other:
        result = Verification(Outcome.MOBILE_NUMBER_IN_USE)
        guesses.count_right(factors, result, guess, now)
        delivery.notify(other.user, Notice.Kind.NUMBER_CLAIMED, now, other)
        return result, other
    if len(factors.pending) > 1:
        PendingOtp.objects.filter(provider_user__user=user, purpose=Purpose.OPT_IN).close(
            now, Closed.OTHER_PROVED
        )
    # What was signed in before had no second factor, or another one.
    user.session_epoch += 1
    user.sign_ins_ended_at = now
    guesses.count_right(factors, result, guess, now)
    user.revoke_grants(now)
    kind = Notice.Kind.CHANGED if old else Notice.Kind.ACTIVATED
    delivery.notify(user, kind, now, row, about_id=row.pk)
    if old:
        delivery.dispatch(SmsMessage(replaced=old, created_at=now))
    return result, None


def _count_proof(row: ProviderUser, code: PendingOtp) -> None:
    """Count for its prefix and region that *code* was proved.

    Last, for all proofs in a region wait here for each other.
    """
    with suppress(keys.UndecryptableError):  # the key of a number that was lost meanwhile
        e164 = row.open_number()
        limits.count_proof(phones.MobileNumber(e164, phones.region_of(e164)), code.issued_at)


def _confirm(row: ProviderUser, old: ProviderUser | None, now: datetime) -> ProviderUser | None:
    """Set *row* active in place of *old*; return the owner who got there first, if one did."""
    try:
        with transaction.atomic():
            if old:
                release(old, now)
            row.confirm(now)
    except IntegrityError:
        # Two users proved one number at the same time: they lock different rows, so
        # the unique owner is for the database to decide.
        owner = ProviderUser.objects.active_owner(row.number_digest)
        if owner is None:
            raise  # it was something else: nothing happens
        return owner
    return None


# -- proving it again --------------------------------------------------------------


def challenge(user: User, purpose: Purpose, *, origin: Origin, file: File | None = None) -> Sending:
    """Text a code for *purpose* to the user's active number."""
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, purpose)
        now = factors.now
        if origin.session:
            refuse_ended(factors, user)
        result = challenge_locked(factors, purpose, origin=origin, file=file, now=now)
    return result


def challenge_locked(
    factors: Factors,
    purpose: Purpose,
    *,
    origin: Origin,
    now: datetime,
    file: File | None = None,
) -> Sending:
    """``challenge`` for a caller that holds the lock of the user."""
    row = factors.active
    result = _challenge(factors, row, purpose, origin, file, now)
    data = {**_decided(result, factors), "purpose": purpose}
    record(Kind.CHALLENGE, result.outcome, factors, row, origin, now, data=data, file=file)
    return result


def check(
    user: User, purpose: Purpose, otp: str, *, origin: Origin, file: File | None = None
) -> Verification:
    """Check one guess at any of the user's factors, for *purpose*; it can be right once.

    :raises MalformedCode: if *otp* cannot be a code; nothing is counted.
    """
    code = codes.parse_any(otp)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, purpose, every_factor=True)
        now = factors.now
        if origin.session:
            refuse_ended(factors, user)
        result = check_locked(factors, purpose, code, origin=origin, file=file, now=now)
    return result


def check_locked(
    factors: Factors,
    purpose: Purpose,
    code: str,
    *,
    origin: Origin,
    now: datetime,
    file: File | None = None,
) -> Verification:
    """``check`` for a caller that holds the lock of the user and parsed the code."""
    result = guesses.check_any(factors, code, guesses.attempt(origin, code, purpose), now)
    if not result.repeated:
        by = {"by": result.by} if result.by else {}
        data = {**result.data, **by, "purpose": purpose}
        if purpose == Purpose.SIGN_IN and result.outcome is Outcome.OK:
            limits.remember_network(factors.user, origin, now)
        record(
            Kind.CHECK, result.outcome, factors, factors.active, origin, now, data=data, file=file
        )
    return result


def opt_out(user: User, file: File, otp: str, *, origin: Origin) -> Verification:
    """Check one guess at the opt-out code; the right one releases the number.

    It must be the texted one: a client's call proves the phone.

    :raises MalformedCode: if *otp* cannot be a code; nothing is counted.
    """
    code = guesses.parse(otp, user)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_OUT)
        now = factors.now
        row = factors.active
        guess = guesses.attempt(origin, code, Purpose.OPT_OUT)
        result = guesses.check_any(factors, code, guess, now)
        if result.outcome is Outcome.OK and row:
            release(row, now)
            result = replace(result, stays_on=forget_recovery_codes(factors.user))
            delivery.notify(factors.user, Notice.Kind.RELEASED, now, row)
        record(Kind.OPT_OUT, result.outcome, factors, row, origin, now, data=result.data, file=file)
    return result


def _challenge(
    factors: Factors,
    row: ProviderUser | None,
    purpose: Purpose,
    origin: Origin,
    file: File | None,
    now: datetime,
) -> Sending:
    if barred := guesses.barred(factors, now):
        return Sending(barred.outcome, retry_after=barred.retry_after)
    if row is None:
        return Sending(Outcome.NOT_OPTED_IN)
    decision = limits.reserve_text(
        user_id=factors.user.pk,
        number_digest=row.number_digest,
        purpose=purpose,
        file_id=file.pk if file else None,
        origin=origin,
        now=now,
    )
    if isinstance(decision, limits.Refused):
        waiting = decision.rule == limits.RESEND_WAIT
        return Sending(
            Outcome.WAITING if waiting else Outcome.SEND_LIMIT,
            retry_after=decision.retry_after,
            data=decision.data,
        )
    return _text_code(row, purpose, factors.pending_of(row), None, decision, now)


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
    own = user.pk if purpose is Purpose.OPT_IN else None
    wait = limits.resend_wait(number.number_digest, purpose, now, own)
    return Waiting(number, number.open_code, text, wait.retry_after if wait else None)


# -- staff -------------------------------------------------------------------------


def suspend(user: User, *, reason: str, origin: Origin) -> Outcome:
    """Stop texted codes for the user's active number; the factor stays required."""

    def change(factors: Factors, row: ProviderUser | None, now: datetime) -> Outcome:
        if row is None:
            return Outcome.NOT_OPTED_IN
        if row.suspended_at:
            return Outcome.UNCHANGED
        ProviderUser.objects.filter(pk=row.pk).update(suspended_at=now)
        # A change that a text to this number has begun ends too.
        begun = PendingOtp.objects.filter(provider_user__user=row.user, purpose=Purpose.OPT_IN)
        begun.close(now, Closed.SUPERSEDED)
        factors.user.forget_guess()
        return Outcome.OK

    return _staff_action(Kind.SUSPEND, Notice.Kind.SUSPENDED, change, user, reason, origin)


def resume(user: User, *, reason: str, origin: Origin) -> Outcome:
    """End a suspension."""

    def change(factors: Factors, row: ProviderUser | None, now: datetime) -> Outcome:
        if row is None:
            return Outcome.NOT_OPTED_IN
        if not row.suspended_at:
            return Outcome.UNCHANGED
        ProviderUser.objects.filter(pk=row.pk).update(suspended_at=None)
        return Outcome.OK

    return _staff_action(Kind.RESUME, Notice.Kind.RESUMED, change, user, reason, origin)


def revoke(user: User, *, reason: str, origin: Origin) -> Outcome:
    """Remove all factors of the user. The count of failures stays as it is.

    One that support asked for, and that waits, ends with it (``revocations``).
    """

    def change(factors: Factors, row: ProviderUser | None, now: datetime) -> Outcome:
        outcome = revoke_locked(factors, row, now)
        ended = Revocation.Closed.DONE if outcome is Outcome.OK else Revocation.Closed.NOTHING
        Revocation.objects.open_of(factors.user).close(now, ended)
        return outcome

    return _staff_action(Kind.REVOKE, Notice.Kind.REVOKED, change, user, reason, origin)


def revoke_locked(factors: Factors, row: ProviderUser | None, now: datetime) -> Outcome:
    """``revoke`` for a caller that holds the lock of the user, tells them and records it."""
    if not factors.is_on:
        return Outcome.NOT_OPTED_IN
    if row:
        release(row, now)
    if factors.app:
        factors.app.delete()
    factors.user.forget_guess()
    forget_recovery_codes(factors.user)
    return Outcome.OK


def unlock(user: User, *, reason: str, origin: Origin) -> Outcome:
    """End a lock or a disabling, and start the count of failures again."""

    def change(factors: Factors, row: ProviderUser | None, now: datetime) -> Outcome:
        locked = factors.user
        if not (locked.otp_failures or locked.otp_disabled_at):
            return Outcome.UNCHANGED
        locked.otp_disabled_at = None
        locked.forget_failures()
        return Outcome.OK

    return _staff_action(Kind.UNLOCK, Notice.Kind.UNLOCKED, change, user, reason, origin)


def resend(user: User, *, reason: str, origin: Origin) -> Sending:
    """Text the newest code that waits to be entered again, under the limits of every text.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    reason = staff.fit(reason)
    with transaction.atomic(durable=True):
        locked, now = User.objects.locked(user.pk), timezone.now()
        waits = PendingOtp.objects.open().filter(provider_user__user=locked, expires_at__gt=now)
        code = waits.select_related("file").order_by("-issued_at", "-pk").first()
        purpose = Purpose(code.purpose) if code else Purpose.SIGN_IN
        factors = read_locked(locked, purpose, every_factor=True)
        row = factors.rows[code.provider_user_id] if code else None
        if staff.is_out_of_reach(origin, factors.user):
            result = Sending(Outcome.OUT_OF_REACH)
        elif code is None or row is None or not factors.user.is_active:
            result = Sending(Outcome.NOTHING_WAITING)
        else:
            result = _resend(factors, row, code, origin, now)
        data = {**_decided(result, factors), "purpose": purpose}
        file = code.file if code else None
        record(
            Kind.RESEND,
            result.outcome,
            factors,
            row,
            origin,
            now,
            data=data,
            file=file,
            reason=reason,
        )
    return result


def _resend(
    factors: Factors, row: ProviderUser, code: PendingOtp, origin: Origin, now: datetime
) -> Sending:
    if code.purpose != Purpose.OPT_IN or code.file is None:
        return _challenge(factors, row, Purpose(code.purpose), origin, code.file, now)
    if barred := guesses.barred(factors, now):
        return Sending(barred.outcome, retry_after=barred.retry_after)
    try:
        e164 = row.open_number()
    except keys.UndecryptableError:
        return Sending(Outcome.UNREADABLE)
    number = phones.MobileNumber(e164, phones.region_of(e164))
    if number.region not in conf.sms_regions:
        return Sending(Outcome.REGION_NOT_ALLOWED, data={"region": number.region})
    return _send(factors, number, row.number_digest, code.file, origin, now)


def _staff_action(
    kind: AuditEvent.Kind,
    notice: Notice.Kind,
    change: Callable[[Factors, ProviderUser | None, datetime], Outcome],
    user: User,
    reason: str,
    origin: Origin,
) -> Outcome:
    """Make *change* to the locked user; tell the user if it changed anything.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    reason = staff.fit(reason)
    with transaction.atomic(durable=True):
        factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
        now = factors.now
        row = factors.active
        data = {"failures": factors.user.otp_failures}
        if staff.is_out_of_reach(origin, factors.user):
            outcome = Outcome.OUT_OF_REACH
        else:
            outcome = change(factors, row, now)
        if outcome is Outcome.OK:
            delivery.notify(factors.user, notice, now, row)
        record(kind, outcome, factors, row, origin, now, reason=reason, data=data)
    return outcome


def refuse_access(user: User, file_id: int, code: str, *, origin: Origin) -> None:
    """Record that *user* was refused at the door of a file."""
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(
            Kind.ACCESS,
            code,
            now=timezone.now(),
            origin=origin,
            user_id=user.pk,
            file_id=file_id,
        )


# -- what they share ---------------------------------------------------------------


def _decided(result: Sending, factors: Factors) -> dict[str, Any]:
    """Return for the event of *result* the rule that decided, what it counted, its limit.

    What ``limits`` did not decide has the outcome for its rule, and the count of wrong codes.
    """
    user = factors.user
    if result.outcome is Outcome.LOCKED:
        limit = conf.lock_after
    elif result.outcome is Outcome.FACTOR_DISABLED and user.otp_disabled_at:
        limit = conf.disable_after
    else:
        limit = 0
    count = user.otp_failures if limit else 0
    return {"rule": result.outcome.value, "count": count, "limit": limit, **result.data}


def _text_code(
    row: ProviderUser,
    purpose: Purpose,
    pending: PendingOtp | None,
    file: File | None,
    decision: limits.Decision,
    now: datetime,
) -> Sending:
    """Text the open code of *row* again while it is good; else make a new one."""
    file_id = file.pk if file else None
    repeat = (
        pending is not None
        and pending.file_id == file_id
        and not pending.is_expired(now)
        and not pending.is_used_up()
        and keys.has(pending.key_id)
        and pending.expires_at - now >= REPEAT_WHILE
    )
    if pending is None or not repeat:
        if pending:
            PendingOtp.objects.filter(pk=pending.pk).close(now, Closed.SUPERSEDED)
        pending = PendingOtp.objects.create(
            provider_user=row,
            purpose=purpose,
            file=file,
            nonce=codes.new_nonce(),
            key_id=keys.current_id(),
            digits=conf.otp_digits,
            issued_at=now,
            expires_at=now + timedelta(seconds=conf.otp_lifetime),
        )
    message = SmsMessage(pending_otp=pending, created_at=now)
    outcome = Outcome.RESENT if repeat else Outcome.SENT
    if isinstance(decision, limits.Withheld):
        delivery.withhold(message)
        data = {"message": message.pk, "told": outcome.value, **decision.data}
        return Sending(outcome, provider_user_id=row.pk, data=data, is_withheld=True)
    delivery.dispatch(message)
    return Sending(outcome, provider_user_id=row.pk, data={"message": message.pk, **decision.data})


def release(row: ProviderUser, now: datetime) -> None:
    """Make *row* inactive. The count of failures is the user's, and stays."""
    ProviderUser.objects.filter(pk=row.pk).update(
        confirmed=False, released_at=now, suspended_at=None
    )
    PendingOtp.objects.filter(provider_user=row).close(now, Closed.RELEASED)


def forget_recovery_codes(user: User) -> bool:
    """Delete the recovery codes of *user*, unless there is still a factor they stand in for.

    :returns: whether there is one.
    """
    is_on = has_active_factor(user)
    if not is_on:
        RecoveryCode.objects.filter(user=user).delete()
    return is_on


def record(
    kind: AuditEvent.Kind,
    outcome: Outcome,
    factors: Factors,
    row: ProviderUser | None,
    origin: Origin,
    now: datetime,
    *,
    data: dict[str, Any],
    file: File | None = None,
    reason: str = "",
) -> None:
    """Add the event of a decision about one number of the user."""
    AuditEvent.objects.record(
        kind,
        outcome,
        now=now,
        origin=origin,
        user_id=factors.user.pk,
        file_id=file.pk if file else None,
        provider_user_id=row.pk if row else None,
        number_digest=row.number_digest if row else "",
        last_three=row.last_three if row else "",
        reason=reason,
        data=data,
    )
