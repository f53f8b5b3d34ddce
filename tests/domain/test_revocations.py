"""Support's revocation: it waits, can be called off, and is carried out once (S-37)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone
from pytest_django import Settings

from optin import limits
from optin.errors import Deactivated, UnfitReason
from optin.messaging import delivery, wording
from optin.models import AuditEvent, Notice, ProviderUser, RecoveryCode, Revocation, User
from optin.operations import authenticators, revocations, staff, staff_actions
from optin.operations.authenticators import Removal
from optin.origin import Face, Origin
from optin.outcomes import By, CodeOutcome, RevocationOutcome, StaffOutcome
from optin.support.diagnosis import diagnose
from tests.kit.people import NUMBER, OTHER_NUMBER
from tests.kit.staff import make_staff
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, notices

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Kind = AuditEvent.Kind
Closed = Revocation.Closed
COMMAND = Origin(Face.COMMAND)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
REASON = "lost the phone, passport shown"
Clock = time_machine.Traveller


def by(role: str) -> Origin:
    return Origin(Face.ADMIN, actor_id=make_staff(role).pk)


@pytest.fixture
def ann(person: Person) -> Person:
    """Somebody with every factor; a minute has passed since."""
    person.set_up(By.TEXT, By.APP, By.RECOVERY)
    return person


def plan(person: Person, role: str = "support") -> Revocation:
    """Have support ask for it."""
    asked = revocations.plan(person.user, reason=REASON, origin=by(role))
    assert asked.outcome is RevocationOutcome.PLANNED
    return Revocation.objects.get(user=person.user, closed_at=None)


def carry_out() -> tuple[int, int]:
    carried = revocations.carry_out(origin=COMMAND)
    return carried.out, carried.off


def at(when: datetime, clock: Clock) -> None:
    clock.move_to(when, tick=False)


# -- asked for ---------------------------------------------------------------------


def test_it_waits_and_the_person_is_told_at_once(ann: Person) -> None:
    """S-37."""
    now, mails = timezone.now(), len(mail.outbox)
    facts: dict[str, Any] = {"user_id": ann.user.pk, "reason": REASON, "face": "admin"}

    with one_event(Kind.REVOCATION, "planned", actor_id=by("support").actor_id, **facts):
        asked = revocations.plan(ann.user, reason=f" {REASON} ", origin=by("support"))

    assert asked.due_at == now + DAY
    assert ann.has == {By.TEXT, By.APP}
    assert ann.left() == 10
    waits = Revocation.objects.get()
    assert (waits.asked_at, waits.due_at, waits.closed_at) == (now, now + DAY, None)
    assert (waits.reason, waits.actor_id) == (REASON, by("support").actor_id)
    assert AuditEvent.objects.latest("pk").data == {
        "revocation": waits.pk,
        "due_at": (now + DAY).isoformat(),
    }
    (message,) = mail.outbox[mails:]
    assert message.to == [ann.user.email]
    assert "3 November 2026, 23:01 AEDT" in message.body
    assert "https://2fa.example.com/revocation/" in message.body
    assert REASON not in message.body
    without_link = [word for word in message.body.split() if "://" not in word]
    assert NUMBER[-3:] not in " ".join(without_link)


def deactivated(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(is_active=False)


def without_address(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(email="")


def without_factors(person: Person) -> None:
    staff_actions.revoke(person.user, reason="x", origin=COMMAND)


def superior(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(is_superuser=True)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        pytest.param(deactivated, RevocationOutcome.DEACTIVATED, id="deactivated"),
        pytest.param(without_address, RevocationOutcome.UNTOLD, id="nobody-to-tell"),
        pytest.param(without_factors, RevocationOutcome.NOT_OPTED_IN, id="no-factor"),
        pytest.param(superior, RevocationOutcome.OUT_OF_REACH, id="superior"),
    ],
)
def test_it_is_refused(
    ann: Person, given: Callable[[Person], None], outcome: RevocationOutcome
) -> None:
    given(ann)
    mails = len(mail.outbox)
    with one_event(Kind.REVOCATION, outcome, {}, user_id=ann.who.pk, reason=REASON):
        asked = revocations.plan(ann.user, reason=REASON, origin=by("support"))
    assert asked == revocations.Plan(outcome)
    assert not Revocation.objects.exists()
    assert len(mail.outbox) == mails


def test_nobody_asks_for_themselves(db: None) -> None:
    """S-37. Neither support nor an administrator."""
    for role in ("support", "administrator"):
        me = make_staff(role)
        asked = revocations.plan(me, reason=REASON, origin=by(role))
        assert asked.outcome is RevocationOutcome.OUT_OF_REACH
    assert not Revocation.objects.exists()


def test_there_is_one_at_a_time(ann: Person, clock: Clock) -> None:
    first, mails = plan(ann), len(mail.outbox)
    clock.shift(3600)

    with one_event(Kind.REVOCATION, "unchanged", actor_id=by("administrator").actor_id):
        asked = revocations.plan(ann.user, reason="again", origin=by("administrator"))

    assert asked == revocations.Plan(RevocationOutcome.UNCHANGED, first.due_at)
    assert Revocation.objects.get().reason == REASON
    assert len(mail.outbox) == mails


def test_it_can_be_asked_for_about_the_factors_of_now(ann: Person, clock: Clock) -> None:
    """The one that waits is about others and would be called off: it is no answer."""
    first = plan(ann)
    clock.shift(3600)
    ann.add_number(OTHER_NUMBER)
    clock.shift(3600)

    second = plan(ann)

    first.refresh_from_db()
    assert (first.closed_at, first.closed_as) == (timezone.now(), Closed.SET_UP_SINCE)
    assert second.due_at == timezone.now() + DAY
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_PLANNED
    at(second.due_at, clock)
    assert carry_out() == (1, 0)


@pytest.mark.parametrize("act", [revocations.plan, revocations.withdraw])
def test_staff_give_a_reason(ann: Person, act: Callable[..., object]) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(UnfitReason):
        act(ann.user, reason=" ", origin=by("support"))
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("act", [revocations.plan, revocations.withdraw])
def test_who_is_no_staff_any_more_asks_for_nothing(ann: Person, act: Callable[..., object]) -> None:
    origin = by("support")
    User.objects.filter(pk=origin.actor_id).update(is_staff=False)
    with pytest.raises(Deactivated):
        act(ann.user, reason=REASON, origin=origin)


# -- carried out -------------------------------------------------------------------


def test_it_is_carried_out_when_it_is_due(ann: Person, clock: Clock) -> None:
    """S-37. Not a moment before; then as an administrator's, with the actor and the reason."""
    waits = plan(ann)
    at(waits.due_at - MOMENT, clock)
    assert carry_out() == (0, 0)
    assert ann.has == {By.TEXT, By.APP}
    at(waits.due_at, clock)

    row, failures = ann.number, ann.user.otp_failures
    assert row
    with one_event(
        Kind.REVOKE,
        "ok",
        {"failures": failures, "revocation": waits.pk},
        actor_id=by("support").actor_id,
        face="command",
        reason=REASON,
        user_id=ann.who.pk,
        provider_user_id=row.pk,
    ):
        assert carry_out() == (1, 0)

    assert ann.has == set()
    assert not RecoveryCode.objects.filter(user=ann.user).exists()
    row.refresh_from_db()
    assert (row.released_at, row.confirmed) == (waits.due_at, False)
    assert notices(ann.user)[-1] == Notice.Kind.REVOKED
    waits.refresh_from_db()
    assert (waits.closed_at, waits.closed_as) == (waits.due_at, Closed.DONE)
    # And no second time.
    before = AuditEvent.objects.count()
    assert carry_out() == (0, 0)
    assert AuditEvent.objects.count() == before


