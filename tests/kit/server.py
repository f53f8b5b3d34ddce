"""The service in processes of its own, as it runs, and what a machine must have for it."""

import http.client
import itertools
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection

from tests.kit.clients import FORM
from tests.kit.tables import migrated

ROOT = Path(__file__).resolve().parent.parent.parent
METRICS_TOKEN = "metrics-token-of-32-characters-or-more"


@dataclass(frozen=True)
class Code:
    """A folder with the code of a release, and the Python that has its packages."""

    root: Path
    python: str = sys.executable

    def manage(self, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "manage.py", *arguments],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            check=False,
        )


PRESENT = Code(ROOT)


def needs(service: str, present: bool) -> None:
    """Skip the test, by name, where a service is missing; fail where it is required."""
    if present:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required (REQUIRE_SERVICES=1) and missing")
    pytest.skip(f"{service} is not here")


def kill(worker: int) -> None:
    """kill -9 one worker, unless it is gone already."""
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)


@contextmanager
def running_python(
    *arguments: str, env: Mapping[str, str], log: Path, code: Code = PRESENT, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in the folder of *code*, with a log, until the block ends."""
    with log.open("ab") as written:
        process = subprocess.Popen(
            [code.python, *arguments],
            cwd=code.root,
            env=dict(env),
            stdout=written,
            stderr=written,
            **options,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)  # longer than gunicorn's own limit
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def gunicorn(
    listener: socket.socket,
    env: Mapping[str, str],
    log: Path,
    workers: int,
    *,
    code: Code = PRESENT,
    patience: int = 1,
    app: str = "twofa_site.wsgi",
    options: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Let gunicorn serve what comes to *listener*, which is its own from then on.

    :param patience: seconds that requests have to end when it stops.
    """
    command = ["-m", "gunicorn", app, "--config", "gunicorn.conf.py", *options]
    command += ["--workers", str(workers), "--graceful-timeout", str(patience)]
    command += ["--bind", f"fd://{listener.fileno()}"]
    descriptors = [listener.fileno()]
    with running_python(*command, env=env, log=log, code=code, pass_fds=descriptors) as process:
        listener.close()
        yield process


@contextmanager
def serving(folder: Path, env: Mapping[str, str] = {}, *, workers: int = 3) -> Iterator["Site"]:
    """Serve the database of the tests, with the settings in *env*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
            "DEBUG": "1",  # the simulator stands for the phones
            "SECRET_KEY": django_settings.SECRET_KEY,  # and with it the keys of the tests
            "BASE_URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": database_url(),
            "DATA_DIR": str(folder),
            "LOG_LEVEL": "WARNING",
            "OPTIN_REQUESTS_PER_USER": "0",
            "OPTIN_REQUESTS_PER_NETWORK": "0",
            "OPTIN_BREAKER_UNPROVED": "0",
            "OPTIN_PASSWORD_HASHES": "64",
            **env,
        }
        with gunicorn(listener, environment, folder / "server.log", workers) as process:
            yield Site(folder, port, environment, process)


_SET_UP = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("demo", empty={}, json=True)
"""
"""What ``make run`` does first: in one process, as each takes seconds to start."""


@dataclass(frozen=True)
class Development:
    """A development start: its address, its folder, and what ``demo --json`` prints."""

    base_url: str
    data: Path
    demo: dict[str, Any]


@contextmanager
def development_start(
    folder: Path, *, is_empty: bool = False, also: str = "", **env: str
) -> Iterator[Development]:
    """Make a fresh development start in *folder*, as ``make run`` does, and serve it.

    The database of the tests is not touched.

    :param is_empty: without the month of history.
    :param also: more lines of the set-up, which print nothing.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, data = listener.getsockname()[1], folder / "var"
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "DATA_DIR": str(data), **env}
        lines = _SET_UP.format(is_empty) + also
        migrated(data)
        done = PRESENT.manage("shell", "--no-imports", "-c", lines, env=env)
        assert done.returncode == 0, done.stderr
        with gunicorn(listener, env, folder / "server.log", workers=1):
            yield Development(f"http://localhost:{port}", data, json.loads(done.stdout))


def database_url() -> str:
    """The address of the database that the tests have made."""
    database = connection.settings_dict
    secret = f":{quote(database['PASSWORD'], safe='')}" if database["PASSWORD"] else ""
    account = f"{quote(database['USER'], safe='')}{secret}"
    host = f"{quote(database['HOST'], safe='')}:{database['PORT'] or 5432}"
    return f"postgres://{account}@{host}/{quote(database['NAME'], safe='')}"


def own_process(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process of its own on the database of the tests."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
        "DEBUG": "1",
        "SECRET_KEY": django_settings.SECRET_KEY,
        "BASE_URL": "http://127.0.0.1:8000",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(folder),
        **more,
    }


@contextmanager
def empty_database() -> Iterator[str]:
    """Make a database on the PostgreSQL server of the tests; give its address."""
    server = database_url().rpartition("/")[0]
    name = f"upgrade_{secrets.token_hex(4)}"
    with psycopg.connect(database_url(), autocommit=True) as beside:
        beside.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type, unused-ignore]
        try:
            yield f"{server}/{name}"
        finally:
            beside.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type, unused-ignore]


def manage(env: Mapping[str, str], *arguments: str) -> str:
    """Run a command of the service, which must succeed; return what it prints."""
    done = PRESENT.manage(*arguments, env=env)
    done.check_returncode()
    return done.stdout


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it is true. The clock of a test may stand still; this one goes on."""
    end = time.perf_counter() + seconds
    while not true():
        assert time.perf_counter() < end, f"it was not true within {seconds} seconds"
        time.sleep(0.005)


def listens(port: int) -> bool:
    """Whether something takes connections to this port."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def replaced(text: str, words: Mapping[str, str]) -> str:
    """Return *text* with other words; each must be in it."""
    for old, new in words.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


_ports = itertools.count(10_000 + 50 * os.getpid() % 20_000)


def free_port() -> int:
    """Return a free port outside the ephemeral range, so that no other process gets it."""
    for port in _ports:
        with socket.socket() as free, suppress(OSError):
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Site:
    """The service as it runs, on the database that the tests have made."""

    folder: Path
    port: int
    env: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def manage(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the settings of the service, and those in *env*."""
        return PRESENT.manage(*arguments, env=self.env | env)

    def send(
        self,
        path: str,
        body: "str | bytes | Mapping[str, object]" = b"",
        kind: str = "application/json",
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        """Send one request over a connection of its own; a mapping as *kind* writes it."""
        if isinstance(body, Mapping):
            body = urlencode(body) if kind == FORM else json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            names["Content-Type"] = kind
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as line:
            line.request(method, path, body, names)
            response = line.getresponse()
            text = response.read().decode()
            return Answer(response.status, text, dict(response.getheaders()))

    def post_json(
        self, path: str, body: Mapping[str, object], token: str = ""
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.send(path, body, **headers)
        return answer.status, answer.json

    def send_raw(self, request: bytes) -> bytes:
        """Send bytes as they are; nothing follows them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            return line.recv(65536)

    def metrics(self) -> str:
        answer = self.send("/metrics", method="GET", Authorization=f"Bearer {METRICS_TOKEN}")
        assert answer.status == 200
        return answer.text

    def workers(self) -> list[int]:
        assert self.process
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_workers(self) -> None:
        """kill -9 every worker; gunicorn starts others."""
        for worker in self.workers():
            kill(worker)

    def texts(self) -> list[dict[str, str]]:
        """The texts that left, oldest first."""
        phone = self.folder / "sms.jsonl"
        return (
            [json.loads(line) for line in phone.read_text().splitlines()] if phone.exists() else []
        )

    def code(self) -> str:
        """The code of the newest text."""
        return self.texts()[-1]["body"].split()[0]

    def sql(self, statement: str) -> None:
        """Run one statement behind the service's back."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(statement)
        else:
            with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
                database.execute(statement)
                database.commit()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return list(database.execute(statement))

    def dump(self) -> str:
        """All rows of all tables, as text."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                tables = connection.introspection.table_names(cursor)
                lines = []
                for table in tables:
                    name = connection.ops.quote_name(table)
                    cursor.execute(f"SELECT row_to_json(t)::text FROM {name} t")  # noqa: S608
                    lines += [f"{table} {row}" for (row,) in cursor.fetchall()]
            return "\n".join(lines)
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return "\n".join(database.iterdump())


@contextmanager
def running(
    folder: Path, *, tables: bool = True, env: Mapping[str, str] = {}, **more: str
) -> Iterator[Site]:
    """Serve a fresh database from two processes, with the settings in *env* and *more*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(folder),
            "PORT": str(port),
            "METRICS_TOKEN": METRICS_TOKEN,
            "OPTIN_REQUESTS_PER_USER": "0",
            "OPTIN_REQUESTS_PER_NETWORK": "0",
            "OPTIN_RESEND_WAIT": "0",
            **env,
            **more,
        }
        if connection.vendor == "postgresql":
            environment["DATABASE_URL"] = database_url()
        site = Site(folder, port, environment)
        if tables and connection.vendor != "postgresql":
            migrated(folder)
        with gunicorn(listener, environment, site.log, workers=2) as site.process:
            yield site
