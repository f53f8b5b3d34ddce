"""The mailed link "this was not me" (S-39): take back what somebody else did.

And the button "That was not me" of somebody who is signed in (G-08): shut out everybody else.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from oauth2_provider.models import AccessToken

from optin.conf import CLOCK_SLACK
from optin.limits.attempts import remember_network
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    EmailChange,
    Guard,
    KnownNetwork,
    Notice,
    Passkey,
    ProviderUser,
    RecoveryCode,
    User,
    WebhookEndpoint,
)
from optin.models.second_factors import overview
from optin.operations import email_changes
from optin.operations.authenticators import Removal, remove
from optin.operations.factors import Factors, Standing, asked_by_session, close_begun, record
from optin.operations.opt_ins import KeepSession
from optin.operations.passwords import Attempt, trying
from optin.origin import Origin
from optin.outcomes import SECURED, FactorOutcome

Kind = AuditEvent.Kind

_SUBJECTS = {
    **dict.fromkeys((Notice.Kind.APP_ADDED, Notice.Kind.APP_REMOVED), Removal.APP),
    **dict.fromkeys((Notice.Kind.PASSKEY_ADDED, Notice.Kind.PASSKEY_REMOVED), Removal.PASSKEY),
}


class Effect(StrEnum):
    """How the link of a notice takes back its change."""

    REMOVES = "removes"
    PUTS_BACK = "puts_back"  # not a factor: the email address from before
    TAKES_AWAY = "takes_away"  # the email address: there was none before
    TAKEN = "taken"  # another account has the email address from before
    GONE = "gone"  # that factor is gone, and none was added since; it may have been replaced
    SUSPENDED = "suspended"  # the number is for staff to judge
    BY_MAIL_ALONE = "by_mail_alone"  # the password came by mail since: no factor goes

    @property
    def takes_back(self) -> bool:
        """Whether what the notice told of is undone."""
        return self in {Effect.REMOVES, Effect.PUTS_BACK, Effect.TAKES_AWAY}


CLOSED_FOR = timedelta(days=30)
"""How long strangers cannot have codes texted to a number after its owner said "that was not me".
It ends by itself: the number may be somebody else's by then."""


def effect(notice: Notice) -> Effect:
    """Return what ``disown`` would do now to what *notice* is about."""
    return _effect(notice, notice.user)


def subject_of(notice: Notice) -> Removal:
    """Return the kind of factor that *notice* is about, unless it is about the email address."""
    return _SUBJECTS.get(Notice.Kind(notice.kind), Removal.NUMBER)


def _effect(notice: Notice, user: User) -> Effect:
    if user.password_mailed_at and user.password_mailed_at >= _since(notice):
        return Effect.BY_MAIL_ALONE
    if notice.kind == Notice.Kind.EMAIL_CHANGED:
        return _effect_on_address(user, _change(notice))
    meant = _meant(notice, user)
    if any(isinstance(one, ProviderUser) and one.suspended_at for one in meant):
        return Effect.SUSPENDED
    return Effect.REMOVES if meant else Effect.GONE


def _effect_on_address(user: User, change: EmailChange | None) -> Effect:
    if change is None or not email_changes.came_from(user, change):
        return Effect.GONE
    if not change.old_address:
        return Effect.TAKES_AWAY
    return Effect.TAKEN if change.is_old_taken() else Effect.PUTS_BACK


def _change(notice: Notice) -> EmailChange | None:
    return EmailChange.objects.filter(pk=notice.about_id or 0, user_id=notice.user_id).first()


def disown(notice: Notice, password: str, *, origin: Origin) -> Attempt:
    """Take back, with the password, what *notice* told: "this was not me" (S-39).

    Removes the factor that *notice* was about, or that was added after a removal; or puts the
    previous email address back. Ends every access key, token and session. A suspended number
    stays, because staff decide about it. If a mailed link set the password since, the factors,
    the recovery codes and the address stay: the mailbox alone must not be enough. The link works
    once. An address that is taken away is told too.
    """
    username = notice.user.get_username()
    with trying(username, password, origin=origin, kind=Kind.DISOWN) as tried:
        if tried.factors is None:
            return tried
        user, now = tried.factors.user, tried.now
        outcome = FactorOutcome.UNCHANGED
        number = tried.factors.number
        data: dict[str, Any] = {"notice": notice.kind, "removed": []}
        if Notice.objects.filter(pk=notice.pk, disowned_at=None).update(disowned_at=now):
            outcome = FactorOutcome.OK
            data |= _take_back(tried.factors, notice, now)
            is_gone = "number" in data["removed"]
            delivery.notify(user, Notice.Kind.DISOWNED, now, number if is_gone else None)
        AuditEvent.objects.record(
            Kind.DISOWN,
            outcome,
            now=now,
            origin=origin,
            user_id=user.pk,
            data=data,
            number=number,
        )
    return tried


