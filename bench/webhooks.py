"""Webhooks: does a dead or slow endpoint delay the others, and does each get all its events?

Each endpoint has its own file. One process receives for all endpoints, over TLS. Of each ten
endpoints, one accepts connections and never answers, and one answers 500. A single endpoint answers
byte by byte, in 4 s. Rounds with these sick endpoints and rounds without them take turns.

Events are written one by one at a steady rate, or all at once (``--rate 0``). A delay is the time
from the decision, just before its commit, to the first receipt. If a healthy endpoint misses an
event or gets one out of order, the run fails.

With ``--kills``, workers are killed at random moments, and new ones replace them.

    python -m bench.webhooks [--events N] [--endpoints N] [--rate N] [--rounds N] [--kills N]
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

os.environ["OPTIN_DELIVERY"] = "worker"

from bench import world

from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from optin.messaging import webhooks
from optin.events import news_of
from optin.models import File, WebhookEndpoint, WebhookEvent, WebhookTry
from optin.runtime import outside
from bench.certificates import Authority, tls

ROOT = Path(__file__).resolve().parent.parent
HOST = "hooks.example.com"
WORKERS = 2
TRICKLE = 4.0
"""Seconds that the slow one takes for its answer: it comes just in time."""

GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"


# -- the endpoints -----------------------------------------------------------------


async def receive(certificate: str, path: str) -> None:
    """Be all endpoints; write the port and then each receipt into the file *path*."""
    with open(path, "w", buffering=1) as receipts:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    at = time.time()
                    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                    sequence = json.loads(await reader.readexactly(length))["data"]["Sequence"]
                    _, sort, name = head.split(" ", 2)[1].split("/")
                    receipts.write(f"{name} {sequence} {at}\n")
                    await answer(sort, writer)
            writer.close()

        listener = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=tls(Path(certificate)), backlog=500
        )
        receipts.write(f"{listener.sockets[0].getsockname()[1]}\n")
        await listener.serve_forever()


async def answer(sort: str, writer: asyncio.StreamWriter) -> None:
    if sort == "hangs":
        await asyncio.sleep(60)
    elif sort == "trickles":
        for byte in GOOD:
            writer.write(bytes([byte]))
            await asyncio.sleep(TRICKLE / len(GOOD))
    else:
        writer.write(BAD if sort == "fails" else GOOD)


# -- the workers -------------------------------------------------------------------


def work(count: int, authority: str) -> None:
    """Keep *count* workers running: forks of this process, which has loaded all there is to load.

    They believe the receiver's certificate and take its address for public: no setting can do that.
    """
    context = ssl.create_default_context(cafile=authority)
    webhooks.trust = lambda: context
    outside.addresses = lambda host, port: ["127.0.0.1"] if host == HOST else []
    children: set[int] = set()

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # it would wait for those that hang
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        sys.exit()

    signal.signal(signal.SIGTERM, stop)
    while True:
        while len(children) < count:
            pid = os.fork()
            if not pid:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                call_command("procrastinate", "worker")
                os._exit(0)
            children.add(pid)
        children.discard(os.wait()[0])


@contextlib.contextmanager
def running(*arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this module in another process until the block ends."""
    log = Path(os.environ["DATA_DIR"], "log")
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bench.webhooks", *arguments],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": world.url()} | env,
            stderr=errors,
        )
    try:
        yield process
        if process.poll() is not None:
            raise AssertionError(log.read_text())
    finally:
        process.terminate()
        process.wait(timeout=60)


# -- a run -------------------------------------------------------------------------


class Size(NamedTuple):
    events: int
    endpoints: int
    rate: float
    kills: int = 0


class Found(NamedTuple):
    """What became of the events of the healthy endpoints."""

    events: int
    delays: list[float]  # seconds, the shortest first
    repeats: int
    a_second: float
    tries_of_sick: int

    def at(self, percent: float) -> float:
        return self.delays[min(len(self.delays) - 1, int(len(self.delays) * percent / 100))]

    def __str__(self) -> str:
        p50, p95, longest = self.at(50), self.at(95), self.delays[-1]
        return (
            f"delay {p50:5.2f} s, 95 % {p95:5.2f} s, longest {longest:5.2f} s;"
            f" {self.a_second:4.0f} a second; {self.repeats} of {self.events} came again;"
            f" {self.tries_of_sick} attempts at sick ones"
        )


def sorts(count: int, *, with_sick: bool) -> list[str]:
    """Return what each of *count* endpoints does; without the sick ones, those that are left."""
    all_of_them = ["well"] * count
    all_of_them[0::10] = ["hangs"] * len(all_of_them[0::10])
    all_of_them[1::10] = ["fails"] * len(all_of_them[1::10])
    all_of_them[2] = "trickles"
    return [sort for sort in all_of_them if with_sick or sort == "well"]


