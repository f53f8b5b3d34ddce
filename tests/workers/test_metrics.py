"""What ``/metrics`` says of workers."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from optin.messaging import delivery
from optin.models import File, Notice, SmsMessage, User
from tests.kit.server import METRICS_TOKEN
from tests.workers.jobs import change_jobs, texts, work

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

AUTHORIZATION = {"Authorization": f"Bearer {METRICS_TOKEN}"}


@pytest.fixture(autouse=True)
def token(settings: Settings) -> None:
    settings.METRICS_TOKEN = METRICS_TOKEN


def gauges(client: Client, begin: str) -> dict[str, float]:
    """What the page says of the metrics whose names begin so."""
    lines = client.get("/metrics", headers=AUTHORIZATION).content.decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines)
        if name.startswith(begin)
    }


def register(silent: timedelta) -> None:
    """A worker whose last sign of life is so old."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - %s * interval '1 s')",
            [silent.total_seconds()],
        )


def test_what_waits_and_for_how_long(file: File, user: User, client: Client) -> None:
    texts(3, file)
    with transaction.atomic():
        delivery.notify(user, Notice.Kind.PASSWORD, timezone.now())
    SmsMessage.objects.update(created_at=timezone.now() - timedelta(seconds=100))

    assert gauges(client, "optin_waiting") == {
        'optin_waiting{kind="text"}': 3,
        'optin_waiting{kind="mail"}': 1,
        'optin_waiting_oldest_seconds{kind="text"}': pytest.approx(100, abs=10),
        'optin_waiting_oldest_seconds{kind="mail"}': pytest.approx(0, abs=10),
    }
    needed = 'optin_needs_attention{condition="messages"}'
    assert gauges(client, needed) == {needed: 1}  # not yet of the mail
    work()
    assert set(gauges(client, "optin_waiting").values()) == {0}
    assert gauges(client, needed) == {needed: 0}


def test_workers_are_those_that_gave_a_sign_of_life(client: Client) -> None:
    assert gauges(client, "optin_workers") == {"optin_workers": 0}
    for seconds in (0, 20, 40):
        register(timedelta(seconds=seconds))
    assert gauges(client, "optin_workers") == {"optin_workers": 2}


def test_without_workers_nothing_is_said_of_them(client: Client, settings: Settings) -> None:
    settings.OPTIN_DELIVERY = "inline"
    assert gauges(client, "optin_workers") == gauges(client, "optin_jobs") == {}


def test_jobs_that_are_due_and_those_that_failed(file: File, client: Client) -> None:
    texts(4, file)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_events SET at = at - interval '100 s'")
        cursor.execute("SELECT min(id) FROM procrastinate_jobs")
        (first,) = cursor.fetchone()
    change_jobs(f"status = 'failed' WHERE id = {first}")
    change_jobs(f"scheduled_at = now() + interval '9 s' WHERE id = {first + 1}")
    change_jobs(f"scheduled_at = now() - interval '500 s' WHERE id = {first + 2}")

    assert gauges(client, "optin_jobs") == {
        'optin_jobs_waiting{queue="messages"}': 2,
        'optin_jobs_waiting{queue="upkeep"}': 0,
        'optin_jobs_oldest_seconds{queue="messages"}': pytest.approx(500, abs=10),
        'optin_jobs_oldest_seconds{queue="upkeep"}': 0,
        'optin_jobs_failed{queue="messages"}': 1,
        'optin_jobs_failed{queue="upkeep"}': 0,
    }
    change_jobs(f"status = 'failed' WHERE id = {first + 2}")
    age = gauges(client, "optin_jobs_oldest")
    assert age['optin_jobs_oldest_seconds{queue="messages"}'] == pytest.approx(100, abs=10)
