"""A server that is told to stop first says so, and serves until it stops."""

import time
from pathlib import Path

import pytest

from tests.kit.server import running, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the server has it too."""


@pytest.mark.slow
def test_a_server_says_that_it_stops_and_serves_until_then(tmp_path: Path) -> None:
    with running(tmp_path, STOP_DELAY="5") as site:
        assert site.process
        assert site.send("/livez", method="GET").status == 200  # it is there
        start = time.monotonic()
        site.process.terminate()
        until(lambda: site.send("/readyz", method="GET").text == "stopping\n")
        while time.monotonic() < start + 3:
            assert site.send("/livez", method="GET").status == 200
        site.process.terminate()  # again, which changes nothing
        site.process.wait(timeout=20)

    assert time.monotonic() - start >= 5
