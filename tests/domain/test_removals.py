"""Removals of all second factors that wait: asked for by support (S-37) or at sign-in (P-17)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import int_to_base36
from pytest_django import Settings

from optin import limits
from optin.errors import Deactivated, SignedOut, UnfitReason
from optin.messaging import delivery, wording
from optin.models import (
    AuditEvent,
    EmailChange,
    Guard,
    Notice,
    ProviderUser,
    RecoveryCode,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import State, Unsent
from optin.models.second_factors import overview
from optin.operations import (
    email_changes,
    not_me,
    own_removals,
    passwords,
    retention,
    revocations,
    sign_in,
    staff,
    staff_actions,
)
from optin.operations.authenticators import Removal
from optin.operations.restore import after_restore
from optin.origin import Face, Origin
from optin.outcomes import By, RevocationOutcome, StaffOutcome
from optin.support.diagnosis import diagnose
from tests.kit import grants
from tests.kit.people import NUMBER, OTHER_NUMBER, PASSWORD, make_user
from tests.kit.phone import AWAY
from tests.kit.staff import make_staff
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, notices, proved

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Kind = AuditEvent.Kind
Closed = Revocation.Closed
Clock = time_machine.Traveller
Given = Callable[[Person], object]
COMMAND = Origin(Face.COMMAND)
DAY = timedelta(days=1)
WAIT = 3 * DAY
MOMENT = timedelta(microseconds=1)
REASON = "lost the phone, passport shown"


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.OPTIN_RECOVERY_DELAY = int(WAIT.total_seconds())


@pytest.fixture
def ann(person: Person) -> Person:
    """Somebody with every factor; a minute has passed since."""
    person.set_up(By.TEXT, By.APP, By.RECOVERY)
    return person


def by(role: str) -> Origin:
    return Origin(Face.ADMIN, actor_id=make_staff(role).pk)


def plan(person: Person, role: str = "support", reason: str = REASON) -> revocations.Plan:
    return revocations.plan(person.user, reason=reason, origin=by(role))


def ask(person: Person) -> RevocationOutcome:
    return own_removals.ask(person.user, origin=PAGE).outcome


def planned(person: Person) -> Revocation:
    """Have support ask for it."""
    assert plan(person).outcome is RevocationOutcome.PLANNED
    return Revocation.objects.get(user=person.user, closed_at=None)


def asked(person: Person) -> Revocation:
    """Have the person ask for it."""
    assert ask(person) is RevocationOutcome.ASKED
    return Revocation.objects.get(user=person.user, closed_at=None)


Wish = Callable[[Person], Revocation]
either = pytest.mark.parametrize("wish", [planned, asked])


def at(when: datetime, clock: Clock) -> None:
    clock.move_to(when, tick=False)


def each_minute() -> tuple[int, int, int]:
    """What the command and the worker do: how many were told, carried out, called off."""
    told = own_removals.remind(origin=COMMAND)
    carried = revocations.carry_out(origin=COMMAND)
    return told, carried.out, carried.off


def days(clock: Clock, count: int) -> list[tuple[int, int, int]]:
    """Let so many days pass, each with the work of its minutes."""
    done = []
    for _ in range(count):
        clock.shift(DAY)
        done += [each_minute(), each_minute()]
    return done


def ended_as(waits: Revocation) -> str:
    waits.refresh_from_db()
    return waits.closed_as


def warnings(person: Person) -> list[str]:
    """The bodies of the texts that warned the person."""
    return [body for _, body in person.phone.messages if "turns off two-factor" in body]


# -- what happens to people ----------------------------------------------------------


def updated(**fields: object) -> Given:
    return lambda person: User.objects.filter(pk=person.who.pk).update(**fields)


deactivated = updated(is_active=False)
superuser_now = updated(is_superuser=True)


def without_factors(person: Person) -> None:
    staff_actions.revoke(person.user, reason="x", origin=COMMAND)


def gets_another_number(person: Person) -> None:
    person.add_number(OTHER_NUMBER)


def gets_another_app(person: Person) -> None:
    person.add_app()


def turns_one_off(person: Person) -> None:
    assert person.turn_off(person.app_code(1), Removal.NUMBER).outcome == "ok"


def turns_all_off(person: Person) -> None:
    assert person.turn_off(person.app_code(1)).outcome == "ok"


def signs_in_on_a_page(person: Person) -> None:
    assert person.check(person.app_code(1)).outcome == "ok"


def asks_for_a_token(person: Person) -> None:
    sign_in.enable_password_clients()
    assert grants.tokens(person.user.username, person.app_code(1))


def password_by_mail(person: Person) -> None:
    """Whoever reads the mailbox can do that."""
    link = default_token_generator.make_token(person.user)
    passwords.choose(person.user, "a thief's horse 1", origin=PAGE, link=link)


def new_address(person: Person) -> None:
    """It took effect a moment ago."""
    now, address = timezone.now(), "new@example.org"
    EmailChange.objects.create(
        user=person.who,
        old_address=person.user.email,
        new_address=address,
        asked_at=now - DAY,
        closed_at=now,
        closed_as=EmailChange.Closed.DONE,
    )
    User.objects.filter(pk=person.who.pk).update(email=address)


def marked_as_suspended(person: Person) -> None:
    """As a restore does it, for example. What staff do ends it at once."""
    ProviderUser.objects.filter(user=person.who).update(suspended_at=timezone.now())


def password_marked_as_mailed(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(password_mailed_at=timezone.now())


def stop_all_texts() -> None:
    kind, covers = Guard.Kind.STOP, Guard.Covers.ALL
    Guard.objects.create(kind=kind, covers=covers, key="", made_at=timezone.now())


# -- asked for by support ------------------------------------------------------------


def test_support_asks_and_the_person_is_told_at_once(ann: Person) -> None:
    """S-37."""
    now, mails = timezone.now(), len(mail.outbox)
    facts: dict[str, Any] = {"user_id": ann.user.pk, "reason": REASON, "face": "admin"}

    with one_event(Kind.REVOCATION, "planned", actor_id=by("support").actor_id, **facts):
        assert plan(ann, reason=f" {REASON} ").due_at == now + DAY

    assert (ann.has, ann.left()) == ({By.TEXT, By.APP}, 10)
    waits = Revocation.objects.get()
    assert (waits.asked_at, waits.due_at, waits.closed_at) == (now, now + DAY, None)
    assert (waits.reason, waits.actor_id) == (REASON, by("support").actor_id)
    data = {"revocation": waits.pk, "due_at": (now + DAY).isoformat()}
    assert AuditEvent.objects.latest("pk").data == data
    (message,) = mail.outbox[mails:]
    assert message.to == [ann.user.email]
    assert "3 November 2026, 23:01 AEDT" in message.body
    assert "https://2fa.example.com/revocation/" in message.body
    assert REASON not in message.body
    without_link = [word for word in message.body.split() if "://" not in word]
    assert NUMBER[-3:] not in " ".join(without_link)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        pytest.param(deactivated, RevocationOutcome.DEACTIVATED, id="deactivated"),
        pytest.param(updated(email=""), RevocationOutcome.UNTOLD, id="nobody-to-tell"),
        pytest.param(without_factors, RevocationOutcome.NOT_OPTED_IN, id="no-factor"),
        pytest.param(superuser_now, RevocationOutcome.OUT_OF_REACH, id="superior"),
    ],
)
def test_support_is_refused(ann: Person, given: Given, outcome: RevocationOutcome) -> None:
    given(ann)
    mails = len(mail.outbox)
    with one_event(Kind.REVOCATION, outcome, {}, user_id=ann.who.pk, reason=REASON):
        assert plan(ann) == revocations.Plan(outcome)
    assert not Revocation.objects.exists()
    assert len(mail.outbox) == mails


@pytest.mark.parametrize("role", ["support", "administrator"])
def test_nobody_asks_for_themselves(db: None, role: str) -> None:
    """S-37."""
    refused = revocations.plan(make_staff(role), reason=REASON, origin=by(role))
    assert refused.outcome is RevocationOutcome.OUT_OF_REACH
    assert not Revocation.objects.exists()


def test_there_is_one_at_a_time_about_the_factors_of_now(ann: Person, clock: Clock) -> None:
    first, mails = planned(ann), len(mail.outbox)
    assert revocations.waiting_for(ann.user) == first
    clock.shift(3600)
    with one_event(Kind.REVOCATION, "unchanged", actor_id=by("administrator").actor_id):
        again = plan(ann, "administrator", "again")
    assert again == revocations.Plan(RevocationOutcome.UNCHANGED, first.due_at)
    assert Revocation.objects.get().reason == REASON
    assert len(mail.outbox) == mails
    # The one that waits is about others, and would be called off: it is no answer.
    gets_another_number(ann)
    assert revocations.waiting_for(ann.user) is None
    clock.shift(3600)
    second = planned(ann)
    assert ended_as(first) == Closed.SET_UP_SINCE
    assert second.due_at == timezone.now() + DAY
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_PLANNED
    assert days(clock, 1) == [(0, 1, 0), (0, 0, 0)]


@pytest.mark.parametrize("act", [revocations.plan, revocations.withdraw])
def test_staff_give_a_reason_and_are_staff_still(ann: Person, act: Callable[..., object]) -> None:
    before, origin = AuditEvent.objects.count(), by("support")
    with pytest.raises(UnfitReason):
        act(ann.user, reason=" ", origin=origin)
    assert AuditEvent.objects.count() == before
    User.objects.filter(pk=origin.actor_id).update(is_staff=False)
    with pytest.raises(Deactivated):
        act(ann.user, reason=REASON, origin=origin)


def test_digits_in_its_reason_are_masked(ann: Person) -> None:
    """S-51: what looks like no number to the check of reasons."""
    plan(ann, reason=f"call mob{NUMBER[1:]}")
    shown = [cause.words for cause in diagnose(ann.user, timezone.now())]
    assert NUMBER[3:] not in " ".join(shown)


def test_one_member_of_staff_plans_few_in_a_day(
    ann: Person, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """S-37: a stolen account of support does not reach everybody, and it is heard."""
    origin = by("support")
    for _ in range(limits.REVOCATIONS[0].count):
        plan(ann)
        revocations.withdraw(ann.user, reason=REASON, origin=origin)
    alarms = [vars(r)["facts"] for r in caplog.records if r.name == "optin.alarm"]
    assert [(told["alarm"], told["actor"]) for told in alarms] == [("staff", origin.actor_id)]
    waits = asked(ann)

    assert plan(ann) == revocations.Plan(RevocationOutcome.REVOCATION_LIMIT)

    assert ended_as(waits) == ""
    event = AuditEvent.objects.latest("pk")
    assert (event.outcome, event.data["rule"]) == ("revocation_limit", "revocation/86400")
    assert plan(ann, "administrator").outcome is RevocationOutcome.PLANNED
    clock.shift(DAY)
    revocations.withdraw(ann.user, reason=REASON, origin=origin)
    assert plan(ann).outcome is RevocationOutcome.PLANNED


# -- asked for by the person -----------------------------------------------------------


def test_it_waits_and_the_person_is_told_on_all_channels(ann: Person) -> None:
    now, mails = timezone.now(), len(mail.outbox)
    facts: dict[str, Any] = {"user_id": ann.who.pk, "actor_id": ann.who.pk, "face": "web"}

    with one_event(Kind.REVOCATION, "asked", **facts):
        way = own_removals.ask(ann.user, origin=PAGE)

    assert (way.outcome, way.due_at, way.by_text) == (RevocationOutcome.ASKED, now + WAIT, True)
    assert ann.has == {By.TEXT, By.APP}
    waits = Revocation.objects.get()
    assert waits.is_own
    assert (waits.asked_at, waits.told_at, waits.due_at) == (now, now, now + WAIT)
    (message,) = mail.outbox[mails:]
    body = " ".join(str(message.body).split())
    assert message.to == [ann.user.email]
    assert "Somebody who knows your password asked, on the sign-in page" in body
    assert "This happens on 5 November 2026, 23:01 AEDT" in body
    assert wording.revocation_of(body.partition("/revocation/")[2].partition("/")[0]) == waits
    (text,) = warnings(ann)
    assert text.startswith("Two-Factor turns off two-factor sign-in on 5 Nov. Cancel: https://")
    assert ann.phone.messages[-1][0] == NUMBER
    assert wording.revocation_of_text(text.rpartition("/r/")[2]) == waits


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(updated(email=""), id="no-address"),
        pytest.param(without_factors, id="no-factor"),
        pytest.param(updated(is_staff=True), id="staff"),
        pytest.param(superuser_now, id="superuser"),
        pytest.param(Person.suspend, id="suspended"),
    ],
)
def test_it_is_not_offered(ann: Person, given: Given) -> None:
    given(ann)
    mails, texts = len(mail.outbox), len(ann.phone.messages)
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.NOT_OFFERED
    with one_event(Kind.REVOCATION, "not_offered", {}, user_id=ann.who.pk):
        assert ask(ann) is RevocationOutcome.NOT_OFFERED
    assert not Revocation.objects.exists()
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)


@pytest.mark.parametrize("setting", ["OPTIN_RECOVERY_DELAY", "SENDS_MAIL"])
def test_operators_decide_whether_it_is_offered(
    ann: Person, settings: Settings, setting: str
) -> None:
    setattr(settings, setting, 0)
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.NOT_OFFERED
    assert ask(ann) is RevocationOutcome.NOT_OFFERED


def test_after_a_password_by_mail_it_is_not_offered_until_a_factor_is_verified(
    ann: Person, clock: Clock
) -> None:
    """Whoever reads the mailbox sets the password, and deletes each mail: that must not do.

    A server whose clock is ahead verified a factor just before.
    """
    clock.shift(DAY)
    clock.shift(3)
    signs_in_on_a_page(ann)
    clock.shift(-3)
    password_by_mail(ann)
    clock.shift(DAY)
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.NOT_OFFERED
    assert ask(ann) is RevocationOutcome.NOT_OFFERED
    signs_in_on_a_page(ann)
    clock.shift(60)
    assert ask(ann) is RevocationOutcome.ASKED


def test_after_a_new_address_it_is_not_offered_for_as_long_as_it_would_wait(
    ann: Person, clock: Clock
) -> None:
    """The owner of the old address would read none of the mails."""
    new_address(ann)
    changed_at = timezone.now()
    at(changed_at + WAIT - MOMENT, clock)
    assert ask(ann) is RevocationOutcome.NOT_OFFERED
    at(changed_at + WAIT, clock)
    assert ask(ann) is RevocationOutcome.ASKED


def test_a_half_session_that_was_ended_asks_for_nothing(ann: Person) -> None:
    before = ann.user
    updated(session_epoch=before.session_epoch + 1)(ann)
    with pytest.raises(SignedOut):
        own_removals.ask(before, origin=PAGE)
    deactivated(ann)
    with pytest.raises(Deactivated):
        own_removals.ask(ann.user, origin=PAGE)
    assert not Revocation.objects.exists()


def gets_texts(person: Person) -> bool:
    return own_removals.way_of(person.user).by_text


def test_who_gets_no_texts_is_told_by_mail_alone(ann: Person, clock: Clock) -> None:
    """The deny list is about opt-ins: a number on it gets codes, and this too."""
    assert ann.number
    number, now = ann.number.number_digest, timezone.now()
    for covers, key in (("number", number), ("prefix", Guard.prefix_of(NUMBER))):
        Guard.objects.create(kind="deny", covers=covers, key=key, made_at=now, until=now + DAY)
    assert gets_texts(ann)
    Guard.objects.opt_out(number, "156", now)
    assert not gets_texts(ann)
    Guard.objects.opt_in(number)
    assert gets_texts(ann)
    stop_all_texts()
    assert not gets_texts(ann)
    waits = asked(ann)
    assert not SmsMessage.objects.filter(about_id=waits.pk).exists()
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVAL
    days(clock, 3)
    assert ended_as(waits) == Closed.DONE
    assert warnings(ann) == []


def test_a_thief_who_asks_again_and_again_causes_one_round_of_messages(
    ann: Person, clock: Clock
) -> None:
    waits, mails, texts = asked(ann), len(mail.outbox), len(ann.phone.messages)
    for _ in range(5):
        clock.shift(60)
        assert ask(ann) is RevocationOutcome.WAITS
    assert Revocation.objects.get().due_at == waits.due_at, "nothing makes it come sooner"
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)

    revocations.cancel(waits, origin=PAGE)
    mails, again_at = len(mail.outbox), timezone.now() + WAIT
    clock.shift(60)
    assert own_removals.way_of(ann.user).again_at == again_at
    at(again_at - MOMENT, clock)
    assert ask(ann) is RevocationOutcome.TOO_SOON
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)
    at(again_at, clock)
    assert ask(ann) is RevocationOutcome.ASKED


def test_a_new_factor_does_not_let_somebody_cause_messages_sooner(
    ann: Person, clock: Clock
) -> None:
    """Whoever asks, replaces the app, and asks again is told to wait until a day has passed."""
    waits = asked(ann)
    texts = len(warnings(ann))
    for _ in range(2):
        clock.shift(5)
        ann.add_app()
        clock.shift(5)
        assert ask(ann) is RevocationOutcome.TOO_SOON
    assert len(warnings(ann)) == texts
    assert own_removals.way_of(ann.user).again_at == waits.asked_at + DAY
    at(waits.asked_at + DAY, clock)
    each_minute()
    assert ended_as(waits) == Closed.SET_UP_SINCE
    assert ask(ann) is RevocationOutcome.ASKED


# -- both -------------------------------------------------------------------------------


def test_after_one_of_support_the_person_is_told_of_that_one(ann: Person) -> None:
    waits = planned(ann)
    way = own_removals.ask(ann.user, origin=PAGE)
    assert (way.outcome, way.due_at) == (RevocationOutcome.WAITS, waits.due_at)
    assert way.by_support
    assert Revocation.objects.count() == 1


def test_support_may_be_faster(ann: Person, clock: Clock) -> None:
    """Support has checked who asks: their own request must not make them wait longer."""
    waits = asked(ann)
    clock.shift(60)
    faster = plan(ann)
    assert faster == revocations.Plan(RevocationOutcome.PLANNED, timezone.now() + DAY)
    assert ended_as(waits) == Closed.REPLACED
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_PLANNED
    assert days(clock, 1) == [(0, 1, 0), (0, 0, 0)]
    assert ann.has == set()


# -- carried out -------------------------------------------------------------------------


@either
def test_it_is_carried_out_when_it_is_due(ann: Person, clock: Clock, wish: Wish) -> None:
    """S-37, P-17. Not a moment before. Their own they are told of each day."""
    waits, mails = wish(ann), len(mail.outbox)
    if waits.is_own:
        at(waits.asked_at + DAY - MOMENT, clock)
        assert each_minute() == (0, 0, 0)
        at(waits.asked_at, clock)
        assert days(clock, 2) == [(1, 0, 0), (0, 0, 0)] * 2
        assert len(mail.outbox) == mails + 2
        assert len(warnings(ann)) == 3
        assert len({*warnings(ann)}) == 1, "the link stays the same"
    at(waits.due_at - MOMENT, clock)
    assert each_minute() == (0, 0, 0)
    assert ann.has == {By.TEXT, By.APP}
    at(waits.due_at, clock)

    row, data = ann.number, {"failures": ann.user.otp_failures, "revocation": waits.pk}
    assert row
    facts = {"actor_id": waits.actor_id, "user_id": ann.who.pk, "reason": waits.reason}
    facts |= {"face": "command", "provider_user_id": row.pk}
    with one_event(Kind.REVOKE, "ok", data | ({"own": True} if waits.is_own else {}), **facts):
        assert each_minute() == (0, 1, 0)

    assert ann.has == set()
    assert not RecoveryCode.objects.filter(user=ann.user).exists()
    row.refresh_from_db()
    assert (row.released_at, row.confirmed) == (waits.due_at, False)
    told = Notice.Kind.OWN_REMOVED if waits.is_own else Notice.Kind.REVOKED
    assert notices(ann.user)[-1] == told
    assert (ended_as(waits), waits.closed_at) == (Closed.DONE, waits.due_at)
    # The password alone is enough, and nothing happens twice.
    assert sign_in.sign_in(ann.user.username, PASSWORD, origin=PAGE).outcome == "signed_in"
    assert each_minute() == (0, 0, 0)


def test_removing_one_factor_oneself_leaves_the_rest_to_support(ann: Person, clock: Clock) -> None:
    """Nothing new was set up, and what was asked for is still meant."""
    waits = planned(ann)
    clock.shift(60)
    ann.turn_off(ann.app_code(), Removal.APP)
    assert revocations.waiting_for(ann.user, overview(ann.user)) == waits
    assert days(clock, 1) == [(0, 1, 0), (0, 0, 0)]
    assert not ProviderUser.objects.filter(user=ann.user, confirmed=True).exists()


def test_an_administrator_does_not_wait_and_ends_what_waits(ann: Person, clock: Clock) -> None:
    waits = planned(ann)
    done = staff_actions.revoke(ann.user, reason="seen", origin=by("administrator"))
    assert done is StaffOutcome.OK
    assert (ended_as(waits), waits.closed_at) == (Closed.DONE, timezone.now())
    ann.add_number()
    at(waits.due_at, clock)
    assert each_minute() == (0, 0, 0)
    assert ann.has == {By.TEXT}


def test_who_may_not_revoke_ends_nothing(ann: Person) -> None:
    waits = planned(ann)
    superuser_now(ann)
    outcome = staff_actions.revoke(ann.user, reason="x", origin=by("administrator"))
    assert outcome is StaffOutcome.OUT_OF_REACH
    assert ended_as(waits) == ""


@pytest.mark.parametrize("away_for", [DAY * 2.9, WAIT, 30 * DAY])
def test_if_no_worker_ran_for_days_the_person_gets_a_day_more(
    ann: Person, clock: Clock, away_for: timedelta
) -> None:
    """What is removed was told of in the last two days, whatever stopped."""
    waits, mails, texts = asked(ann), len(mail.outbox), len(warnings(ann))
    at(waits.asked_at + away_for, clock)
    each_minute()
    each_minute()
    assert ann.has
    assert (len(mail.outbox), len(warnings(ann))) == (mails + 1, texts + 1)
    waits.refresh_from_db()
    assert (waits.told_at, waits.due_at) == (timezone.now(), timezone.now() + DAY)
    body = " ".join(str(mail.outbox[-1].body).split())
    due = date_format(timezone.localtime(waits.due_at), "j F Y, H:i T")
    assert f"This happens on {due}" in body
    at(waits.due_at - MOMENT, clock)
    assert each_minute() == (0, 0, 0)
    at(waits.due_at, clock)
    assert each_minute() == (0, 1, 0)
    assert ended_as(waits) == Closed.DONE


# -- called off -------------------------------------------------------------------------


def actor_demoted(person: Person) -> None:
    User.objects.filter(username="support").update(is_staff=False)


def actor_without_permission(person: Person) -> None:
    """Staff still, but one who only reads."""
    actor = User.objects.get(username="support")
    assert staff.give_role(actor, "auditor", reason="x", origin=COMMAND) is StaffOutcome.OK


def risen(person: Person) -> None:
    person.user.groups.add(*make_staff("administrator").groups.all())


@pytest.mark.parametrize(
    ("wish", "given", "ended"),
    [
        pytest.param(planned, actor_demoted, Closed.OUT_OF_REACH, id="actor-demoted"),
        pytest.param(planned, actor_without_permission, Closed.OUT_OF_REACH, id="permission"),
        pytest.param(planned, risen, Closed.OUT_OF_REACH, id="person-is-superior-now"),
        pytest.param(planned, deactivated, Closed.DEACTIVATED, id="deactivated"),
        pytest.param(planned, gets_another_number, Closed.SET_UP_SINCE, id="another-number"),
        pytest.param(planned, gets_another_app, Closed.SET_UP_SINCE, id="another-app"),
        pytest.param(planned, turns_all_off, Closed.NOTHING, id="turned-off"),
        pytest.param(asked, signs_in_on_a_page, Closed.SIGNED_IN, id="own-signed-in"),
        pytest.param(asked, asks_for_a_token, Closed.SIGNED_IN, id="own-token"),
        pytest.param(asked, turns_one_off, Closed.SIGNED_IN, id="own-one-turned-off"),
        pytest.param(asked, turns_all_off, Closed.NOTHING, id="own-all-turned-off"),
        pytest.param(asked, gets_another_number, Closed.SET_UP_SINCE, id="own-another-number"),
        pytest.param(asked, gets_another_app, Closed.SET_UP_SINCE, id="own-another-app"),
        pytest.param(asked, marked_as_suspended, Closed.OUT_OF_REACH, id="own-suspended"),
        pytest.param(asked, updated(is_staff=True), Closed.OUT_OF_REACH, id="own-staff"),
        pytest.param(asked, superuser_now, Closed.OUT_OF_REACH, id="own-superuser"),
        pytest.param(asked, deactivated, Closed.DEACTIVATED, id="own-deactivated"),
        pytest.param(asked, new_address, Closed.OUT_OF_REACH, id="own-new-address"),
        pytest.param(asked, password_marked_as_mailed, Closed.OUT_OF_REACH, id="own-by-mail"),
    ],
)
def test_what_is_true_at_the_end_decides(
    ann: Person, clock: Clock, wish: Wish, given: Given, ended: Closed
) -> None:
    waits = wish(ann)
    clock.shift(60)
    given(ann)
    before = ann.has, ann.left(), len(warnings(ann))
    at(waits.due_at, clock)

    outcome = RevocationOutcome.NOT_OPTED_IN if ended is Closed.NOTHING else ended
    with one_event(Kind.REVOKE, outcome, user_id=ann.who.pk, reason=waits.reason):
        assert each_minute() == (0, 0, 1)

    assert ended_as(waits) == ended
    assert (ann.has, ann.left(), len(warnings(ann))) == before
    off = Notice.Kind.OWN_REMOVAL_OFF if waits.is_own else Notice.Kind.REVOKE_OFF
    assert (notices(ann.who)[-1] == off) is (ended is not Closed.NOTHING)
    assert each_minute() == (0, 0, 0)


def test_a_password_alone_neither_speeds_it_up_nor_stops_it(ann: Person, clock: Clock) -> None:
    """P-17."""
    waits = asked(ann)
    clock.shift(3600)
    came_to = sign_in.sign_in(ann.user.username, PASSWORD, origin=PAGE).outcome
    assert came_to == "2fa_code_required"
    assert each_minute() == (0, 0, 0)
    assert (ended_as(waits), waits.due_at) == ("", waits.asked_at + WAIT)


def sets_a_new_password(person: Person) -> None:
    passwords.choose(person.user, "the owner's horse 1", origin=PAGE, standing=proved(None))


def says_that_it_was_not_them(person: Person) -> None:
    told = Notice.objects.filter(user=person.who, kind=Notice.Kind.APP_ADDED).latest("pk")
    assert not_me.disown(told, PASSWORD, origin=PAGE).outcome == "signed_in"


def deactivated_in_the_admin(person: Person) -> None:
    user = person.user
    user.is_active = False
    user.save()


@pytest.mark.parametrize(
    ("secure", "is_told"),
    [
        pytest.param(sets_a_new_password, True, id="password"),
        pytest.param(password_by_mail, True, id="password-by-mail"),
        pytest.param(says_that_it_was_not_them, True, id="not-me"),
        pytest.param(Person.suspend, True, id="suspended"),
        pytest.param(deactivated_in_the_admin, False, id="deactivated"),
    ],
)
def test_what_secures_the_account_ends_it(
    ann: Person, clock: Clock, secure: Given, is_told: bool
) -> None:
    """P-17. For good, whatever is done after that: a suspension may end before it would be due.

    S-39a: so does it end a new address that waits.
    """
    waits = asked(ann)
    email_changes.ask(ann.user, "new@example.org", standing=proved(), origin=PAGE)
    clock.shift(60)
    secure(ann)
    assert ended_as(waits) == Closed.SECURED
    assert EmailChange.objects.get().closed_as == EmailChange.Closed.SECURED
    assert notices(ann.who).count(Notice.Kind.OWN_REMOVAL_OFF) == int(is_told)
    staff_actions.resume(ann.user, reason="x", origin=COMMAND)
    updated(is_active=True)(ann)
    assert days(clock, 3) == [(0, 0, 0)] * 6
    assert ann.has


def test_what_secures_the_account_leaves_what_support_asked_for(ann: Person) -> None:
    waits = planned(ann)
    sets_a_new_password(ann)
    assert ended_as(waits) == ""


def test_switched_off_all_that_wait_end(ann: Person, clock: Clock, settings: Settings) -> None:
    waits = asked(ann)
    settings.OPTIN_RECOVERY_DELAY = 0
    clock.shift(60)
    with one_event(Kind.REVOKE, "switched_off", user_id=ann.who.pk):
        each_minute()
    assert ended_as(waits) == Closed.SWITCHED_OFF
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVAL_OFF


@either
def test_the_person_cancels_once(ann: Person, clock: Clock, wish: Wish) -> None:
    """Late is not too late while the factors are there: nobody is to look on while they go."""
    waits = wish(ann)
    at(waits.due_at + timedelta(hours=3), clock)
    with one_event(Kind.REVOCATION, "cancelled", user_id=ann.who.pk, reason=""):
        assert revocations.cancel(waits, origin=PAGE) is RevocationOutcome.CANCELLED
    with one_event(Kind.REVOCATION, "unchanged"):
        assert revocations.cancel(waits, origin=PAGE) is RevocationOutcome.UNCHANGED
    assert ended_as(waits) == Closed.CANCELLED
    off = Notice.Kind.OWN_REMOVAL_OFF if waits.is_own else Notice.Kind.REVOKE_OFF
    assert notices(ann.user).count(off) == 1
    assert each_minute() == (0, 0, 0)
    assert ann.has == {By.TEXT, By.APP}


@either
def test_staff_withdraw(ann: Person, wish: Wish) -> None:
    waits, origin = wish(ann), by("administrator")
    with one_event(Kind.REVOCATION, "withdrawn", reason="a thief called", user_id=ann.who.pk):
        outcome = revocations.withdraw(ann.user, reason="a thief called", origin=origin)
    assert outcome is RevocationOutcome.WITHDRAWN
    assert ended_as(waits) == Closed.WITHDRAWN
    off = Notice.Kind.OWN_REMOVAL_OFF if waits.is_own else Notice.Kind.REVOKE_OFF
    assert notices(ann.user)[-1] == off
    with one_event(Kind.REVOCATION, "unchanged", {}):
        revocations.withdraw(ann.user, reason="again", origin=origin)
    expected = RevocationOutcome.TOO_SOON if waits.is_own else RevocationOutcome.ASKED
    assert own_removals.way_of(ann.user).outcome is expected


def test_of_a_superior_only_who_asked_withdraws(ann: Person) -> None:
    """They have risen since: who asked may think better of it, nobody else below them."""
    planned(ann)
    superuser_now(ann)
    with one_event(Kind.REVOCATION, "out_of_reach", {}):
        outcome = revocations.withdraw(ann.user, reason="x", origin=by("administrator"))
    assert outcome is RevocationOutcome.OUT_OF_REACH
    outcome = revocations.withdraw(ann.user, reason="x", origin=by("support"))
    assert outcome is RevocationOutcome.WITHDRAWN


def test_after_a_restore_whoever_had_asked_can_ask_again(ann: Person, clock: Clock) -> None:
    waits = asked(ann)
    clock.shift(DAY)
    after_restore(origin=COMMAND)
    assert ended_as(waits) == Closed.RESTORED
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.ASKED


# -- who was not told --------------------------------------------------------------


def _away(server: EmailBackend) -> bool:
    raise OSError


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [(timedelta(hours=12), "ok"), (timedelta(hours=12, seconds=1), "untold")],
)
def test_what_support_asks_for_is_told_in_the_first_half_of_the_time(
    ann: Person,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    leaves: timedelta,
    outcome: str,
) -> None:
    """The mail server was away: nobody could cancel it meanwhile."""
    with monkeypatch.context() as away:
        away.setattr(EmailBackend, "open", _away)
        waits = planned(ann)
    at(waits.asked_at + leaves, clock)
    assert delivery.send_due(timezone.now()) == 1
    at(waits.due_at, clock)
    with one_event(Kind.REVOKE, outcome):
        each_minute()
    assert bool(ann.has) is (outcome == "untold")


@pytest.mark.parametrize("away", ["mails", "texts"])
@pytest.mark.parametrize(
    ("back_after", "ended"),
    [
        pytest.param(1, Closed.DONE, id="the-reminder-leaves"),
        pytest.param(2, Closed.UNTOLD, id="after-half-of-the-time"),
    ],
)
def test_nothing_goes_of_which_no_mail_could_be_handed_over(
    ann: Person,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    away: str,
    back_after: int,
    ended: Closed,
) -> None:
    """Nor no text, to a number that gets texts: whoever asked may read and delete the mails.

    P-17.
    """
    with monkeypatch.context() as server:
        if away == "mails":
            server.setattr(EmailBackend, "open", _away)
        else:
            server.setattr(ann.phone, "fail_with", AWAY)
        waits = asked(ann)
        days(clock, back_after - 1)
    days(clock, 4 - back_after)
    at(waits.due_at, clock)
    each_minute()
    assert ended_as(waits) == ended
    assert (ann.has == set()) is (ended is Closed.DONE)


def test_without_mail_nobody_is_told(ann: Person, settings: Settings, clock: Clock) -> None:
    """Then each mail counts as sent, and none is: support's revocation is not to be had."""
    waits = planned(ann)
    settings.SENDS_MAIL = False
    assert plan(ann).outcome is RevocationOutcome.UNTOLD
    at(waits.due_at, clock)
    with one_event(Kind.REVOKE, RevocationOutcome.UNTOLD):
        assert each_minute() == (0, 0, 1)
    assert ann.has == {By.TEXT, By.APP}


