"""Why no text came, why somebody cannot sign in: one page says it, in words (P-21).

A cause is brought about by calls of a running server. Then a member of staff, who signed in with a
second factor, finds the person from the home page, and reads what stands first. tests/explained
has all causes.
"""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Page, expect

from tests.browser.crowd import PASSWORD, Crowd, Person
from tests.browser.hands import Pointer, another, sign_in
from tests.kit.chromium import PATIENCE, WIDE, Site, Window, beside, shoot

PHONE_WIDTH = 375


def call(site: Site, path: str, body: dict[str, str], token: str = "") -> tuple[int, Any]:
    """Call the API as a client does; return the status and the answer."""
    request = urllib.request.Request(  # noqa: S310
        f"{site.url}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


@dataclass
class Desk:
    """A member of staff at a browser, the server, and the people who call."""

    site: Site
    crowd: Crowd
    support: Pointer

    def sign_in(self, person: Person, **more: str) -> tuple[int, Any]:
        """Ask for a token, as a client does when somebody signs in."""
        body = {"grant_type": "password", "username": person.name, "password": PASSWORD, **more}
        return call(self.site, "/authorisation/token", body)

    def find(self, who: str) -> Page:
        """From the home page to the one page of the account, and nothing else."""
        page = self.support.page
        page.goto("/admin/")
        page.get_by_label("Find an account").fill(who)
        self.support.press("Find")
        expect(page).to_have_url(re.compile(r"/admin/optin/user/\d+/change/$"))
        return page


@pytest.fixture(scope="module")
def desk(site: Site, crowd: Crowd, browser: Browser) -> Iterator[Desk]:
    # What takes hours or dozens of tries otherwise.
    with beside(site, OPTIN_RESEND_WAIT="0", OPTIN_LOCK_AFTER="3") as own:
        window = Window(browser, own)
        yield Desk(own, crowd, sign_in(Pointer(window(), own), crowd.on()))
        window.close()


# -- causes: each returns what support types into the field on the home page -----------


def number_limit(desk: Desk) -> str:
    person = desk.crowd.new()
    left = 600 - time.time() % 600
    if left < PATIENCE:  # counts begin anew in each window of the limit
        time.sleep(left)
    token = desk.sign_in(person)[1]["access_token"]
    body = {"MobileNumber": person.number}
    asked = [call(desk.site, "/User/opt-in-to-2fa?FileId=777", body, token)[0] for _ in range(6)]
    assert asked[-1] == 429
    return person.email


def locked(desk: Desk) -> str:
    person = desk.crowd.on()
    before = len(desk.site.texts(person.number))
    assert desk.sign_in(person)[0] == 401
    code = desk.site.newest_text(person.number, after=before).split()[0]
    for _ in range(3):
        assert desk.sign_in(person, verification_code=another(code))[0] == 400
    assert desk.sign_in(person)[0] == 429
    return person.number


# -- what stands first -------------------------------------------------------------

AT = r"\d{4}-\d\d-\d\d \d\d:\d\d A\w{3}"
"""A time with its zone."""
NO_TEXT, NO_ENTRY = "no_text", "no_entry"
Seed = Callable[[Desk], str]


CAUSES = [
    pytest.param(
        number_limit,
        (NO_TEXT, "number_limit"),
        rf"\.\.\. \d{{3}} was asked for at {AT}, and refused: 5 of 5 texts to this number in "
        rf"10 minutes, .*Trying again works from {AT}\.",
        r"ends by itself\. Tell them to wait until then",
        id="limit-per-number",
    ),
    pytest.param(
        locked,
        (NO_ENTRY, "locked"),
        rf"No code is accepted, and no text sent, until {AT}, after 3 wrong codes",
        r"Tell them to wait until then; or, if you are sure who it is, press “Unlock”",
        id="locked-by-wrong-codes",
    ),
]


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


@pytest.mark.parametrize(("seed", "first", "words", "advice"), CAUSES)
def test_the_page_of_the_account_names_the_cause_first(
    desk: Desk,
    seed: Seed,
    first: tuple[str, str],
    words: str,
    advice: str,
    request: pytest.FixtureRequest,
) -> None:
    """P-21. In words, above all else that is known, with the time, and with what to do about it."""
    page = desk.find(seed(desk))
    question, why = first
    cause = page.locator(f"[data-question={question}] > li").first
    expect(cause).to_have_attribute("data-cause", why)
    said, to_do = cause.inner_text().split("What to do: ")
    assert re.search(words, said), said
    assert re.search(advice, to_do), to_do
    box = cause.bounding_box()
    assert box
    assert box["y"] + box["height"] < 800, "whoever is on the phone must scroll"
    name = request.node.callspec.id
    picture(page, f"call-{name}", "h1", "#content-main > .module")
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 800})
    shoot(page, f"cause-{name}-{PHONE_WIDTH}-light")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": WIDE, "height": 800})
    assert wide <= PHONE_WIDTH, f"scrolls sideways: {wide} px"
