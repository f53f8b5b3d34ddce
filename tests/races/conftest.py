"""Real threads, real processes, real time. Only PostgreSQL lets writers race."""

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import defusedxml.ElementTree
import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.conf import Rate
from optin.models import AccessKey, File, PendingOtp, ProviderUser, User
from optin.operations import opt_ins, sign_in
from optin.origin import Face, Origin
from optin.outcomes import SendOutcome
from optin.runtime import hashing
from tests.conftest import ORIGIN, PASSWORD, Phone, make_user

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
THREADS = 16
FROM = Origin(Face.TOKEN, ip="192.0.2.1")
LONG = 10**9
"""Seconds of a window that no run of the tests crosses: the next one begins in 2033."""

ROUNDS = [
    pytest.param(2, id="2 rounds"),
    pytest.param(50, id="50 rounds", marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still: other processes have it too."""


@pytest.fixture(autouse=True)
def no_breaker(settings: Settings) -> None:
    """All numbers here have one prefix. ``serving`` has none either, but where it is asked for."""
    settings.OPTIN_BREAKER_UNPROVED = 0


@pytest.fixture(autouse=True)
def many_hashers(settings: Settings) -> Iterator[None]:
    """All threads may hash at once, as in ``serving``: races are about what comes after."""
    settings.OPTIN_PASSWORD_HASHES = 64
    hashing._hashers.cache_clear()
    yield
    hashing._hashers.cache_clear()


def number(n: int) -> str:
    """The n-th mobile number."""
    return f"+6149{n:07d}"


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all *calls* from threads that start together; return the answers."""
    threads = min(THREADS, len(calls))
    start = Barrier(threads, timeout=30)

    def work(part: Sequence[Callable[[], T]]) -> list[T]:
        start.wait()
        try:
            return [call() for call in part]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(work, [calls[n::threads] for n in range(threads)])
        return list(itertools.chain.from_iterable(parts))


# -- a server of several processes -------------------------------------------------


@dataclass
class Server:
    """The service as it runs: gunicorn, several processes, the database of the tests."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def post(self, path: str, body: str, media_type: str, token: str = "") -> tuple[int, bytes]:
        """Send one request over a connection of its own: any worker may take it."""
        headers = {"Content-Type": media_type}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("POST", path, body, headers)
            response = line.getresponse()
            return response.status, response.read()
        finally:
            line.close()

    def post_json(
        self, path: str, body: dict[str, Any], token: str = ""
    ) -> tuple[int, dict[str, Any]]:
        status, answer = self.post(path, json.dumps(body), "application/json", token)
        return status, json.loads(answer)

    def texts(self) -> int:
        """How many texts left so far."""
        phone = self.folder / "sms.jsonl"
        return len(phone.read_text().splitlines()) if phone.exists() else 0

    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        pid = self.process.pid
        return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_workers(self) -> None:
        """kill -9 every worker; gunicorn starts others."""
        for worker in self.workers():
            kill(worker)


def kill(worker: int) -> None:
    """kill -9 one worker, unless it is gone already."""
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)


@contextmanager
def serving(folder: Path, env: Mapping[str, str] = {}, *, workers: int = 3) -> Iterator[Server]:
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
            "REDIS_URL": "",
            "LOG_LEVEL": "WARNING",
            "OPTIN_REQUESTS_PER_USER": "0",
            "OPTIN_REQUESTS_PER_NETWORK": "0",
            "OPTIN_BREAKER_UNPROVED": "0",
            "OPTIN_PASSWORD_HASHES": "64",
            **env,
        }
        command = [sys.executable, "-m", "gunicorn", "twofa_site.wsgi"]
        command += ["--config", "gunicorn.conf.py", "--workers", str(workers)]
        command += ["--bind", f"fd://{listener.fileno()}", "--graceful-timeout", "1"]
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
    try:
        yield Server(port, process, folder)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def database_url() -> str:
    """The address of the database that the tests have made."""
    database = connection.settings_dict
    secret = f":{quote(database['PASSWORD'], safe='')}" if database["PASSWORD"] else ""
    account = f"{quote(database['USER'], safe='')}{secret}"
    host = f"{quote(database['HOST'], safe='')}:{database['PORT'] or 5432}"
    return f"postgres://{account}@{host}/{quote(database['NAME'], safe='')}"


@pytest.fixture(scope="session")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the default limits, for all tests that need no others."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


# -- two ways to the operations ----------------------------------------------------


class Way(Protocol):
    """How a test calls an operation. The answers are the codes of the contract."""

    def opt_in(self, user: User, file: File, mobile: str) -> str: ...

    def verify(self, user: User, file: File, provider_user_id: int, otp: str) -> str: ...

    def texts(self) -> int: ...


@dataclass
class ByService:
    phone: Phone

    def opt_in(self, user: User, file: File, mobile: str) -> str:
        outcome = opt_ins.opt_in(user, file, mobile, origin=ORIGIN).outcome
        return "ok" if outcome in {SendOutcome.SENT, SendOutcome.RESENT} else outcome

    def verify(self, user: User, file: File, provider_user_id: int, otp: str) -> str:
        return opt_ins.verify_opt_in(user, file, provider_user_id, otp, origin=ORIGIN).outcome

    def texts(self) -> int:
        return len(self.phone.messages)


@dataclass
class ByHttp:
    """Requests with an access key or a token, by turns in JSON and in XML."""

    server: Server
    keys: dict[tuple[int, int], str] = field(default_factory=dict)  # by user and file
    tokens: dict[int, str] = field(default_factory=dict)  # by user
    turn: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.texts_before = self.server.texts()

    def let_in(self, user: User, file: File) -> None:
        """Make the key with which *user* calls."""
        self.keys[user.pk, file.pk] = AccessKey.objects.make(user, file, timezone.now())[1]

    def sign_in(self, user: User) -> None:
        """Get the token with which *user* calls: all by the same client."""
        self.tokens[user.pk] = signed_in(user).access_token

    def opt_in(self, user: User, file: File, mobile: str) -> str:
        return self._call(user, file, "opt-in-to-2fa", "OptInTo2FARequest", MobileNumber=mobile)

    def verify(self, user: User, file: File, provider_user_id: int, otp: str) -> str:
        values = {"ProviderUserId": str(provider_user_id), "Otp": otp}
        return self._call(user, file, "verify-2fa-opt-in", "Verify2FAOptInRequest", **values)

    def texts(self) -> int:
        return self.server.texts() - self.texts_before

    def _call(self, user: User, file: File, call: str, model: str, **values: str) -> str:
        path, token = f"/User/{call}?FileId={file.pk}", self.tokens.get(user.pk, "")
        if not token:
            path += f"&WsAccessKey={self.keys[user.pk, file.pk]}"
        if next(self.turn) % 2:
            fields = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
            body = f"<{model}>{fields}</{model}>"
            status, answer = self.server.post(path, body, "application/xml", token)
            titles = [e.text or "" for e in defusedxml.ElementTree.fromstring(answer).iter("title")]
        else:
            status, json_answer = self.server.post_json(path, values, token)
            titles = [entry["title"] for entry in json_answer.get("_links", [])]
        return "ok" if status == 200 else titles[-1]


@pytest.fixture(params=["services", "http"])
def way(request: pytest.FixtureRequest, phone: Phone) -> Way:
    """Each test that uses this runs twice: threads in one process, then a server."""
    if request.param == "services":
        return ByService(phone)
    return ByHttp(request.getfixturevalue("server"))


def member(way: Way, name: str, *files: File) -> User:
    """A new user who may call by this *way*."""
    user = make_user(name, *files)
    if isinstance(way, ByHttp):
        for file in files:
            way.let_in(user, file)
    return user


def pend(user: User, file: File, mobile: str) -> PendingOtp:
    """Have *user* ask for a code for *mobile*; return it, pending."""
    sending = opt_ins.opt_in(user, file, mobile, origin=ORIGIN)
    assert sending.provider_user_id, sending.outcome
    row = ProviderUser.objects.get(pk=sending.provider_user_id)
    return PendingOtp.objects.open().select_related("provider_user").get(provider_user=row)


def signed_in(user: User) -> sign_in.Tokens:
    """Sign *user* in with the password; needs ``password_clients``."""
    client = sign_in.application()
    assert client
    answer = sign_in.password_grant(
        user.username, PASSWORD, scope="", verification_code="", client=client, origin=FROM
    )
    assert answer.tokens
    return answer.tokens


def rate(count: int) -> tuple[Rate, ...]:
    return (Rate(count, LONG),)


def wrong_codes(pending: PendingOtp, count: int) -> list[str]:
    """Different codes, none of which is that of *pending*."""
    size = 10**pending.digits
    return [f"{(int(pending.code()) + n) % size:0{pending.digits}d}" for n in range(1, count + 1)]
