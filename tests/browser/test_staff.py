"""The pages for staff, as a browser shows them (P-27): every one, in every state.

What there is to look at follows from the addresses of the admin: a new one is looked at too,
or fails until somebody says how to get there.
"""

from typing import Any

import pytest
from playwright.sync_api import expect

from optin.admin.actions import OFFERED
from tests.browser.crowd import Crowd
from tests.browser.hands import Pointer, sign_in
from tests.kit.chromium import Site, Window, audit_everywhere
from tests.kit.office import SHARED
from tests.kit.staff import ADDRESSES, path_to

Ids = dict[str, int]

NO_PAGES = {
    "login": "leads on",
    "logout": "leads on",
    "stay": "numbers for a script",
    "jsi18n": "words for scripts",
    "optin_auditevent_export": "a file",
    "figures_csv": "a file",
}
OWN_PAGES = {"index", "figures"}


TO_SEE = sorted(ADDRESSES.keys() - NO_PAGES.keys())


# -- people ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cookies(browser: Any, site: Site, crowd: Crowd) -> Any:
    """Those of a superuser who is signed in."""
    window = Window(browser, site)
    page = window()
    sign_in(Pointer(page, site), crowd.on())
    state = page.context.storage_state()
    window.close()
    return state


@pytest.fixture
def hand(open_page: Window, site: Site, cookies: Any) -> Pointer:
    return Pointer(open_page(storage_state=cookies), site)


# -- every page --------------------------------------------------------------------


class Tour:
    """A member of staff who has each state of a page looked at."""

    def __init__(self, hand: Pointer, ids: Ids, name: str) -> None:
        self.hand, self.page, self.ids = hand, hand.page, ids
        self.name = name

    def look(self, state: str = "") -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_count(1)
        audit_everywhere(self.page, f"staff-{self.name}{state and '-'}{state}")

    def go(self, query: str = "") -> None:
        answer = self.page.goto(f"{path_to(self.name, self.ids)}{query}")
        assert answer
        assert answer.status == 200

    def see(self) -> None:
        """Have the page looked at, in each state of its kind."""
        if self.name in OFFERED:
            self.see_action()
        elif self.name.endswith("_changelist"):
            self.see_list()
        elif self.name == "find":
            self.see_found()
        elif self.name in {*OWN_PAGES} or self.name.endswith("_change"):
            self.go()
            self.look()
            self.see_older()
        else:
            pytest.fail(f"Say how to come to {self.name}, and in which states it is seen.")

    def see_action(self) -> None:
        self.go()
        self.look()
        required = self.page.locator("form[novalidate] :is(input, textarea):not([type=hidden])")
        needed = required.and_(self.page.locator("[required]"))
        if needed.count():
            # A form that changes something is filled in.
            typed = self.page.locator(":is([type=text], [type=url], [type=number])")
            for field in needed.and_(typed).all():
                field.fill("")
            self.hand.press(OFFERED[self.name].title)
            expect(self.page.get_by_role("alert")).to_be_focused()
            assert self.page.title().startswith("Error: ")
            self.look("refused")

    def see_list(self) -> None:
        self.go()
        expect(self.page.locator("#result_list tbody tr").first).to_be_visible()
        self.look()
        self.go("?before=1")
        expect(self.page.get_by_text("No results.", exact=True)).to_be_visible()
        self.look("empty")
        typed = self.page.locator(".filters input[type=text]").last  # an id, where others are not
        if typed.count():
            self.hand.unfold("Filters")
            typed.fill("\u202eno id")
            self.hand.press("Filter")
            expect(self.page.locator(".filters [aria-invalid]").first).to_be_visible()
            self.look("not-understood")
        self.go()
        self.see_older()

    def see_older(self) -> None:
        older = self.page.locator("a[rel=next]").first
        if older.count():
            self.hand.leave(older)
            self.look("older")

    def see_found(self) -> None:
        for state, who in {"none": "no\u202ebody", "several": SHARED}.items():
            self.page.goto("/admin/")
            self.page.get_by_label("Find an account").fill(who)
            self.hand.press("Find")
            self.look(state)


@pytest.mark.parametrize(
    "name",
    TO_SEE,
)
def test_page_can_be_used_by_everybody(name: str, hand: Pointer, ids: Ids) -> None:
    """P-27. axe at WCAG 2.2 AA, 320 px, both schemes, no violation of the policy of the pages."""
    Tour(hand, ids, name).see()


def test_no_page_was_left_out() -> None:
    assert NO_PAGES.keys() < ADDRESSES.keys()
    assert set(TO_SEE) > OFFERED.keys()
