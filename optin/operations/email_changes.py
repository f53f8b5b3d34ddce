"""A new email address: asked for, confirmed by a mailed link, in effect after a while (S-39a).

Links to a new password and mails about changes go to the address, so whoever changes it takes over
the way back in. A thief may have the password and a code. So the service mails to the old address
at once, and uses the new one only ``OPTIN_EMAIL_DELAY`` seconds after it was confirmed. Until then
a link in that mail stops the change, and a new password does so too.

Nobody learns whether another account has an address (S-38): the request is the same, and only the
mail to the address says so, in place of the link (``wording``).
"""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db import IntegrityError, transaction
from django.utils import timezone

from optin import limits
from optin.conf import conf
from optin.errors import UnfitAddress
from optin.limits import Refused
from optin.messaging import delivery
from optin.models import AuditEvent, EmailChange, Notice, Purpose, User
from optin.operations import verification
from optin.operations.factors import Factors, Standing, asked_by_session, read_locked, record
from optin.operations.revocations import Carried, mails_leave
from optin.operations.verification import REPEATED_WITHIN
from optin.origin import Origin
from optin.outcomes import EmailOutcome

Kind = AuditEvent.Kind
Closed = EmailChange.Closed

MAX_ADDRESS = 254
"""Characters (RFC 5321 4.5.3.1.3, without the brackets)."""

_is_address = EmailValidator(allowlist=[])


def fit_address(text: str) -> str:
    """Return the address that *text* is, its domain in small letters.

    Only ASCII: letters that look alike make two addresses look like one. No quotes and no IP
    address: the mail would go to another mailbox than a reader takes it for, or into the network
    of the service.

    :raises UnfitAddress: if it is none.
    """
    text = text.strip()
    if not text.isascii() or len(text) > MAX_ADDRESS or set(text) & set('"[]'):
        raise UnfitAddress
    try:
        _is_address(text)
    except ValidationError as exc:
        raise UnfitAddress from exc
    return BaseUserManager.normalize_email(text)


# -- asked for ---------------------------------------------------------------------


