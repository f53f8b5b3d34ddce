"""Which kinds an endpoint wants, and what follows where it is changed, tested or removed."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.errors import EndpointGone, UnfitEndpoint
from optin.messaging import webhooks
from optin.operations import webhooks as endpoints
from tests.kit.people import ORIGIN
from tests.kit.wire import says
from tests.webhooks.kit import Client, claim, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LOCKED, UNLOCKED = "factor.locked", "factor.unlocked"


def wants(client: Client, *kinds: str) -> None:
    endpoint = client.row
    endpoints.change(endpoint, endpoint.url, kinds=kinds, description="shop", origin=ORIGIN)


def sequences(client: Client) -> list[int]:
    return [each["data"]["Sequence"] for each in client.received()]


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
