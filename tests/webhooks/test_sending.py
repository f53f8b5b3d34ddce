"""What an endpoint is sent, in which order, and what happens if it does not answer."""

import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from optin.errors import EndpointPaused
from optin.messaging import delivery, webhooks
from optin.models import (
    AuditEvent,
    File,
    Notice,
    Purpose,
    User,
    WebhookEndpoint,
    WebhookEvent,
    WebhookTry,
)
from optin.operations import (
    key_rotation,
    not_me,
    people,
    retention,
    revocations,
    staff_actions,
    tenants,
)
from optin.operations import webhooks as endpoints
from optin.operations.webhooks import Member
from optin.outcomes import By, CodeOutcome
from optin.support import health
from tests.kit.apps import standing
from tests.kit.people import ORIGIN, OTHER_NUMBER, PASSWORD, make_user
from tests.kit.wire import says
from tests.kit.world import Person, World
from tests.webhooks.kit import HOST, Client, claim, send, settle

pytestmark = pytest.mark.django_db(transaction=True)

Kind = WebhookEvent.Kind


def activate(world: World) -> None:
    assert world.guess(world.code()).outcome is CodeOutcome.OK


# -- what is told ------------------------------------------------------------------


def test_an_activated_number_is_told(client: Client, world: World) -> None:
    activate(world)

    assert send() == 1

    (event,) = client.received()
    assert event == {
        "type": "number.activated",
        "timestamp": "2026-11-02T12:00:00.000Z",
        "data": {
            "FileId": world.file.pk,
            "ProviderUserId": world.row.pk,
            "Sequence": 1,
            "Reason": "verified",
            "Reference": "",
        },
    }


def test_the_life_of_a_second_factor(client: Client, world: World) -> None:
    activate(world)
    number = world.row.pk
    world.purpose = Purpose.SIGN_IN
    world.clock.shift(120)
    world.set_count(failures=9)
    world.ask()
    world.guess_wrong()  # the tenth
    staff_actions.unlock(world.user, reason="called", origin=ORIGIN)
    world.clock.shift(120)
    world.set_count(failures=49)
    world.ask()
    world.guess_wrong()  # the fiftieth
    staff_actions.unlock(world.user, reason="called", origin=ORIGIN)
    assert revocations.plan(world.user, reason="lost", origin=ORIGIN).outcome == "planned"
    revocations.withdraw(world.user, reason="found", origin=ORIGIN)
    staff_actions.revoke(world.user, reason="lost", origin=ORIGIN)

    send()

    told = [
        ("number.activated", "verified"),
        ("factor.locked", "wrong_codes"),
        ("factor.unlocked", "staff"),
        ("factor.disabled", "wrong_codes"),
        ("factor.unlocked", "staff"),
        ("revocation.planned", "support"),
        ("revocation.cancelled", "staff"),
        ("number.removed", "revoked"),
        ("revocation.done", "revoked"),
    ]
    received = client.received()
    assert [(each["type"], each["data"]["Reason"]) for each in received] == told
    assert [each["data"]["Sequence"] for each in received] == list(range(1, 10))
    assert {each["data"]["ProviderUserId"] for each in received} == {number}


def test_another_number_in_its_place_and_an_opt_out(client: Client, world: World) -> None:
    activate(world)
    person = Person(world.user, world.file, world.phone, world.clock)
    world.clock.shift(120)
    person.add_number(OTHER_NUMBER, By.TEXT)
    world.clock.shift(120)
    world.purpose = Purpose.OPT_OUT
    world.ask()
    assert world.guess(world.code()).outcome is CodeOutcome.OK

    send()

    told = [(each["type"], each["data"]["Reason"]) for each in client.received()]
    assert told[1:] == [("number.changed", "verified"), ("number.removed", "opted_out")]


# -- signatures --------------------------------------------------------------------


def test_while_a_secret_is_replaced_both_sign(
    client: Client, clock: time_machine.Traveller
) -> None:
    new = endpoints.replace_secret(client.endpoint, origin=ORIGIN)
    client.happen()
    send()
    assert client.received() == client.received(new)

    clock.shift(86_400)
    client.server.requests.clear()
    client.happen()
    send()
    assert len(client.received(new)) == 1
    assert len(client.server.requests[0].headers["webhook-signature"].split()) == 1


def test_secrets_come_under_a_new_key(client: Client, settings: Settings) -> None:
    settings.OPTIN_KEYS = {"new": b"n" * 32, **settings.OPTIN_KEYS}
    done = key_rotation.rotate(origin=ORIGIN)
    assert done.done["webhooks"] == 1
    assert client.row.secrets_encrypted.startswith("new:")
    assert client.row.open_secrets() == [client.secret]


# -- order and failures ------------------------------------------------------------


