"""Text a code to a number: the part that opt-ins and challenges share."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils import timezone

from optin import codes, keys, limits
from optin.causes import Why
from optin.conf import conf
from optin.messaging import delivery, receipts
from optin.models import File, PendingOtp, ProviderUser, Purpose, SmsMessage
from optin.operations import verification
from optin.operations.factors import Factors
from optin.outcomes import WITHHELD, CodeOutcome, SendOutcome
from optin.runtime.commits import after_commit
from optin.support import wording

Closed = PendingOtp.Closed

REPEAT_WHILE = timedelta(minutes=2)
"""A resend repeats a code that lives at least so long, so the order of two texts is no matter."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The answer to a request for a text."""

    outcome: SendOutcome
    provider_user_id: int | None = None  # of the code that waits to be verified
    retry_after: timedelta | None = None
    data: dict[str, Any] = field(default_factory=dict)  # for the audit event
    is_withheld: bool = False  # no text leaves, but the outcome does not say so
    only_programs: bool = False  # as of ``Verification``

    @property
    def is_text(self) -> bool:
        """Whether a text was sent, as whoever asks is told."""
        return self.outcome in {SendOutcome.SENT, SendOutcome.RESENT}

    @property
    def decided(self) -> str:
        """The result as staff are told it."""
        return WITHHELD if self.is_withheld else self.outcome

    @property
    def facts(self) -> dict[str, Any]:
        """The rule that decided, what it counted, its limit, and more: for the event.

        What ``limits`` did not decide has the outcome for its rule.
        """
        return {"rule": self.outcome.value, "count": 0, "limit": 0, **self.data}

    @property
    def why(self) -> Why | None:
        """The cause of a refusal, for whoever asked.

        None where a text was sent, and where they are told so.
        """
        if self.is_text:
            return None
        row = wording.RULES.get(wording.rule_name(self.facts))
        return row.why if row else None


def barred(factors: Factors, *, changing: bool = False) -> Sending | None:
    """``verification.barred`` for a request for a text, with the count of wrong codes."""
    refusal = verification.barred(factors, changing=changing)
    if refusal is None:
        return None
    count, limit = 0, 0
    if refusal.outcome is CodeOutcome.LOCKED:
        bar = max(factors.bars, key=lambda bar: bar.locked_for(factors.now) or timedelta())
        count, limit = bar.failures, conf.lock_after
    elif bars := [bar for bar in factors.bars if bar.disabled_at]:
        count, limit = bars[0].failures, conf.disable_after
    outcome = SendOutcome(refusal.outcome)
    data = {"rule": outcome.value, "count": count, "limit": limit}
    return Sending(
        outcome,
        retry_after=refusal.retry_after,
        data=data,
        only_programs=refusal.only_programs,
    )


def text_code(
    factors: Factors,
    row: ProviderUser,
    purpose: Purpose,
    file: File | None,
    decision: limits.Decision,
) -> Sending:
    """Text the open code of *row* again while it is good; else make a new one."""
    pending, now = factors.pending_of(row), factors.now
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
        pending = PendingOtp(
            provider_user=row,
            purpose=purpose,
            file=file,
            nonce=codes.new_nonce(),
            key_id=keys.current_id(),
            digits=conf.otp_digits,
            issued_at=now,
            expires_at=now + timedelta(seconds=conf.otp_lifetime),
        )
        pending.insert()
    message = SmsMessage(pending_otp=pending, created_at=now)
    outcome = SendOutcome.RESENT if repeat else SendOutcome.SENT
    if isinstance(decision, limits.Withheld):
        delivery.withhold(message)
        data = {"message": message.pk, "told": outcome.value, **decision.data}
        return Sending(outcome, provider_user_id=row.pk, data=data, is_withheld=True)
    delivery.dispatch(message)
    if row.user.is_test:
        after_commit(lambda: receipts.report_of_sandboxes(timezone.now()))
    return Sending(outcome, provider_user_id=row.pk, data={"message": message.pk, **decision.data})
