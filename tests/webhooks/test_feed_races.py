"""The feed, while many read and many write at the same time (PostgreSQL)."""

import itertools
import random
import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from optin.messaging import webhooks
from optin.models import File, User, WebhookEvent
from optin.runtime import locks
from tests.kit.clients import Api, bearer
from tests.kit.races import at_once
from tests.webhooks.kit import happen, unlocked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

READERS, WRITERS, EACH = 4, 8, 25


def test_each_reader_has_each_event_once_in_order(
    file: File, user: User, settings: Settings
) -> None:
    settings.OPTIN_REQUESTS_PER_USER = ()
    user.memberships.update(manages=True)
    token, ids, over = bearer(user, "events"), itertools.count(1), threading.Event()
    written = threading.Barrier(WRITERS, action=over.set, timeout=60)

    def write() -> list[tuple[int, int]]:
        for _ in range(EACH):
            with transaction.atomic():
                unlocked(file, next(ids))
                WebhookEvent.objects.count()  # what waits is sent
                over.wait(random.choice([0, 0.02, 0.1]))
        written.wait()
        return []

    def read() -> list[tuple[int, int]]:
        api, found, after = Api(token=token), [], 0
        for _ in range(3000):
            is_last = over.is_set() and not WebhookEvent.objects.filter(sequence=None).exists()
            answer = api.send("GET", "/events", query=f"FileId=777&after={after}&limit=7")
            assert answer.status == 200, answer.content
            data = [each["data"] for each in answer.data["events"]]
            found += [(each["Sequence"], each["ProviderUserId"]) for each in data]
            after = answer.data["next"]
            if is_last and not data:
                return found
            over.wait(0.01)
        raise AssertionError("it takes too long")

    Api(token=token).send("GET", "/events")  # the first request of a process is slow
    writers: list[Callable[[], list[tuple[int, int]]]] = [write] * WRITERS
    readers = at_once(writers + [read] * READERS)[WRITERS:]

    rows = list(WebhookEvent.objects.order_by("sequence"))
    assert [row.sequence for row in rows] == list(range(1, WRITERS * EACH + 1))
    for found in readers:
        assert found == [(row.sequence, row.provider_user_id) for row in rows]
    # None that is earlier by its transaction and by its id comes later.
    for before, later in itertools.combinations(rows, 2):
        assert before.transaction < later.transaction or before.pk < later.pk


def test_a_reader_does_not_wait_for_who_gives_numbers(file: File, user: User) -> None:
    """It answers without the newest event, which is there later."""
    user.memberships.update(manages=True)
    api = Api(token=bearer(user, "events"))
    happen(file)
    has_lock, may_go = threading.Event(), threading.Event()

    def give() -> None:
        with transaction.atomic():
            assert locks.take(webhooks._LOCK)
            has_lock.set()
            assert may_go.wait(30)
        connection.close()

    def following() -> object:
        return api.send("GET", "/events", query="FileId=777").data["next"]

    thread = threading.Thread(target=give)
    thread.start()
    assert has_lock.wait(30)
    try:
        assert following() == 0
    finally:
        may_go.set()
        thread.join()
    assert following() == 1
