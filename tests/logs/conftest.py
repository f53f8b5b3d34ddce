"""A server of several processes, its database, and all that it writes."""

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.db import connection

from tests.conftest import copy_tables
from tests.races.conftest import database_url

ROOT = Path(__file__).resolve().parent.parent.parent
METRICS_TOKEN = "metrics-token-of-32-characters-or-more"
FORM = "application/x-www-form-urlencoded"


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
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )

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

    def texts(self) -> list[dict[str, str]]:
        """The texts that left, oldest first."""
        lines = (self.folder / "sms.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

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
            copy_tables(folder / "db.sqlite3")
        command = [sys.executable, "-m", "gunicorn", "twofa_site.wsgi"]
        command += ["--config", "gunicorn.conf.py", "--workers", "2"]
        command += ["--bind", f"fd://{listener.fileno()}", "--graceful-timeout", "1"]
        with site.log.open("ab") as log:
            site.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
    try:
        yield site
    finally:
        site.process.terminate()
        try:
            site.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            site.process.kill()
            site.process.wait()


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within 10 seconds; the clock here stands still."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False