def test_a_text_that_was_promised_must_leave_though_staff_stop_all(
    ann: Person, clock: Clock
) -> None:
    ann.phone.fail_with = AWAY
    waits = asked(ann)
    stop_all_texts()
    days(clock, 3)
    assert ended_as(waits) == Closed.UNTOLD


def test_the_text_is_remembered_for_as_long_as_the_removal_waits(
    ann: Person, clock: Clock, settings: Settings
) -> None:
    settings.OPTIN_RECOVERY_DELAY = 5 * 86_400
    waits = asked(ann)
    for _ in range(5):
        days(clock, 1)
        retention.purge(origin=COMMAND)
    assert ended_as(waits) == Closed.DONE


def test_what_waits_is_not_sent_once_it_is_called_off(
    ann: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as server:
        server.setattr(EmailBackend, "open", _away)
        server.setattr(ann.phone, "fail_with", AWAY)
        waits = asked(ann)
        revocations.cancel(waits, origin=PAGE)
    clock.shift(60)
    mails = len(mail.outbox)
    delivery.send_due(timezone.now())
    told = Notice.objects.get(user=ann.who, kind=Notice.Kind.OWN_REMOVAL)
    text = SmsMessage.objects.latest("pk")
    assert (told.state, told.reason) == (State.FAILED, Unsent.CALLED_OFF)
    assert (text.state, text.reason) == (State.EXPIRED, Unsent.CALLED_OFF)
    assert warnings(ann) == []
    subjects = [message.subject for message in mail.outbox[mails:]]
    assert subjects == ["Two-factor sign-in stays on"]


# -- links -------------------------------------------------------------------------


def token_of(waits: Revocation) -> str:
    notice = Notice.objects.get(kind=Notice.Kind.REVOKE_PLANNED, about_id=waits.pk)
    return str(wording.mail_for(notice).body).partition("/revocation/")[2].split("/")[0]


def test_a_link_in_a_mail_reaches_this_one_alone(ann: Person, stranger: User) -> None:
    """Nor does one of before a restore reach somebody else's, which has the same id."""
    first = planned(ann)
    token = token_of(first)
    revocations.cancel(first, origin=PAGE)
    second = planned(ann)
    assert wording.revocation_of(token) == first
    assert wording.revocation_of(token_of(second)) == second
    unsigned = token.partition(":")[0]
    made_up = [unsigned, f"9{token}", f"{token}\0"]
    made_up += [wording._LINKS.sign(unsigned), wording._LINKS.sign("1")]
    assert [wording.revocation_of(each) for each in made_up] == [None] * 5
    assert wording.disownable(token, timezone.now()) is None
    Revocation.objects.filter(pk=first.pk).update(user=stranger)
    assert wording.revocation_of(token) is None


def test_a_link_in_a_text_reaches_this_one_alone(ann: Person) -> None:
    """Nor does one of a restored copy, in which another removal has the same id."""
    waits = asked(ann)
    token = wording.short_link(waits).rpartition("/r/")[2]
    assert wording.revocation_of_text(token) == waits
    other = Revocation.objects.create(
        user=make_user("eve"), actor_id=1, asked_at=timezone.now(), due_at=timezone.now() + DAY
    )
    assert wording.revocation_of_text(f"{int_to_base36(other.pk)}{token[-16:]}") is None
    Revocation.objects.filter(pk=waits.pk).update(asked_at=waits.asked_at - DAY)
    for made_up in (token, "", "x" * 16, "1" + "a" * 16, "\u0661" + "a" * 16, "-1" * 9):
        assert wording.revocation_of_text(made_up) is None
