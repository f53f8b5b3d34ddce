"""Real workers, as operators start them, on a gateway that counts what arrives."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from optin.models import File, SmsMessage
from optin.models.messages import LEASE, MAX_UNKNOWN_ATTEMPTS, State
from tests.kit.server import database_url, kill, until
from tests.workers.jobs import Counted, jobs, process, texts, worker

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def sent() -> int:
    return SmsMessage.objects.filter(state=State.SENT).count()


def registered() -> int:
    """How many workers have begun."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_workers")
        (count,) = cursor.fetchone()
    return int(count)


def long_ago() -> None:
    """As if all that workers did and said last had been a lease ago."""
    for message in SmsMessage.objects.exclude(claimed_at=None):
        assert message.claimed_at
        SmsMessage.objects.filter(pk=message.pk).update(claimed_at=message.claimed_at - LEASE)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '60 s'"
        )


def test_a_text_whose_worker_was_killed_is_sent_by_another(
    tmp_path: Path, gateway: Counted, file: File
) -> None:
    """S-63: with the same reference, by which a gateway can tell that it is the same."""
    gateway.wait = 4
    (message,) = texts(1, file)
    with worker(tmp_path, gateway) as first:
        until(lambda: gateway.arrived)
        kill(first.pid)
        first.wait()
    assert sent() == 0
    long_ago()
    gateway.wait = 0

    with worker(tmp_path, gateway):
        until(sent)

    assert gateway.arrived == [message.reference] * 2
    assert SmsMessage.objects.get().tries == 2


def test_a_worker_that_is_told_to_stop_ends_what_it_has_begun(
    tmp_path: Path, gateway: Counted, file: File
) -> None:
    gateway.wait = 2
    texts(8, file)
    with worker(tmp_path, gateway, "--concurrency", "2") as running:
        until(lambda: len(gateway.arrived) == 2)
        running.terminate()
        assert running.wait(timeout=20) == 0

    assert sorted(gateway.times.values()) == [1, 1]
    assert Counter(SmsMessage.objects.values_list("state", flat=True)) == {
        State.SENT: 2,
        State.QUEUED: 6,
    }
    assert [job["status"] for job in jobs(queue_name="messages")] == ["todo"] * 6
    assert registered() == 0


def test_of_two_workers_one_does_what_is_done_regularly(tmp_path: Path, gateway: Counted) -> None:
    # They look after messages only, so that the other jobs stay to be counted.
    with (
        worker(tmp_path, gateway, "--queues", "messages"),
        worker(tmp_path, gateway, "--queues", "messages"),
    ):
        until(lambda: registered() == 2)
        until(lambda: jobs(task_name="seal"))
        time.sleep(3)  # each begins with what was to be done last

    # A new minute may begin meanwhile, and what is regular is done again.
    done = Counter(
        (job["task_name"], job["args"]["timestamp"]) for job in jobs(queue_name="upkeep")
    )
    assert {"rescue", "sweep", "seal"} <= {name for name, _ in done}
    assert set(done.values()) == {1}


def test_a_worker_that_is_started_again_goes_on_after_a_database_that_was_away(
    tmp_path: Path, gateway: Counted, file: File
) -> None:
    """S-64: systemd or compose starts a worker that ended."""
    with worker(tmp_path, gateway) as running:
        until(registered)
        until(lambda: not jobs())
        with database_away():
            assert running.wait(timeout=60) != 0
    (message,) = texts(1, file)
    with worker(tmp_path, gateway):
        until(sent, seconds=15)
        assert gateway.arrived == [message.reference]


@contextmanager
def database_away() -> Iterator[None]:
    """No connection is let in, and those of others are cut; ours stays."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (own,) = cursor.fetchone()
    address = database_url().rpartition("/")[0] + "/postgres"
    others = "FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
    let_in = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(address, autocommit=True) as elsewhere:

        def ask(what: str) -> int:
            row = elsewhere.execute(f"SELECT count({what}) {others}", [name, own]).fetchone()
            assert row
            return int(row[0])

        def set_open(value: bool) -> None:
            elsewhere.execute(let_in.format(psycopg.sql.Identifier(name), value))

        until(lambda: ask("*") >= 2)  # a pool, and the one that listens
        try:
            set_open(False)
            ask("pg_terminate_backend(pid)")
            yield
        finally:
            set_open(True)
            _forget_pool()


def _forget_pool() -> None:
    """Begin anew with connections: the idle ones of this process were cut too."""
    ours: Any = connection
    ours.close()
    ours.close_pool()


# -- killed often ------------------------------------------------------------------

MESSAGES, WORKERS, KILLS = 2000, 4, 200


@pytest.mark.slow
def test_workers_that_are_killed_all_the_time_lose_nothing(
    tmp_path: Path, gateway: Counted, file: File
) -> None:
    """S-63: kill -9 at any point; none lost, none sent more than twice."""
    gateway.wait = 0.03
    references = {message.reference for message in texts(MESSAGES, file)}
    with process(tmp_path, gateway, "-m", "tests.workers.many", str(WORKERS)) as many:
        children = Path(f"/proc/{many.pid}/task/{many.pid}/children")
        until(sent, 120)  # the workers have started; a busy machine takes its time
        kills = 0
        while kills < KILLS and sent() < MESSAGES:
            victims = children.read_text().split()
            if victims:
                os.kill(int(random.choice(victims)), signal.SIGKILL)
                kills += 1
            time.sleep(random.uniform(0.02, 0.3))
        # Heartbeats fall silent and leases run out before others take over.
        until(lambda: not waiting(), seconds=4 * LEASE.total_seconds())

    times = gateway.times
    stopped_twice = {
        message.reference: message.reason
        for message in SmsMessage.objects.filter(state=State.FAILED)
    }
    twice = [reference for reference, count in times.items() if count > 1]
    print(f"{kills} kills, {len(twice)} sent twice, {len(stopped_twice)} given up")
    assert kills == KILLS, "all was sent too soon to show anything"
    assert twice, "no kill fell into a send"
    assert max(times.values()) <= MAX_UNKNOWN_ATTEMPTS
    assert set(times) <= references
    # Whatever did not arrive is not lost but given up, for the reason that it is.
    assert references - set(times) <= set(stopped_twice)
    assert set(stopped_twice.values()) <= {"its sender stopped, twice"}
    assert sent() + len(stopped_twice) == MESSAGES


def waiting() -> int:
    return SmsMessage.objects.filter(state__in=[State.QUEUED, State.SENDING]).count()
