"""The sequence of a file, where many write, send and die at the same time (PostgreSQL)."""

import threading
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction
from procrastinate.contrib.django import app

from optin import tasks
from optin.messaging import webhooks
from optin.models import File, WebhookEvent
from optin.operations import webhooks as endpoints
from tests.kit.people import ORIGIN
from tests.kit.races import at_once
from tests.kit.server import database_url
from tests.webhooks.kit import Client, claim, send, unlocked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def in_its_own(file: File) -> Callable[[], None]:
    def call() -> None:
        with transaction.atomic():
            unlocked(file)

    return call


def sequences(file: File) -> list[int | None]:
    """Those of the events of *file*, in the order in which they were written."""
    return list(
        WebhookEvent.objects.filter(file=file).order_by("pk").values_list("sequence", flat=True)
    )


def test_no_number_is_given_while_an_earlier_transaction_is_open(
    client: Client, file: File
) -> None:
    """Its event may have the lower id, and would appear behind one that was sent."""
    wrote, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            unlocked(file)
            connection.ensure_connection()
            WebhookEvent.objects.count()  # what waits is sent
            wrote.set()
            assert may_commit.wait(30)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert wrote.wait(30)
    in_its_own(file)()
    assert webhooks.give_numbers() == 0
    assert webhooks.send_due(seconds=1) == 0

    may_commit.set()
    thread.join()
    assert send() == 2
    assert sequences(file) == [1, 2]
    assert [each["data"]["Sequence"] for each in client.received()] == [1, 2]


def test_a_transaction_that_only_reads_holds_nothing_up(client: Client, file: File) -> None:
    with psycopg.connect(database_url()) as reader:
        reader.execute("SELECT count(*) FROM optin_user")
        in_its_own(file)()
        assert send() == 1


def test_one_that_was_rolled_back_leaves_no_gap(client: Client, file: File) -> None:
    in_its_own(file)()
    with transaction.atomic():
        unlocked(file)
        transaction.set_rollback(True)
    in_its_own(file)()
    send()
    assert sequences(file) == [1, 2]


def test_an_event_from_before_a_restore_is_sent(client: Client, file: File) -> None:
    """Another server gave the id of its transaction, which this one has not reached."""
    in_its_own(file)()
    WebhookEvent.objects.update(transaction=2**40)
    assert send() == 1


def test_many_writers_and_senders(client: Client, file: File, other_file: File) -> None:
    """No gap, nothing twice, nothing out of order."""
    second, _ = endpoints.make(other_file, client.endpoint.url, origin=ORIGIN)
    calls: list[Callable[[], object]] = []
    for n in range(80):
        calls.append(in_its_own(other_file if n % 2 else file))
        if n % 10 == 0:
            calls.append(lambda: webhooks.send_due(seconds=1))

    at_once(calls)
    while send():
        pass  # until nothing is left

    for each in (file, other_file):
        assert sorted(filter(None, sequences(each))) == list(range(1, 41))
    arrived = Counter(each.headers["webhook-id"] for each in client.server.requests)
    assert len(arrived) == 80
    assert set(arrived.values()) == {1}
    for endpoint in (client.endpoint, second):
        tried = list(endpoint.tries.order_by("pk").values_list("sequence", flat=True))
        assert tried == list(range(1, 41))


def test_a_worker_sends_every_five_seconds(client: Client, file: File) -> None:
    in_its_own(file)()
    WebhookEvent.objects.update(transaction=0)
    tasks.send_events.func(timestamp=0)
    assert client.types() == ["factor.unlocked"]
    (task,) = [
        each
        for each in app.periodic_registry.periodic_tasks.values()
        if each.task.name == "send_events"
    ]
    assert task.cron == "* * * * * */5"


def test_one_gives_numbers(client: Client, file: File) -> None:
    """Two at once could give one event two numbers."""
    in_its_own(file)()
    WebhookEvent.objects.update(transaction=0)  # no other database holds it up
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [webhooks._LOCK])
        assert webhooks.give_numbers() == 0
    assert webhooks.give_numbers() == 1


def test_one_claims_an_endpoint(client: Client, file: File) -> None:
    in_its_own(file)()
    WebhookEvent.objects.update(transaction=0)
    webhooks.give_numbers()

    assert sum(taken is not None for taken in at_once([claim] * 12)) == 1


def test_who_claims_waits_for_nobody(client: Client, file: File, other_file: File) -> None:
    endpoints.make(other_file, client.endpoint.url, origin=ORIGIN)
    in_its_own(file)()
    in_its_own(other_file)()
    WebhookEvent.objects.update(transaction=0)
    webhooks.give_numbers()
    with psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT 1 FROM optin_webhookendpoint WHERE id = %s FOR UPDATE", [client.endpoint.pk]
        )
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        taken = claim()
    connection.close()
    assert taken
    assert taken.file_id == other_file.pk
