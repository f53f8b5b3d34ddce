"""The site of the documentation, for a reader without a way to the internet."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from docs import site as docs_site
from tests.kit.server import until


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the requests out of the output of the tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return docs_site.build(tmp_path_factory.mktemp("docs"))


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opens(page: Page, search: Locator) -> bool:
    """Press the key for it. Nobody listens until the page's scripts have begun."""
    page.keyboard.press("Control+k")
    page.wait_for_timeout(300)
    return search.is_visible()


def test_the_search_finds_a_setting(browser: Browser, served: str) -> None:
    with browser.new_context() as context:
        asked: set[str] = set()
        page = context.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(f"{served}/docs/index.html")
        search = page.get_by_placeholder("Search")
        until(lambda: opens(page, search))
        search.fill("STOP_DELAY")
        page.get_by_role("option", name="Of the site").first.click()
        expect(page.get_by_role("heading", name="Of the site")).to_be_in_viewport()
    assert asked == {urlsplit(served).netloc}


@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_from_a_folder(browser: Browser, folder: Path, width: int) -> None:
    """Nothing is asked of another host, and no page is wider than the window."""
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        asked: set[str] = set()
        page = context.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).scheme))
        for path in sorted(folder.glob("docs/*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    assert asked == {"file"}
