"""A mail server that answers a byte at a time: no request waits for it, nor anything for ever."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import django
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.messaging import delivery, smtp
from optin.messaging.postman import Postman
from optin.models import Notice, User
from optin.models.messages import State
from optin.operations import passwords
from tests.kit.people import NOON
from tests.kit.world import PAGE, proved

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
DRIP = 0.02  # seconds
PATIENCE = 0.4


class DrippingServer(ThreadingTCPServer):
    """Speaks SMTP (RFC 5321), and drips instead of its answer to one verb."""

    daemon_threads = True
    drips_at = b""
    tls = False


class Dripping(StreamRequestHandler):
    server: DrippingServer

    def handle(self) -> None:
        with suppress(OSError):
            self.answer(b"", b"220 slow\r\n")
            for line in self.rfile:
                verb = line[:4].upper().strip()
                self.answer(verb, b"354 go on\r\n" if verb == b"DATA" else b"250 ok\r\n")
                if verb == b"DATA":
                    while self.rfile.readline() != b".\r\n":
                        pass
                    self.answer(b".", b"250 taken\r\n")

    def answer(self, verb: bytes, words: bytes) -> None:
        if verb != self.server.drips_at:
            self.wfile.write(words)
            return
        # Of an answer, or of a long TLS record; never its end.
        self.wfile.write(b"\x16\x03\x03\x40\x00" if self.server.tls else b"2")
        while True:
            self.wfile.write(b"x")
            time.sleep(DRIP)


@pytest.fixture
def office(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DrippingServer]:
    """The mail server of the service."""
    monkeypatch.setattr(smtp, "PATIENCE", PATIENCE)
    with DrippingServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        serve_mail(settings, server, use_ssl=False)
        yield server
        server.shutdown()


def serve_mail(settings: Settings, server: DrippingServer, *, use_ssl: bool) -> None:
    host, port = server.server_address[:2]
    backend = "optin.messaging.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        options = {"host": host, "port": port, "timeout": 5, "use_ssl": use_ssl}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = backend, 5
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_SSL = host, port, use_ssl


@pytest.fixture
def notice(user: User) -> Notice:
    made = Notice(user=user, kind=Notice.Kind.PASSWORD, created_at=NOON)
    made.save_queued()
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drips_at", "tls", "state", "unknown_attempts"),
    [
        (b"", False, State.QUEUED, 0),
        (b"", True, State.QUEUED, 0),
        (b"EHLO", False, State.QUEUED, 1),
        (b".", False, State.QUEUED, 1),
        (b"QUIT", False, State.SENT, 1),
    ],
    ids=["greeting", "TLS", "EHLO", "after the mail", "QUIT"],
)
def test_a_mail_takes_so_long_and_no_longer(
    office: DrippingServer,
    settings: Settings,
    notice: Notice,
    drips_at: bytes,
    tls: bool,
    state: State,
    unknown_attempts: int,
) -> None:
    """Once the server let us in, it may have left: an unknown attempt."""
    office.drips_at, office.tls = drips_at, tls
    serve_mail(settings, office, use_ssl=tls)
    begun = time.perf_counter()
    delivery.send_due(timezone.now())
    assert PATIENCE * 0.9 < time.perf_counter() - begun < PATIENCE + 3
    notice.refresh_from_db()
    assert (notice.state, notice.unknown_attempts) == (state, unknown_attempts)


def test_a_mail_that_is_sent_leaves_no_timer(office: DrippingServer, notice: Notice) -> None:
    office.drips_at = b"none"
    assert delivery.send_due(timezone.now()) == 1
    for timer in [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:
        timer.join(PATIENCE / 2)  # one that was cancelled ends at once
        assert not timer.is_alive()


def test_no_answer_waits_for_a_mail(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """... and where there is no room for it, it is left to ``send_due``."""
    postman, at_work, go_on = Postman(2), threading.Event(), threading.Event()
    monkeypatch.setattr(delivery, "postman", postman)

    def busy() -> None:
        at_work.set()
        go_on.wait(60)

    assert postman.submit(busy)
    assert at_work.wait(60)
    for password in ("another one", "a third one"):
        passwords.choose(user, password, origin=PAGE, standing=proved(None))
        user.refresh_from_db()
    assert set(Notice.objects.values_list("state", flat=True)) == {State.QUEUED}
    assert not postman.submit(busy)  # full

    done = threading.Event()
    go_on.set()
    while not postman.submit(done.set):
        time.sleep(0.001)
    assert done.wait(60)
    assert Notice.objects.filter(state=State.SENT).count() == 1
    assert delivery.send_due(timezone.now()) == 1


COMMAND = """
import time
from optin.messaging.postman import Postman
postman = Postman(9)
postman.submit(lambda: print("left", flush=True))
postman.submit(lambda: time.sleep({seconds}))
postman.submit(lambda: print("left too", flush=True))
"""


def test_a_thread_that_could_not_begin_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory was short for a while, mails leave by themselves again."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    postman, done = Postman(1), threading.Event()
    with monkeypatch.context() as short_of_memory:
        short_of_memory.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            postman.submit(done.set)
    assert postman.submit(done.set)
    assert done.wait(10)


@pytest.mark.parametrize(("seconds", "left"), [(0, ["left", "left too"]), (600, ["left"])])
@pytest.mark.slow
def test_a_process_that_ends_waits_a_little(seconds: int, left: list[str]) -> None:
    """A command's mail leaves; a server that takes for ever keeps no process."""
    out = subprocess.run(
        [sys.executable, "-c", COMMAND.format(seconds=seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert out.stdout.splitlines() == left
