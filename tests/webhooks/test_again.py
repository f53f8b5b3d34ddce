"""Which kinds an endpoint wants, and events that are sent again by hand."""

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.errors import EndpointGone, TooManyRepeats, UnfitEndpoint
from optin.messaging import webhooks
from optin.models import (
    AuditEvent,
    File,
    WebhookEndpoint,
    WebhookEvent,
    WebhookRepeat,
)
from optin.operations import retention
from optin.operations import webhooks as endpoints
from tests.kit.people import ORIGIN
from tests.kit.wire import says
from tests.webhooks.kit import Client, claim, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LOCKED, UNLOCKED = "factor.locked", "factor.unlocked"
MINUTE = timedelta(minutes=1)


def wants(client: Client, *kinds: str) -> None:
    endpoint = client.row
    endpoints.change(endpoint, endpoint.url, kinds=kinds, description="shop", origin=ORIGIN)


def ids(client: Client) -> list[str]:
    """The ids of what arrived, in its order."""
    return [each.headers["webhook-id"] for each in client.server.requests]


def sequences(client: Client) -> list[int]:
    return [each["data"]["Sequence"] for each in client.received()]


def again(client: Client, **which: object) -> int:
    return endpoints.send_again(client.row, origin=ORIGIN, **which)  # type: ignore[arg-type]


def all_again(client: Client) -> int:
    now = timezone.now()
    return again(client, since=now - timedelta(days=30), until=now + MINUTE)


# -- which kinds -------------------------------------------------------------------


def test_only_wanted_kinds_arrive(client: Client) -> None:
    wants(client, UNLOCKED)
    client.happen(LOCKED, UNLOCKED, LOCKED)
    assert send() == 1
    assert client.types() == [UNLOCKED]
    assert client.row.cursor == 3

    wants(client, *endpoints.KINDS)  # all, also those to come
    assert client.row.kinds == ""
    client.happen(LOCKED)
    assert send() == 1
    assert sequences(client) == [2, 4]


def test_many_unwanted_events_are_passed_over_at_once(client: Client) -> None:
    wants(client, UNLOCKED)
    client.happen(*[LOCKED] * 10_000)
    while webhooks.give_numbers():
        pass
    with CaptureQueriesContext(connection) as statements:
        webhooks.send_due(seconds=10)
    assert client.row.cursor == 10_000
    assert len(statements) < 30
    client.happen(UNLOCKED)
    assert send() == 1


# -- again -------------------------------------------------------------------------


@pytest.fixture
def had(client: Client, clock: time_machine.Traveller) -> Client:
    """A client that had events 1 to 3, a minute apart."""
    for _ in range(3):
        clock.shift(MINUTE)
        client.happen(UNLOCKED)
        send()
    return client


def test_one_event(had: Client) -> None:
    assert again(had, message_id=ids(had)[1]) == 1
    assert send() == 1
    first, repeat = had.server.requests[1], had.server.requests[3]
    assert (repeat.body, ids(had)[3]) == (first.body, ids(had)[1])
    assert (had.row.cursor, WebhookRepeat.objects.count()) == (3, 0)
    event = AuditEvent.objects.latest("pk")
    assert (event.outcome, event.file_id) == ("sent_again", 777)
    assert event.data == {"endpoint": had.endpoint.pk, "first": 2, "last": 2}


def test_a_stretch_from_a_time_until_before_another(had: Client) -> None:
    now = timezone.now()
    assert again(had, since=now - MINUTE, until=now) == 1
    assert again(had, since=now - 2 * MINUTE, until=now) == 2
    assert send() == 3
    assert sequences(had)[3:] == [2, 1, 2]


def test_what_is_not_sent_again(had: Client, other_file: File) -> None:
    first, second, third = ids(had)
    assert again(had, message_id="msg_0") == 0
    endpoints.send_test(had.row, origin=ORIGIN)
    send()
    assert again(had, message_id=ids(had)[-1]) == 0
    WebhookEvent.objects.filter(message_id=first).update(file=other_file)
    assert again(had, message_id=first) == 0
    WebhookEndpoint.objects.update(cursor=2)
    assert again(had, message_id=third) == 0  # it waits
    wants(had, LOCKED)
    assert again(had, message_id=second) == 0
    assert not WebhookRepeat.objects.exists()
    assert not AuditEvent.objects.filter(outcome="sent_again").exists()