def demoted(person: Person) -> None:
    User.objects.filter(username="support").update(is_staff=False)


def without_permission(person: Person) -> None:
    """Staff still, but one who only reads."""
    actor = User.objects.get(username="support")
    assert staff.give_role(actor, "auditor", reason="x", origin=COMMAND) is StaffOutcome.OK


def risen(person: Person) -> None:
    person.user.groups.add(*make_staff("administrator").groups.all())


def another_number(person: Person) -> None:
    person.add_number(OTHER_NUMBER)


def another_app(person: Person) -> None:
    person.add_app()


def turned_off(person: Person) -> None:
    person.turn_off(person.app_code(1))


NOT_CARRIED_OUT = [
    pytest.param(demoted, RevocationOutcome.OUT_OF_REACH, True, id="actor-demoted"),
    pytest.param(
        without_permission, RevocationOutcome.OUT_OF_REACH, True, id="actor-without-permission"
    ),
    pytest.param(risen, RevocationOutcome.OUT_OF_REACH, True, id="person-is-superior-now"),
    pytest.param(deactivated, RevocationOutcome.DEACTIVATED, True, id="deactivated"),
    pytest.param(another_number, RevocationOutcome.SET_UP_SINCE, True, id="number-changed-since"),
    pytest.param(another_app, RevocationOutcome.SET_UP_SINCE, True, id="app-replaced-since"),
    pytest.param(turned_off, RevocationOutcome.NOT_OPTED_IN, False, id="turned-off"),
]


