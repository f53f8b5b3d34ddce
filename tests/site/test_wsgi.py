"""The application as a server calls it."""

import http.client
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.kit.server import PRESENT, ROOT, gunicorn, serving, until
from tests.kit.wire import says
from tests.kit.wire import serving as receiving
from twofa_site.handler import Handler

# The handler closes connections, as between two requests: it must not stand in a transaction.
pytestmark = pytest.mark.django_db(transaction=True)

GRANT = b"client_credentials"
FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=a"
PART = b'--a\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\n%b\r\n--a--\r\n' % GRANT


def post(path: str, content_type: str, body: bytes, query: str = "") -> str:
    """Return the status of the answer."""
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc: Any = None, /) -> Any:
        statuses.append(status[:3])

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "https",
        "wsgi.errors": io.StringIO(),
    }
    Handler()(environ, start_response)
    return statuses[0]


@pytest.mark.parametrize(
    "parameter",
    [
        *("a*=bogus''x", "a*=undefined''x", "a*=idna''%ff", "charset=\0"),
        *(f"charset={name}" for name in ("rot13", "hex", "zip", "idna", "undefined", "utf-16")),
    ],
)
@pytest.mark.parametrize("path", ["/User/verify-2fa-opt-in", "/authorisation/token", "/"])
def test_a_nonsense_content_type_is_no_500(path: str, parameter: str) -> None:
    """Nothing a client sends gives a 500: not even what Django reads before any of ours."""
    assert post(path, f"application/json; {parameter}", b"{}", query="a=b")[0] == "4"


@pytest.mark.parametrize(
    ("charset", "status"),
    [("utf-8", "401"), ('"UTF-8"', "401"), ("utf8", "401")]
    + [(name, "400") for name in ("", "iso-8859-1", "utf-16", "rot13", "undefined", "nonsense")],
)
@pytest.mark.parametrize(("content_type", "body"), [(FORM, b"grant_type=" + GRANT), (PARTS, PART)])
def test_forms_are_in_utf8(content_type: str, body: bytes, charset: str, status: str) -> None:
    """S-22. What is read is asked for its client; the rest is as good as nothing."""
    assert post("/o/token/", f"{content_type}; charset={charset}", body) == status


@pytest.mark.slow
def test_no_header_moves_the_site_and_long_addresses_arrive(tmp_path: Path) -> None:
    """Some proxies pass on a client's ``SCRIPT_NAME``, which gunicorn takes for theirs."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db'}"}
    with serving(tmp_path, env, workers=1) as server:

        def ask(path: str, shown: str = "Location") -> tuple[int, str | None]:
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            line.request("GET", path, headers={"SCRIPT_NAME": "/zz", "PATH_INFO": "/zz"})
            answer = line.getresponse()
            line.close()
            return answer.status, answer.getheader(shown)

        assert ask("/zz/account/") == (404, None)
        assert ask("/account/") == (303, "/sign-in/?next=%2Faccount%2F")
        # A long address reaches the service, which answers as the contract says.
        long = f"/authorisation/ping?FileId={'9' * 5000}"
        assert ask(long, "Content-Type") == (401, "application/json; charset=utf-8")


def test_a_missing_setting_stops_the_server_with_a_sentence(tmp_path: Path) -> None:
    """As it stops a command: what the operator must do, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "twofa_site.wsgi", "--config", "gunicorn.conf.py"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "DEBUG": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "SECRET_KEY is not set (optin.E026). See docs/production.env.\n"


ENDPOINT = """
from optin.models import File
from optin.operations import webhooks
from optin.origin import Face, Origin
origin = Origin(Face.COMMAND)
endpoint, _ = webhooks.make(File.objects.get(pk=777), {!r}, origin=origin)
webhooks.send_test(endpoint, origin=origin)
"""


@pytest.mark.slow
def test_a_first_start_and_a_second_are_ready_and_send_events(tmp_path: Path) -> None:
    """What ``make run`` serves, on an empty folder and on its own."""
    for starts in range(2):
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            receiving(None, says(204)) as receiver,
        ):
            port = listener.getsockname()[1]
            env = {"PATH": os.environ["PATH"], "PORT": str(port), "DATA_DIR": str(tmp_path)}
            with gunicorn(
                listener, env, tmp_path / "log", 1, app="twofa_site.demo", options=["--preload"]
            ):
                page = urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60)
                assert page.read() == b"ok\n"
                assert guides(tmp_path / "log") == starts + 1  # at once
                # The made-up history would push the guide off the screen.
                assert "audit event" not in (tmp_path / "log").read_text()
                lines = ENDPOINT.format(receiver.url)
                done = PRESENT.manage("shell", "--no-imports", "-c", lines, env=env)
                assert done.returncode == 0, done.stderr
                until(lambda: receiver.requests)
        assert guides(tmp_path / "log") == starts + 1  # no process prints it again at its end


def guides(log: Path) -> int:
    """Return how often the guide of the demo was printed."""
    return log.read_text().count("All others, for example mia: password ")
