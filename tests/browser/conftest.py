"""Pages in a real browser: a real server, a real clock, nothing faked.

The browser lives as long as this package, not as the whole run: while it does, an event
loop runs in this thread, and Django refuses the database there.

To see every page in every state, on a phone and on a screen, in light and in dark::

    SCREENSHOTS=$(mktemp -d) .venv/bin/python -m pytest tests/browser -n 2

leaves a picture of each, such as ``sign_in-1f0c9a2b-390-dark.png``, in that folder.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.crowd import Crowd, run
from tests.kit import chromium
from tests.kit.server import ROOT, needs

_SET_UP = """
import io
from django.core.management import call_command
from tests.browser import crowd
call_command("migrate", verbosity=0)
call_command("demo", json=True, empty=True, stdout=(demo := io.StringIO()))
crowd.make_first()
print(demo.getvalue().replace("\\n", ""))
"""
"""What ``make run`` does first, and the crowd: in one process, as each takes seconds to start."""


@pytest.fixture(autouse=True)
def clock() -> None:
    """The real one: the server reads it too."""


@pytest.fixture(autouse=True)
def phone() -> None:
    """The simulator's file: see ``Site.newest_text``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "browser"):
            item.add_marker("browser")
            item.add_marker("slow")


@pytest.fixture(scope="package", autouse=True)
def _chromium() -> None:
    needs("Chromium", chromium.CHROMIUM is not None)


@pytest.fixture(scope="package")
def site(_chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Site]:
    """A development start of the service, shared by the tests of this worker."""
    with chromium.serve(tmp_path_factory.mktemp("site"), set_up=_SET_UP) as site:
        yield site


@pytest.fixture(scope="package")
def crowd(site: chromium.Site) -> Crowd:
    """People to be: ``crowd.new()``, ``crowd.on()``."""
    return Crowd(site)


@pytest.fixture(scope="package")
def ids(site: chromium.Site) -> dict[str, int]:
    """A row of every kind, and an account to which everything has happened."""
    return run(site, "from tests.kit import office; out = office.fill()")


@pytest.fixture(scope="package")
def browser(_chromium: None) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium.launch_options())
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, site: chromium.Site) -> Iterator[chromium.Window]:
    """``open_page("/path", width=320, scripts=False, scheme="dark")``: see ``chromium.Window``."""
    window = chromium.Window(browser, site)
    yield window
    window.close()