@pytest.mark.parametrize(("given", "outcome", "told"), NOT_CARRIED_OUT)
def test_what_is_true_at_the_end_decides(
    ann: Person,
    clock: Clock,
    given: Callable[[Person], None],
    outcome: RevocationOutcome,
    told: bool,
) -> None:
    waits = plan(ann)
    clock.shift(3600)
    given(ann)
    has, left = ann.has, ann.left()
    at(waits.due_at, clock)

    with one_event(Kind.REVOKE, outcome, user_id=ann.who.pk, reason=REASON):
        assert carry_out() == (0, 1)

    assert (ann.has, ann.left()) == (has, left)
    waits.refresh_from_db()
    assert waits.closed_as == {RevocationOutcome.NOT_OPTED_IN: "nothing"}.get(outcome, outcome)
    assert (notices(ann.who)[-1] == Notice.Kind.REVOKE_OFF) is told
    assert carry_out() == (0, 0)


def _away(server: EmailBackend) -> bool:
    raise OSError


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [
        pytest.param(timedelta(hours=12), CodeOutcome.OK, id="half-a-day-late"),
        pytest.param(timedelta(hours=12, seconds=1), RevocationOutcome.UNTOLD, id="later"),
        pytest.param(None, RevocationOutcome.UNTOLD, id="never"),
    ],
)
def test_nothing_goes_of_which_the_person_was_not_told_in_time(
    ann: Person,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    leaves: timedelta | None,
    outcome: RevocationOutcome,
) -> None:
    """The mail server was away: nobody could cancel it meanwhile."""
    with monkeypatch.context() as away:
        away.setattr(EmailBackend, "open", _away)
        waits = plan(ann)
    if leaves:
        at(waits.asked_at + leaves, clock)
        assert delivery.send_due(timezone.now()) == 1
    at(waits.due_at, clock)

    with one_event(Kind.REVOKE, outcome):
        carry_out()

    assert bool(ann.has) is (outcome is RevocationOutcome.UNTOLD)


def test_without_mail_nobody_is_told(ann: Person, settings: Settings, clock: Clock) -> None:
    """Then each mail counts as sent, and none is: support's revocation is not to be had."""
    waits = plan(ann)
    settings.SENDS_MAIL = False

    asked = revocations.plan(ann.user, reason=REASON, origin=by("support"))

    assert asked.outcome is RevocationOutcome.UNTOLD
    at(waits.due_at, clock)
    with one_event(Kind.REVOKE, RevocationOutcome.UNTOLD):
        assert carry_out() == (0, 1)
    assert ann.has == {By.TEXT, By.APP}