def test_after_a_failure_all_come_in_their_order(
    client: Client, clock: time_machine.Traveller
) -> None:
    client.server.answer = says(503)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 3)
    assert send() == 0
    assert send() == 0  # it waits
    assert len(client.server.requests) == 1

    clock.shift(5)
    client.server.answer = says(204)
    assert send() == 3

    sequences = [each["data"]["Sequence"] for each in client.received()]
    assert sequences == [1, 1, 2, 3]
    ids = [each.headers["webhook-id"] for each in client.server.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("status", [199, 301, 302, 307, 308, 400, 404, 500])
def test_only_2xx_is_a_success(client: Client, status: int) -> None:
    """S-12: a redirect is not followed."""
    where = f"Location: https://{HOST}:{client.server.listener.getsockname()[1]}/other"
    client.server.answer = says(status, "", where)
    client.happen()
    assert send() == 0
    assert client.row.failures == 1
    assert client.server.connections == 1


def test_after_three_days_it_is_switched_off(
    client: Client, user: User, clock: time_machine.Traveller, settings: Settings
) -> None:
    """The member who answers for it is told, and operators are."""
    settings.OPTIN_ALARM_EMAIL = ("ops@example.com",)
    user.memberships.update(manages=True)
    WebhookEndpoint.objects.update(made_by=user)
    client.server.answer = says(500)
    client.happen()
    began = timezone.now()
    while not client.row.off_at:
        send()
        clock.move_to(client.row.due_at)

    assert len(client.tries) == 10
    assert timedelta(days=3) < timezone.now() - began < timedelta(days=3.5)
    assert client.row.off_why == "failing"
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.file_id) == ("webhook", "failing", 777)
    assert event.user_id == user.pk
    for thread in threading.enumerate():
        if thread.name == "optin-alarm":
            thread.join(10)
    told = {each.to[0]: each.subject for each in mail.outbox}
    assert told[user.email] == "A webhook endpoint was switched off"
    assert "webhook endpoint was switched off" in told["ops@example.com"]

    client.server.answer = says(200)
    assert send() == 0
    endpoints.switch(client.endpoint, on=True, origin=ORIGIN)
    assert send() == 1


# -- whose endpoint it is ----------------------------------------------------------


def make_manager(user: User, file: File) -> None:
    tenants.add_member(user, file, origin=ORIGIN)
    tenants.let_manage(user, file, manages=True, origin=ORIGIN)


@pytest.fixture
def mine(client: Client, user: User, file: File) -> Client:
    """An endpoint for which ``user`` answers, who manages the file."""
    make_manager(user, file)
    WebhookEndpoint.objects.update(made_by=user)
    return client


def leave(user: User, file: File) -> None:
    tenants.end_membership(user, file, origin=ORIGIN)


def manage_no_more(user: User, file: File) -> None:
    tenants.let_manage(user, file, manages=False, origin=ORIGIN)


def set_active(what: User | File, active: bool) -> None:
    field = "is_active" if isinstance(what, User) else "active"
    type(what).objects.filter(pk=what.pk).update(**{field: active})


Change = Callable[[User, File], object]
ENDS: list[tuple[Change, Change, str]] = [
    (leave, make_manager, "no_manager"),
    (manage_no_more, make_manager, "no_manager"),
    (lambda user, _: set_active(user, False), lambda user, _: set_active(user, True), "gone"),
    (lambda _, file: set_active(file, False), lambda _, file: set_active(file, True), "file"),
]


@pytest.mark.parametrize(("end", "undo", "paused"), ENDS)
def test_what_ends_an_access_key_pauses_an_endpoint(
    end: Change, undo: Change, paused: str, mine: Client, user: User, file: File
) -> None:
    """S-34. Tests are not sent either, nor accepted. Nothing is lost meanwhile."""
    mine.happen()
    endpoints.send_test(mine.row, origin=ORIGIN)
    end(user, file)
    assert send() == 0
    with pytest.raises(EndpointPaused):
        endpoints.send_test(mine.row, origin=ORIGIN)
    assert mine.row.paused == paused

    undo(user, file)
    assert send() == 2
    assert mine.row.paused is None


def test_staff_take_an_endpoint_over_and_see_that_nobody_answers_for_it(
    mine: Client, user: User, file: File
) -> None:
    mine.happen()
    tenants.end_membership(user, file, origin=ORIGIN)
    assert [need.pk for need in health.needs(timezone.now())] == [mine.endpoint.pk]
    endpoints.switch(mine.row, on=True, origin=ORIGIN)
    assert send() == 1
    assert mine.row.made_by is None
    assert not list(health.endpoints(timezone.now()))


def shut_out(user: User) -> None:
    person = User.objects.get(pk=user.pk)
    not_me.shut_out(person, standing=standing(), origin=ORIGIN, keep_session=lambda _user: None)


def disown(user: User) -> None:
    notice = Notice.objects.create(
        user=user, kind=Notice.Kind.ACTIVATED, about_id=0, created_at=timezone.now()
    )
    not_me.disown(notice, PASSWORD, origin=ORIGIN)