def ask(user: User, address: str, *, standing: Standing, origin: Origin) -> EmailOutcome:
    """Mail a link to *address*, which is to be the new address of *user*; tell the old one.

    It takes the place of a change that waits.

    :return: ``ASKED``, ``UNCHANGED``, ``EMAIL_LIMIT`` or ``NO_MAIL``; ``FACTOR_DISABLED`` or
        ``LOCKED``, while nobody may change how the person signs in.
    :raises UnfitAddress: if it is no address.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* has not proved enough.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    address = fit_address(address)
    with asked_by_session(user, standing.after_sign_in) as factors:
        now = factors.now
        waits = EmailChange.objects.open().filter(user=factors.user).first()
        if waits and _is_repeated(waits, address, now):
            return EmailOutcome.ASKED
        change, over = None, None
        if barred := _barred(factors, standing):
            outcome = barred
        elif same(factors.user.email, address):
            outcome = EmailOutcome.UNCHANGED
        elif not mails_leave():
            outcome = EmailOutcome.NO_MAIL
        elif over := limits.reserve_email(factors.user, now):
            outcome = EmailOutcome.EMAIL_LIMIT
        else:
            outcome, change = EmailOutcome.ASKED, _begin(factors, address)
        _record(outcome, factors, change, origin, over)
    return outcome


def _barred(factors: Factors, standing: Standing) -> EmailOutcome | None:
    """Say why no address may be changed now, if so: whoever has a lost phone is to change none."""
    refusal = verification.barred(factors, changing=standing.is_beyond_texts)
    return EmailOutcome(refusal.outcome) if refusal else None


def _is_repeated(waits: EmailChange, address: str, now: datetime) -> bool:
    """Whether this is the second half of a double click."""
    return waits.new_address == address and now < waits.asked_at + REPEATED_WITHIN


def same(one: str, other: str) -> bool:
    """Whether these are one address, as the database sees it."""
    return one.lower() == other.lower()


def _begin(factors: Factors, address: str) -> EmailChange:
    user, now = factors.user, factors.now
    EmailChange.objects.filter(user=user).close(now, Closed.REPLACED)
    change = EmailChange.objects.create(
        user=user, old_address=user.email, new_address=address, asked_at=now
    )
    delivery.notify(user, Notice.Kind.EMAIL_PROVE, now, about_id=change.pk)
    if user.email:
        delivery.notify(user, Notice.Kind.EMAIL_ASKED, now, about_id=change.pk)
    return change


def waiting_for(user: User) -> EmailChange | None:
    """Return the change that waits for *user*: for its link to be used, or to take effect."""
    change = EmailChange.objects.open().filter(user=user).first()
    return change if change and change.waits(timezone.now()) else None


# -- confirmed ---------------------------------------------------------------------


def prove(user: User, change: EmailChange, *, standing: Standing, origin: Origin) -> EmailOutcome:
    """Take note that *user* reads the mailbox: they opened the link of *change*, which is theirs.

    The address is theirs at once, if nobody reads an old one who could be asked to wait.

    :return: ``PROVED``, ``OK``, ``TAKEN``, ``UNCHANGED`` (it was done before) or
        ``NOTHING_WAITING``; ``FACTOR_DISABLED`` or ``LOCKED``, as ``ask``.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    with asked_by_session(user, None) as factors:
        now = factors.now
        found = EmailChange.objects.filter(pk=change.pk, user=factors.user).first()
        if found is None or not found.waits(now):
            is_done = found is not None and found.closed_as == Closed.DONE
            outcome = EmailOutcome.UNCHANGED if is_done else EmailOutcome.NOTHING_WAITING
        elif found.proved_at:
            outcome = EmailOutcome.UNCHANGED
        elif barred := _barred(factors, standing):
            outcome = barred
        else:
            delay = conf.email_delay if found.old_address else 0
            found.proved_at, found.due_at = now, now + timedelta(seconds=delay)
            found.save(update_fields=["proved_at", "due_at"])
            outcome = EmailOutcome.PROVED if delay else _end(factors, found)
        _record(outcome, factors, found, origin)
    return outcome


# -- stopped -----------------------------------------------------------------------


def cancel(change: EmailChange, *, origin: Origin) -> EmailOutcome:
    """Stop *change* for the person, who asks by the link to the old address or on a page of theirs.

    No password is needed, for everything stays as it is.

    :return: ``CANCELLED`` or ``NOTHING_WAITING``.
    """
    return _call_off(change, Closed.CANCELLED, EmailOutcome.CANCELLED, origin)


def close_all(*, origin: Origin) -> int:
    """Stop every change that waits, after a restore; return how many."""
    stopped = [
        _call_off(change, Closed.RESTORED, EmailOutcome.RESTORED, origin)
        for change in EmailChange.objects.open().select_related("user")
    ]
    return stopped.count(EmailOutcome.RESTORED)


def _call_off(
    change: EmailChange, why: Closed, outcome: EmailOutcome, origin: Origin
) -> EmailOutcome:
    with transaction.atomic(durable=True):
        factors = read_locked(change.user, Purpose.CHANGE)
        now = factors.now
        if EmailChange.objects.filter(pk=change.pk).close(now, why):
            delivery.notify(factors.user, Notice.Kind.EMAIL_OFF, now, about_id=change.pk)
        else:
            outcome = EmailOutcome.NOTHING_WAITING
        _record(outcome, factors, change, origin)
    return outcome


# -- in effect ---------------------------------------------------------------------


def carry_out(*, origin: Origin) -> Carried:
    """Let what is due take effect now, or call it off where it must not any more.

    Any number of processes may do this at once.
    """
    ended = [
        _carry_out(found, origin)
        for found in EmailChange.objects.due(timezone.now()).order_by("due_at", "pk")
    ]
    done = ended.count(EmailOutcome.OK)
    return Carried(done, len(ended) - ended.count(None) - done)


