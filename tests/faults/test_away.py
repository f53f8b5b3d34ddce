"""What happens while something that the service needs is not there (S-64)."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from optin.conf import KEY_BYTES, Rate
from optin.models import Canary, File, ProviderUser, User
from optin.operations import opt_ins, staff_actions
from optin.outcomes import SendOutcome
from optin.runtime import throttle
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.server import METRICS_TOKEN, free_port, listens, needs, until

pytestmark = pytest.mark.django_db(transaction=True)


def test_redis_away(
    access_key: str, client: Client, settings: LazySettings, tmp_path: Path
) -> None:
    """Each process counts for itself; once Redis is back, it counts for all, without a restart.

    S-64.
    """
    needs("Redis", shutil.which("redis-server") is not None)
    settings.OPTIN_REQUESTS_PER_USER = (Rate(4, 300),)
    calls = f"/User/opt-in-to-2fa?FileId=777&WsAccessKey={access_key}"

    def call() -> int:
        return client.post(calls, {}, content_type="application/json").status_code

    def ready() -> bytes:
        answer = client.get("/readyz")
        assert answer.status_code == 200
        return answer.content

    Canary.objects.look()
    port = free_port()
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    assert [call() for _ in range(2)] == [400, 400]
    assert ready() == b"ok\nredis\n"
    with redis(port, tmp_path):
        ask_again()
        assert [call() for _ in range(5)] == [400] * 4 + [429]  # a count of its own
        assert ready() == b"ok\n"
    assert [call() for _ in range(3)] == [400, 400, 429]  # the count from before goes on
    assert ready() == b"ok\nredis\n"


@pytest.mark.parametrize(
    ("flaw", "mend", "why"),
    [
        (["--maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "OutOfMemoryError"),
        (["--replicaof", "127.0.0.1 1"], ["REPLICAOF", "NO", "ONE"], "ReadOnlyError"),
    ],
    ids=["full", "read-only"],
)
def test_a_redis_that_answers_but_cannot_write(
    flaw: list[str],
    mend: list[str],
    why: str,
    client: Client,
    settings: LazySettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is away for whoever watches, and does not seem to come and go."""
    needs("Redis", shutil.which("redis-server") is not None)
    settings.OPTIN_REQUESTS_PER_USER = (Rate(4, 300), Rate(9, 3000))
    settings.METRICS_TOKEN = METRICS_TOKEN
    Canary.objects.look()
    port = free_port()
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"

    def seen() -> tuple[bytes, str]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        up = re.search(r"^optin_redis_up (.*)$", answer.content.decode(), re.MULTILINE)
        return client.get("/readyz").content, up[1] if up else ""

    def told() -> list[str]:
        return [line.message for line in caplog.records if line.name == throttle.__name__]

    with redis(port, tmp_path, *flaw):
        for _ in range(4):
            ask_again()
            assert seen() == (b"ok\nredis\n", "0.0")
            ask_again()
            assert throttle.hit(1) is None
        assert throttle.hit(1)  # a count of its own
        assert [why in line for line in told()] == [True]
        subprocess.run(["redis-cli", "-p", str(port), *mend], check=True, capture_output=True)
        ask_again()
        assert seen() == (b"ok\n", "1.0")
    assert ["is back" in line for line in told()] == [False, True]


def ask_again() -> None:
    """Let ``ASK_AGAIN`` pass."""
    throttle._redis._ask_from = 0.0


def test_a_redis_that_hangs_is_asked_once(settings: LazySettings) -> None:
    """S-64. And once more after ``ASK_AGAIN``. Each request that asks it waits for a second."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        settings.REDIS_URL = f"redis://127.0.0.1:{hung.getsockname()[1]}/0"
        for _ in range(20):
            throttle.hit(1)
        ask_again()
        with ThreadPoolExecutor(4) as at_once:
            list(at_once.map(throttle.hit, [1] * 4))
        hung.setblocking(False)
        for _ in range(2):
            hung.accept()[0].close()
        with pytest.raises(BlockingIOError):
            hung.accept()


@pytest.mark.parametrize("is_shared", [True, False], ids=["redis", "own"])
def test_a_request_that_one_limit_refuses_does_not_use_up_another(
    settings: LazySettings, tmp_path: Path, *, is_shared: bool
) -> None:
    """Each refusal tells when the limit that refused it ends."""
    short, long = Rate(2, 300), Rate(3, 3000)
    with ExitStack() as running:
        if is_shared:
            needs("Redis", shutil.which("redis-server") is not None)
            port = free_port()
            settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
            running.enter_context(redis(port, tmp_path))
        settings.OPTIN_REQUESTS_PER_USER = (short, long)
        waits = [throttle.hit(1) for _ in range(4)]
        settings.OPTIN_REQUESTS_PER_USER = (long,)
        waits += [throttle.hit(1) for _ in range(2)]
    seconds = [wait and wait.total_seconds() for wait in waits]
    assert seconds == [None, None, about(300), about(300), None, about(3000)]


def test_a_count_that_lost_its_end_gets_one(settings: LazySettings, tmp_path: Path) -> None:
    needs("Redis", shutil.which("redis-server") is not None)
    settings.OPTIN_REQUESTS_PER_USER = (Rate(1, 300),)
    port = free_port()
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    with redis(port, tmp_path):
        throttle.hit(1)
        subprocess.run(["redis-cli", "-p", str(port), "PERSIST", "optin 1/1/300"], check=True)
        wait = throttle.hit(1)
    assert wait
    assert wait.total_seconds() == about(300)


def about(seconds: int) -> object:
    return pytest.approx(seconds, abs=60)


@contextmanager
def redis(port: int, folder: Path, *options: str) -> Iterator[None]:
    """Run Redis at *port* until the block ends."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: listens(port))
            yield
        finally:
            process.terminate()


def test_a_number_is_encrypted_anew_when_its_key_is_lost(
    user: User, file: File, active: ProviderUser, phone: Phone, settings: LazySettings
) -> None:
    """Staff release a number that no key opens any more; its owner opts in again."""
    staff_actions.revoke(user, reason="key lost", origin=ORIGIN)
    settings.OPTIN_KEYS = {"new": b"n" * KEY_BYTES}

    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    assert sending.outcome is SendOutcome.SENT
    assert len(phone.messages) == 2
    active.refresh_from_db()
    assert active.open_number() == NUMBER
