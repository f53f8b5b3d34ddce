"""What staff do to one account: suspend, resume, revoke, unlock, send again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from optin import keys
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    Revocation,
    SimAnswer,
    User,
)
from optin.models.reasons import fit_reason
from optin.operations import sim_swaps, staff
from optin.operations.authenticators import Removal, remove
from optin.operations.challenges import text_challenge
from optin.operations.factors import (
    Factors,
    close_begun,
    read_locked,
    record,
)
from optin.operations.opt_ins import not_allowed, send_code
from optin.operations.sending import Sending, barred
from optin.origin import Origin
from optin.outcomes import SendOutcome, StaffOutcome
from optin.phones import MobileNumber

Kind = AuditEvent.Kind

LET_THROUGH_FOR = timedelta(hours=1)
"""How long a sign-in may come through to a number whose SIM is new."""


@dataclass(frozen=True, slots=True)
class StaffAction:
    """One thing that staff do to an account, with a reason: call it with the user.

    The user is told by email if it changed anything.
    """

    kind: AuditEvent.Kind
    notice: Notice.Kind
    change: Callable[..., StaffOutcome | dict[str, Any]]
    """Changes the locked user; returns ``OK``, or why there was nothing to change. A change that is
    not about the number returns the data of its event in place of ``OK``."""

    def __call__(self, user: User, *, reason: str, origin: Origin, **which: Any) -> StaffOutcome:
        """Do it to *user*.

        :param which: what else ``change`` needs to know.
        """
        reason = fit_reason(reason)
        with transaction.atomic(durable=True):
            factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
            row, data = factors.number, {"failures": factors.user.failures}
            if staff.is_out_of_reach(origin, factors.user):
                outcome = StaffOutcome.OUT_OF_REACH
            elif isinstance(changed := self.change(factors, **which), StaffOutcome):
                outcome = changed
            else:
                outcome, row, data = StaffOutcome.OK, None, changed
            if outcome is StaffOutcome.OK:
                delivery.notify(factors.user, self.notice, factors.now, row)
            record(self.kind, outcome, factors, row, origin, reason=reason, data=data)
        return outcome


def _suspend(factors: Factors) -> StaffOutcome:
    row = factors.number
    if row is None:
        return StaffOutcome.NOT_OPTED_IN
    if row.suspended_at:
        return StaffOutcome.UNCHANGED
    ProviderUser.objects.filter(pk=row.pk).update(suspended_at=factors.now)
    # Also a change of number that a text to this number has begun.
    close_begun(factors.user, row, factors.now)
    factors.user.forget_attempt()
    return StaffOutcome.OK


def _resume(factors: Factors) -> StaffOutcome:
    row = factors.number
    if row is None:
        return StaffOutcome.NOT_OPTED_IN
    if not row.suspended_at:
        return StaffOutcome.UNCHANGED
    ProviderUser.objects.filter(pk=row.pk).update(suspended_at=None)
    return StaffOutcome.OK


def _revoke(factors: Factors, removal: Removal = Removal.ALL) -> StaffOutcome:
    removed = revoke_locked(factors, removal)
    ended = Revocation.Closed.DONE if removed else Revocation.Closed.NOTHING
    Revocation.objects.open_of(factors.user).close(factors.now, ended)
    return StaffOutcome.OK if removed else StaffOutcome.NOT_OPTED_IN


def revoke_locked(factors: Factors, removal: Removal = Removal.ALL) -> bool:
    """``revoke`` for a caller that holds the lock of the user, tells them and records it.

    :returns: whether there was a factor to remove.
    """
    removed = bool(remove(factors, removal, told=False)["removed"])
    if removed:
        factors.user.forget_attempt()
    return removed


def _remove_passkey(factors: Factors, passkey: int) -> StaffOutcome | dict[str, Any]:
    removed = remove(factors, Removal.PASSKEY, passkeys=[passkey], told=False)
    factors.user.forget_attempt()
    return removed if removed["removed"] else StaffOutcome.NOT_OPTED_IN


def _let_through(factors: Factors) -> StaffOutcome:
    row = factors.number
    if row is None:
        return StaffOutcome.NOT_OPTED_IN
    sim = SimAnswer.against(row, factors.now)
    if sim is None or sim.lets_through(Purpose.SIGN_IN, factors.now):
        return StaffOutcome.UNCHANGED
    until = factors.now + LET_THROUGH_FOR
    SimAnswer.objects.filter(pk=sim.pk).update(let_through_until=until)
    return StaffOutcome.OK


def _unlock(factors: Factors) -> StaffOutcome:
    return StaffOutcome.OK if factors.user.unlock() else StaffOutcome.UNCHANGED


suspend = StaffAction(Kind.SUSPEND, Notice.Kind.SUSPENDED, _suspend)
"""Stop texted codes for the user's active number; the second factor stays required."""

