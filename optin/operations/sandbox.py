"""What is different for a test account: its numbers, and the answers that they ask for.

All members of a sandbox are test accounts, and these are members of no other file, so
``User.is_test`` decides. Where possible, an answer comes from real state: the account is locked, or
the code is too old. An opt-in ends the lock or disabling that an earlier one caused.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone
from django.utils.translation import override

from optin import keys
from optin.conf import conf
from optin.errors import InvalidMobileNumber, OnlyFiction, SandboxRefusal
from optin.messaging import receipts
from optin.messaging import wording as texts
from optin.models import File, Guard, PendingOtp, ProviderUser, Purpose, SmsMessage
from optin.models.messages import State
from optin.operations import verification
from optin.operations.factors import Factors
from optin.operations.sending import Sending, barred
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome
from optin.phones import MobileNumber
from optin.sandbox import OPT_OUT_FAILS_FOR, RULE, Call, answer_of

SHOWN_FOR = timedelta(days=1)
"""How long a text is shown."""

_WAIT = timedelta(seconds=30)
_SHOWN = 100  # texts
_RAISED = {"throttled", "internal_error", "unavailable"}


def refuse_unfit(number: MobileNumber, factors: Factors) -> None:
    """Refuse a number that somebody may have in a sandbox, and a number for fiction elsewhere.

    :raises InvalidMobileNumber: if so.
    """
    if factors.user.is_test:
        if not number.is_fiction:
            raise OnlyFiction
    elif number.is_fiction and not conf.takes_fiction:
        raise InvalidMobileNumber


def answer_opt_in(factors: Factors, number: MobileNumber, origin: Origin) -> Sending | None:
    """Return the answer that *number* asks for, if it asks for one.

    :raises SandboxRefusal: if that comes from outside of an operation.
    """
    _begin_anew(factors, number)
    code = _answer(Call.OPT_IN, number.last_three, origin)
    if code == SendOutcome.REGION_NOT_ALLOWED:
        return Sending(SendOutcome.REGION_NOT_ALLOWED, data={"region": number.region})
    return _refusal(factors, code)


def answer_opt_out(factors: Factors, origin: Origin) -> Sending | None:
    """Return the answer that the active number asks for when an opt-out asks for a code.

    :raises SandboxRefusal: if that comes from outside of an operation.
    """
    row = factors.number
    if not row or not row.verified_at or factors.now - row.verified_at >= OPT_OUT_FAILS_FOR:
        return None
    return _refusal(factors, _answer(Call.OPT_OUT, row.last_three, origin))


def _refusal(factors: Factors, code: str) -> Sending | None:
    """Refuse a text with *code*, for which a lock or a disabling is made."""
    user = factors.user
    told: dict[str, Any] = {"test": True}
    if code == SendOutcome.LOCKED:
        user.otp_locked_until = factors.now + timedelta(seconds=conf.lock_seconds[0])
        told["locked_until"] = user.otp_locked_until.isoformat()
    elif code == SendOutcome.FACTOR_DISABLED:
        user.otp_disabled_at = factors.now
        told["disabled"] = True
    elif code == SendOutcome.SEND_LIMIT:
        return Sending(SendOutcome.SEND_LIMIT, retry_after=_WAIT, data={"rule": RULE})
    else:
        return None
    user.save_counts()
    refusal = barred(factors)
    # What is told of a lock or a disabling by wrong codes: the file's endpoints hear of it.
    return refusal and replace(refusal, data=refusal.data | told)


def _begin_anew(factors: Factors, number: MobileNumber) -> None:
    """End a lock, a disabling, and the STOP of each other number."""
    user = factors.user
    counts = (user.own, user.programs)
    if any(count.locked_until or count.disabled_at for count in counts):
        user.unlock()
    this = ProviderUser.digest_of(number.e164, user)
    others = [row.number_digest for row in factors.rows.values() if row.number_digest != this]
    if others:
        Guard.objects.filter(kind=Guard.Kind.OPTED_OUT, key__in=others).delete()


def judge_opt_in(
    factors: Factors, row: ProviderUser | None, file: File, code: str, origin: Origin
) -> Verification:
    """``verification.judge_opt_in``, or the answer that the number of *row* asks for.

    :raises SandboxRefusal: if that comes from outside of an operation.
    """
    now = factors.now
    asked = _answer(Call.VERIFY, row.last_three, origin) if row else ""
    if asked == CodeOutcome.OTP_EXPIRED and row:
        _age(factors.pending_of(row))
    result = verification.judge_opt_in(factors, row, file, code)
    if asked != CodeOutcome.MOBILE_NUMBER_IN_USE or result.outcome is not CodeOutcome.OK:
        return result
    if row and (pending := factors.pending_of(row)):
        pending.close_as_verified(now)
    in_use = Verification(CodeOutcome.MOBILE_NUMBER_IN_USE)
    verification.count_right(factors, in_use, "")
    return in_use


def prepare_opt_out(factors: Factors) -> None:
    """Let the first code of an opt-out expire, if its number asks for that.

    The second one does not: else the number would stay active for good.
    """
    row = factors.number
    if not row or answer_of(Call.OPT_OUT, row.last_three) != CodeOutcome.OTP_EXPIRED:
        return
    closed = row.pending_otps.filter(purpose=Purpose.OPT_OUT, closed_at__gt=row.verified_at)
    if not closed.exists():
        _age(factors.pending_of(row))


def _answer(call: Call, last_three: str, origin: Origin) -> str:
    code = answer_of(call, last_three)
    if code not in _RAISED:
        return code
    if origin.face == Face.API:
        raise SandboxRefusal(code)
    return ""  # a page has no such answer


def _age(pending: PendingOtp | None) -> None:
    """Make *pending* so old that it has expired."""
    if pending is None:
        return
    by = timedelta(seconds=conf.otp_lifetime)
    older = {"issued_at": F("issued_at") - by, "expires_at": F("expires_at") - by}
    PendingOtp.objects.filter(pk=pending.pk).update(**older)
    pending.issued_at -= by
    pending.expires_at -= by


@dataclass(frozen=True, slots=True)
class Shown:
    """One text of a sandbox, as its page shows it."""

    at: datetime
    to: str
    body: str
    state: str
    reference: str


def texts_of(file: File) -> list[Shown]:
    """Return the texts of the members of a sandbox of the last day, the newest first.

    Their words are made anew: no code is stored. A text that the gateway refused is shown too.
    """
    assert file.is_sandbox
    now = timezone.now()
    receipts.report_of_sandboxes(now)
    # The number of somebody who left stays with the file, and with it the codes for signing in.
    members = file.memberships.filter(active=True).values("user")
    found = SmsMessage.objects.filter(
        pending_otp__provider_user__file=file,
        pending_otp__provider_user__user__in=members,
        created_at__gt=now - SHOWN_FOR,
    ).exclude(state=State.WITHHELD)
    rows = found.select_related("pending_otp__provider_user__user").order_by("-pk")[:_SHOWN]
    return list(_shown(rows))


def _shown(messages: Iterable[SmsMessage]) -> Iterable[Shown]:
    for message in messages:
        number = message.provider_user
        try:
            with override(message.language or None):
                body = texts.text_for(message)
            to = number.open_number()
        except keys.UndecryptableError:
            continue  # its key has left the ring: nobody can enter the code either
        yield Shown(message.created_at, to, body, message.state, message.reference)
