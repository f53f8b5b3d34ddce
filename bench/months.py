"""What requests notice while the oldest month of the audit trail is dropped, as ``purge`` does it.

The oldest month has four tenths of the events, two more have three tenths each. The load is wrong
codes, each of another person.

    python -m bench.months [--events N] [--seconds N] [--rate N]
"""

import argparse
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from bench import events, servers, world

from django.db import connection, connections
from django.db.models import Max
from django.utils import timezone

from optin.audit import months
from optin.models import AuditEvent, AuditSeal

CLIENTS = 4
OLD, KEPT = timedelta(days=800), timedelta(days=730)
"""The age of the youngest event of the oldest month, and the retention."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rate", type=int, default=50)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port, now, tenth = servers.free_port(), timezone.now(), options.events // 10
    with world.database():
        people = world.people(options.rate * (options.seconds + 60))
        with connection.cursor() as cursor, events.without_indexes(cursor):
            events.fill(cursor, 4 * tenth, end=now - OLD, digest="-")
        connections.close_all()
        with servers.serving(servers.gunicorn(port), port, world.url()):
            forget_the_load(now)
            seal_all(now - OLD)
            with connection.cursor() as cursor, events.without_indexes(cursor):
                for _ in range(2):
                    months.cut(timezone.now() + timedelta(days=31))
                    events.fill(cursor, 3 * tenth, end=now, digest="-")
            measure(
                f"drop the oldest of 3 months, {4 * tenth} events",
                lambda: drop(now - KEPT),
                Load(port, people, options.rate),
                options.seconds,
            )
        connections.close_all()


def forget_the_load(since: datetime) -> None:
    """Take away the young events of the oldest month: no trail has these two together."""
    first = months.name_of(0)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {first} DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM optin_auditevent WHERE at >= %s", [since])
        cursor.execute(f"ALTER TABLE {first} ENABLE TRIGGER USER")


def seal_all(at: datetime) -> None:
    """Add the seals that there would be; nobody checks these."""
    newest = AuditEvent.objects.aggregate(pk=Max("pk"))["pk"]
    AuditSeal.objects.bulk_create(
        AuditSeal(
            first_id=first,
            last_id=min(first + 9_999, newest),
            count=10_000,
            digest="-",
            at=at,
            key_id="k",
        )
        for first in range(1, newest + 1, 10_000)
    )


def drop(cutoff: datetime) -> None:
    gone = months.drop_before(cutoff)
    assert gone
    assert 0 not in months.attached()


def measure(what: str, change: Callable[[], object], load: "Load", seconds: int) -> None:
    """Print how long *change* takes, and the slowest requests before it and during it."""
    world.rewind()
    with load:
        time.sleep(seconds)
        begun = time.monotonic()
        change()
        ended = time.monotonic()
        time.sleep(2)
    before = load.slowest(begun - seconds, begun)
    # A request that waited ends soon after.
    during = load.slowest(begun, ended + 1)
    print(f"{what}: {ended - begun:.2f} s")
    for when, (count, slowest) in {"before": before, "during": during}.items():
        print(f"  {when}: {count} requests, the slowest took {slowest:.0f} ms", flush=True)


class Load:
    """Wrong codes of many people, *rate* a second; the time that each request took."""

    def __init__(self, port: int, people: Sequence[world.Person], rate: float) -> None:
        self.port, self.people, self.pause = port, people, CLIENTS / rate
        self.took: list[tuple[float, float]] = []
        self._stopping = threading.Event()

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(CLIENTS)
        parts = [self.people[n::CLIENTS] for n in range(CLIENTS)]
        self._clients = [self._pool.submit(self._run, part) for part in parts]
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _run(self, people: Sequence[world.Person]) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for person in people:
            if self._stopping.wait(self.pause):
                break
            body = {"ProviderUserId": person.provider_user_id, "Otp": person.wrong_code}
            headers = {
                "Authorization": f"Bearer {person.token}",
                "Content-Type": "application/json",
            }
            begun = time.monotonic()
            path = f"/User/verify-2fa-opt-in?FileId={world.FILE_ID}"
            line.request("POST", path, json.dumps(body), headers)
            answer = line.getresponse()
            text = answer.read().decode()
            assert "otp_incorrect" in text, text
            self.took.append((begun, time.monotonic()))
        line.close()

    def slowest(self, since: float, until: float) -> tuple[int, float]:
        """Return how many requests were under way between two moments, and the slowest, in ms."""
        took = [1000 * (end - begin) for begin, end in self.took if begin < until and end > since]
        return len(took), max(took, default=0)


if __name__ == "__main__":
    main()
