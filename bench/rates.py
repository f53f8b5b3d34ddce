"""A wrong code beside a constant answer and beside a service without lock or audit.

All three are served by the same two processes with eight threads each, in turns, and driven by
``wrk`` with 16 connections, each request of another person. Every answer must be the expected one,
or there is no measurement: also where codes run out of tries (choose more people then).

    python -m bench.rates [--seconds N] [--rounds N] [--people N]
"""

import argparse
import json
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from bench import contenders, servers, verify, world

from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from bench import round_trips

TICKS = os.sysconf("SC_CLK_TCK")


class Contender(NamedTuple):
    path: str
    status: int
    word: str


SERVICE = "this service"
CONTENDERS = {
    "constant (floor)": Contender("/floor/drf", 200, "ok"),
    "no lock, no audit (peer)": Contender("/floor/peer", 400, "wrong"),
    SERVICE: Contender(f"/User/verify-2fa-opt-in?FileId={world.FILE_ID}", 400, "otp_incorrect"),
}


class Run(NamedTuple):
    """Requests a second; 99th percentile in ms; processor time of one request in ms."""

    rate: float
    tail: float
    application: float
    database: float


def measure(port: int, script: Path, seconds: int, server: int) -> Run:
    before = _processor_time(server)
    driven = servers.drive(port, script, seconds)
    after = _processor_time(server)
    spent = [1000 * (b - a) / (driven.rate * seconds) for a, b in zip(before, after, strict=True)]
    return Run(driven.rate, driven.tail, *spent)


def _processor_time(server: int) -> tuple[float, float]:
    """Return the seconds that the processes of the server, and those of PostgreSQL, have used."""
    application = database = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # it has ended
            continue
        facts = rest.split()
        used = int(facts[11]) + int(facts[12])
        if int(facts[3]) == server:  # its session
            application += used
        elif name.startswith("postgres"):
            database += used
    return application / TICKS, database / TICKS


def statements(name: str, person: world.Person) -> tuple[int, int]:
    """Return how many statements a request sends, and how many round trips it waits for."""
    path, query = (CONTENDERS[name].path + "?").split("?")[:2]
    body = json.dumps({"ProviderUserId": person.provider_user_id, "Otp": person.wrong_code})

    def ask() -> None:
        environ = verify.environ(path, query, "application/json", body, person.token)
        contenders.application(environ, lambda *_: lambda _: None).close()

    ask()
    with CaptureQueriesContext(connection) as queries:
        ask()
        sent = len(queries)
    with round_trips.counted() as trips:
        ask()
    return sent, len(trips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=10_000)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port = servers.free_port()
    runs: dict[str, list[Run]] = defaultdict(list)
    with world.database(), tempfile.TemporaryDirectory() as folder:
        people = world.people(options.people)
        data, script = Path(folder, "people"), Path(folder, "script.lua")
        servers.write(data, people)
        counts = {name: statements(name, people[i]) for i, name in enumerate(CONTENDERS)}
        database = world.url()
        connections.close_all()
        for _ in range(options.rounds):
            for name, contender in CONTENDERS.items():
                world.rewind()
                connections.close_all()
                script.write_text(
                    servers.SCRIPT
                    % (data, "POST", contender.path, contender.status, contender.word)
                )
                command = servers.gunicorn(port)
                with servers.serving(command, port, database) as server:
                    servers.drive(port, script, min(2, options.seconds))
                    runs[name].append(measure(port, script, options.seconds, server))
        connections.close_all()
    floor, peer, _ = (statistics.median(run.rate for run in runs[name]) for name in CONTENDERS)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.people} people; medians")
    print("                          rate  of floor of peer    p99   app  database  sent, waits")
    for name, values in runs.items():
        rate, tail, application, database_ms = (
            statistics.median(column) for column in zip(*values, strict=True)
        )
        sent, waits = counts[name]
        print(
            f"{name:24} {rate:5.0f}/s {rate / floor:8.2f} {rate / peer:7.2f} {tail:5.0f} ms"
            f" {application:5.2f} {database_ms:6.2f} ms {sent:5}, {waits}"
        )


if __name__ == "__main__":
    main()
