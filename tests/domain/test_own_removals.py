"""The way back for a person who has lost all second factors: asked for at sign-in, it waits."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.http import int_to_base36
from pytest_django import Settings

from optin import limits
from optin.errors import Deactivated, SignedOut
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
from optin.operations import (
    not_me,
    own_removals,
    passwords,
    retention,
    revocations,
    sign_in,
    staff_actions,
)
from optin.operations.authenticators import Removal
from optin.operations.restore import after_restore
from optin.origin import Face, Origin
from optin.outcomes import By, RevocationOutcome, TokenOutcome
from tests.kit.people import NUMBER, OTHER_NUMBER, PASSWORD, make_user
from tests.kit.phone import AWAY
from tests.kit.staff import make_staff
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, notices, proved

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Kind = AuditEvent.Kind
Closed = Revocation.Closed
Clock = time_machine.Traveller
COMMAND = Origin(Face.COMMAND)
DAY = timedelta(days=1)
WAIT = 3 * DAY
MOMENT = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.OPTIN_RECOVERY_DELAY = int(WAIT.total_seconds())


@pytest.fixture
def ann(person: Person) -> Person:
    """Somebody with every factor; a minute has passed since."""
    person.set_up(By.TEXT, By.APP, By.RECOVERY)
    return person


def ask(person: Person) -> RevocationOutcome:
    return own_removals.ask(person.user, origin=PAGE).outcome


def asked(person: Person) -> Revocation:
    assert ask(person) is RevocationOutcome.ASKED
    return Revocation.objects.get(user=person.user, closed_at=None)


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
    return [body for _, body in person.phone.messages if "removes your" in body]


def short_token(body: str) -> str:
    return body.rpartition("/r/")[2]


# -- asked for ---------------------------------------------------------------------


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
    assert "removed on 5 November 2026, 23:01 AEDT" in body
    assert wording.revocation_of(body.partition("/revocation/")[2].partition("/")[0]) == waits
    (text,) = warnings(ann)
    assert text.startswith("Two-Factor removes your second factors on 5 Nov. Cancel: https://")
    assert ann.phone.messages[-1][0] == NUMBER
    assert wording.revocation_of_text(short_token(text)) == waits


def test_without_the_setting_nobody_can_ask(ann: Person, settings: Settings) -> None:
    settings.OPTIN_RECOVERY_DELAY = 0
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.NOT_OFFERED
    assert ask(ann) is RevocationOutcome.NOT_OFFERED
    assert not Revocation.objects.exists()


def without_address(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(email="")


def without_factors(person: Person) -> None:
    staff_actions.revoke(person.user, reason="x", origin=COMMAND)


def staff_now(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(is_staff=True)


def superuser_now(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(is_superuser=True)


def suspended(person: Person) -> None:
    person.suspend()


@pytest.mark.parametrize(
    "given", [without_address, without_factors, staff_now, superuser_now, suspended]
)
def test_it_is_not_offered(ann: Person, given: Callable[[Person], None]) -> None:
    given(ann)
    mails, texts = len(mail.outbox), len(ann.phone.messages)
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.NOT_OFFERED
    with one_event(Kind.REVOCATION, "not_offered", {}, user_id=ann.who.pk):
        assert ask(ann) is RevocationOutcome.NOT_OFFERED
    assert not Revocation.objects.exists()
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)


def password_by_mail(person: Person) -> None:
    """Whoever reads the mailbox can do that."""
    link = default_token_generator.make_token(person.user)
    passwords.choose(person.user, "a thief's horse 1", origin=PAGE, link=link)


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


def new_address(person: Person) -> None:
    """It took effect a moment ago."""
    now, address = timezone.now(), "new@example.org"
    EmailChange.objects.create(
        user=person.who,
        old_address=person.now.email,
        new_address=address,
        asked_at=now - DAY,
        closed_at=now,
        closed_as=EmailChange.Closed.DONE,
    )
    User.objects.filter(pk=person.who.pk).update(email=address)


def test_after_a_new_address_it_is_not_offered_for_as_long_as_it_would_wait(
    ann: Person, clock: Clock
) -> None:
    """The owner of the old address would read none of the mails."""
    new_address(ann)
    changed_at = timezone.now()
    assert ask(ann) is RevocationOutcome.NOT_OFFERED
    at(changed_at + WAIT - MOMENT, clock)
    assert ask(ann) is RevocationOutcome.NOT_OFFERED
    at(changed_at + WAIT, clock)
    assert ask(ann) is RevocationOutcome.ASKED


def test_it_is_not_offered_where_no_mail_leaves(ann: Person, settings: Settings) -> None:
    settings.SENDS_MAIL = settings.DEBUG = False
    assert ask(ann) is RevocationOutcome.NOT_OFFERED


def test_a_half_session_that_was_ended_asks_for_nothing(ann: Person) -> None:
    before = ann.user
    User.objects.filter(pk=ann.who.pk).update(session_epoch=before.session_epoch + 1)
    with pytest.raises(SignedOut):
        own_removals.ask(before, origin=PAGE)
    User.objects.filter(pk=ann.who.pk).update(is_active=False)
    with pytest.raises(Deactivated):
        own_removals.ask(ann.user, origin=PAGE)
    assert not Revocation.objects.exists()


def test_a_number_that_answered_stop_gets_no_text(ann: Person) -> None:
    assert ann.number
    Guard.objects.opt_out(ann.number.number_digest, "156", timezone.now())
    waits = asked(ann)
    assert warnings(ann) == []
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVAL
    assert ended_as(waits) == ""


def stop_all_texts() -> None:
    kind, covers = Guard.Kind.STOP, Guard.Covers.ALL
    Guard.objects.create(kind=kind, covers=covers, key="", made_at=timezone.now())


def test_while_staff_stop_all_texts_the_mails_alone_tell(ann: Person, clock: Clock) -> None:
    stop_all_texts()
    way = own_removals.way_of(ann.user)
    assert (way.outcome, way.by_text) == (RevocationOutcome.ASKED, False)
    waits = asked(ann)
    assert not SmsMessage.objects.filter(about_id=waits.pk).exists()
    days(clock, 3)
    assert ended_as(waits) == Closed.DONE
    assert warnings(ann) == []


@pytest.mark.parametrize("covers", [Guard.Covers.NUMBER, Guard.Covers.PREFIX])
def test_a_denied_number_gets_the_text(ann: Person, covers: str) -> None:
    """The list is about opt-ins: the number gets codes too."""
    assert ann.number
    is_number, now = covers == Guard.Covers.NUMBER, timezone.now()
    key = ann.number.number_digest if is_number else Guard.prefix_of(NUMBER)
    Guard.objects.create(kind=Guard.Kind.DENY, covers=covers, key=key, made_at=now, until=now + DAY)
    asked(ann)
    assert len(warnings(ann)) == 1


def test_a_thief_who_asks_again_and_again_causes_one_round_of_messages(
    ann: Person, clock: Clock
) -> None:
    waits, mails, texts = asked(ann), len(mail.outbox), len(ann.phone.messages)
    for _ in range(20):
        clock.shift(60)
        assert ask(ann) is RevocationOutcome.WAITS
    assert Revocation.objects.get().due_at == waits.due_at, "nothing makes it come sooner"
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)

    revocations.cancel(waits, origin=PAGE)
    mails, again_at = len(mail.outbox), timezone.now() + WAIT
    for _ in range(20):
        clock.shift(60)
        assert ask(ann) is RevocationOutcome.TOO_SOON
    assert own_removals.way_of(ann.user).again_at == again_at
    assert (len(mail.outbox), len(ann.phone.messages)) == (mails, texts)
    at(again_at - MOMENT, clock)
    assert ask(ann) is RevocationOutcome.TOO_SOON
    at(again_at, clock)
    assert ask(ann) is RevocationOutcome.ASKED


def test_a_new_factor_does_not_let_somebody_cause_messages_sooner(
    ann: Person, clock: Clock
) -> None:
    """Whoever asks, replaces the app, and asks again is told to wait until a day has passed."""
    waits = asked(ann)
    texts = len(warnings(ann))
    for _ in range(5):
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


def test_after_one_of_support_the_person_is_told_of_that_one(ann: Person) -> None:
    revocations.plan(ann.user, reason="lost", origin=COMMAND)
    waits = Revocation.objects.get()
    way = own_removals.ask(ann.user, origin=PAGE)
    assert (way.outcome, way.due_at) == (RevocationOutcome.WAITS, waits.due_at)
    assert way.by_support
    assert Revocation.objects.count() == 1


# -- while it waits ----------------------------------------------------------------


def test_the_person_is_told_each_day_and_then_it_is_carried_out(ann: Person, clock: Clock) -> None:
    """P-17."""
    waits, mails, texts = asked(ann), len(mail.outbox), len(warnings(ann))
    at(waits.asked_at + DAY - MOMENT, clock)
    assert each_minute() == (0, 0, 0)
    at(waits.asked_at, clock)

    assert days(clock, 2) == [(1, 0, 0), (0, 0, 0), (1, 0, 0), (0, 0, 0)]
    assert len(mail.outbox) == mails + 2
    assert len(warnings(ann)) == texts + 2
    assert len({*warnings(ann)}) == 1, "the link stays the same"
    row, failures = ann.number, ann.user.otp_failures
    assert row
    at(waits.due_at - MOMENT, clock)
    assert each_minute() == (0, 0, 0)
    assert ann.has == {By.TEXT, By.APP}
    at(waits.due_at, clock)

    facts = {"failures": failures, "revocation": waits.pk, "own": True}
    with one_event(Kind.REVOKE, "ok", facts, actor_id=ann.who.pk, user_id=ann.who.pk):
        assert each_minute() == (0, 1, 0)

    assert ann.has == set()
    assert not RecoveryCode.objects.filter(user=ann.user).exists()
    row.refresh_from_db()
    assert row.released_at == waits.due_at
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVED
    assert ended_as(waits) == Closed.DONE
    # The password alone is enough, and nothing happens twice.
    assert sign_in.sign_in(ann.user.username, PASSWORD, origin=PAGE).outcome == "signed_in"
    assert each_minute() == (0, 0, 0)


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
    assert f"They will be removed on {due}" in body
    at(waits.due_at - MOMENT, clock)
    assert each_minute() == (0, 0, 0)
    at(waits.due_at, clock)
    assert each_minute() == (0, 1, 0)
    assert ended_as(waits) == Closed.DONE


def test_the_messages_keep_the_language_of_the_page(ann: Person, clock: Clock) -> None:
    with translation.override("de"):
        waits = asked(ann)
    days(clock, 3)
    told = Notice.objects.filter(user=ann.user, created_at__gte=waits.asked_at)
    assert [*told.values_list("language", flat=True)] == ["de"] * 4
    assert ended_as(waits) == Closed.DONE


def test_a_password_alone_neither_speeds_it_up_nor_stops_it(ann: Person, clock: Clock) -> None:
    """P-17."""
    waits = asked(ann)
    for _ in range(3):
        clock.shift(3600)
        came_to = sign_in.sign_in(ann.user.username, PASSWORD, origin=PAGE).outcome
        assert came_to == "2fa_code_required"
        assert each_minute() == (0, 0, 0)
    waits.refresh_from_db()
    assert (waits.is_open, waits.due_at) == (True, waits.asked_at + WAIT)


def signs_in_on_a_page(person: Person) -> None:
    assert person.check(person.app_code(1)).outcome == "ok"


def asks_for_a_token(person: Person) -> None:
    sign_in.enable_password_clients()
    client = sign_in.application()
    assert client
    granted = sign_in.password_grant(
        person.user.username,
        PASSWORD,
        scope="",
        verification_code=person.app_code(1),
        client=client,
        origin=Origin(Face.TOKEN),
    )
    assert granted.outcome is TokenOutcome.ISSUED


def turns_one_off(person: Person) -> None:
    assert person.turn_off(person.app_code(1), Removal.NUMBER).outcome == "ok"


def turns_all_off(person: Person) -> None:
    assert person.turn_off(person.app_code(1)).outcome == "ok"


def gets_another_number(person: Person) -> None:
    person.add_number(OTHER_NUMBER)


def gets_another_app(person: Person) -> None:
    person.add_app()


def deactivated(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(is_active=False)


def marked_as_suspended(person: Person) -> None:
    """As a restore does it, for example. What staff do ends it at once."""
    ProviderUser.objects.filter(user=person.who).update(suspended_at=timezone.now())


def password_marked_as_mailed(person: Person) -> None:
    User.objects.filter(pk=person.who.pk).update(password_mailed_at=timezone.now())


CALLED_OFF = [
    pytest.param(signs_in_on_a_page, Closed.SIGNED_IN, id="signed-in"),
    pytest.param(asks_for_a_token, Closed.SIGNED_IN, id="token"),
    pytest.param(turns_one_off, Closed.SIGNED_IN, id="one-turned-off"),
    pytest.param(turns_all_off, Closed.NOTHING, id="all-turned-off"),
    pytest.param(gets_another_number, Closed.SET_UP_SINCE, id="another-number"),
    pytest.param(gets_another_app, Closed.SET_UP_SINCE, id="another-app"),
    pytest.param(marked_as_suspended, Closed.OUT_OF_REACH, id="suspended"),
    pytest.param(staff_now, Closed.OUT_OF_REACH, id="staff"),
    pytest.param(superuser_now, Closed.OUT_OF_REACH, id="superuser"),
    pytest.param(deactivated, Closed.DEACTIVATED, id="deactivated"),
    pytest.param(new_address, Closed.OUT_OF_REACH, id="new-address"),
    pytest.param(password_marked_as_mailed, Closed.OUT_OF_REACH, id="password-by-mail"),
]


@pytest.mark.parametrize("at_the_end", [False, True], ids=["reminder", "due"])
@pytest.mark.parametrize(("given", "ended"), CALLED_OFF)
def test_what_became_true_meanwhile_calls_it_off(
    ann: Person, clock: Clock, given: Callable[[Person], None], ended: Closed, at_the_end: bool
) -> None:
    """Each day, and at the latest when it is due. No message says any more that it comes."""
    waits = asked(ann)
    clock.shift(60)
    given(ann)
    has, left, texts = ann.has, ann.left(), len(warnings(ann))
    at(waits.due_at if at_the_end else waits.asked_at + DAY, clock)

    outcome = "not_opted_in" if ended is Closed.NOTHING else ended
    with one_event(Kind.REVOKE, outcome, user_id=ann.who.pk):
        assert each_minute() == (0, 0, int(at_the_end))

    assert ended_as(waits) == ended
    assert (ann.has, ann.left()) == (has, left)
    assert len(warnings(ann)) == texts
    told = notices(ann.who)[-1] == Notice.Kind.OWN_REMOVAL_OFF
    assert told is (ended is not Closed.NOTHING)
    assert each_minute() == (0, 0, 0)


def sets_a_new_password(person: Person) -> None:
    passwords.choose(person.user, "the owner's horse 1", origin=PAGE, standing=proved(None))


def says_that_it_was_not_them(person: Person) -> None:
    told = Notice.objects.filter(user=person.who, kind=Notice.Kind.APP_ADDED).latest("pk")
    assert not_me.disown(told, PASSWORD, origin=PAGE).outcome == "signed_in"


def suspended_by_staff(person: Person) -> None:
    staff_actions.suspend(person.user, reason="x", origin=COMMAND)


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
        pytest.param(suspended_by_staff, True, id="suspended"),
        pytest.param(deactivated_in_the_admin, False, id="deactivated"),
    ],
)
def test_what_secures_the_account_ends_it(
    ann: Person, clock: Clock, secure: Callable[[Person], None], is_told: bool
) -> None:
    """P-17. For good, whatever is done after that: a suspension may end before it would be due."""
    waits = asked(ann)
    clock.shift(60)
    secure(ann)
    assert ended_as(waits) == Closed.SECURED
    assert notices(ann.who).count(Notice.Kind.OWN_REMOVAL_OFF) == int(is_told)
    staff_actions.resume(ann.user, reason="x", origin=COMMAND)
    User.objects.filter(pk=ann.who.pk).update(is_active=True)
    assert days(clock, 3) == [(0, 0, 0)] * 6
    assert ann.has


def test_what_secures_the_account_leaves_what_support_asked_for(ann: Person) -> None:
    revocations.plan(ann.user, reason="lost", origin=COMMAND)
    sets_a_new_password(ann)
    assert Revocation.objects.get().is_open


def test_a_clock_that_is_behind_does_not_hide_a_sign_in(ann: Person, clock: Clock) -> None:
    """Of the server on which the person signs in: 5 seconds at most."""
    clock.shift(5)
    waits = asked(ann)
    clock.shift(-5)
    signs_in_on_a_page(ann)
    at(waits.due_at, clock)
    assert each_minute() == (0, 0, 1)
    assert ended_as(waits) == Closed.SIGNED_IN


def test_switched_off_all_that_wait_end(ann: Person, clock: Clock, settings: Settings) -> None:
    waits = asked(ann)
    settings.OPTIN_RECOVERY_DELAY = 0
    clock.shift(60)
    with one_event(Kind.REVOKE, "switched_off", user_id=ann.who.pk):
        each_minute()
    assert ended_as(waits) == Closed.SWITCHED_OFF
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVAL_OFF
    settings.OPTIN_RECOVERY_DELAY = 86_400
    assert days(clock, 4) == [(0, 0, 0)] * 8
    assert ann.has == {By.TEXT, By.APP}


# -- who was not told --------------------------------------------------------------


def _away(server: EmailBackend) -> bool:
    raise OSError


@pytest.mark.parametrize("away", ["mails", "texts"])
@pytest.mark.parametrize(
    ("back_after", "ended"),
    [
        pytest.param(1, Closed.DONE, id="the-reminder-leaves"),
        pytest.param(2, Closed.UNTOLD, id="after-half-of-the-time"),
        pytest.param(4, Closed.UNTOLD, id="never"),
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


def test_a_text_that_waits_is_not_sent_once_it_is_called_off(ann: Person, clock: Clock) -> None:
    ann.phone.fail_with = AWAY
    waits = asked(ann)
    text = SmsMessage.objects.latest("pk")
    assert text.state == State.QUEUED
    ann.phone.fail_with = None
    revocations.cancel(waits, origin=PAGE)
    clock.shift(60)
    delivery.send_due(timezone.now())
    text.refresh_from_db()
    assert (text.state, text.reason) == (State.EXPIRED, Unsent.CALLED_OFF)
    assert warnings(ann) == []


def test_a_mail_that_waits_is_not_sent_once_it_is_called_off(
    ann: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as server:
        server.setattr(EmailBackend, "open", _away)
        waits = asked(ann)
        revocations.cancel(waits, origin=PAGE)
    clock.shift(60)
    mails = len(mail.outbox)
    delivery.send_due(timezone.now())
    told = Notice.objects.get(user=ann.who, kind=Notice.Kind.OWN_REMOVAL)
    assert (told.state, told.reason) == (State.FAILED, Unsent.CALLED_OFF)
    assert [message.subject for message in mail.outbox[mails:]] == [
        "Your second factors are not removed"
    ]


# -- links -------------------------------------------------------------------------


def test_a_link_of_one_reaches_no_other(ann: Person, user: User) -> None:
    """Nor does one of a restored copy, in which another removal has the same id."""
    waits = asked(ann)
    token = short_token(wording.short_link(waits))
    assert wording.revocation_of_text(token) == waits
    other = Revocation.objects.create(
        user=make_user("eve"), actor_id=1, asked_at=timezone.now(), due_at=timezone.now() + DAY
    )
    seal = token[-16:]
    assert wording.revocation_of_text(f"{int_to_base36(other.pk)}{seal}") is None
    Revocation.objects.filter(pk=waits.pk).update(asked_at=waits.asked_at - DAY)
    for made_up in (token, "", "x" * 16, "1" + "a" * 16, "\u0661" + "a" * 16, "-1" * 9):
        assert wording.revocation_of_text(made_up) is None


# -- staff, erasure, retention, restore --------------------------------------------


def test_staff_withdraw_it(ann: Person, clock: Clock) -> None:
    waits = asked(ann)
    origin = Origin(Face.ADMIN, actor_id=make_staff("support").pk)
    with one_event(Kind.REVOCATION, "withdrawn", reason="a thief called", user_id=ann.who.pk):
        revocations.withdraw(ann.user, reason="a thief called", origin=origin)
    assert ended_as(waits) == Closed.WITHDRAWN
    assert notices(ann.user)[-1] == Notice.Kind.OWN_REMOVAL_OFF
    assert ask(ann) is RevocationOutcome.TOO_SOON


def test_support_may_be_faster(ann: Person, clock: Clock) -> None:
    """Support has checked who asks: their own request must not make them wait longer."""
    waits = asked(ann)
    clock.shift(60)
    planned = revocations.plan(ann.user, reason="lost", origin=COMMAND)
    assert planned.outcome is RevocationOutcome.PLANNED
    assert planned.due_at == timezone.now() + DAY
    assert ended_as(waits) == Closed.REPLACED
    assert notices(ann.user)[-1] == Notice.Kind.REVOKE_PLANNED
    assert days(clock, 1) == [(0, 1, 0), (0, 0, 0)]
    assert ann.has == set()


def test_support_is_not_slower(ann: Person, clock: Clock) -> None:
    waits = asked(ann)
    days(clock, 2)
    clock.shift(60)
    planned = revocations.plan(ann.user, reason="lost", origin=COMMAND)
    assert (planned.outcome, planned.due_at) == (RevocationOutcome.UNCHANGED, waits.due_at)
    assert ended_as(waits) == ""


def test_support_over_its_limit_ends_nothing(ann: Person) -> None:
    origin = Origin(Face.ADMIN, actor_id=make_staff("support").pk)
    for _ in range(limits.REVOCATIONS[0].count):
        revocations.plan(ann.user, reason="x", origin=origin)
        revocations.withdraw(ann.user, reason="x", origin=origin)
    waits = asked(ann)
    planned = revocations.plan(ann.user, reason="x", origin=origin)
    assert planned.outcome is RevocationOutcome.REVOCATION_LIMIT
    assert ended_as(waits) == ""


def test_after_a_restore_whoever_had_asked_can_ask_again(ann: Person, clock: Clock) -> None:
    waits = asked(ann)
    clock.shift(DAY)
    after_restore([], origin=COMMAND, force=True)
    assert ended_as(waits) == Closed.RESTORED
    assert own_removals.way_of(ann.user).outcome is RevocationOutcome.ASKED