def test_an_administrator_does_not_wait_and_ends_what_waits(ann: Person, clock: Clock) -> None:
    waits = plan(ann)
    assert (
        staff_actions.revoke(ann.user, reason="seen", origin=by("administrator")) is StaffOutcome.OK
    )
    waits.refresh_from_db()
    assert (waits.closed_at, waits.closed_as) == (timezone.now(), Closed.DONE)
    ann.add_number()
    at(waits.due_at, clock)
    assert carry_out() == (0, 0)
    assert ann.has == {By.TEXT}


def test_who_may_not_revoke_ends_nothing(ann: Person) -> None:
    waits = plan(ann)
    superior(ann)
    outcome = staff_actions.revoke(ann.user, reason="x", origin=by("administrator"))
    assert outcome is StaffOutcome.OUT_OF_REACH
    waits.refresh_from_db()
    assert waits.is_open


# -- called off --------------------------------------------------------------------


def test_the_person_cancels(ann: Person, clock: Clock) -> None:
    waits = plan(ann)
    with one_event(Kind.REVOCATION, "cancelled", user_id=ann.who.pk, reason=""):
        assert revocations.cancel(waits, origin=PAGE) is RevocationOutcome.CANCELLED
    waits.refresh_from_db()
    assert waits.closed_as == Closed.CANCELLED
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_OFF
    at(waits.due_at, clock)
    assert carry_out() == (0, 0)
    assert ann.has == {By.TEXT, By.APP}
    # Once.
    with one_event(Kind.REVOCATION, "unchanged"):
        assert revocations.cancel(waits, origin=PAGE) is RevocationOutcome.UNCHANGED
    assert notices(ann.user).count(Notice.Kind.REVOKE_OFF) == 1


def test_late_is_not_too_late_while_the_factors_are_there(ann: Person, clock: Clock) -> None:
    """Workers were away: nobody is to look on while the factors go."""
    waits = plan(ann)
    at(waits.due_at + timedelta(hours=3), clock)
    assert revocations.cancel(waits, origin=PAGE) is RevocationOutcome.CANCELLED
    assert carry_out() == (0, 0)


@pytest.mark.parametrize("role", ["support", "administrator"])
def test_staff_withdraw(ann: Person, clock: Clock, role: str) -> None:
    waits = plan(ann)
    with one_event(Kind.REVOCATION, "withdrawn", reason="it was not her"):
        outcome = revocations.withdraw(ann.user, reason="it was not her", origin=by(role))
    assert outcome is RevocationOutcome.WITHDRAWN
    waits.refresh_from_db()
    assert waits.closed_as == Closed.WITHDRAWN
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_OFF
    at(waits.due_at, clock)
    assert carry_out() == (0, 0)
    with one_event(Kind.REVOCATION, "unchanged", {}):
        revocations.withdraw(ann.user, reason="again", origin=by(role))


def test_of_a_superior_only_who_asked_withdraws(ann: Person) -> None:
    """They have risen since: who asked may think better of it, nobody else below them."""
    plan(ann)
    superior(ann)
    with one_event(Kind.REVOCATION, "out_of_reach", {}):
        outcome = revocations.withdraw(ann.user, reason="x", origin=by("administrator"))
    assert outcome is RevocationOutcome.OUT_OF_REACH
    assert (
        revocations.withdraw(ann.user, reason="x", origin=by("support"))
        is RevocationOutcome.WITHDRAWN
    )


# -- the link ----------------------------------------------------------------------


def token_of(waits: Revocation) -> str:
    notice = Notice.objects.get(kind=Notice.Kind.REVOKE_PLANNED, about_id=waits.pk)
    return str(wording.mail_for(notice).body).partition("/revocation/")[2].split("/")[0]