resume = StaffAction(Kind.RESUME, Notice.Kind.RESUMED, _resume)
"""End a suspension."""

revoke = StaffAction(Kind.REVOKE, Notice.Kind.REVOKED, _revoke)
"""Remove all factors of the user. The count of failures stays as it is. A revocation that support
asked for, and that waits, ends with it (``revocations``)."""

revoke_number = StaffAction(
    Kind.REVOKE,
    Notice.Kind.REVOKED,
    lambda factors: _revoke(factors, Removal.NUMBER),
)
"""The same for the number alone: an authenticator app and passkeys stay."""

remove_passkey = StaffAction(Kind.REVOKE, Notice.Kind.PASSKEY_REMOVED, _remove_passkey)
"""Remove the passkey with the id ``passkey``: the other factors stay."""

unlock = StaffAction(Kind.UNLOCK, Notice.Kind.UNLOCKED, _unlock)
"""End a lock or a disabling, also of programs, and start the counts of failures again."""

let_through = StaffAction(Kind.SIM, Notice.Kind.SIM_LET_THROUGH, _let_through)
"""Let one sign-in by text through to a number whose SIM is new."""


def resend(user: User, *, reason: str, origin: Origin) -> Sending | StaffOutcome:
    """Text the newest code that waits to be entered again, under the limits of every text.

    :returns: a ``StaffOutcome`` where no text is asked for at all.
    """
    reason = fit_reason(reason)
    answer = sim_swaps.ask(user)
    with transaction.atomic(durable=True):
        locked, now = User.objects.locked(user.pk), timezone.now()
        waits = PendingOtp.objects.open().filter(provider_user__user=locked, expires_at__gt=now)
        code = waits.select_related("file").order_by("-issued_at", "-pk").first()
        purpose = Purpose(code.purpose) if code else Purpose.SIGN_IN
        factors = read_locked(locked, purpose, every_factor=True)
        sim_swaps.keep(answer, factors, origin)
        row = factors.rows[code.provider_user_id] if code else None
        if staff.is_out_of_reach(origin, factors.user):
            result: Sending | StaffOutcome = StaffOutcome.OUT_OF_REACH
        elif code is None or row is None or not factors.user.is_active:
            result = StaffOutcome.NOTHING_WAITING
        else:
            result = _resend(factors, row, code, origin)
        if isinstance(result, Sending):
            outcome, facts = result.outcome.value, result.facts
        else:
            outcome, facts = result.value, {"rule": result.value, "count": 0, "limit": 0}
        data = {**facts, "purpose": purpose}
        file = code.file if code else None
        record(Kind.RESEND, outcome, factors, row, origin, data=data, file=file, reason=reason)
    return result


def _resend(factors: Factors, row: ProviderUser, code: PendingOtp, origin: Origin) -> Sending:
    if code.purpose != Purpose.OPT_IN or code.file is None:
        return text_challenge(factors, row, Purpose(code.purpose), origin, code.file)
    if refusal := barred(factors):
        return refusal
    try:
        number = MobileNumber.stored(row.open_number())
    except keys.UndecryptableError:
        return Sending(SendOutcome.UNREADABLE)
    if refusal := not_allowed(number):
        return refusal
    return send_code(factors, number, row.number_digest, code.file, origin)
