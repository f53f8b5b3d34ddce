"""Revocations that wait: support asks, the person can cancel, then it is carried out (S-37).

A thief with a stolen password may persuade support to remove the second factors. So the service
mails the person at once, and removes the factors a day later, unless the person cancels. A
revocation by an administrator takes effect at once (``staff_actions.revoke``).

When a revocation is due, the service checks again whether the member of staff who asked still may
do it, and whether the person still has the same second factors.

A person who has lost all factors can ask for one too, at sign-in: see ``own_removals``. It is
cancelled and carried out here, like one of support.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import override

from optin import limits
from optin.conf import CLOCK_SLACK, STAFF_REVOKE_DELAY, conf
from optin.limits import Refused
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    EmailChange,
    Guard,
    Notice,
    ProviderUser,
    Purpose,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import State
from optin.models.reasons import fit_reason
from optin.models.second_factors import Overview, overview
from optin.operations import staff, staff_actions
from optin.operations.authenticators import last_used
from optin.operations.factors import Factors, read_locked, record
from optin.origin import Origin
from optin.outcomes import RevocationOutcome

Kind = AuditEvent.Kind
Closed = Revocation.Closed


TOLD_EVERY = timedelta(days=1)
"""How often a person is told of a removal that they asked for, while it waits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to a wish for a revocation."""

    outcome: RevocationOutcome
    due_at: datetime | None = None  # of the one that waits: this one, or one from before


def plan(user: User, *, reason: str, origin: Origin) -> Plan:
    """Have all factors of *user* removed after a day; tell them now.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
        now = factors.now
        waits = Revocation.objects.open_of(factors.user).first()
        refused = _refusal(factors, origin)
        due_at = now + STAFF_REVOKE_DELAY
        if not refused and waits and not waits.is_about(factors.added_at):
            # It will be called off. What is asked for now is about the factors of now.
            Revocation.objects.filter(pk=waits.pk).close(now, Closed.SET_UP_SINCE)
            waits = None
        # Support has checked who asks: what they asked for themself must not make them wait longer.
        slower = waits if waits and waits.is_own and waits.due_at > due_at else None
        if slower:
            waits = None
        over = None
        if refused is None and waits is None:
            over = limits.reserve_revocation(origin, now)
            refused = RevocationOutcome.REVOCATION_LIMIT if over else None
        if refused is None and waits is None:
            if slower:
                Revocation.objects.filter(pk=slower.pk).close(now, Closed.REPLACED)
            waits = Revocation.objects.create(
                user=factors.user,
                actor_id=origin.actor_id,
                reason=reason,
                asked_at=now,
                due_at=due_at,
            )
            delivery.notify(factors.user, Notice.Kind.REVOKE_PLANNED, now, about_id=waits.pk)
            outcome = RevocationOutcome.PLANNED
        else:
            outcome = refused or RevocationOutcome.UNCHANGED
        told = None if refused else waits
        record_wish(outcome, factors, told, origin, reason=reason, over=over)
    return Plan(outcome, told.due_at if told else None)


def _refusal(factors: Factors, origin: Origin) -> RevocationOutcome | None:
    """Say why nobody's factors may be planned to go, if so."""
    user = factors.user
    if staff.is_out_of_reach(origin, user):
        return RevocationOutcome.OUT_OF_REACH
    if not user.is_active:
        return RevocationOutcome.DEACTIVATED
    if not factors.is_on:
        return RevocationOutcome.NOT_OPTED_IN
    # The mail to the person makes it safe. An administrator can do without.
    return None if user.email and mails_leave() else RevocationOutcome.UNTOLD


def waiting_for(user: User, factors: Overview | None = None) -> Revocation | None:
    """Return the revocation that waits for *user*, unless their factors are others by now."""
    waits = Revocation.objects.open_of(user).first()
    if waits is None:
        return None
    factors = factors or overview(user)
    return waits if waits.is_about(factors.added_at) else None


# -- called off --------------------------------------------------------------------