def shut_out(
    user: User, *, standing: Standing, origin: Origin, keep_session: KeepSession
) -> datetime | None:
    """Shut everybody else out of the account of *user*: "that was not me" (G-08).

    Ends all other sessions, every token, and what was begun, but no sign-in that waits for a code:
    that may be the owner's, and opens nothing. No account that never verified the active number
    can have a code texted to it for ``CLOSED_FOR``. Staff see the event (``support.health``). What
    was verified stays, and so do access keys, which staff make.

    :param user: as the session has them.
    :param keep_session: as for ``opt_ins.verify_opt_in``.
    :returns: until when the number is closed to strangers; None without an active number from
        which a code was entered here.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* has not proved enough lately.
    :raises SignedOut: and
    :raises Deactivated: if the session was ended meanwhile.
    """
    with asked_by_session(user, standing) as factors:
        locked, number, now = factors.user, factors.number, factors.now
        until = now + CLOSED_FOR if number and number.is_proved else None
        close_begun(locked, number, now)
        end_all(locked, now, waiting=False)
        remember_network(locked, origin, now)  # or strangers could keep them out from here (G-02)
        if number and until:
            Guard.objects.close_to_strangers(number.number_digest, number.last_three, now, until)
        keep_session(locked)
        delivery.notify(locked, Notice.Kind.SECURED, now, number)  # a thief can press it too
        data = {"removed": [], **({"until": until.isoformat()} if until else {})}
        record(Kind.DISOWN, SECURED, factors, number, origin, data=data)
    return until


def end_all(user: User, now: datetime, *, waiting: bool = True) -> None:
    """End every token and session of *user*, and forget their networks: one may be a thief's.

    So may a webhook endpoint that they answer for: it is switched off.

    :param waiting: as for ``User.end_sessions``.
    """
    AccessToken.objects.filter(user=user).delete()
    KnownNetwork.objects.filter(user=user).delete()
    endpoints = WebhookEndpoint.objects.filter(made_by=user)
    endpoints.switch_off(WebhookEndpoint.Off.NOT_ME, now)
    user.end_sign_ins(now, waiting=waiting)


def _take_back(factors: Factors, notice: Notice, now: datetime) -> dict[str, Any]:
    """Take back what can be, and return what the event says of it: the mail reads it there."""
    user, number = factors.user, factors.number
    data: dict[str, Any] = {}
    done = _effect(notice, user)
    if done in {Effect.PUTS_BACK, Effect.TAKES_AWAY} and (change := _change(notice)):
        if lost := email_changes.put_back(user, change):
            data = {"removed": ["email"], "change": notice.about_id}
            delivery.notify(user, Notice.Kind.DISOWNED, now, about_id=lost.pk)
        else:
            done = Effect.TAKEN  # by somebody who was faster
    elif done is Effect.REMOVES:
        meant = [one.pk for one in _meant(notice, user)]
        # The mail about all of it tells.
        data = remove(factors, subject_of(notice), passkeys=meant, told=False)
    close_begun(user, number, now)
    if done is not Effect.BY_MAIL_ALONE:
        # A list that was made since may be the thief's.
        RecoveryCode.objects.filter(user=user, created_at__gte=_since(notice)).delete()
    AccessKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    end_all(user, now)
    return {"effect": done, **data}


def _meant(notice: Notice, user: User) -> list[ProviderUser | AuthenticatorApp | Passkey]:
    """Return the factor that *notice* told of; for a removal, what was added since."""
    has, subject = overview(user), subject_of(notice)
    found: Sequence[Any] = has.passkeys
    if subject is not Removal.PASSKEY:
        found = [has.app if subject is Removal.APP else has.number]
    there = [one for one in found if one]
    if notice.about_id:
        return [one for one in there if one.pk == notice.about_id]
    return [one for one in there if one.verified_at and one.verified_at >= _since(notice)]


def _since(notice: Notice) -> datetime:
    """The time after which things came after *notice*: another server's clock may be behind."""
    return notice.created_at - CLOCK_SLACK