def make(kinds: list[str], port: int) -> list[File]:
    """Make a file with an endpoint for each of *kinds*, and nothing else."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE optin_file, procrastinate_workers CASCADE")
    now = timezone.now()
    files = File.objects.bulk_create(
        File(id=1000 + n, name=f"Bench {n}") for n in range(len(kinds))
    )
    WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(
            file=file,
            url=f"https://{HOST}:{port}/{sort}/{file.pk}",
            secrets_encrypted=WebhookEndpoint.seal(WebhookEndpoint.new_secret(), file.pk),
            created_at=now,
            due_at=now,
        )
        for file, sort in zip(files, kinds, strict=True)
    )
    return files


def write(files: list[File], count: int, rate: float) -> None:
    """Let *count* things happen, in one file after the other, as decisions tell of them."""
    began = time.monotonic()
    for n in range(count):
        if rate:
            time.sleep(max(began + n / rate - time.monotonic(), 0))
        [(kind, reason)] = news_of("unlock", "ok", {})
        with transaction.atomic():
            WebhookEvent.objects.tell(kind, reason, timezone.now(), files[n % len(files)].pk)


def run(size: Size, *, with_sick: bool, folder: Path) -> Found:
    authority = Authority(folder)
    certificate = authority.certificate("hooks", host=HOST)
    receipts = folder / f"receipts-{time.monotonic_ns()}"
    with running("--receive", str(certificate), str(receipts)):
        until(lambda: receipts.exists() and receipts.read_text().endswith("\n"))
        port = receipts.read_text().strip()
        kinds = sorts(size.endpoints, with_sick=with_sick)
        files = make(kinds, int(port))
        # Each endpoint gets as many a second with and without.
        share = len(kinds) / size.endpoints
        rate, events = size.rate * share, int(size.events * share)
        if not rate:
            write(files, events, 0)
        arguments = "--work", str(WORKERS), str(authority.path)
        with running(*arguments, OPTIN_WEBHOOK_PORTS=port) as parent:
            if rate:
                until(lambda: count("procrastinate_workers") >= WORKERS)
            killer = threading.Thread(target=kill, args=[parent.pid, size.kills])
            killer.start()
            if rate:
                write(files, events, rate)
            killer.join()
            until(lambda: not left())
    return found(receipts, kinds, files)


def left() -> bool:
    """Whether a healthy endpoint still lacks an event."""
    well = WebhookEndpoint.objects.filter(url__contains="/well/")
    behind = well.exclude(cursor=F("file__webhook_sequence"))
    return WebhookEvent.objects.filter(sequence=None).exists() or behind.exists()


def count(rows: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {rows}")  # noqa: S608
        (found,) = cursor.fetchone()
    return int(found)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 1800
    while not true():
        if time.monotonic() > end:
            raise AssertionError("this never came true")
        time.sleep(0.2)


def kill(parent: int, count: int) -> None:
    """Kill *count* of the workers of *parent*, each at a random moment."""
    for _ in range(count):
        time.sleep(random.uniform(0.5, 3))  # noqa: S311
        victims: list[str] = []
        while not victims:  # the last one's successor is about to come
            victims = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(int(random.choice(victims)), signal.SIGKILL)  # noqa: S311


def found(receipts: Path, kinds: list[str], files: list[File]) -> Found:
    """Check that nothing is lost or out of order, and return what was found."""
    _, *lines = receipts.read_text().splitlines()
    firsts: dict[int, dict[int, float]] = defaultdict(dict)
    arrived: dict[int, int] = defaultdict(int)
    for line in lines:
        name, number, time_of_receipt = line.split()
        firsts[int(name)].setdefault(int(number), float(time_of_receipt))
        arrived[int(name)] += 1
    healthy = {file.pk for file, sort in zip(files, kinds, strict=True) if sort == "well"}
    rows = WebhookEvent.objects.filter(file__in=healthy).order_by("file", "sequence")
    wanted: dict[int, list[int]] = defaultdict(list)
    delays, begun = [], datetime.now(UTC).timestamp()
    for event in rows:
        sequence, at = event.sequence or 0, event.at.timestamp()
        wanted[event.file_id].append(sequence)
        if sequence not in firsts[event.file_id]:
            raise AssertionError(f"endpoint {event.file_id} never got its event {sequence}")
        delays.append(firsts[event.file_id][sequence] - at)
        begun = min(begun, at)
    for pk in healthy:
        if not list(firsts[pk]) == wanted[pk] == list(range(1, len(wanted[pk]) + 1)):
            raise AssertionError(f"endpoint {pk} got its events out of order")
    ended = max(max(firsts[pk].values()) for pk in healthy)
    return Found(
        events=len(delays),
        delays=sorted(delays),
        repeats=sum(arrived[pk] for pk in healthy) - len(delays),
        a_second=len(delays) / (ended - begun),
        tries_of_sick=WebhookTry.objects.exclude(endpoint__file__in=healthy).count(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200, help="events a second; 0: all at once")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--receive", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        asyncio.run(receive(*options.receive))
    elif options.work:
        work(int(options.work[0]), options.work[1])
    elif connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    else:
        size = Size(options.events, options.endpoints, options.rate, options.kills)
        with world.database(), tempfile.TemporaryDirectory() as folder:
            measure(size, options.rounds, Path(folder))
            connections.close_all()


def measure(size: Size, rounds: int, folder: Path) -> None:
    ratios = []
    for _ in range(rounds):
        without = run(size, with_sick=False, folder=folder)
        print(f"without sick ones: {without}", flush=True)
        with_sick = run(size, with_sick=True, folder=folder)
        print(f"with sick ones:    {with_sick}", flush=True)
        ratios.append([with_sick.at(percent) / without.at(percent) for percent in (50, 95, 100)])
    for name, each in zip(("delay", "95 %", "longest"), zip(*ratios, strict=True), strict=True):
        print(f"{name}, with / without: {', '.join(f'{ratio:.2f}' for ratio in each)}")


if __name__ == "__main__":
    main()