def test_after_30_days_nothing_is(had: Client, clock: time_machine.Traveller) -> None:
    clock.shift(timedelta(days=30) - MINUTE)
    assert all_again(had) == 2
    retention.purge(origin=ORIGIN)  # they go before their turn
    WebhookEvent.objects.all().delete()
    assert send() == 0
    assert not WebhookRepeat.objects.exists()


def test_new_events_go_first(had: Client) -> None:
    for _ in range(endpoints.MAX_REPEATS):
        assert all_again(had) == 3
    with pytest.raises(TooManyRepeats):
        all_again(had)
    WebhookRepeat.objects.exclude(pk=WebhookRepeat.objects.latest("pk").pk).delete()
    had.happen(LOCKED, LOCKED)
    assert send() == 5
    assert sequences(had)[3:] == [4, 5, 1, 2, 3]


def test_a_repeat_that_fails_delays_no_new_event(
    had: Client, clock: time_machine.Traveller
) -> None:
    all_again(had)
    had.server.answer = says(500)
    assert send() == 0
    assert (had.row.failures, had.row.off_at) == (0, None)
    had.server.answer = says(200)
    had.happen(LOCKED)
    assert send() == 1
    clock.shift(5)
    assert send() == 3
    assert sequences(had)[3:] == [1, 4, 1, 2, 3]


def test_after_the_tenth_failure_a_repeat_is_given_up(
    had: Client, clock: time_machine.Traveller
) -> None:
    all_again(had)
    had.server.answer = says(500)
    for _ in range(10):
        send()
        clock.shift(86_400)
    assert not WebhookRepeat.objects.exists()
    assert (len(had.tries), had.row.off_at) == (13, None)


def test_an_endpoint_that_is_off_gets_them_once_it_is_on(had: Client) -> None:
    endpoints.switch(had.row, on=False, origin=ORIGIN)
    all_again(had)
    assert send() == 0
    endpoints.switch(had.row, on=True, origin=ORIGIN)
    assert send() == 3


# -- changed, removed --------------------------------------------------------------


def test_a_new_address_is_tried_at_once(client: Client) -> None:
    client.server.answer = says(500)
    client.happen(LOCKED)
    send()
    client.server.answer = says(200)
    url = f"{client.endpoint.url}/new"
    endpoints.change(client.row, url, kinds=(), description="", origin=ORIGIN)
    assert send() == 1
    assert client.server.requests[-1].line.startswith("POST /hook/new ")
    with pytest.raises(UnfitEndpoint):
        endpoints.change(client.row, "https://127.0.0.1/", kinds=(), description="", origin=ORIGIN)
    assert client.row.url == url


def test_what_the_old_address_answers_is_nothing_to_the_new_one(client: Client) -> None:
    """... if the address is changed while somebody sends to the old one."""
    client.happen(LOCKED)
    webhooks.give_numbers()
    sender = claim()
    assert sender
    endpoints.change(
        client.row, f"{client.endpoint.url}/new", kinds=(), description="", origin=ORIGIN
    )

    assert not sender.finish(failures=9, due_at=timezone.now() + timedelta(days=1))

    assert send() == 1
    assert client.row.failures == 0


def test_of_tests_one_waits(client: Client) -> None:
    """Members can ask for any number of them, and each goes out before everything else."""
    for _ in range(3):
        endpoints.send_test(client.row, origin=ORIGIN)
    assert send() == 1
    assert client.types() == ["endpoint.test"]
    endpoints.send_test(client.row, origin=ORIGIN)
    assert send() == 1
    endpoints.remove(client.row, origin=ORIGIN)
    with pytest.raises(EndpointGone):
        endpoints.send_test(client.endpoint, origin=ORIGIN)
