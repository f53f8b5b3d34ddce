"""Why somebody cannot sign in: one page says it, in words (P-21).

Calls of a running server bring it about. Then a member of staff, who signed in with a second
factor, finds the person from the home page, and reads what stands first. tests/explained has all
causes.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FloatRect, Page, expect

from tests.browser.crowd import PASSWORD, Crowd, Person
from tests.browser.hands import Pointer, another, sign_in
from tests.kit.chromium import WIDE, Site, Window, beside, shoot

PHONE_WIDTH = 375
AT = r"\d{1,2} \w{3} \d\d:\d\d \(in \d+ \w+\)"
"""A time, with how far it is."""


@pytest.fixture
def support(site: Site, crowd: Crowd, browser: Browser) -> Iterator[Pointer]:
    """A member of staff, where three wrong codes lock."""
    with beside(site, OPTIN_RESEND_WAIT="0", OPTIN_LOCK_AFTER="3") as own:
        window = Window(browser, own)
        yield sign_in(Pointer(window(), own), crowd.on())
        window.close()


def lock(support: Pointer, person: Person) -> None:
    """Enter wrong codes by calls, as a client does when *person* signs in."""
    body = {"grant_type": "password", "username": person.name, "password": PASSWORD}
    token, call = f"{support.site.url}/authorisation/token", support.page.request.post
    before = len(support.site.texts(person.number))
    assert call(token, data=body).status == 401
    code = support.site.newest_text(person.number, after=before).split()[0]
    wrong = {**body, "verification_code": another(code)}
    assert [call(token, data=wrong).status for _ in range(4)] == [400, 400, 400, 429]


def picture(page: Page, name: str, top: str, bottom: str) -> None:
    """Take a picture for the guide, from one element down to another: where they are asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        first, last = (page.locator(each).first.bounding_box() for each in (top, bottom))
        assert first
        assert last
        y, below = first["y"] - 10, last["y"] + last["height"]
        clip: FloatRect = {
            "x": last["x"] - 10,
            "y": y,
            "width": last["width"] + 20,
            "height": below - y + 6,
        }
        page.screenshot(path=Path(folder) / f"{name}.png", clip=clip, full_page=True)


def test_the_page_of_the_account_names_the_cause_first(support: Pointer, crowd: Crowd) -> None:
    """P-21. What to do, above all else that is known, and beside it the cause in words."""
    person, page = crowd.on(), support.page
    lock(support, person)
    page.goto("/admin/")
    page.get_by_label("Find an account").fill(person.number)
    support.press("Find")
    expect(page).to_have_url(re.compile(r"/admin/optin/user/\d+/change/$"))
    cause = page.locator("[data-question=no_entry] > li").first
    expect(cause).to_have_attribute("data-cause", "locked")
    expect(cause).to_have_text(re.compile(r"^\s*See above, at “Unlock”\.\s*$"))
    first = page.locator("[data-question=no_text] > li").first
    said = " ".join(first.inner_text().split()).split("Why: ")[1]
    words = rf"No code is accepted, and no text sent, until {AT}, after 3 wrong codes"
    assert re.search(words, said, re.IGNORECASE), said
    advice = "Tell them to wait until then; or, if you're sure who it is, press “Unlock”"
    expect(first).to_contain_text(advice)
    box = cause.bounding_box()
    assert box
    assert box["y"] + box["height"] < 800, "whoever is on the phone must scroll"
    picture(page, "call-locked-by-wrong-codes", "h1", "#content-main > .module")
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 800})
    shoot(page, f"cause-locked-{PHONE_WIDTH}-light")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": WIDE, "height": 800})
    assert wide <= PHONE_WIDTH, f"scrolls sideways: {wide} px"
