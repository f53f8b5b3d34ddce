"""The count of wrong codes is the user's: what locks, what disables, what resets it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.utils import timezone

from optin.errors import UnfitReason
from optin.models import AuditEvent, Notice, PendingOtp, Purpose, User
from optin.operations import opt_ins, sign_in, staff_actions
from optin.outcomes import CodeOutcome, SendOutcome, StaffOutcome
from tests.kit import grants
from tests.kit.people import ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World, nothing_happens, notices

pytestmark = pytest.mark.django_db

REASON = "asked on the phone"


# -- locks -------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "seconds"), [(10, 900), (20, 1800), (30, 3600), (40, 3600)])
def test_each_tenth_failure_locks(any_world: World, failures: int, seconds: int) -> None:
    """S-06: answered as the wrong code that it was, locked from then on."""
    any_world.set_count(failures=failures - 1)

    result = any_world.guess(any_world.wrong())

    assert result.outcome is CodeOutcome.OTP_INCORRECT
    until = timezone.now() + timedelta(seconds=seconds)
    data = newest_event().data
    assert (data["try"], data["failures"]) == (1, failures)
    assert data["locked_until"] == until.isoformat()
    locked = any_world.guess(any_world.wrong())
    assert locked.outcome is CodeOutcome.LOCKED
    assert locked.retry_after == timedelta(seconds=seconds)
    told = Notice.Kind.PROGRAMS_LOCKED if any_world.by_program else Notice.Kind.LOCKED
    assert notices(any_world.user)[-1:] == [told]


@pytest.mark.parametrize("failures", [1, 9, 11, 19, 49, 51])
def test_no_other_failure_locks(world: World, failures: int) -> None:
    world.set_count(failures=failures - 1)
    world.guess_wrong()
    assert world.count.locked_until is None


def test_the_fiftieth_failure_disables(any_world: World) -> None:
    """S-07a, S-54. From then on no texted code serves, none is sent, and it does not pass."""
    any_world.set_count(failures=49)

    with one_event(_kind(any_world), CodeOutcome.OTP_INCORRECT):
        any_world.guess_wrong()

    data = newest_event().data
    assert (data["failures"], data["disabled"]) == (50, True)
    told = Notice.Kind.PROGRAMS_OFF if any_world.by_program else Notice.Kind.DISABLED
    assert notices(any_world.user)[-1:] == [told]
    any_world.clock.shift(timedelta(days=400))
    assert any_world.guess(any_world.code()).outcome is CodeOutcome.FACTOR_DISABLED
    texts = len(any_world.phone.messages)
    assert any_world.ask().outcome is SendOutcome.FACTOR_DISABLED
    assert len(any_world.phone.messages) == texts


def _kind(world: World) -> AuditEvent.Kind:
    return {
        Purpose.OPT_IN: AuditEvent.Kind.VERIFY_OPT_IN,
        Purpose.OPT_OUT: AuditEvent.Kind.OPT_OUT,
    }.get(world.purpose, AuditEvent.Kind.CHECK)


@pytest.mark.parametrize(
    ("bar", "outcome"),
    [
        pytest.param(World.lock, SendOutcome.LOCKED, id="locked"),
        pytest.param(World.disable, SendOutcome.FACTOR_DISABLED, id="disabled"),
        pytest.param(World.suspend, SendOutcome.FACTOR_DISABLED, id="suspended"),
    ],
)
def test_no_text_while_barred(
    challenged: World, bar: Callable[[World], None], outcome: SendOutcome
) -> None:
    """S-07a."""
    bar(challenged)
    challenged.clock.shift(700)
    before = len(challenged.phone.messages), PendingOtp.objects.count()

    with one_event(AuditEvent.Kind.CHALLENGE, outcome):
        asked = challenged.ask()

    assert asked.outcome is outcome
    with one_event(AuditEvent.Kind.OPT_IN, outcome):
        opted = opt_ins.opt_in(challenged.user, challenged.file, OTHER_NUMBER, origin=ORIGIN)
    assert opted.outcome is outcome
    assert (len(challenged.phone.messages), PendingOtp.objects.count()) == before
    assert challenged.row.confirmed  # still required


# -- what does not reset the count (S-05) ------------------------------------------


@pytest.fixture
def failed(challenged: World) -> World:
    """Seven failures of a user with an active number."""
    challenged.set_count(failures=7)
    return challenged


def new_code(world: World) -> None:
    world.clock.shift(600)
    assert world.ask().outcome is SendOutcome.SENT


def right_password(world: World) -> None:
    assert authenticate(username=world.user.username, password=PASSWORD)
    sign_in.enable_password_clients()
    assert grants.ask(world.user.username.upper()).outcome == "2fa_code_required"


def suspended_and_resumed(world: World) -> None:
    staff_actions.suspend(world.user, reason=REASON, origin=ORIGIN)
    staff_actions.resume(world.user, reason=REASON, origin=ORIGIN)


def released_and_another_number(world: World) -> None:
    assert staff_actions.revoke(world.user, reason=REASON, origin=ORIGIN) is StaffOutcome.OK
    opt_ins.opt_in(world.user, world.file, OTHER_NUMBER, origin=ORIGIN)


def new_password(world: World) -> None:
    user = User.objects.get(pk=world.user.pk)
    user.set_password("another one")
    user.save()


@pytest.mark.parametrize(
    "event",
    [
        new_code,
        right_password,
        suspended_and_resumed,
        released_and_another_number,
        new_password,
    ],
)
def test_the_count_survives(failed: World, event: Callable[[World], None]) -> None:
    """S-05."""
    event(failed)
    assert failed.failures == 7


# -- what does ---------------------------------------------------------------------


@pytest.mark.parametrize("bar", [World.lock, World.disable], ids=["locked", "disabled"])
def test_staff_reset(failed: World, bar: Callable[[World], None]) -> None:
    """S-05, S-07a."""
    bar(failed)
    failures = User.objects.get(pk=failed.user.pk).failures
    with one_event(AuditEvent.Kind.UNLOCK, StaffOutcome.OK, {"failures": failures}, reason=REASON):
        staff_actions.unlock(failed.user, reason=f"  {REASON} ", origin=ORIGIN)
    user = User.objects.get(pk=failed.user.pk)
    for count in (user.own, user.programs):
        assert (count.failures, count.locked_until, count.disabled_at) == (0, None, None)
    assert failed.guess(failed.code()).outcome is CodeOutcome.OK


# -- staff -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "kind", "notice"),
    [
        (staff_actions.suspend, AuditEvent.Kind.SUSPEND, Notice.Kind.SUSPENDED),
        (staff_actions.resume, AuditEvent.Kind.RESUME, Notice.Kind.RESUMED),
        (staff_actions.revoke, AuditEvent.Kind.REVOKE, Notice.Kind.REVOKED),
        (staff_actions.unlock, AuditEvent.Kind.UNLOCK, Notice.Kind.UNLOCKED),
    ],
)
def test_a_staff_action(
    failed: World,
    act: Callable[..., StaffOutcome],
    kind: AuditEvent.Kind,
    notice: Notice.Kind,
) -> None:
    row = failed.row
    if act is staff_actions.resume:
        staff_actions.suspend(failed.user, reason=REASON, origin=ORIGIN)
    facts = {"provider_user_id": row.pk, "reason": REASON, "user_id": failed.user.pk}
    with one_event(kind, StaffOutcome.OK, {"failures": 7}, **facts):
        assert act(failed.user, reason=REASON, origin=ORIGIN) is StaffOutcome.OK
    assert notices(failed.user)[-1] == notice
    row.refresh_from_db()
    assert (row.suspended_at is not None) is (kind == AuditEvent.Kind.SUSPEND)
    assert row.confirmed is (kind != AuditEvent.Kind.REVOKE)
    if kind == AuditEvent.Kind.REVOKE:
        assert row.released_at == timezone.now()
        assert not PendingOtp.objects.open().exists()


def test_staff_give_a_reason(world: World) -> None:
    with nothing_happens(world.phone), pytest.raises(UnfitReason):
        staff_actions.unlock(world.user, reason=" \n", origin=ORIGIN)