@pytest.mark.parametrize("say", [shut_out, disown])
def test_that_was_not_me_switches_off_what_a_thief_may_have_added(
    say: Callable[[User], None], client: Client, user: User, file: File
) -> None:
    """By the person's session, also by a new address for an endpoint of staff."""
    tenants.let_manage(user, file, manages=True, origin=ORIGIN)
    of_staff, _secret = endpoints.make(file, f"{client.endpoint.url}/2", origin=ORIGIN)
    thief = Member(User.objects.get(pk=user.pk), standing())
    url = f"{client.endpoint.url}/thief"
    mail.outbox.clear()
    endpoints.change(client.row, url, kinds=[], description="", origin=ORIGIN, member=thief)
    (told,) = mail.outbox
    assert (told.to, url in str(told.body)) == ([user.email], True)
    client.happen()

    say(user)

    assert send() == 1
    assert (client.row.off_why, client.row.cursor) == ("not_me", 0)
    assert not WebhookEndpoint.objects.get(pk=of_staff.pk).off_at
    assert "The webhook endpoints that you answer for are off." in str(mail.outbox[-1].body)


def test_all_who_manage_the_file_are_told_of_a_new_endpoint(
    client: Client, user: User, stranger: User, file: File
) -> None:
    """And nobody else: not other members, nor who left. Nor without end, while it changes."""
    tenants.let_manage(user, file, manages=True, origin=ORIGIN)
    make_user("cid", file)
    left = make_user("dan", file)
    tenants.let_manage(left, file, manages=True, origin=ORIGIN)
    people.deactivate(left, reason="left", origin=ORIGIN)
    mail.outbox.clear()
    second, _ = endpoints.make(file, f"{client.endpoint.url}/2", origin=ORIGIN)
    assert [message.to for message in mail.outbox] == [[user.email]]
    assert f"{client.endpoint.url}/2" in str(mail.outbox[0].body)
    for number in range(9):
        second.refresh_from_db()
        url = f"{client.endpoint.url}/{number}"
        endpoints.change(second, url, kinds=[], description="", origin=ORIGIN)
    assert len(mail.outbox) == delivery.MAX_ALIKE


def test_while_it_is_off_nothing_is_lost(client: Client) -> None:
    endpoints.switch(client.endpoint, on=False, origin=ORIGIN)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 2)
    assert send() == 0
    endpoints.switch(client.endpoint, on=True, origin=ORIGIN)
    assert send() == 2


def test_a_test_is_sent_once_and_is_no_part_of_the_sequence(client: Client) -> None:
    endpoints.switch(client.endpoint, on=False, origin=ORIGIN)
    client.server.answer = says(500)
    endpoints.send_test(client.endpoint, origin=ORIGIN)
    assert send() == 0
    assert send() == 0
    assert client.types() == ["endpoint.test"]
    assert client.row.failures == 0

    endpoints.switch(client.endpoint, on=True, origin=ORIGIN)
    client.server.answer = says(200)
    client.happen()
    send()
    assert client.received()[-1]["data"]["Sequence"] == 1


def test_the_first_endpoint_of_a_file_gets_nothing_from_before(
    client: Client, world: World, other_file: File
) -> None:
    """What happened before has no numbers yet, if nobody gave them any."""
    WebhookEndpoint.objects.update(file=other_file)
    activate(world)
    settle()

    endpoints.make(world.file, client.endpoint.url, origin=ORIGIN)

    assert send() == 0
    assert WebhookEvent.objects.get().sequence == 1


def test_a_killed_sender_leaves_the_event_to_the_next(
    client: Client, clock: time_machine.Traveller
) -> None:
    client.happen()
    webhooks.give_numbers()
    assert claim()  # and it dies

    assert send() == 0
    clock.shift(30)
    assert send() == 1


@pytest.mark.postgresql  # the database of tests on SQLite lets no two threads write
def test_one_that_is_removed_meanwhile_is_left_alone(client: Client) -> None:
    def remove(line: socket.socket) -> None:
        endpoints.remove(client.endpoint, origin=ORIGIN)
        connection.close()
        says(200)(line)

    client.server.answer = remove
    client.happen()
    assert send() == 1
    assert not WebhookTry.objects.exists()


def test_a_late_sender_changes_nothing(client: Client, clock: time_machine.Traveller) -> None:
    client.happen()
    webhooks.give_numbers()
    late = claim()
    assert late
    clock.shift(31)
    client.server.answer = says(500)
    send()
    assert not late.finish(cursor=1, failures=0)
    assert (client.row.cursor, client.row.failures) == (0, 1)


# -- what is left ------------------------------------------------------------------


def test_events_and_the_log_go_after_30_days(client: Client, clock: time_machine.Traveller) -> None:
    client.happen()
    send()
    clock.shift(30 * 86_400 - 1)
    retention.purge(origin=ORIGIN)
    assert WebhookEvent.objects.count() == WebhookTry.objects.count() == 1
    clock.shift(1)
    done = retention.purge(origin=ORIGIN)
    assert (done["webhook_events"], done["webhook_tries"]) == (1, 1)

    client.server.requests.clear()
    client.happen()
    send()
    assert client.received()[0]["data"]["Sequence"] == 2  # it goes on


def test_send_due_sends(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.happen(*[Kind.NUMBER_ACTIVATED] * 2)
    call_command("send_due")
    assert capsys.readouterr().out.endswith("Sent 2 events to webhook endpoints.\n")
