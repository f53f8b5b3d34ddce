"""The second factors of one user, read under the lock of that user.

Every operation that decides about a code or a factor starts here: ``read_locked`` locks the row of
the user, and all that is read after it is current until the transaction ends.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from optin.conf import CLOCK_SLACK
from optin.errors import Deactivated, FactorNeeded, PasswordNeeded, SignedOut
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    EmailChange,
    File,
    Notice,
    Passkey,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    User,
    WebhookEvent,
)
from optin.models.factors import has_active_factor
from optin.models.second_factors import SecondFactors
from optin.models.users import WrongCodes
from optin.origin import Origin
from optin.outcomes import By

Closed = PendingOtp.Closed
Told = WebhookEvent.Kind

FRESH = timedelta(minutes=15)
"""How long a password or code counts for changes of a factor (OWASP ASVS 5.0, 7.5.1)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the session that asks has proved of its person, and when."""

    password_at: datetime | None = None
    factor_at: datetime | None = None
    factor_by: By | None = None
    signed_in_at: datetime | None = None  # if no factor from before was verified again since

    @property
    def after_sign_in(self) -> "Standing":
        """The same without the factor of the sign-in, for what cannot be taken back."""
        return replace(self, factor_at=None) if self.signed_in_at else self

    def to_replace(self, old: object) -> "Standing":
        """The same for putting another factor in the place of *old*, which is removed with it.

        A recovery code is enough at the sign-in: it is for somebody whose phone is lost.
        """
        return self if old is None or self.factor_by is By.RECOVERY else self.after_sign_in

    def made_itself(self, made_at: datetime | None) -> bool:
        """Whether a factor made then may come from somebody who has only the session's cookie.

        With the sign-in's proof alone, one can add a factor. It proves nothing in this session.
        """
        return bool(self.signed_in_at and made_at and made_at > self.signed_in_at)

    @property
    def is_beyond_texts(self) -> bool:
        """Whether its factor counts also where staff suspended the number (S-07a)."""
        return self.factor_by in {By.APP, By.PASSKEY, By.RECOVERY}

    def demand(
        self,
        now: datetime,
        factors: SecondFactors | None = None,
        *,
        since: datetime | None = None,
    ) -> None:
        """Let pass whoever proved the password lately, and one of *factors*, if any is on.

        A texted code does not count while their texts are off (S-07a).

        :param since: both must have been proved then, or later.
        :raises PasswordNeeded: and
        :raises FactorNeeded: otherwise.
        """
        if not _is_fresh(self.password_at, now, since):
            raise PasswordNeeded
        if factors is None or not factors.is_on:
            return
        counts = self.is_beyond_texts or not factors.takes_no_texts
        if not counts or not _is_fresh(self.factor_at, now, since):
            raise FactorNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors(SecondFactors):
    """The rows of the user that an operation reads once it has locked the user.

    There is no app and no passkey where not every factor was asked for.
    """

    now: datetime  # read after the lock was taken, which can take a while
    rows: dict[int, ProviderUser]  # by ProviderUserId
    pending: dict[int, PendingOtp]  # open codes for one purpose, by ProviderUserId
    by_program: bool = False  # an access key or a token asks

    @property
    def count(self) -> WrongCodes:
        """The count that a wrong code raises, and a right one starts again."""
        return self.user.programs if self.by_program else self.user.own

    @property
    def bars(self) -> list[WrongCodes]:
        """The counts that can bar what is asked: what bars the person bars their programs too."""
        return [self.user.own, self.user.programs] if self.by_program else [self.user.own]

    def pending_of(self, row: ProviderUser) -> PendingOtp | None:
        return self.pending.get(row.pk)


def read_locked(user: User, purpose: Purpose, *, every_factor: bool = False) -> Factors:
    """Lock *user*, and read the numbers and the open codes for *purpose*.

    With *every_factor* those that need no text too.
    """
    locked, numbers, others = ProviderUser.objects.locked_of(
        user.pk, purpose, every_factor=every_factor
    )
    return Factors(
        locked,
        next((row for row in numbers if row.confirmed), None),
        *others,
        now=timezone.now(),
        rows={row.pk: row for row in numbers},
        pending={row.pk: row.open_code for row in numbers if row.open_code},
    )


def read_caller_locked(
    user: User, purpose: Purpose, *, origin: Origin | None, every_factor: bool = False
) -> Factors:
    """``read_locked`` for what *user* asks for, in person or through a client.

    :param origin: where the request can come by an access key or a token, whose wrong codes
        count apart. None where only the person can ask.
    :raises Deactivated: if they may ask for nothing any more: the lock may have been
        waited for, until ``erase`` or a deactivation was through with it.
    """
    factors = read_locked(user, purpose, every_factor=every_factor)
    if not factors.user.is_active:
        raise Deactivated
    return replace(factors, by_program=bool(origin and origin.is_program))


def refuse_ended(factors: Factors, user: User) -> None:
    """Refuse what a session asks that was ended while it waited for the lock.

    :param user: as the session has them.
    :raises SignedOut: if so.
    """
    if factors.user.session_epoch != user.session_epoch:
        raise SignedOut


@contextmanager
def asked_by_session(
    user: User,
    standing: Standing | None,
    *,
    factor: bool = True,
    purpose: Purpose = Purpose.CHANGE,
) -> Iterator[Factors]:
    """Run the block as the transaction of what a session asks for, with its user locked.

    :param user: as the session has them.
    :param standing: what it has proved. It must have proved the password lately and, where
        *factor*, a second factor too while two-factor sign-in is on. None asks for nothing.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* has not proved enough.
    :raises SignedOut: and
    :raises Deactivated: if the session was ended meanwhile.
    """
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, purpose, every_factor=True, origin=None)
        refuse_ended(factors, user)
        if standing:
            standing.demand(factors.now, factors if factor else None)
        yield factors


def _is_fresh(verified_at: datetime | None, now: datetime, since: datetime | None) -> bool:
    if verified_at is None or (since and verified_at < since):
        return False
    return verified_at - CLOCK_SLACK <= now < verified_at + FRESH


def forget_recovery_codes(user: User) -> None:
    """Delete the recovery codes of *user*, unless there is still a factor they stand in for."""
    if not has_active_factor(user):
        RecoveryCode.objects.forget(user)


def end_if_unusable(user: User) -> list[int] | None:
    """Turn two-factor sign-in off, now that the number is gone, if nothing left lets *user* in.

    :returns: the ids of the passkeys that went too; None if it stays on.
    """
    left = SecondFactors(user, None, *ProviderUser.objects.others_of(user))
    if left.usable:
        return None
    gone = [one.pk for one in left.passkeys]
    if gone:
        Passkey.objects.filter(pk__in=gone).delete()
    RecoveryCode.objects.forget(user)
    return gone


def close_begun(user: User, number: ProviderUser | None, now: datetime) -> None:
    """Close what somebody has begun: it may have been somebody else. For what secures an account.

    That is opt-ins, a new address, and a removal asked for on the sign-in page, of which *user* is
    told. The caller holds the lock.

    :param number: the active one. The endpoints of its file are told of the removal.
    """
    EmailChange.objects.filter(user=user).close(now, EmailChange.Closed.SECURED)
    begun = PendingOtp.objects.filter(provider_user__user=user, purpose=Purpose.OPT_IN)
    begun.close(now, Closed.SUPERSEDED)
    waits = Revocation.objects.open_of(user).own().first()
    if waits:
        Revocation.objects.filter(pk=waits.pk).close(now, Revocation.Closed.SECURED)
        delivery.notify(user, Notice.Kind.OWN_REMOVAL_OFF, now, about_id=waits.pk)
        if number:
            WebhookEvent.objects.tell(
                Told.REVOCATION_CANCELLED, "secured", now, number.file_id, number
            )


def record(
    kind: AuditEvent.Kind,
    outcome: str,
    factors: Factors,
    row: ProviderUser | None,
    origin: Origin,
    *,
    data: Mapping[str, Any] | None = None,
    file: File | None = None,
    reason: str = "",
) -> None:
    """Add the event of a decision about one number of the user."""
    AuditEvent.objects.record(
        kind,
        outcome,
        now=factors.now,
        origin=origin,
        user_id=factors.user.pk,
        file_id=file.pk if file else None,
        provider_user_id=row.pk if row else None,
        number_digest=row.number_digest if row else "",
        last_three=row.last_three if row else "",
        reason=reason,
        data=data,
        number=row,
    )
