"""Passkeys of a person: what their browser is asked, adding one, and renaming it.

They are checked like any second factor (``verification``), and removed like one
(``authenticators.turn_off``).
"""

from django.db import transaction
from django.utils import timezone

from optin import passkeys
from optin.conf import conf
from optin.messaging import delivery
from optin.models import AuditEvent, Notice, Passkey, Purpose, User
from optin.models.passkeys import MOST_PASSKEYS
from optin.operations import verification
from optin.operations.authenticators import Change, added, barred
from optin.operations.factors import (
    Factors,
    Standing,
    asked_by_session,
    read_caller_locked,
    record,
    refuse_ended,
)
from optin.operations.opt_ins import KeepSession, end_session
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import By, CodeOutcome, FactorOutcome
from optin.passkeys import Aim, Answer, Asked, New, PasskeyFault, PasskeyRefused

Kind = AuditEvent.Kind


def ask_to_add(user: User, *, origin: Origin) -> Asked:
    """Return what the browser of *user* is asked, to make a passkey."""
    return passkeys.ask_to_add(
        user.get_username(),
        user.handle,
        Passkey.objects.of(user),
        session=origin.session,
        now=timezone.now(),
    )


def ask(purpose: Purpose, has: list[Passkey], *, origin: Origin) -> Asked:
    """Return what the browser is asked, to use one of the passkeys that the person *has*."""
    return passkeys.ask(purpose, has, session=origin.session, now=timezone.now())


def ask_anybody(*, origin: Origin) -> Asked:
    """Return what the browser is asked, to sign somebody in with a passkey alone."""
    return passkeys.ask(Aim.ALONE, [], session=origin.session, now=timezone.now())


def to_add(standing: Standing) -> Standing:
    """What of *standing* counts to add a passkey. Where one signs in alone, the sign-in does not.

    Else whoever stole the cookie could come back without the password.
    """
    return standing.to_replace(conf.passkey_sign_in or None)


def add(
    user: User,
    name: str,
    answer: Answer,
    *,
    standing: Standing,
    origin: Origin,
    keep_session: KeepSession = end_session,
) -> Change:
    """Let *user* sign in with the passkey that *answer* brings.

    :param name: what they call it, in at most ``MAX_NAME`` characters.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* has not proved enough.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.CHANGE, every_factor=True, origin=None)
        attempt = verification.attempt_digest(origin, answer, Aim.ADD)
        if verification.repeated(factors, None, attempt):  # only a right one is remembered
            return Change(FactorOutcome.OK, repeated=True)
        refuse_ended(factors, user)
        to_add(standing).demand(factors.now, factors)
        try:
            result = barred(factors, standing) or _add(factors, name, answer, origin)
        except PasskeyRefused as refused:
            fault = refused.fault
            data = {"why": fault.value}
            result = Change(FactorOutcome.PASSKEY_REFUSED, fault=fault, data=data)
        if result.outcome is FactorOutcome.OK:
            right = Verification(CodeOutcome.OK, by=By.PASSKEY)
            verification.remember(factors, attempt, right)
            factors.user.save_counts()
            keep_session(factors.user)
        record(Kind.PASSKEY, result.outcome, factors, None, origin, data=result.data)
    return result


def _add(factors: Factors, name: str, answer: Answer, origin: Origin) -> Change:
    user, now = factors.user, factors.now
    if len(Passkey.objects.of(user)) >= MOST_PASSKEYS:
        return Change(FactorOutcome.PASSKEY_LIMIT)
    new = passkeys.read_new(answer, session=origin.session, now=now)
    verification.refuse_used(user, new.asked_at)
    passkey = _keep(factors, name, new)
    user.passkey_challenge_at = new.asked_at
    added(factors)
    delivery.notify(user, Notice.Kind.PASSKEY_ADDED, now, about_id=passkey.pk)
    return Change(FactorOutcome.OK, data={"passkey": passkey.pk})


def _keep(factors: Factors, name: str, new: New) -> Passkey:
    passkey, is_new = Passkey.objects.get_or_create(
        credential_id=new.credential_id,
        defaults={
            "user": factors.user,
            "name": name,
            "rp_id": passkeys.rp_id(),
            "public_key": new.public_key,
            "sign_count": new.sign_count,
            "can_be_backed_up": new.can_be_backed_up,
            "is_backed_up": new.is_backed_up,
            "transports": new.transports,
            "created_at": factors.now,
        },
    )
    if not is_new:  # no browser does this: the id is random
        raise PasskeyRefused(PasskeyFault.INVALID)
    return passkey


def rename(user: User, passkey_id: int, name: str, *, standing: Standing, origin: Origin) -> bool:
    """Call a passkey of *user* something else; return whether there is that passkey.

    :raises PasswordNeeded: if *standing* has not proved the password lately.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    with asked_by_session(user, standing, factor=False) as factors:
        renamed = Passkey.objects.filter(user=user, pk=passkey_id).update(name=name)
        if renamed:
            data = {"passkey": passkey_id}
            record(Kind.PASSKEY, "renamed", factors, None, origin, data=data)
    return bool(renamed)
