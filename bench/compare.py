"""Compare the service with a floor and a peer, in turns. Each is a site of its own.

It measures two loads. In a journey, a person opts in, enters the code, signs in with a texted code,
and refreshes: 16 clients do this, each for different people. The *peer* is ``bench.peer``. Both
have a fast hash of passwords.

Then ``wrk`` sends wrong codes by bearer token on 16 connections, each for a different person. The
*floor* (``bench.floor``) answers them with a constant behind django-oauth-toolkit.

The service runs as it is shipped (``bench.service``), with its limits on requests, its metrics, and
its log in a file. Only the limits on texts of one client and of all are raised. All have two
processes, and the same number of threads. It takes a quarter of an hour.

    DATABASE_URL=postgres://... python -m bench.compare [--seconds N] [--rounds N] [--people N]
        [--journeys N] [--threads N ...] [--events N] [--service PATH]

``--events N`` also measures the service with N audit events and N / 10 more people.
``--service PATH`` also measures another checkout.
"""

import argparse
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import django
import psycopg

from bench import servers
from bench.journey import Journeys, Texts

SHIPPED = 96
"""The threads of ``gunicorn.conf.py``, of which 8 work at once."""

SCRIPTS = {"warm": 0.8, "drive": 0.0}
"""Where each begins in the list of people: the warm-up is for other people."""


def production(folder: Path) -> dict[str, str]:
    """Return the environment of a production. What is not here is as shipped."""
    key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    limits = ("SENDS_PER_CLIENT", "SENDS_PER_FILE", "SENDS_TOTAL", "OWN_SENDS_TOTAL")
    return {
        "BASE_URL": "https://127.0.0.1",
        "DATA_DIR": str(folder),
        "DEBUG": "false",
        "EMAIL_URL": "dummy://",
        "METRICS_TOKEN": secrets.token_urlsafe(32),
        "OPTIN_DIGEST_KEY": key,
        "OPTIN_KEYS": f"bench:{key}",
        "OPTIN_SUPPORT": "help@example.com",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRUSTED_PROXIES": "127.0.0.0/8",
        **{f"OPTIN_{limit}": "1000000/86400" for limit in limits},
    }


@dataclass
class Site:
    """A contender: how to serve it, and its answer to a wrong code."""

    name: str
    settings: str
    application: str
    people: str
    status: int
    word: str
    config: str = "/dev/null"  # of gunicorn
    rewind: str = ""  # what lets each person enter a wrong code again
    token: dict[str, str] = field(default_factory=dict)  # added to token calls
    root: Path = servers.ROOT
    events: int = 0
    folder: Path = Path()
    env: dict[str, str] = field(default_factory=dict)
    new: list[dict[str, Any]] = field(default_factory=list)  # people without a number

    @property
    def database(self) -> str:
        return f"bench_{self.name}_{os.getpid()}".replace("-", "_")


DJANGO = "django.core.wsgi:get_wsgi_application()"
FLOOR = Site("floor", "bench.floor.settings", DJANGO, "bench.floor.people", 200, "ok")
PEER = Site(
    "peer",
    "bench.peer.settings",
    DJANGO,
    "bench.peer.people",
    400,
    "otp_incorrect",
    rewind="UPDATE peer_phone SET throttling_failure_count = 0 WHERE throttling_failure_count > 0",
    token={"client_id": "app"},
)


def service(name: str, root: Path = servers.ROOT, events: int = 0) -> Site:
    # Under another name, because the other checkout has a package ``bench`` too.
    return Site(
        name,
        "measured.service",
        "measured.service:application()",
        "measured.world",
        400,
        "otp_incorrect",
        config=str(root / "gunicorn.conf.py"),
        rewind="UPDATE optin_pendingotp SET tries = 0 WHERE tries > 0; "
        "UPDATE optin_user SET program_failures = 0, program_locked_until = NULL "
        "WHERE program_failures > 0",
        root=root,
        events=events,
    )


# -- the sites ---------------------------------------------------------------------


@contextmanager
def ready(site: Site, server: str, folder: Path, people: int) -> Iterator[None]:
    """Give *site* a database with people, and write their requests into *folder*."""
    folder.mkdir()
    site.folder = folder
    site.env = production(folder) | {
        "DATABASE_URL": urlsplit(server)._replace(path=f"/{site.database}").geturl(),
        "DJANGO_SETTINGS_MODULE": site.settings,
        "PYTHONPATH": f"{folder.parent}:{site.root}",
    }
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{site.database}"')
        try:
            prepare(site, people)
            yield
        finally:
            admin.execute(f'DROP DATABASE "{site.database}" WITH (FORCE)')


