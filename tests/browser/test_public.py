"""The pages that need no account, as a browser shows them."""

import pytest
from playwright.sync_api import expect

from optin.gateways import Simulator, Text
from tests.kit.chromium import NARROW, Site, Window, audit_everywhere

PAGES = {
    "start": "/",
    "help": "/Help",
    "help-call": "/Help/Api/POST-User-verify-2fa-opt-in",
    "help-errors": "/Help/Errors",
    "help-authentication": "/Help/Authentication",
    "help-events": "/Help/Events",
    "simulator": "/simulator/",
    "not-found": "/nothing",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_used_by_everybody(name: str, open_page: Window) -> None:
    """P-11: axe, 320 px, both schemes, and a browser without complaint."""
    audit_everywhere(open_page(PAGES[name]), name)


def test_keyboard_reaches_everything_and_shows_where_it_is(open_page: Window) -> None:
    page = open_page("/livez/nothing", width=NARROW)
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for link in page.locator("main a, footer a").all():
        page.keyboard.press("Tab")
        expect(link).to_be_focused()
        assert link.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_phone_shows_a_text_as_it_comes(site: Site, open_page: Window) -> None:
    """P-15: by itself, at the top, without a reload, and read out."""
    phone = Simulator(site.data_dir)
    phone.send(Text("+61491570156", "0000001 is your code", "sms-a"))
    page = open_page("/simulator/")
    page.evaluate("window.loadedOnce = true")
    expect(page.get_by_role("log")).to_contain_text("0000001 is your code")
    phone.send(Text("+61491570157", "0000002 is <b>your</b> code", "sms-b"))
    expect(page.locator(".bubble").first).to_have_text("0000002 is <b>your</b> code")
    assert page.evaluate("window.loadedOnce")
    # Other tests' texts may lie below.
    newest = page.locator(".bubble").all_inner_texts()[:2]
    assert [text.count("000000") for text in newest] == [1, 1]
    audit_everywhere(page, "simulator-texts")