def test_the_link_is_of_this_one(ann: Person) -> None:
    first = plan(ann)
    token = token_of(first)
    revocations.cancel(first, origin=PAGE)
    second = plan(ann)
    assert wording.revocation_of(token) == first
    assert wording.revocation_of(token_of(second)) == second


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token.partition(":")[0],
        lambda token: "9" + token,
        lambda token: wording._LINKS.sign(token.partition(":")[0]),
        lambda token: wording._LINKS.sign("1"),
        lambda token: f"{token}\0",
    ],
    ids=["no-signature", "other-id", "other-salt", "not-me", "nul"],
)
def test_a_link_that_was_not_ours(ann: Person, spoil: Callable[[str], str]) -> None:
    token = token_of(plan(ann))
    assert wording.revocation_of(token)
    assert wording.revocation_of(spoil(token)) is None


def test_a_link_from_before_a_restore_does_not_reach_somebody_elses(
    ann: Person, stranger: User
) -> None:
    waits = plan(ann)
    token = token_of(waits)
    Revocation.objects.filter(pk=waits.pk).update(user=stranger)
    assert wording.revocation_of(token) is None


def test_the_link_of_a_removal_is_no_not_me_link(ann: Person) -> None:
    assert wording.disownable(token_of(plan(ann)), timezone.now()) is None


# -- what is read of it ------------------------------------------------------------


def test_it_is_shown_while_it_is_about_these_factors(ann: Person, clock: Clock) -> None:
    assert revocations.waiting_for(ann.user) is None
    waits = plan(ann)
    assert revocations.waiting_for(ann.user) == waits
    assert revocations.waiting_for(ann.user, authenticators.overview(ann.user)) == waits
    clock.shift(60)
    another_number(ann)
    assert revocations.waiting_for(ann.user) is None


def test_digits_in_its_reason_are_masked(ann: Person) -> None:
    """S-51: what looks like no number to the check of reasons."""
    revocations.plan(ann.user, reason=f"call mob{NUMBER[1:]}", origin=by("support"))
    shown = [cause.words for cause in diagnose(ann.user, timezone.now())]
    assert NUMBER[3:] not in " ".join(shown)


def test_removing_one_factor_oneself_leaves_the_rest_to_it(ann: Person, clock: Clock) -> None:
    """Nothing new was set up, and what was asked for is still meant."""
    waits = plan(ann)
    clock.shift(60)
    ann.turn_off(ann.app_code(), Removal.APP)
    assert revocations.waiting_for(ann.user) == waits
    at(waits.due_at, clock)
    assert carry_out() == (1, 0)
    assert not ProviderUser.objects.filter(user=ann.user, confirmed=True).exists()


# -- how often ---------------------------------------------------------------------


def test_one_member_of_staff_plans_few_in_a_day(
    ann: Person, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37: a stolen account of support does not reach everybody, and it is heard."""
    origin = by("support")
    for _ in range(limits.REVOCATIONS[0].count):
        revocations.plan(ann.user, reason=REASON, origin=origin)
        revocations.withdraw(ann.user, reason=REASON, origin=origin)
    alarms = [vars(r)["facts"] for r in caplog.records if r.name == "optin.alarm"]
    assert [(told["alarm"], told["actor"]) for told in alarms] == [("staff", origin.actor_id)]

    refused = revocations.plan(ann.user, reason=REASON, origin=origin)

    assert refused == revocations.Plan(RevocationOutcome.REVOCATION_LIMIT)
    assert not Revocation.objects.filter(closed_at=None).exists()
    event = AuditEvent.objects.latest("pk")
    assert (event.outcome, event.data["rule"]) == ("revocation_limit", "revocation/86400")
    assert plan(ann, "administrator")  # another one may
    clock.shift(DAY)
    revocations.withdraw(ann.user, reason=REASON, origin=origin)
    assert (
        revocations.plan(ann.user, reason=REASON, origin=origin).outcome
        is RevocationOutcome.PLANNED
    )
