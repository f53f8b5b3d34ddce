"""The site of the documentation: its links lead somewhere, and it loads nothing from elsewhere."""

import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from docs import site
from tests.kit.documents import DOCUMENTS, anchors
from tests.kit.server import ROOT

pytestmark = pytest.mark.slow  # it builds the site

BLOCKS = {"ol", "ul", "li", "pre", "table", "tr", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"}


class Page(HTMLParser):
    """What a page of the site says: its ids, its addresses, and the blocks of its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.blocks: list[str] = []
        self._is_text = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self._is_text |= tag == "article"
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a":
            self.links.update(filter(None, [given.get("href")]))
        elif tag != "form":
            self.loads |= {given[name] for name in ("href", "src", "srcset") if name in given}
        if tag in BLOCKS and self._is_text:
            self.blocks.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._is_text &= tag != "article"

    def target(self, address: str) -> Path:
        return (self.path.parent / unquote(urlsplit(address).path)).resolve()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """All pages of the site but the one for a wrong address, which no server here shows."""
    folder = site.build(tmp_path_factory.mktemp("site"))
    paths = [path for path in folder.rglob("*.html") if path.name != "404.html"]
    return {path: Page(path) for path in paths}


def of(document: Path, built: dict[Path, Page]) -> Page:
    name = document.relative_to(ROOT).with_suffix(".html").as_posix().replace("README", "index")
    (page,) = [page for path, page in built.items() if path.as_posix().endswith(f"site/{name}")]
    return page


def test_each_link_leads_somewhere(built: dict[Path, Page]) -> None:
    lost = {
        f"{page.path.name}: {address}"
        for page in built.values()
        for address in page.links | page.loads
        if not urlsplit(address).scheme and not leads_somewhere(page, address, built)
    }
    assert lost == set()


def leads_somewhere(page: Page, address: str, built: dict[Path, Page]) -> bool:
    path = page.target(address) if urlsplit(address).path else page.path
    path = path / "index.html" if path.is_dir() else path
    anchor = unquote(urlsplit(address).fragment)
    return path.is_file() and (not anchor or path not in built or anchor in built[path].ids)


def test_it_loads_nothing_from_elsewhere(built: dict[Path, Page]) -> None:
    for page in built.values():
        assert [one for one in page.loads if urlsplit(one).netloc] == [], page.path.name
    for path in next(iter(built)).parent.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*", path.read_text("utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_it_reads_a_page_as_github_does(
    document: Path, built: dict[Path, Page], caplog: pytest.LogCaptureFixture
) -> None:
    """The same lists, tables and lines of code, in the same order; the same anchors."""
    caplog.set_level(logging.INFO, "markdown_it")  # it tells each step
    page = of(document, built)
    tokens = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    blocks = ["pre" if token.tag == "code" else token.tag for token in tokens if token.nesting >= 0]
    assert page.blocks == [tag for tag in blocks if tag in BLOCKS]
    assert anchors(document) <= page.ids
