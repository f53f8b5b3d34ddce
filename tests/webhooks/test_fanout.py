"""Many endpoints at once: what one of them does is nothing to the others."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from optin.messaging import webhooks
from optin.models import File, WebhookEndpoint, WebhookEvent, WebhookTry
from optin.operations import webhooks as endpoints
from tests.kit.people import ORIGIN
from tests.kit.wire import Answer, Server, read, says, serving
from tests.webhooks.kit import HOST, Client, Names, send, settle

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[[Answer], Client]
UNLOCKED = WebhookEvent.Kind.FACTOR_UNLOCKED


@pytest.fixture
def make(server: Server, names: Names, certificate: Path, settings: Settings) -> Iterator[Make]:
    """Makes a client with a server and a file of its own, and one event."""
    with ExitStack() as stack:

        def make(answer: Answer) -> Client:
            server = stack.enter_context(serving(certificate, answer))
            port = server.listener.getsockname()[1]
            settings.OPTIN_WEBHOOK_PORTS = (*settings.OPTIN_WEBHOOK_PORTS, port)
            file = File.objects.create(id=2000 + File.objects.count(), name="Another")
            endpoint, secret = endpoints.make(file, f"https://{HOST}:{port}/", origin=ORIGIN)
            client = Client(endpoint, secret, server)
            client.happen()
            return client

        yield make


def waits_for(other: threading.Event) -> Answer:
    """Answer only once *other* has arrived, which must not take long."""

    def answer(line: socket.socket) -> None:
        if other.wait(4.5):
            says(200)(line)

    return answer


def tells(arrived: threading.Event) -> Answer:
    def answer(line: socket.socket) -> None:
        arrived.set()
        says(200)(line)

    return answer


def keeps_open(server: Server, *statuses: int) -> Answer:
    """Answer one request after the other over a connection."""

    def answer(line: socket.socket) -> None:
        for status in statuses:
            line.sendall(f"HTTP/1.1 {status} Word\r\nContent-Length: 2\r\n\r\nok".encode())
            if len(server.requests) < len(statuses):
                server.requests.append(read(line))

    return answer


# -- places ------------------------------------------------------------------------


def test_slow_ones_delay_no_other(make: Make) -> None:
    arrived = threading.Event()
    slow = [make(waits_for(arrived)) for _ in range(3)]
    make(tells(arrived))

    assert send() == 4

    assert [client.row.failures for client in slow] == [0, 0, 0]


def test_one_that_cannot_be_sent_to_at_all_holds_up_no_other(make: Make) -> None:
    broken, well = make(says(200)), make(says(200))
    nonsense = WebhookEndpoint.seal("whsec_x", broken.endpoint.file_id)
    WebhookEndpoint.objects.filter(pk=broken.endpoint.pk).update(secrets_encrypted=nonsense)

    with pytest.raises(ValueError, match=r"padding|number of data characters"):
        send()

    assert len(well.tries) == 1
    assert well.row.cursor == 1


def test_one_that_cannot_be_recorded_holds_up_no_other(make: Make) -> None:
    """Otherwise all that was sent meanwhile would be sent again."""
    broken, well = make(says(200)), make(says(200))

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('INSERT INTO "optin_webhooktry"') and params[0] == broken.endpoint.pk:
            raise OperationalError("it took too long")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        send()

    assert (broken.row.cursor, well.row.cursor) == (0, 1)
    assert well.row.claimed_at is None


def test_tests_delay_no_other(
    make: Make, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """An endpoint that has many of them gives up its place after each connection."""
    monkeypatch.setattr(webhooks, "PLACES", 1)
    monkeypatch.setattr(webhooks, "AT_ONCE", 1)
    greedy = make(says(200))
    assert send() == 1
    clock.shift(1)
    well = make(says(200))
    greedy.server.answer = says(500)
    WebhookEvent.objects.bulk_create(
        WebhookEvent(
            message_id=WebhookEvent.new_id(),
            file=greedy.endpoint.file,
            kind=WebhookEvent.Kind.TEST,
            at=timezone.now(),
            endpoint=greedy.endpoint,
        )
        for _ in range(3)
    )
    clock.shift(1)

    send()

    tries = WebhookTry.objects.order_by("pk").values_list("endpoint", flat=True)
    assert list(tries)[1:].index(well.endpoint.pk) == 1


# -- several events over a connection ----------------------------------------------


def test_a_connection_is_kept(client: Client) -> None:
    client.server.answer = keeps_open(client.server, 200, 200, 200, 200)
    client.happen(*[UNLOCKED] * 4)

    assert send() == 4

    assert client.server.connections == 1
    assert [each["data"]["Sequence"] for each in client.received()] == [1, 2, 3, 4]
    assert [(each.sequence, each.status) for each in client.tries] == [
        (1, 200),
        (2, 200),
        (3, 200),
        (4, 200),
    ]


def test_after_a_failure_no_more_is_sent_over_it(
    client: Client, clock: time_machine.Traveller
) -> None:
    client.server.answer = keeps_open(client.server, 200, 200, 503, 200)
    client.happen(*[UNLOCKED] * 4)

    assert send() == 2

    assert (client.row.cursor, client.row.failures) == (2, 1)
    assert [each.status for each in client.tries] == [200, 200, 503]
    client.server.requests.clear()
    clock.shift(5)
    client.server.answer = says(200)
    send()
    assert [each["data"]["Sequence"] for each in client.received()] == [3, 4]
    assert client.row.failures == 0


def test_a_server_may_close_the_connection_after_each_answer(client: Client) -> None:
    """Also without saying so."""
    client.server.answer = keeps_open(client.server, 200)
    client.happen(*[UNLOCKED] * 5)

    assert send() == 5

    assert client.row.failures == 0
    assert [each["data"]["Sequence"] for each in client.received()] == [1, 2, 3, 4, 5]
    assert client.server.connections == 5


def test_the_address_of_a_second_connection_is_checked_too(client: Client, names: Names) -> None:
    client.server.answer = keeps_open(client.server, 200)
    client.happen(*[UNLOCKED] * 2)
    names.then = lambda: names.known.update({HOST: ["10.0.0.1"]})

    assert send() == 1

    assert client.tries[-1].reason == "the host name has an address that is not public"


def test_an_endpoint_with_many_events_gets_some_of_them_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the others have their turn."""
    monkeypatch.setattr(webhooks, "AT_ONCE", 2)
    client.server.answer = keeps_open(client.server, 200, 200)
    client.happen(*[UNLOCKED] * 2)
    assert send() == 2
    assert client.row.claims == 1
    client.server.requests.clear()
    client.server.answer = says(200)
    client.happen(*[UNLOCKED] * 5)
    assert send() == 5
    assert client.row.claims == 4


def test_who_numbers_many_events_stops_in_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call goes on."""
    monkeypatch.setattr(webhooks, "CHUNK", 1)
    client.happen(*[UNLOCKED] * 3)
    settle()
    webhooks.send_due(seconds=0)
    assert WebhookEvent.objects.filter(sequence=None).count() == 2
    assert send() == 3


# -- the database ------------------------------------------------------------------


@pytest.mark.postgresql
def test_who_claims_does_not_read_all_events(client: Client) -> None:
    client.happen(*[UNLOCKED] * 20_000)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE optin_webhookevent SET sequence = id")
        cursor.execute("ANALYZE optin_webhookevent")
    for cursor_of_endpoint in (0, 2**40):
        WebhookEndpoint.objects.update(cursor=cursor_of_endpoint)
        plan = WebhookEndpoint.objects.due(timezone.now()).explain()
        assert "Seq Scan on optin_webhookevent" not in plan
