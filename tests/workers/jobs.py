"""Jobs and the workers that do them: in this process, and in their own."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app

from optin import codes, keys
from optin.messaging import delivery
from optin.models import File, PendingOtp, ProviderUser, Purpose, SmsMessage, User
from tests.kit.people import number
from tests.kit.server import own_process, running_python


def jobs(**values: str) -> list[dict[str, Any]]:
    """The jobs that there are, the oldest first; *values* that they must have."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name, args::text, status::text, attempts, queue_name, worker_id,"
            " extract(epoch from scheduled_at - now())::float AS due_in"
            " FROM procrastinate_jobs ORDER BY id"
        )
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for job in found:
        job["args"] = json.loads(job["args"])
    return [job for job in found if all(job[name] == value for name, value in values.items())]


def change_jobs(change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE procrastinate_jobs SET {change}")  # noqa: S608


def work(*queues: str) -> None:
    """Do the jobs that are due now, as a worker in this process, and return.

    Without what is done regularly: a test defers that itself.
    """
    connector = app.connector.get_worker_connector()  # type: ignore[attr-defined]
    regularly = app.periodic_registry.periodic_tasks
    with app.replace_connector(connector), patch.dict(regularly, clear=True):
        app.run_worker(
            queues=list(queues or ["messages"]),
            wait=False,
            listen_notify=False,
            install_signal_handlers=False,
        )


def work_later() -> None:
    """Do the jobs that are to be tried again, as if their time had come."""
    change_jobs("scheduled_at = NULL WHERE status = 'todo'")
    work()


@dataclass
class Counted:
    """A gateway behind HTTP: it takes each text, after a while, and counts references."""

    wait: float = 0
    arrived: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        counted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                # Before the wait: whoever dies in it has sent the text.
                counted.arrived.append(self.headers["Idempotency-Key"])
                time.sleep(counted.wait)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 100

            def handle_error(self, *args: object) -> None:
                pass  # its client was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def times(self) -> Counter[str]:
        """How often each text arrived."""
        return Counter(self.arrived)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OPTIN_GATEWAYS": "http",
            "OPTIN_FICTIONAL_NUMBERS": "yes",
            "OPTIN_GATEWAY_HTTP_URL": f"http://127.0.0.1:{self.server.server_port}/",
            "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "text": "{body}"}',
        }

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def environment(folder: Path, gateway: Counted) -> dict[str, str]:
    """The environment of a worker on the database of the tests."""
    own = {"EMAIL_URL": "dummy://", "OPTIN_DELIVERY": "worker"}
    return own_process(folder, **own, **gateway.environment)


@contextmanager
def process(
    folder: Path, gateway: Counted, *command: str, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python *command*`` with a log in *folder* until the block ends."""
    env = {**environment(folder, gateway), **env}
    with running_python(*command, env=env, log=folder / "workers.log") as running:
        yield running


@contextmanager
def worker(folder: Path, gateway: Counted, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as operators start it."""
    command = ("manage.py", "procrastinate", "worker", *options)
    with process(folder, gateway, *command) as running:
        yield running


def texts(count: int, file: File) -> Sequence[SmsMessage]:
    """*count* people with a code each, whose text waits for a worker."""
    now = timezone.now()
    users = User.objects.bulk_create(
        User(username=f"w{n}", email=f"w{n}@example.com", password="!") for n in range(count)
    )
    rows = ProviderUser.objects.bulk_create(
        ProviderUser(
            user=user,
            file=file,
            number_encrypted=ProviderUser.seal(number(n), user),
            number_digest=ProviderUser.digest_of(number(n)),
            last_three="000",
            created_at=now,
        )
        for n, user in enumerate(users)
    )
    pending = PendingOtp.objects.bulk_create(
        PendingOtp(
            provider_user=row,
            purpose=Purpose.OPT_IN,
            file=file,
            nonce=codes.new_nonce(),
            key_id=keys.current_id(),
            digits=7,
            issued_at=now,
            expires_at=now + timedelta(minutes=10),
        )
        for row in rows
    )
    with transaction.atomic():
        made = [SmsMessage(pending_otp=otp, created_at=now) for otp in pending]
        for message in made:
            delivery.dispatch(message)
    return made
