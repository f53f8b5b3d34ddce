"""The lock files install the same packages whatever is released after them."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def normalised(name: str) -> str:
    """Return the name of a package as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> set[str]:
    """The packages that a lock file names."""
    return {
        normalised(found) for found in re.findall(r"(?m)^([\w.-]+).*==", (ROOT / name).read_text())
    }


class NewerReleases(BaseHTTPRequestHandler):
    """An index page (PEP 503) that offers version 9999 of whatever is asked for."""

    def do_GET(self) -> None:
        name = self.path.strip("/").replace("-", "_")
        wheel = f"{name}-9999-py3-none-any.whl"
        page = f'<!DOCTYPE html><a href="/files/{wheel}">{wheel}</a>'.encode()
        self.send_response(404 if name.endswith(".whl") else 200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


@pytest.fixture
def newer_releases() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), NewerReleases) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "lock"), [("runs", "requirements.txt"), ("tests", "requirements-dev.txt")]
)
def test_a_newer_release_changes_nothing(
    target: str, lock: str, newer_releases: str, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    # Nothing runs what is installed, so pip need not compile it.
    environment = {**os.environ, "PIP_EXTRA_INDEX_URL": newer_releases, "PIP_COMPILE": "0"}

    made = subprocess.run(
        ["make", f"{venv}/{target}", f"VENV={venv}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    listed = subprocess.run(
        [venv / "bin/pip", "list", "--format", "freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    installed = {
        normalised(name): version for name, version in (line.split("==") for line in listed.split())
    }
    assert installed.keys() >= {"django", "psycopg", "procrastinate"}
    # These two come with the virtual environment.
    assert installed.keys() - {"pip", "setuptools"} <= locked(lock)
    assert "9999" not in installed.values()
