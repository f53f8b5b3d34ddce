"""What staff do to one account: suspend, resume, revoke, unlock, send again."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from optin import keys, phones
from optin.conf import conf
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    Revocation,
    User,
)
from optin.operations import staff, verification
from optin.operations.challenges import text_challenge
from optin.operations.factors import Factors, forget_recovery_codes, read_locked, record, release
from optin.operations.opt_ins import send_code
from optin.operations.sending import Sending, decided
from optin.origin import Origin
from optin.outcomes import Outcome

Kind = AuditEvent.Kind
Closed = PendingOtp.Closed


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
        data = {**decided(result, factors), "purpose": purpose}
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
        return text_challenge(factors, row, Purpose(code.purpose), origin, code.file, now)
    if barred := verification.barred(factors, now):
        return Sending(barred.outcome, retry_after=barred.retry_after)
    try:
        e164 = row.open_number()
    except keys.UndecryptableError:
        return Sending(Outcome.UNREADABLE)
    number = phones.MobileNumber(e164, phones.region_of(e164))
    if number.region not in conf.sms_regions:
        return Sending(Outcome.REGION_NOT_ALLOWED, data={"region": number.region})
    return send_code(factors, number, row.number_digest, code.file, origin, now)


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