def cancel(revocation: Revocation, *, origin: Origin) -> RevocationOutcome:
    """Call *revocation* off for the person, who asks by its link or on a page of theirs.

    No password is needed, for nothing is removed by it. It may be late: as long as the
    factors are there, nobody is to look on while they go.
    """
    return _call_off(revocation, RevocationOutcome.CANCELLED, origin)


def signed_in(user: User, *, origin: Origin) -> bool:
    """Call off what *user* asked for at sign-in, now that they have signed in with a factor.

    A removal that support was asked for stays: support has checked who asked, and the person can
    cancel it.

    :returns: whether there was something to call off.
    """
    waits = Revocation.objects.open_of(user).own().first()
    ended = waits and _call_off(waits, RevocationOutcome.SIGNED_IN, origin)
    return ended is RevocationOutcome.SIGNED_IN


def _call_off(
    revocation: Revocation, outcome: RevocationOutcome, origin: Origin
) -> RevocationOutcome:
    with transaction.atomic(durable=True):
        factors = read_locked(revocation.user, Purpose.SIGN_IN)
        if Revocation.objects.filter(pk=revocation.pk).close(factors.now, _closed_as(outcome)):
            _tell_off(revocation, factors.now)
        else:
            outcome = RevocationOutcome.UNCHANGED
        record_wish(outcome, factors, revocation, origin)
    return outcome


