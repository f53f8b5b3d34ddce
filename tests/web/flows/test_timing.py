"""The time of an answer tells no name (S-38): of a real server, in real time."""

import re
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.models import Notice, User
from tests.kit.people import PASSWORD
from tests.kit.server import Site, serving

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgresql,
    pytest.mark.slow,
]

ROUNDS = 40
MAIL_TAKES = 0.3  # seconds


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still."""


class SlowMail(StreamRequestHandler):
    """Just enough of SMTP (RFC 5321) to take a mail, slowly."""

    def handle(self) -> None:
        self.wfile.write(b"220 slow\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
                time.sleep(MAIL_TAKES)
                self.server.taken += 1  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return


@pytest.fixture
def post_office() -> Iterator[ThreadingTCPServer]:
    with ThreadingTCPServer(("127.0.0.1", 0), SlowMail) as office:
        office.daemon_threads = True
        office.taken = 0  # type: ignore[attr-defined]
        threading.Thread(target=office.serve_forever, daemon=True).start()
        yield office
        office.shutdown()


@pytest.fixture
def slow_mail(tmp_path: Path, db: None, post_office: ThreadingTCPServer) -> Iterator[Site]:
    """A server whose mails take their time."""
    env = {
        "EMAIL_URL": f"smtp://127.0.0.1:{post_office.server_address[1]}",
        "OPTIN_FAILED_SIGN_INS_PER_NAME": "0",
        "OPTIN_FAILED_SIGN_INS_PER_IP": "0",
        "OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL": "0",
        "OPTIN_SIGN_INS_PER_IP": "0",
    }
    with serving(tmp_path, env, workers=1) as server:
        yield server


def seconds_of(server: Site, path: str, fields: dict[str, str], *, closing: bool) -> float:
    """Seconds from sending a form until all that somebody outside can see of it is over.

    :param closing: until the connection is closed; else until the next answer on it.
    """
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    line.request("GET", path)
    answer = line.getresponse()
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())[0]
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": (answer.getheader("Set-Cookie") or "").partition(";")[0],
        "Origin": f"http://127.0.0.1:{server.port}",
        "Connection": "close" if closing else "keep-alive",
    }
    begun = time.perf_counter()
    line.request("POST", path, urlencode({"csrfmiddlewaretoken": token, **fields}), headers)
    answer = line.getresponse()
    assert answer.status in {422, 303}, answer.read()
    if closing:
        assert line.sock is None  # left to the answer, which ends with the connection
        answer.read()
    else:
        answer.read()
        line.request("GET", path)
        line.getresponse().read()
    seconds = time.perf_counter() - begun
    line.close()
    return seconds


@pytest.mark.parametrize("closing", [True, False], ids=["until it closes", "and the next"])
@pytest.mark.parametrize(
    ("path", "field", "more"),
    [("/sign-in/", "username", {"password": "not it"}), ("/password-reset/", "email", {})],
    ids=["sign-in", "password reset"],
)
def test_medians_of_time_are_within_25_percent(
    path: str,
    field: str,
    more: dict[str, str],
    closing: bool,
    slow_mail: Site,
    post_office: ThreadingTCPServer,
    settings: Settings,
) -> None:
    """S-38. With the real hash, and a mail server that takes its time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    User.objects.create_user("anna", "anna@example.com", PASSWORD)
    times: dict[str, list[float]] = {"anna@example.com": [], "nona@example.com": []}

    for _ in range(ROUNDS):
        for name, seconds in times.items():
            seconds.append(seconds_of(slow_mail, path, {**more, field: name}, closing=closing))
            # Else one link a minute.
            Notice.objects.update(created_at=timezone.now() - timedelta(minutes=2))

    known, unknown = (statistics.median(seconds) for seconds in times.values())
    assert abs(known - unknown) <= 0.25 * max(known, unknown), (known, unknown)
    # Each leaves up to two seconds later.
    for _ in range(100):
        if post_office.taken or path != "/password-reset/":  # type: ignore[attr-defined]
            break
        time.sleep(0.1)
    mails: int = post_office.taken  # type: ignore[attr-defined]
    assert (mails > 0) is (path == "/password-reset/")
