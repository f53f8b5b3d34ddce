"""Lists of the admin, as a browser shows them: on a screen of 1280 px, and on a phone (P-27)."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.crowd import Crowd
from tests.browser.hands import Pointer, sign_in
from tests.kit.chromium import PHONE, WIDE, Site, Window
from tests.kit.staff import LISTS

LOG = "/admin/optin/auditevent/"
PATHS = sorted(f"/admin/{'/'.join(name.rsplit('_', 1))}/" for name in LISTS)

_BROKEN = """() => {
    const broken = [];
    for (const cell of document.querySelectorAll(".rows th, .rows td")) {
        const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            for (const found of walk.currentNode.data.matchAll(/[^\\s-]+/g)) {
                if (found[0].length > 14) continue;
                const range = document.createRange();
                range.setStart(walk.currentNode, found.index);
                range.setEnd(walk.currentNode, found.index + found[0].length);
                const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
                if (lines.size > 1) broken.push(found[0]);
            }
        }
    }
    return broken;
}"""
"""Words, short enough for any column, that stand on more than one line."""


@pytest.fixture
def hand(site: Site, crowd: Crowd, open_page: Window, ids: dict[str, int]) -> Pointer:
    """A superuser, where there is a row of every kind, with the longest words that people write."""
    return sign_in(Pointer(open_page(width=WIDE), site), crowd.on())


def test_columns_fit_and_no_word_is_broken(hand: Pointer) -> None:
    page = hand.page
    for path in PATHS:
        page.goto(path)
        expect(page.locator("#result_list tbody tr").first).to_be_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= WIDE, f"{path}: {width} px"
        assert page.evaluate(_BROKEN) == [], path
        row = page.locator("#result_list tbody tr").first.bounding_box()
        assert row
        assert row["y"] < 340, f"{path}: nothing but filters on the first screen"


def top_of_head(page: Page) -> float:
    box = page.locator("#result_list thead th").first.bounding_box()
    assert box
    return box["y"]


def test_heads_stay_in_sight(hand: Pointer) -> None:
    """The page scrolls where there is room, else the rows, also by keyboard."""
    page = hand.page
    page.goto(LOG)
    page.mouse.wheel(0, 2000)
    page.wait_for_function("scrollY > 1000")
    assert top_of_head(page) == 0
    page.set_viewport_size({"width": 800, "height": 844})
    page.goto(LOG)
    rows = page.get_by_role("region", name="Audit events, rows")
    rows.focus()
    before = top_of_head(page)
    page.keyboard.press("End")
    page.wait_for_function("() => document.activeElement.scrollTop > 100")
    assert top_of_head(page) == pytest.approx(before, abs=2)


def test_a_row_is_a_card_on_a_phone(hand: Pointer) -> None:
    """P-27: nothing scrolls sideways, and each cell says what it is."""
    page = hand.page
    page.set_viewport_size({"width": PHONE, "height": 844})
    for path in PATHS:
        page.goto(path)
        card = page.locator("#result_list tbody tr").first
        for cell in card.locator(":scope > :not(:first-child):visible").all():
            said = cell.evaluate("it => getComputedStyle(it, '::before').content")
            assert said == f'"{cell.get_attribute("data-head")}"', path
        assert page.evaluate("document.querySelector('.rows').scrollWidth") <= PHONE, path