def withdraw(
    user: User, *, reason: str, origin: Origin, closed_as: Closed = Closed.WITHDRAWN
) -> RevocationOutcome:
    """Call the revocation that waits for *user* off, for staff.

    :param closed_as: what the row says; after a restore, that.
    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        factors = read_locked(user, Purpose.SIGN_IN)
        now = factors.now
        waits = Revocation.objects.open_of(factors.user).first()
        # Who asked may think better of it, even of one who has risen above them since.
        own = waits is not None and waits.actor_id == origin.actor_id
        if staff.is_out_of_reach(origin, factors.user) and not own:
            outcome, waits = RevocationOutcome.OUT_OF_REACH, None
        elif waits is None:
            outcome = RevocationOutcome.UNCHANGED
        else:
            Revocation.objects.filter(pk=waits.pk).close(now, closed_as)
            _tell_off(waits, now)
            outcome = RevocationOutcome.WITHDRAWN
        record_wish(outcome, factors, waits, origin, reason=reason)
    return outcome


# -- carried out -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Carried:
    """The results of the removals that were due."""

    out: int = 0
    off: int = 0


def carry_out(*, origin: Origin) -> Carried:
    """Carry out what is due now, or call it off where it must not be done any more.

    Any number of processes may do this at once.
    """
    ended = [
        _carry_out(waits, origin)
        for waits in Revocation.objects.due(timezone.now()).order_by("due_at", "pk")
    ]
    done = ended.count(RevocationOutcome.OK)
    return Carried(done, len(ended) - ended.count(None) - done)


def _carry_out(found: Revocation, origin: Origin) -> RevocationOutcome | None:
    origin = replace(origin, actor_id=found.actor_id)
    with in_its_language(found), transaction.atomic(durable=True):
        factors = read_locked(found.user, Purpose.SIGN_IN, every_factor=True)
        # Read it again under the lock: it may be cancelled, or carried out by another process.
        waits = Revocation.objects.due(factors.now).filter(pk=found.pk).first()
        if waits is None:
            return None
        outcome = obstacle(waits, factors)
        if outcome is None and not _was_told(waits, factors):
            outcome = RevocationOutcome.UNTOLD
        if outcome is None and waits.is_own and not _is_told_lately(waits, factors.now):
            tell_again(waits, factors, origin)
            return None
        if outcome is None:
            removed = staff_actions.revoke_locked(factors)
            outcome = RevocationOutcome.OK if removed else RevocationOutcome.NOT_OPTED_IN
        end(waits, outcome, factors, origin)
    return outcome


def end(waits: Revocation, outcome: RevocationOutcome, factors: Factors, origin: Origin) -> None:
    """Close *waits*, which came to *outcome*; tell the person of *factors*, and record it."""
    row, now = factors.number, factors.now
    data = {"failures": factors.user.failures, "revocation": waits.pk}
    if waits.is_own:
        data["own"] = True
    Revocation.objects.filter(pk=waits.pk).close(now, _closed_as(outcome))
    if outcome is RevocationOutcome.OK:
        kind = Notice.Kind.OWN_REMOVED if waits.is_own else Notice.Kind.REVOKED
        delivery.notify(factors.user, kind, now, row)
    elif factors.is_on:
        _tell_off(waits, now)
    record(Kind.REVOKE, outcome, factors, row, origin, reason=waits.reason, data=data)


def obstacle(waits: Revocation, factors: Factors) -> RevocationOutcome | None:
    """Say why *waits* must not be carried out, whether it is due or not, if so."""
    if waits.is_own:
        return _own_obstacle(waits, factors)
    if not staff.still_may(waits.actor_id, staff.ACT, factors.user):
        return RevocationOutcome.OUT_OF_REACH
    return _changed(waits, factors)


def _own_obstacle(waits: Revocation, factors: Factors) -> RevocationOutcome | None:
    if not conf.recovery_delay:
        return RevocationOutcome.SWITCHED_OFF
    if not may_ask(factors.user, factors.number, waits.asked_at):
        return RevocationOutcome.OUT_OF_REACH
    if not factors.is_on:
        return RevocationOutcome.NOT_OPTED_IN
    if changed := _changed(waits, factors):
        return changed
    return RevocationOutcome.SIGNED_IN if is_used_since(waits) else None


def is_used_since(waits: Revocation) -> bool:
    """Whether a second factor was verified since: then the person has not lost them all.

    The sign-in page calls *waits* off at once (``signed_in``). Other pages and the API do not look
    for it: this is asked before each message, and before the removal.
    """
    used = last_used(waits.user)
    return used is not None and used >= waits.asked_at - CLOCK_SLACK  # of two servers


def may_ask(user: User, number: ProviderUser | None, asked_at: datetime) -> bool:
    """Whether the service lets *user* ask for their own removal, whatever else is true.

    Staff must ask an administrator. If staff suspended *number*, only staff decide about it. If
    the email address is new, mails that warn do not reach the owner of the old one.

    :param asked_at: when they ask, or asked.
    """
    if user.is_staff or user.is_superuser or (number and number.suspended_at):
        return False
    lately = asked_at - timedelta(seconds=conf.recovery_delay)
    done = EmailChange.objects.filter(user=user, closed_as=EmailChange.Closed.DONE)
    return not (done.filter(closed_at__gt=lately).exists() or _has_password_by_mail_alone(user))


def _has_password_by_mail_alone(user: User) -> bool:
    """Whether a mailed link set the password, and no second factor was verified since.

    Whoever reads the mailbox could have done that, and could delete each mail that warns the
    owner. The mailbox alone must not be enough (S-30).
    """
    if user.password_mailed_at is None:
        return False
    used = last_used(user)
    return used is None or used <= user.password_mailed_at + CLOCK_SLACK  # of two servers


def _changed(waits: Revocation, factors: Factors) -> RevocationOutcome | None:
    if not factors.user.is_active:
        # It would help nobody, and who is let in again would be without a second factor.
        return RevocationOutcome.DEACTIVATED
    if factors.is_on and not waits.is_about(factors.added_at):
        return RevocationOutcome.SET_UP_SINCE
    return None


def _is_told_lately(waits: Revocation, now: datetime) -> bool:
    """Whether nothing kept the service from telling the person of their own removal each day."""
    return waits.told_at is not None and now - waits.told_at <= 2 * TOLD_EVERY


def tell_again(waits: Revocation, factors: Factors, origin: Origin) -> None:
    """Remind the person of their own removal.

    If they were not told for two days, because no worker ran, it waits for one day more at least.
    """
    now = factors.now
    if not _is_told_lately(waits, now):
        waits.due_at = max(waits.due_at, now + TOLD_EVERY)
    waits.told_at = now
    waits.save(update_fields=["due_at", "told_at"])
    tell(waits, factors)
    record_wish(RevocationOutcome.REMINDED, factors, waits, origin)


def tell(waits: Revocation, factors: Factors) -> None:
    """Tell the person of their own removal, on every channel that there is."""
    now, number = factors.now, factors.number
    delivery.notify(factors.user, Notice.Kind.OWN_REMOVAL, now, about_id=waits.pk)
    if number and gets_texts(number, now):
        delivery.dispatch(SmsMessage(news_to=number, about_id=waits.pk, created_at=now))
        if not factors.user.is_test:
            limits.count_warning(now)


def _was_told(waits: Revocation, factors: Factors) -> bool:
    """Whether the person was told early enough: half of the time to cancel is left at least.

    A mail must have left, and a text too where their number gets texts: whoever reads the mailbox
    does not read the phone.
    """
    if not mails_leave():
        return False
    kind = Notice.Kind.OWN_REMOVAL if waits.is_own else Notice.Kind.REVOKE_PLANNED
    mails = Notice.objects.filter(user=waits.user_id, kind=kind, about_id=waits.pk)
    latest = waits.asked_at + (waits.due_at - waits.asked_at) / 2
    if not mails.filter(sent_at__lte=latest).exists():
        return False
    texts = SmsMessage.objects.filter(news_to__user=waits.user_id, about_id=waits.pk)
    # If some were promised, one must have left, even if staff have stopped all texts since.
    is_due_a_text = waits.is_own and (gets_texts(factors.number, factors.now) or texts.exists())
    left = texts.filter(state__in=[State.SENT, State.DELIVERED], sent_at__lte=latest)
    return not is_due_a_text or left.exists()


def gets_texts(number: ProviderUser | None, now: datetime) -> bool:
    """Whether texts that warn may go to *number*: it did not answer STOP, nor did staff stop all.

    The deny list is about opt-ins. A number on it gets codes, and so it gets warnings.
    """
    if number is None:
        return False
    about = Guard.objects.about(number.number_digest, "", now)
    stops = {(Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER), (Guard.Kind.STOP, Guard.Covers.ALL)}
    return not stops & about.keys()


def mails_leave() -> bool:
    """Whether mails reach people: without ``EMAIL_URL`` each counts as sent, and none is.

    At a development start they are in the console, for whoever tries this.
    """
    return bool(settings.SENDS_MAIL or settings.DEBUG)


def _closed_as(outcome: RevocationOutcome) -> Closed:
    """Return what the row of a removal says that came to *outcome*."""
    ended = {RevocationOutcome.OK: Closed.DONE, RevocationOutcome.NOT_OPTED_IN: Closed.NOTHING}
    return ended.get(outcome) or Closed(outcome.value)


# -- what they share ---------------------------------------------------------------


def in_its_language(revocation: Revocation) -> AbstractContextManager[None]:
    """Tell the person in the language in which they were told first, inside a ``with``."""
    mails = Notice.objects.filter(user=revocation.user_id, about_id=revocation.pk, kind__in=_FIRST)
    return override(mails.order_by("pk").values_list("language", flat=True).first() or None)


_FIRST = [Notice.Kind.REVOKE_PLANNED, Notice.Kind.OWN_REMOVAL]


def _tell_off(revocation: Revocation, now: datetime) -> None:
    kind = Notice.Kind.OWN_REMOVAL_OFF if revocation.is_own else Notice.Kind.REVOKE_OFF
    delivery.notify(revocation.user, kind, now, about_id=revocation.pk)


def record_wish(
    outcome: RevocationOutcome,
    factors: Factors,
    revocation: Revocation | None,
    origin: Origin,
    *,
    reason: str = "",
    over: Refused | None = None,
) -> None:
    """Add the event of a wish for a revocation, or to call one off."""
    data: dict[str, Any] = dict(over.data) if over else {}
    if revocation:
        data = {"revocation": revocation.pk, "due_at": revocation.due_at.isoformat()}
    record(Kind.REVOCATION, outcome, factors, factors.number, origin, reason=reason, data=data)