def prepare(site: Site, people: int) -> None:
    made = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-m", site.people, str(people), str(site.events)],
        env=os.environ | site.env,
        cwd=site.root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in made.stdout.splitlines()]
    asked = [f"{one['token']} {json.dumps(one['body'])}\n" for one in lines if "body" in one]
    data = site.folder / "people"
    data.write_text("".join(asked))
    for script, begin in SCRIPTS.items():
        facts = (data, "POST", "/User/verify-2fa-opt-in?FileId=777", begin, site.status, site.word)
        (site.folder / f"{script}.lua").write_text(servers.SCRIPT % facts)
    new = [one for one in lines if "username" in one]
    site.new = [one | {"n": n} for n, one in enumerate(new)]


# -- what is measured --------------------------------------------------------------


class Run(NamedTuple):
    """People or requests a second; processor time of one in ms; the 99th percentile in ms."""

    rate: float
    application: float
    database: float
    tail: float = 0


@contextmanager
def serving(site: Site, threads: int) -> Iterator[tuple[int, Callable[[], list[float]]]]:
    """Serve *site*; yield its port, and what tells the milliseconds that both have taken."""
    port = servers.free_port()
    sizes = ("--workers", "2", "--threads", str(threads))
    command = servers.gunicorn(port, site.application, "--config", site.config, *sizes)
    with servers.serving(command, port, site.env, site.root, site.folder / "log") as server:
        yield port, lambda: [1000 * s for s in servers.processor_time(server, site.database)]


def journeys(site: Site, threads: int, count: int) -> Run:
    texts = Texts(site.folder / "sms.jsonl")
    with serving(site, threads) as (port, taken):
        clients = Journeys(port, texts, site.token)
        clients.run([site.new.pop() for _ in range(count // 4)])
        people = [site.new.pop() for _ in range(count)]
        before = taken()
        seconds = clients.run(people)
        after = taken()
    application, database = ((b - a) / count for a, b in zip(before, after, strict=True))
    return Run(count / seconds, application, database)


def wrong_codes(site: Site, threads: int, seconds: int) -> Run:
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as rows:
        rows.execute(site.rewind)
        rows.execute("VACUUM")
    with serving(site, threads) as (port, taken):
        servers.drive(port, site.folder / "warm.lua", min(2, seconds))
        before = taken()
        driven = servers.drive(port, site.folder / "drive.lua", seconds)
        after = taken()
    count = driven.rate * seconds
    application, database = ((b - a) / count for a, b in zip(before, after, strict=True))
    return Run(driven.rate, application, database, driven.tail)


def tell(runs: dict[tuple[str, int], list[Run]], beside: str, unit: str) -> None:
    """Print the medians, and the medians of the ratios to *beside* in the same round."""
    print(f"\n{unit:24} a second  ratio  application  ratio  database     p99")
    for (name, threads), values in runs.items():
        pairs = list(zip(values, runs[beside, threads], strict=True))
        rate, application, rows, tail = map(statistics.median, zip(*values, strict=True))
        faster = statistics.median(mine.rate / its.rate for mine, its in pairs)
        less = statistics.median(its.application / mine.application for mine, its in pairs)
        print(
            f"{name:10} {threads:2} threads    {rate:8.1f} {faster:6.2f} {application:9.2f} ms"
            f" {less:6.2f} {rows:6.2f} ms {f'{tail:5.0f} ms' if tail else ''}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--journeys", type=int, default=500, help="People in a round; 0: none.")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 8, SHIPPED])
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--service", type=Path, action="append", default=[])
    options = parser.parse_args()
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        parser.error("DATABASE_URL must name a PostgreSQL server")
    sites = [FLOOR, PEER, service("service")]
    sites += [service("events", events=options.events)] if options.events else []
    sites += [service(path.resolve().name, path.resolve()) for path in options.service]
    codes: dict[tuple[str, int], list[Run]] = defaultdict(list)
    people: dict[tuple[str, int], list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="optin-bench-") as parent, ExitStack() as stack:
        Path(parent, "measured").symlink_to(servers.ROOT / "bench")
        for site in sites:
            stack.enter_context(ready(site, server, Path(parent, site.name), options.people))
        for _ in range(options.rounds):
            for site in sites[1:] if options.journeys else ():
                run = journeys(site, options.threads[-1], options.journeys)
                people[site.name, options.threads[-1]].append(run)
            for threads in options.threads:
                for site in sites:
                    codes[site.name, threads].append(wrong_codes(site, threads, options.seconds))
        with psycopg.connect(server) as rows:
            postgresql = rows.info.server_version // 10_000
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, PostgreSQL {postgresql}"
    )
    print(f"Medians of {options.rounds} rounds; load {os.getloadavg()[1]:.1f}")
    if people:
        tell(people, "peer", "Journeys")
    tell(codes, "floor", "Wrong codes")


if __name__ == "__main__":
    main()
