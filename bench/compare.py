"""The service beside a floor and a peer, each a site of its own.

Wrong codes by bearer token: the *floor* (``bench.floor``) answers them with a constant behind
django-oauth-toolkit. The service runs as it is shipped (``bench.service``). All have the same
processes and threads, take turns, and are driven by ``wrk`` with 16 connections. Each request is of
another person; there are enough people if no answer is another one than "wrong".

    DATABASE_URL=postgres://... python -m bench.compare [--seconds N] [--rounds N] [--people N]
        [--threads N ...] [--events N] [--service PATH]

``--events`` adds the service with so many audit events and 100 000 more people; ``--service``,
another checkout of it.
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import django
import psycopg

from bench import servers

SHIPPED = 96
"""The threads of ``gunicorn.conf.py``, of which 8 work at once."""

REWIND = """
UPDATE optin_pendingotp SET tries = 0 WHERE tries > 0;
UPDATE optin_user SET program_failures = 0, program_locked_until = NULL WHERE program_failures > 0
"""


def production(folder: Path) -> dict[str, str]:
    """Return the environment of a production; the limits on requests are as shipped."""
    key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
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
    }


@dataclass
class Site:
    """A contender: how to serve it, and the answer to a wrong code."""

    name: str
    package: str
    application: str
    people: str
    status: int
    word: str
    root: Path = servers.ROOT
    options: tuple[str, ...] = ()
    rewind: str = ""
    events: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> str:
        return urlsplit(self.env["DATABASE_URL"]).path[1:]


def floor() -> Site:
    return Site(
        "floor",
        "bench.floor.settings",
        "django.core.wsgi:get_wsgi_application()",
        "bench.floor.people",
        200,
        "ok",
        options=("--worker-class", "gthread", "--config", "/dev/null"),
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
        root=root,
        options=("--config", str(root / "gunicorn.conf.py")),
        rewind=REWIND,
        events=events,
    )


@contextmanager
def ready(site: Site, server: str, folder: Path, people: int) -> Iterator[None]:
    """Give *site* a database with people, and write their requests into *folder*."""
    name = f"bench_{site.name}_{os.getpid()}".replace("-", "_")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            site.env = production(folder) | {
                "DATABASE_URL": urlsplit(server)._replace(path=f"/{name}").geturl(),
                "DJANGO_SETTINGS_MODULE": site.package,
                "PYTHONPATH": f"{folder.parent}:{site.root}",
            }
            made = subprocess.run(  # noqa: S603
                [sys.executable, "-P", "-m", site.people, str(people), str(site.events)],
                env=os.environ | site.env,
                cwd=site.root,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            lines = [json.loads(line) for line in made.stdout.splitlines()]
            data = folder / "people"
            data.write_text("".join(f"{one['token']} {json.dumps(one['body'])}\n" for one in lines))
            path = "/User/verify-2fa-opt-in?FileId=777"
            # The requests before a measurement are of other people.
            for script, begin in (("warm", 0.8), ("drive", 0)):
                asked = (data, "POST", path, begin, site.status, site.word)
                (folder / f"{script}.lua").write_text(servers.SCRIPT % asked)
            yield
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Run(NamedTuple):
    """Requests a second; the 99th percentile in ms; processor time of one request in ms."""

    rate: float
    tail: float
    application: float
    database: float


def wrong_codes(site: Site, folder: Path, threads: int, seconds: int) -> Run:
    if site.rewind:
        with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as rows:
            rows.execute(site.rewind)
            rows.execute("VACUUM")
    port = servers.free_port()
    sizes = ("--workers", "2", "--threads", str(threads))
    command = servers.gunicorn(port, site.application, *site.options, *sizes)
    with servers.serving(command, port, site.env, site.root, folder / "log") as server:
        servers.drive(port, folder / "warm.lua", min(2, seconds))
        before = servers.processor_time(server, site.database)
        driven = servers.drive(port, folder / "drive.lua", seconds)
        after = servers.processor_time(server, site.database)
    spent = [1000 * (b - a) / (driven.rate * seconds) for a, b in zip(before, after, strict=True)]
    return Run(driven.rate, driven.tail, *spent)


def tell(runs: dict[tuple[str, int], list[Run]]) -> None:
    print(
        "2 processes with:     requests/s  of the floor       p99  processor: application  database"
    )
    for (name, threads), values in runs.items():
        rate, tail, application, rows = map(statistics.median, zip(*values, strict=True))
        beside = runs["floor", min(threads, 8)]
        pairs = list(zip(values, beside, strict=True))
        ratio = statistics.median(mine.rate / its.rate for mine, its in pairs)
        less = statistics.median(its.application / mine.application for mine, its in pairs)
        print(
            f"{threads:2} threads, {name:10} {rate:8.0f} {ratio:14.2f} {tail:7.0f} ms"
            f" {application:12.2f} ms ({less:.2f}) {rows:6.2f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 8, SHIPPED])
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--service", type=Path, action="append", default=[])
    options = parser.parse_args()
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        parser.error("DATABASE_URL must name a PostgreSQL server")
    sites = [floor(), service("service")]
    sites += [service("events", events=options.events)] if options.events else []
    sites += [service(path.resolve().name, path.resolve()) for path in options.service]
    runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="optin-bench-") as parent, ExitStack() as stack:
        Path(parent, "measured").symlink_to(servers.ROOT / "bench")
        for site in sites:
            folder = Path(parent, site.name)
            folder.mkdir()
            stack.enter_context(ready(site, server, folder, options.people))
        for _ in range(options.rounds):
            for threads in options.threads:
                for site in sites:
                    if site.name != "floor" or threads != SHIPPED:
                        run = wrong_codes(site, Path(parent, site.name), threads, options.seconds)
                        runs[site.name, threads].append(run)
        with psycopg.connect(server) as rows:
            postgresql = rows.info.server_version // 10_000
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, PostgreSQL {postgresql}"
    )
    print(
        f"{options.rounds} rounds of {options.seconds} s, {options.people} people; load "
        f"{os.getloadavg()[1]:.1f}; medians"
    )
    tell(runs)


if __name__ == "__main__":
    main()
