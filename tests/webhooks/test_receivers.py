"""The programs of the docs that verify signatures, each as a server of its own."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from optin.operations import webhooks as endpoints
from tests.kit.mono import compiled
from tests.kit.people import ORIGIN
from tests.kit.server import ROOT, free_port, needs
from tests.kit.wire import Answer, Request, Server, says
from tests.kit.world import World
from tests.webhooks.kit import Client, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.clients, pytest.mark.long]

HARNESSES = Path(__file__).parent / "receivers"
PAGES = {"python": "events", "ruby": "verify-signatures", "php": "verify-signatures"}
SUFFIXES = {"python": "py", "ruby": "rb", "php": "php", "csharp": "cs"}
PATIENCE = 30
"""Seconds until a program must serve."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The programs have the real clock; that of the service begins there, and stands still."""
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each program as its page has it, beside what serves it."""
    folder = tmp_path_factory.mktemp("receivers")
    for language, suffix in SUFFIXES.items():
        page = ROOT / "docs" / f"{PAGES.get(language, 'verify-signatures')}.md"
        (program,) = re.findall(
            rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        )
        (folder / f"page.{suffix}").write_text(program, encoding="utf-8")
    return Path(shutil.copytree(HARNESSES, folder, dirs_exist_ok=True))


@dataclass
class Receiver:
    """One of the programs, once it serves."""

    port: int
    folder: Path

    def post(self, headers: Mapping[str, str | bytes], body: bytes) -> int:
        """Send *body* with the *headers* as they are; return the status of the answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        line.putrequest("POST", "/hook")
        for name, value in headers.items():
            line.putheader(name, value)
        line.endheaders(body)
        status = line.getresponse().status
        line.close()
        return status

    def stands_behind(self, server: Server) -> Answer:
        """What *server* gets comes here, as behind a proxy that ends TLS."""

        def answer(line: socket.socket) -> None:
            request = server.requests[-1]
            says(self.post(without(request, "Host"), request.body))(line)

        return answer

    @property
    def handled(self) -> list[str]:
        """The types of the events that the program took."""
        path = self.folder / "handled"
        return path.read_text().split() if path.exists() else []


def without(request: Request, *names: str) -> dict[str, str | bytes]:
    """The headers of *request* but those with *names*."""
    return {name: value for name, value in request.headers.items() if name not in names}


@pytest.fixture(params=SUFFIXES)
def receives(
    request: pytest.FixtureRequest, programs: Path, tmp_path: Path
) -> Iterator[Callable[[str], Receiver]]:
    """Starts the program of a language with the secret that it is given."""
    for name in programs.iterdir():
        shutil.copy(name, tmp_path)
    with ExitStack() as stack:
        yield lambda secret: stack.enter_context(
            started(command(request.param, programs), tmp_path, secret)
        )


def command(language: str, programs: Path) -> Callable[[int], list[str]]:
    """How to serve the program of *language* at a port."""
    if language == "csharp":
        run = compiled(programs, programs / "page.cs", programs / "Serve.cs")
        return lambda port: [*run, str(port)]
    if language == "php":
        needs("PHP", shutil.which("php") is not None)
        # A warning is in the answer at once, and then its status is 200.
        strict = ["-d", "error_reporting=-1", "-d", "display_errors=1", "-d", "output_buffering=0"]
        before = ["-d", "auto_prepend_file=serve.php"]
        return lambda port: ["php", *strict, *before, "-S", f"127.0.0.1:{port}", "page.php"]
    if language == "ruby":
        needs("Ruby", shutil.which("ruby") is not None)
        return lambda port: ["ruby", "-w", "serve.rb", str(port)]
    return lambda port: [sys.executable, "-W", "error", "serve.py", str(port)]


@contextmanager
def started(command: Callable[[int], list[str]], folder: Path, secret: str) -> Iterator[Receiver]:
    port = free_port()
    log = folder / "log"
    with log.open("wb") as written:
        program = subprocess.Popen(
            command(port),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "SECRET": secret},
            stdout=written,
            stderr=written,
        )
    try:
        until = time.monotonic() + PATIENCE
        while not answers(port):
            assert program.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        yield Receiver(port, folder)
    finally:
        program.kill()
        program.wait()


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def test_it_takes_what_the_service_sends_once(
    receives: Callable[[str], Receiver], client: Client, world: World
) -> None:
    receiver = receives(client.secret)
    client.server.answer = receiver.stands_behind(client.server)
    world.guess(world.code())
    send()
    assert [(each.status, each.reason) for each in client.tries] == [(204, "")]

    (request,) = client.server.requests
    assert receiver.post(without(request, "Host"), request.body) == 204
    assert receiver.handled == ["number.activated"]


SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")
NO_TIMES: list[str | bytes] = ["", "x", "-1", "1e9", "9" * 400, "\u0661\u0662", "1793620800.5"]
NO_SIGNATURES: list[str | bytes] = [
    "",
    " ",
    "v1",
    "v1,",
    "v1,,",
    "v1,x",
    "v1,\u00e9",
    "v1a," + "A" * 43 + "=",
]


def test_it_refuses_what_is_not_signed(
    receives: Callable[[str], Receiver], client: Client, world: World
) -> None:
    """With an answer in each case: nothing that somebody sends breaks it."""
    receiver = receives(client.secret)
    world.guess(world.code())
    send()
    (request,) = client.server.requests
    headers, body = without(request, "Host"), request.body

    changed: list[tuple[dict[str, str | bytes], bytes]] = [
        (headers, body.replace(b"777", b"778")),
        (headers, b"\xff" + body[1:]),
        *((without(request, "Host", name), body) for name in SIGNED),
        (without(request, "Host", *SIGNED), body),
    ]
    others: dict[str, list[str | bytes]] = {
        "webhook-id": ["msg_other", "", b"\xff"],
        "webhook-timestamp": [str(int(request.headers["webhook-timestamp"]) - 1), *NO_TIMES],
        "webhook-signature": NO_SIGNATURES,
    }
    for name, values in others.items():
        for value in values:
            text = value if isinstance(value, bytes) else value.encode()
            changed.append(({**headers, name: text}, body))
    refused = [receiver.post(*each) for each in changed]

    assert refused == [400] * len(changed)
    assert receiver.handled == []
    assert receiver.post(headers, body) == 204


def test_it_takes_what_was_signed_within_five_minutes(
    receives: Callable[[str], Receiver], client: Client, clock: time_machine.Traveller
) -> None:
    receiver = receives(client.secret)
    client.server.answer = receiver.stands_behind(client.server)
    now = datetime.now(UTC)
    for minutes in (-6, -4, 4, 6):
        clock.move_to(now + timedelta(minutes=minutes))
        endpoints.send_test(client.endpoint, origin=ORIGIN)
        send()

    assert [each.status for each in client.tries] == [400, 204, 204, 400]
    assert receiver.handled == ["endpoint.test"] * 2


def test_it_takes_the_old_secret_while_there_are_two(
    receives: Callable[[str], Receiver], client: Client
) -> None:
    receiver = receives(client.secret)
    client.server.answer = receiver.stands_behind(client.server)
    endpoints.replace_secret(client.endpoint, origin=ORIGIN)
    endpoints.send_test(client.endpoint, origin=ORIGIN)
    send()

    assert [each.status for each in client.tries] == [204]
    (request,) = client.server.requests
    new, old = request.headers["webhook-signature"].split()
    alone = {**without(request, "Host"), "webhook-signature": new}
    assert receiver.post(alone, request.body) == 400
    assert receiver.post({**alone, "webhook-signature": old}, request.body) == 204
