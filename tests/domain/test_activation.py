"""What a right code brings about, and what it leaves alone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone
from oauth2_provider.models import (
    AccessToken,
    RefreshToken,
    get_application_model,
    get_grant_model,
    set_token_value,
)

from optin.errors import InvalidMobileNumber
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    User,
)
from optin.models.factors import has_active_factor
from optin.operations import authenticators, opt_ins, staff_actions
from optin.operations.authenticators import Removal
from optin.outcomes import MALFORMED, CodeOutcome, SendOutcome, StaffOutcome
from optin.phones import Fault
from tests.kit.people import ORIGIN
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World, notices, proved, rows

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind


@pytest.fixture
def grants(user: User, file: File) -> None:
    """What somebody holds who signed in with a password alone."""
    now = timezone.now()
    client = get_application_model().objects.create(
        name="client",
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="https://client.example.com/",
    )
    access = AccessToken(
        user=user, application=client, scope="full", expires=now + timedelta(hours=1)
    )
    set_token_value(access, "access token")
    access.save()
    refresh = RefreshToken(user=user, application=client, access_token=access)
    set_token_value(refresh, "refresh token")
    refresh.save()
    get_grant_model().objects.create(
        user=user, application=client, code="code", expires=now + timedelta(minutes=1)
    )
    AccessKey.objects.make(user, file, now)


def held(user: User) -> dict[str, int]:
    user.refresh_from_db()
    return {
        "access": AccessToken.objects.filter(user=user).count(),
        "refresh": RefreshToken.objects.filter(user=user, revoked=None).count(),
        "codes": get_grant_model().objects.filter(user=user).count(),
        "keys": AccessKey.objects.filter(user=user, revoked_at=None).count(),
        "epoch": user.session_epoch,
    }


def test_activating_ends_what_had_no_second_factor(world: World, grants: None) -> None:
    """S-30, S-34: refresh tokens, codes and sessions go; the client at work stays."""
    epoch = world.user.session_epoch
    session = world.user.get_session_auth_hash()
    assert not has_active_factor(world.user)

    world.guess(world.code())

    assert held(world.user) == {
        "access": 1,
        "refresh": 0,
        "codes": 0,
        "keys": 1,
        "epoch": epoch + 1,
    }
    assert world.user.get_session_auth_hash() != session
    assert has_active_factor(world.user)
    assert notices(world.user) == [Notice.Kind.ACTIVATED]


def test_opting_out_ends_nothing(active: ProviderUser, world: World, grants: None) -> None:
    """S-34."""
    world.purpose = Purpose.OPT_OUT
    world.ask()
    before = held(world.user)
    session = world.user.get_session_auth_hash()

    assert world.guess(world.code()).outcome is CodeOutcome.OK

    assert held(world.user) == before
    assert world.user.get_session_auth_hash() == session
    assert not has_active_factor(world.user)
    row = world.row
    assert (row.confirmed, row.released_at, row.suspended_at) == (False, timezone.now(), None)
    assert notices(world.user) == [Notice.Kind.ACTIVATED, Notice.Kind.RELEASED]


def turned_off_on_a_page(world: World) -> object:
    world.purpose = Purpose.OPT_OUT
    world.ask()
    return authenticators.turn_off(
        world.user,
        world.code(),
        removal=Removal.ALL,
        standing=proved(None),
        origin=ORIGIN,
    ).outcome


def removed_by_staff(world: World) -> object:
    return staff_actions.revoke(world.user, reason="The phone was stolen", origin=ORIGIN)


@pytest.mark.parametrize("remove", [turned_off_on_a_page, removed_by_staff])
def test_a_factor_that_is_removed_ends_refresh_tokens(
    active: ProviderUser, world: World, grants: None, remove: Callable[[World], object]
) -> None:
    """Whoever had the phone may have got them (docs/contract.md, section 3.4)."""
    before = held(world.user)
    assert remove(world) in {CodeOutcome.OK, StaffOutcome.OK}
    assert held(world.user) == before | {"refresh": 0, "codes": 0}


# -- a number that somebody else has -----------------------------------------------


@pytest.fixture
def claimant(active: ProviderUser, stranger: User, world: World) -> World:
    """``stranger`` asked for a code for the number that ``user`` has active."""
    claimant = World(stranger, world.file, world.phone, world.clock)
    assert claimant.opt_in().outcome is SendOutcome.SENT  # it does not say whose it is
    return claimant


def test_a_proved_number_of_somebody_else_is_refused(claimant: World, active: ProviderUser) -> None:
    claimant.set_count(failures=3)
    epoch = claimant.user.session_epoch
    facts = {
        "user_id": claimant.user.pk,
        "other_user_id": active.user_id,
        "provider_user_id": claimant.row.pk,
    }

    with one_event(Kind.VERIFY_OPT_IN, CodeOutcome.MOBILE_NUMBER_IN_USE, **facts):
        result = claimant.guess(claimant.code())

    assert result.outcome is CodeOutcome.MOBILE_NUMBER_IN_USE
    assert claimant.pending.closed_as == PendingOtp.Closed.VERIFIED  # used up
    assert claimant.failures == 0
    assert not claimant.row.confirmed
    active.refresh_from_db()
    assert active.confirmed
    assert notices(active.user)[-1] == Notice.Kind.NUMBER_CLAIMED
    assert notices(claimant.user) == []
    claimant.user.refresh_from_db()
    assert claimant.user.session_epoch == epoch
    assert claimant.guess(claimant.code()).outcome is CodeOutcome.OTP_INCORRECT


def test_a_wrong_code_tells_nothing_about_the_owner(claimant: World) -> None:
    assert claimant.guess(claimant.wrong()).outcome is CodeOutcome.OTP_INCORRECT
    assert newest_event().other_user_id is None
    assert claimant.failures == 1


# -- numbers that may not ----------------------------------------------------------


def test_a_region_that_is_not_allowed(user: User, file: File, settings: LazySettings) -> None:
    said = {"rule": "region_not_allowed", "count": 0, "limit": 0, "region": "NZ"}
    with one_event(Kind.OPT_IN, SendOutcome.REGION_NOT_ALLOWED, said, last_three="456"):
        result = opt_ins.opt_in(user, file, "+64 21 123 456", origin=ORIGIN)
    assert result.outcome is SendOutcome.REGION_NOT_ALLOWED
    assert not ProviderUser.objects.exists()
    settings.OPTIN_SMS_REGIONS = ("AU", "NZ")
    assert opt_ins.opt_in(user, file, "+64 21 123 456", origin=ORIGIN).outcome is SendOutcome.SENT


def test_the_first_region_is_home(user: User, file: File, settings: LazySettings) -> None:
    settings.OPTIN_SMS_REGIONS = ("NZ", "AU")
    opt_ins.opt_in(user, file, "021 123 456", origin=ORIGIN)
    assert ProviderUser.objects.get().open_number() == "+6421123456"


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", Fault.NO_NUMBER), ("0293744000", Fault.LANDLINE), ("x" * 100, Fault.NO_NUMBER)],
)
def test_no_mobile_number_leaves_an_event_only(world: World, text: str, fault: Fault) -> None:
    before, texts = rows(), len(world.phone.messages)
    said = {"rule": MALFORMED, "fault": fault}
    with one_event(Kind.OPT_IN, MALFORMED, said), pytest.raises(InvalidMobileNumber):
        world.opt_in(text)
    changed = {name for name, found in rows().items() if found != before[name]}
    assert changed == {"optin.AuditEvent", "optin.RefusalCount"}
    assert len(world.phone.messages) == texts


def test_spellings_of_one_number_are_one_row(world: World) -> None:
    """S-10: what was normalised is what is stored, limited and compared."""
    for spelling in ("0491 570 156", "+61 (0)491-570-156", "0491\u2011570\u2011156"):
        assert world.opt_in(spelling).outcome is SendOutcome.SEND_LIMIT
    assert ProviderUser.objects.count() == 1
