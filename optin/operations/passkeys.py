"""Passkeys of a person: adding one, and renaming it.

They are checked like any second factor (``verification``), and removed like one
(``authenticators.turn_off``). That module says what each change needs, and what is
raised otherwise.
"""

from dataclasses import asdict

from optin import passkeys
from optin.conf import conf
from optin.messaging import delivery
from optin.models import AuditEvent, Notice, Passkey, User
from optin.models.passkeys import MOST_PASSKEYS
from optin.operations import verification
from optin.operations.authenticators import Change, add_factor
from optin.operations.factors import (
    Factors,
    Standing,
    asked_by_session,
    record,
)
from optin.operations.opt_ins import KeepSession, end_session
from optin.origin import Origin
from optin.outcomes import By, FactorOutcome
from optin.passkeys import (
    REGISTRATION,
    PasskeyFault,
    PasskeyRefused,
    PasskeyResponse,
    Registration,
)

Kind = AuditEvent.Kind


def to_add(standing: Standing) -> Standing:
    """Return what *standing* proves to add a passkey.

    Where a passkey alone can sign in, the factor of the sign-in does not count. Otherwise a thief
    of the cookie could add a passkey, and sign in again without the password.
    """
    return standing.to_replace(conf.passkey_sign_in or None)


def add(
    user: User,
    name: str,
    response: PasskeyResponse,
    *,
    standing: Standing,
    origin: Origin,
    keep_session: KeepSession = end_session,
) -> Change:
    """Let *user* sign in with the new passkey in *response*.

    :param name: what they call it, in at most ``MAX_NAME`` characters.
    """
    return add_factor(
        user,
        By.PASSKEY,
        lambda factors: _add(factors, name, response, origin),
        attempt=verification.attempt_digest(origin, response, REGISTRATION),
        standing=to_add(standing),
        origin=origin,
        keep_session=keep_session,
    )


def _add(factors: Factors, name: str, response: PasskeyResponse, origin: Origin) -> Change:
    user, now = factors.user, factors.now
    if len(factors.passkeys) >= MOST_PASSKEYS:
        return Change(FactorOutcome.PASSKEY_LIMIT)
    try:
        new = passkeys.read_registration(response, session=origin.session, now=now)
        verification.refuse_used(user, new.asked_at)
        passkey = _keep(factors, name, new)
    except PasskeyRefused as refused:
        return Change(FactorOutcome.PASSKEY_REFUSED, data={"why": refused.fault.value})
    user.passkey_challenge_at = new.asked_at
    delivery.notify(user, Notice.Kind.PASSKEY_ADDED, now, about_id=passkey.pk)
    return Change(FactorOutcome.OK, data={"passkey": passkey.pk})


def _keep(factors: Factors, name: str, new: Registration) -> Passkey:
    fields = asdict(new)
    del fields["asked_at"]
    passkey, is_new = Passkey.objects.get_or_create(
        credential_id=fields.pop("credential_id"),
        defaults={"user": factors.user, "name": name, "created_at": factors.now, **fields},
    )
    if not is_new:  # no browser does this: the id is random
        raise PasskeyRefused(PasskeyFault.INVALID)
    return passkey


def rename(user: User, passkey_id: int, name: str, *, standing: Standing, origin: Origin) -> None:
    """Rename a passkey of *user*, if it exists."""
    with asked_by_session(user, standing, factor=False) as factors:
        renamed = Passkey.objects.filter(user=user, pk=passkey_id).update(name=name)
        if renamed:
            data = {"passkey": passkey_id}
            record(Kind.PASSKEY, "renamed", factors, None, origin, data=data)
