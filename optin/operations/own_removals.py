"""A way back for a person who has lost all second factors, without codes or support (P-17).

After the password, the person can ask that all their second factors be removed. That happens
``OPTIN_RECOVERY_DELAY`` seconds later. Until then they are told each day, by mail and by text, and
whoever reads one of these can cancel it. So does a second factor that is verified meanwhile.

The removal is a row like one of support, and is cancelled and carried out like it
(``revocations``).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import models, transaction
from django.db.models import Max
from django.utils import timezone

from optin.conf import conf
from optin.models import Purpose, Revocation, User
from optin.models.second_factors import SecondFactors, overview
from optin.operations import revocations
from optin.operations.factors import asked_by_session, read_locked
from optin.origin import Origin
from optin.outcomes import RevocationOutcome

Closed = Revocation.Closed

CALLED_OFF = (Closed.CANCELLED, Closed.WITHDRAWN, Closed.SIGNED_IN)
"""After a request that ended so, the person cannot ask again for ``OPTIN_RECOVERY_DELAY``.
Otherwise a thief who knows the password could make the service send messages to the owner again
and again."""


@dataclass(frozen=True, slots=True)
class Way:
    """Whether somebody can ask for the removal, or whether one waits."""

    outcome: RevocationOutcome  # ASKED (it can be, or was), WAITS, TOO_SOON or NOT_OFFERED
    due_at: datetime | None = None  # when it takes effect; before the request: approximately
    again_at: datetime | None = None  # of TOO_SOON: from when it can be asked for
    by_support: bool = False  # of WAITS
    by_text: bool = False  # whether the person is told by text too


def way_of(user: User) -> Way:
    """Say whether *user*, whose password was verified, can ask now."""
    return _judge(overview(user), timezone.now())


def ask(user: User, *, origin: Origin) -> Way:
    """Have all factors of *user* removed after ``OPTIN_RECOVERY_DELAY``; tell them now.

    :param user: as the session has them that has verified their password.
    :raises SignedOut: and
    :raises Deactivated: if that session was ended meanwhile; nothing happens.
    """
    with asked_by_session(user, None) as factors:
        user, now = factors.user, factors.now
        way, waits = _judge(factors, now), None
        if way.outcome is RevocationOutcome.ASKED and way.due_at:
            # A waiting request about other factors would be cancelled. This one is about the
            # present ones.
            Revocation.objects.open_of(user).close(now, Closed.SET_UP_SINCE)
            waits = Revocation.objects.create(
                user=user, actor_id=user.pk, asked_at=now, due_at=way.due_at, told_at=now
            )
            revocations.tell(waits, factors)
        revocations.record_wish(way.outcome, factors, waits, replace(origin, actor_id=user.pk))
    return way


def _judge(factors: SecondFactors, now: datetime) -> Way:
    user, number = factors.user, factors.number
    can_be_told = user.email and revocations.mails_leave()
    is_offered = conf.recovery_delay and factors.is_on and can_be_told
    if not is_offered or not revocations.may_ask(user, number, now):
        return Way(RevocationOutcome.NOT_OFFERED)
    delay = timedelta(seconds=conf.recovery_delay)
    waits = Revocation.objects.open_of(user).first()
    if waits and waits.is_about(factors.added_at):
        if waits.is_own and revocations.is_used_since(waits):
            return Way(RevocationOutcome.TOO_SOON, again_at=now + delay)  # it is called off soon
        return Way(RevocationOutcome.WAITS, waits.due_at, by_support=not waits.is_own)
    again_at = _again_at(user, delay)
    if again_at and now < again_at:
        return Way(RevocationOutcome.TOO_SOON, again_at=again_at)
    return Way(RevocationOutcome.ASKED, now + delay, by_text=revocations.gets_texts(number, now))


def _again_at(user: User, delay: timedelta) -> datetime | None:
    """From when *user* can ask again, if they have asked before.

    However the last request ended, a day must pass since its last message: otherwise whoever asks,
    replaces the app, and asks again could send any number of texts.
    """
    before = Revocation.objects.own().filter(user=user)
    told = before.aggregate(at=Max("told_at"))["at"]
    ended = before.filter(closed_as__in=CALLED_OFF).aggregate(at=Max("closed_at"))["at"]
    times = [told and told + revocations.TOLD_EVERY, ended and ended + delay]
    return max(filter(None, times), default=None)


# -- telling -----------------------------------------------------------------------


def remind(*, origin: Origin) -> int:
    """Tell people once more of what they asked for, a day after the last time.

    What must not be carried out any more is called off at once. Any number of processes may do
    this at once.

    :returns: how many people were told.
    """
    return sum(_remind(found, origin) for found in _to_be_told(timezone.now()).order_by("pk"))


def _to_be_told(now: datetime) -> "models.QuerySet[Revocation]":
    waiting = Revocation.objects.open().own().filter(due_at__gt=now)
    if not conf.recovery_delay:
        return waiting  # operators switched requests off: to be cancelled
    return waiting.filter(told_at__lte=now - revocations.TOLD_EVERY)


def _remind(found: Revocation, origin: Origin) -> bool:
    origin = replace(origin, actor_id=found.actor_id)
    with revocations.in_its_language(found), transaction.atomic(durable=True):
        factors = read_locked(found.user, Purpose.SIGN_IN, every_factor=True)
        # As it is under the lock: cancelled meanwhile, or told by another process.
        waits = _to_be_told(factors.now).filter(pk=found.pk).first()
        if waits is None:
            return False
        if outcome := revocations.obstacle(waits, factors):
            revocations.end(waits, outcome, factors, origin)
            return False
        revocations.tell_again(waits, factors, origin)
    return True