def _carry_out(found: EmailChange, origin: Origin) -> EmailOutcome | None:
    with transaction.atomic(durable=True):
        factors = read_locked(found.user, Purpose.CHANGE)
        # As it is under the lock: cancelled meanwhile, or carried out by another process.
        change = EmailChange.objects.due(factors.now).filter(pk=found.pk).first()
        if change is None:
            return None
        outcome = _end(factors, change)
        _record(outcome, factors, change, origin)
    return outcome


def _end(factors: Factors, change: EmailChange) -> EmailOutcome:
    """Let *change* take effect, or close it; tell the person which of the two."""
    user, now = factors.user, factors.now
    outcome = _obstacle(user, change)
    if outcome is None:
        outcome = EmailOutcome.OK if _give(user, change.new_address) else EmailOutcome.TAKEN
    if outcome is EmailOutcome.OK:
        User.objects.filter(pk=user.pk).update(proved_email=change.new_address)
    EmailChange.objects.filter(pk=change.pk).close(
        now, Closed.DONE if outcome is EmailOutcome.OK else Closed(outcome.value)
    )
    kind = Notice.Kind.EMAIL_CHANGED if outcome is EmailOutcome.OK else Notice.Kind.EMAIL_OFF
    delivery.notify(user, kind, now, about_id=change.pk)
    return outcome


def _obstacle(user: User, change: EmailChange) -> EmailOutcome | None:
    """Say why it must not take effect, if so. A new password has closed it already."""
    if not user.is_active:
        return EmailOutcome.DEACTIVATED
    if user.email != change.old_address:
        return EmailOutcome.OTHERWISE
    if not _was_told(change):
        return EmailOutcome.UNTOLD
    return EmailOutcome.TAKEN if change.is_taken() else None


def _was_told(change: EmailChange) -> bool:
    """Whether the mail to the old address left early enough to stop *change*, if it had to wait.

    Half of the time is left at least. A mailbox that refuses mails may be full for this purpose.
    """
    proved_at, due_at = change.proved_at, change.due_at
    if not change.old_address or proved_at is None or due_at is None or due_at == proved_at:
        return True
    mails = Notice.objects.filter(
        user=change.user_id, kind=Notice.Kind.EMAIL_ASKED, about_id=change.pk
    )
    return mails.filter(sent_at__lte=proved_at + (due_at - proved_at) / 2).exists()


def came_from(user: User, change: EmailChange) -> EmailChange | None:
    """Return the change that gave *user* the present address: *change*, or one that led on from it.

    Else a thief makes two changes, and the owner, whose mailbox had the link about the first one,
    can take nothing back. None if the address is another one, such as one by operators.
    """
    if change.closed_as != Closed.DONE:
        return None
    by = {change.new_address: change}
    later = EmailChange.objects.filter(user=user, pk__gt=change.pk, closed_as=Closed.DONE)
    for each in later.order_by("pk"):
        if each.old_address in by and each.new_address != change.old_address:
            by[each.new_address] = each
    return by.get(user.email)


def put_back(user: User, change: EmailChange) -> EmailChange | None:
    """Give the locked *user* the address from before *change*.

    :return: the change whose new address they lose by it; None if it was not possible.
    """
    last = came_from(user, change)
    return last if last and _give(user, change.old_address) else None


def _give(user: User, address: str) -> bool:
    """Set the address of the locked *user*, unless another account has it by now."""
    try:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(email=address)
    except IntegrityError:  # taken in a transaction that was not over when this one looked
        return False
    user.email = address
    return True


def _record(
    outcome: EmailOutcome,
    factors: Factors,
    change: EmailChange | None,
    origin: Origin,
    over: Refused | None = None,
) -> None:
    """Add the event. It names the change by its id: the trail holds no address."""
    data: dict[str, Any] = dict(over.data) if over else {}
    if change:
        data["change"] = change.pk
    if change and change.due_at and outcome is EmailOutcome.PROVED:
        data["due_at"] = change.due_at.isoformat()
    record(Kind.EMAIL, outcome, factors, None, origin, data=data)
