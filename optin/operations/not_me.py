"""The mailed link "this was not me" (S-39): take back what somebody else did."""

from datetime import datetime

from oauth2_provider.models import AccessToken

from optin.conf import CLOCK_SLACK
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    KnownNetwork,
    Notice,
    ProviderUser,
    RecoveryCode,
)
from optin.operations.authenticators import Removal, remove
from optin.operations.factors import Factors
from optin.operations.passwords import Attempt, close_begun, trying
from optin.origin import Origin
from optin.outcomes import FactorOutcome

Kind = AuditEvent.Kind


def disown(notice: Notice, password: str, *, origin: Origin) -> Attempt:
    """Take back, with the password, what *notice* told: "this was not me" (S-39).

    The very factor that it told of goes (after a removal: what was added since), and with
    it every access key, token and session. A number that staff suspended stays: it is
    theirs to judge. And no factor goes on the word of the mailbox alone: if the password
    came by a mailed link since, they all stay. The link works once.
    """
    username = notice.user.get_username()
    with trying(username, password, origin=origin, kind=Kind.DISOWN) as tried:
        if tried.factors is None:
            return tried
        user, now = tried.factors.user, tried.now
        outcome, removed = FactorOutcome.UNCHANGED, []
        if Notice.objects.filter(pk=notice.pk, disowned_at=None).update(disowned_at=now):
            outcome, removed = FactorOutcome.OK, _take_back(tried.factors, notice, now)
            delivery.notify(user, Notice.Kind.DISOWNED, now)
        data = {"notice": notice.kind, "removed": removed}
        AuditEvent.objects.record(
            Kind.DISOWN, outcome, now=now, origin=origin, user_id=user.pk, data=data
        )
    return tried


def _take_back(factors: Factors, notice: Notice, now: datetime) -> list[str]:
    user, number = factors.user, factors.active
    of_app = notice.kind in {Notice.Kind.APP_ADDED, Notice.Kind.APP_REMOVED}
    since = _since(notice)
    mailed = user.password_mailed_at and user.password_mailed_at >= since
    removed = []
    if mailed:
        pass
    elif of_app and factors.app and _is_meant(notice, factors.app):
        removed = remove(factors, Removal.APP, now)
    elif not of_app and number and not number.suspended_at and _is_meant(notice, number):
        removed = remove(factors, Removal.NUMBER, now)
    close_begun(user, now)
    # A list that was made since may be the thief's.
    RecoveryCode.objects.filter(user=user, created_at__gte=since).delete()
    AccessKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    AccessToken.objects.filter(user=user).delete()
    KnownNetwork.objects.filter(user=user).delete()  # one may be the thief's
    user.end_sign_ins(now)
    return removed


def _is_meant(notice: Notice, factor: ProviderUser | AuthenticatorApp) -> bool:
    """Whether *notice* told of this very factor; that of a removal, what was added since."""
    if notice.about_id:
        return bool(notice.about_id == factor.pk)
    verified_at: datetime | None = factor.verified_at
    return verified_at is not None and verified_at >= _since(notice)


def _since(notice: Notice) -> datetime:
    """The time after which things came after *notice*: another server's clock may be behind."""
    return notice.created_at - CLOCK_SLACK
