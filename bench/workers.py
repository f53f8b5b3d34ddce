"""Workers: texts a second, and the processor time of one, in a worker.

The gateway is a stand-in within the worker, which takes no time, or 100 ms, and writes down when
each text arrived. Every text must arrive, once, or there is no measurement. One transaction queues
all of them at once, while workers wait.

    python -m bench.workers [--messages N]
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OPTIN_DELIVERY"] = "worker"

from bench import world

from django.core.management import call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from optin.messaging import delivery
from optin import gateways
from optin.gateways import Simulator, Text
from optin.models import PendingOtp, ProviderUser, SmsMessage

ROOT = Path(__file__).resolve().parent.parent
WAITS = (0.0, 0.1)
"""Seconds that the gateway takes."""


class StandIn(Simulator):
    """A gateway that writes down when each text arrived."""

    def __init__(self, path: str, wait: float) -> None:
        super().__init__(Path(path).parent)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.wait = wait

    def send(self, text: Text) -> str:
        os.write(self.file, f"{json.dumps([text.reference, time.time()])}\n".encode())
        time.sleep(self.wait)
        return text.reference


def work(path: str, wait: float) -> None:
    """Be a worker."""
    stand_in = StandIn(path, wait)
    gateways.for_region = lambda region: [stand_in]
    call_command("procrastinate", "worker")


@contextlib.contextmanager
def working(count: int, wait: float) -> Iterator[tuple[Path, list[int]]]:
    """Run *count* workers; yield the file in which arrivals are written, and their ids."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_workers CASCADE")
    path = Path(tempfile.mkdtemp(dir=os.environ["DATA_DIR"]), "arrived.jsonl")
    path.touch()
    running = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bench.workers", "--work", str(path), str(wait)],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": world.url()},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        until(lambda: began() == count)
        time.sleep(1)  # until what they begin with is done
        yield path, [worker.pid for worker in running]
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait(timeout=30)


def began() -> int:
    return count("procrastinate_workers")


def jobs_left() -> int:
    return count("procrastinate_jobs WHERE queue_name = 'messages'")


def count(rows: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {rows}")  # noqa: S608
        (found,) = cursor.fetchone()
    return int(found)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not true():
        if time.monotonic() > end:
            raise AssertionError("this never came true")
        time.sleep(0.005)


def codes(count: int) -> list[PendingOtp]:
    """Make *count* people, each with a number that can be read and a code."""
    world.people(count, label=f"run{timezone.now().timestamp()}-")
    rows = ProviderUser.objects.order_by("-pk").select_related("user")[:count]
    for row in rows:
        number = f"+6149{row.pk % 10_000_000:07d}"
        row.number_digest = ProviderUser.digest_of(number)
        row.number_encrypted = ProviderUser.seal(number, row.user)
    ProviderUser.objects.bulk_update(rows, ["number_digest", "number_encrypted"], 500)
    return list(PendingOtp.objects.order_by("-pk")[:count])


def arrivals(path: Path, count: int) -> dict[str, float]:
    """Return when each of *count* texts arrived, once they have."""
    until(lambda: path.read_bytes().count(b"\n") >= count)
    arrived = [json.loads(line) for line in path.read_text().splitlines()]
    if len(arrived) != count or len(dict(arrived)) != count:
        raise AssertionError("a text arrived twice")
    return dict(arrived)


def processor_of(pids: list[int]) -> float:
    """Return the seconds of processor time that these processes took so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime: proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def rate(workers: int, wait: float, count: int) -> tuple[float, float]:
    """Return messages a second, and the workers' seconds of processor for one."""
    pending, now = codes(count), timezone.now()
    with working(workers, wait) as (path, pids):
        before = processor_of(pids)
        with transaction.atomic():
            for otp in pending:
                delivery.dispatch(SmsMessage(pending_otp=otp, created_at=now))
        committed = time.time()
        last = max(arrivals(path, count).values())
        until(lambda: not jobs_left())
        used = processor_of(pids) - before
    return count / (last - committed), used / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--work", nargs=2, metavar=("PATH", "WAIT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], float(options.work[1]))
        return
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    with world.database():
        for wait in WAITS:
            for workers in (1, 2, 4):
                found, used = rate(workers, wait, options.messages)
                print(
                    f"{workers} workers, gateway {wait * 1000:3.0f} ms: {found:5.0f} a second,"
                    f" {used * 1000:4.1f} ms of processor each"
                )
        connections.close_all()


if __name__ == "__main__":
    main()
