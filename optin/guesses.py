"""One guess at a code: read what there is, judge it, count it.

Judging is pure: what was read under the user's lock comes in, what is true goes out.
``services`` and ``sign_in`` do what follows from it, in the same transaction.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from optin import codes, delivery, keys
from optin.conf import conf
from optin.errors import Deactivated, MalformedCode
from optin.models import File, Notice, PendingOtp, ProviderUser, Purpose, User


class Outcome(StrEnum):
    """What was decided. The refusals are the codes of the contract, section 4."""

    OK = "ok"
    UNCHANGED = "unchanged"  # what staff asked for was so already
    SENT = "sent"
    RESENT = "resent"
    WAITING = "waiting"  # a text went out a moment ago: no other one now
    OTP_INCORRECT = "otp_incorrect"
    OTP_EXPIRED = "otp_expired"
    OTP_EXHAUSTED = "otp_exhausted"
    FACTOR_DISABLED = "factor_disabled"
    LOCKED = "locked"
    ALREADY_VERIFIED = "already_verified"
    ALREADY_OPTED_IN = "already_opted_in"
    NOT_OPTED_IN = "not_opted_in"
    MOBILE_NUMBER_IN_USE = "mobile_number_in_use"
    REGION_NOT_ALLOWED = "region_not_allowed"
    SEND_LIMIT = "send_limit"


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to one guess."""

    outcome: Outcome
    tries_left: int | None = None
    retry_after: timedelta | None = None
    compared: bool = False  # only a guess that was compared can be a failure
    data: dict[str, Any] = field(default_factory=dict)  # for the audit event


@dataclass(frozen=True, slots=True)
class Factors:
    """What an operation reads of the user that it has locked."""

    user: User
    rows: dict[int, ProviderUser]  # by ProviderUserId
    pending: dict[int, PendingOtp]  # open codes for one purpose, by ProviderUserId

    @property
    def active(self) -> ProviderUser | None:
        return next((row for row in self.rows.values() if row.confirmed), None)

    def pending_of(self, row: ProviderUser) -> PendingOtp | None:
        return self.pending.get(row.pk)


def read_locked(user: User, purpose: Purpose) -> Factors:
    """Lock *user*, and read the factors and the open codes for *purpose*."""
    locked = User.objects.locked(user.pk)
    rows = {row.pk: row for row in ProviderUser.objects.of(locked)}
    pending = {otp.provider_user_id: otp for otp in PendingOtp.objects.open_for(locked, purpose)}
    for otp in pending.values():
        otp.provider_user = rows[otp.provider_user_id]
    return Factors(locked, rows, pending)


def read_caller_locked(user: User, purpose: Purpose) -> Factors:
    """``read_locked`` for what *user* asks for, in person or through a client.

    :raises Deactivated: if they may ask for nothing any more: the lock may have been
        waited for, until ``erase`` or a deactivation was through with it.
    """
    factors = read_locked(user, purpose)
    if not factors.user.is_active:
        raise Deactivated
    return factors


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


def judge_opt_in(
    factors: Factors, row: ProviderUser | None, file: File, code: str, now: datetime
) -> Verification:
    """Decide, and change nothing: in the order of the contract, section 4."""
    if refusal := barred(factors, now):
        return refusal
    if row is None or row.file_id != file.pk:
        return _incorrect("unknown here")
    pending = factors.pending_of(row)
    if pending is None:
        if row.confirmed:
            return Verification(Outcome.ALREADY_VERIFIED)
        return _incorrect("nothing pending")
    return _judge_code(pending, code, now)


def judge(factors: Factors, row: ProviderUser | None, code: str, now: datetime) -> Verification:
    """Decide, and change nothing: in the order of the contract, section 4."""
    if refusal := barred(factors, now):
        return refusal
    if row is None:
        return Verification(Outcome.NOT_OPTED_IN)
    pending = factors.pending_of(row)
    if pending is None:
        return _incorrect("nothing pending")
    return _judge_code(pending, code, now)


def barred(factors: Factors, now: datetime) -> Verification | None:
    """Say why no code of this user is heard at all, if so."""
    active = factors.active
    if factors.user.otp_disabled_at or (active and active.suspended_at):
        return Verification(Outcome.FACTOR_DISABLED)
    if left := factors.user.locked_for(now):
        return Verification(Outcome.LOCKED, retry_after=left)
    return None


def _judge_code(pending: PendingOtp, code: str, now: datetime) -> Verification:
    if pending.is_expired(now):
        return Verification(Outcome.OTP_EXPIRED)
    if pending.is_used_up():
        return Verification(Outcome.OTP_EXHAUSTED)
    if len(code) != pending.digits:
        return _incorrect("another length")  # it could not have been right: no guess
    try:
        right = pending.matches(code)
    except keys.UndecryptableError:
        # Its key has left the ring: nobody can prove it any more.
        return Verification(Outcome.OTP_EXPIRED, data={"why": "its key is gone"})
    return Verification(Outcome.OK if right else Outcome.OTP_INCORRECT, compared=True)


def _incorrect(why: str) -> Verification:
    """The answer where nothing was compared: the same to the client, told to staff."""
    return Verification(Outcome.OTP_INCORRECT, data={"why": why})


def count_failure(
    factors: Factors, pending: PendingOtp, result: Verification, now: datetime
) -> Verification:
    """Count a wrong code: a try of the code and a failure of the user, who may lock."""
    user = factors.user
    pending.count_try()
    user.otp_failures += 1
    data: dict[str, Any] = {"try": pending.tries, "failures": user.otp_failures}
    if user.otp_failures >= conf.disable_after:
        user.otp_disabled_at = now
        data["disabled"] = True
        delivery.notify(user, Notice.Kind.DISABLED, now)
    elif user.otp_failures % conf.lock_after == 0:
        nth = user.otp_failures // conf.lock_after
        seconds = conf.lock_seconds[min(nth, len(conf.lock_seconds)) - 1]
        user.otp_locked_until = now + timedelta(seconds=seconds)
        data["locked_until"] = user.otp_locked_until.isoformat()
        delivery.notify(user, Notice.Kind.LOCKED, now)
    user.save_counts()
    return Verification(
        result.outcome,
        tries_left=max(conf.otp_tries - pending.tries, 0),
        compared=True,
        data=data,
    )
