"""The drill of deploy/ha notices what was acknowledged and is not there."""

import pytest
from oauth2_provider.models import AccessToken

from deploy.ha.drills.proof import Acknowledged, Found, compare
from optin.models import File, PendingOtp, ProviderUser, SendCounter, User
from optin.operations import opt_ins
from tests.kit.clients import bearer
from tests.kit.people import ORIGIN
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def known(user: User, file: File, pending: ProviderUser, phone: Phone) -> Acknowledged:
    """What a client of one person knows: an opt-in, a wrong code, the right one, and a token."""
    for code in (wrong(phone.code()), phone.code()):
        opt_ins.verify_opt_in(user, file, pending.pk, code, origin=ORIGIN)
    known = Acknowledged()
    known.opt_ins[pending.pk] = user.username
    known.wrong_codes[pending.pk] = 1
    known.verified.add(pending.pk)
    known.tokens[bearer(user)] = user.username
    return known


def test_nothing_is_lost(known: Acknowledged) -> None:
    assert compare(known) == Found([], [])


def test_an_event_is_lost(known: Acknowledged, pending: ProviderUser) -> None:
    """As after a failover to a standby that had not got it."""
    known.wrong_codes[pending.pk] = 2

    found = compare(known)

    assert found.lost == [f"event verify_opt_in otp_incorrect of number {pending.pk}"]
    assert found.lower == [f"tries of number {pending.pk}: 1 < 2"]


def test_all_that_can_be_lost_or_lower_is_told(known: Acknowledged, pending: ProviderUser) -> None:
    ProviderUser.objects.update(confirmed=False, verified_at=None)
    AccessToken.objects.all().delete()
    PendingOtp.objects.update(tries=0)
    SendCounter.objects.update(count=0)
    assert compare(known) == Found(
        [f"verification {pending.pk}", "token of ann"],
        [
            f"tries of number {pending.pk}: 0 < 1",
            f"failures of number {pending.pk}: 0 < 1",
            "texts: 0 < 1",
        ],
    )
