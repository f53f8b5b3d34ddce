"""The pictures of ``docs/images``: ``make pictures`` makes them, here and in ``test_causes``.

Other tests leave pictures of the pages that they look at in the folder ``SCREENSHOTS`` as well.
"""

import base64
import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.hands import Pointer
from tests.kit.chromium import NARROW, Site, Window, serve
from tools.demo.cases import STAFF_NUMBER

pytestmark = pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="no pictures asked for")

NUMBER = "+61491570156"
SHEET = """
<style>
  body { display: flex; gap: 28px; width: max-content; margin: 0; padding: 28px;
         background: #e9edf1; font: 600 17px/1.4 sans-serif; color: #1c2430; }
  figure { margin: 0; }
  figcaption { margin-bottom: 10px; }
  img { display: block; width: 320px; border: 1px solid #b9c1ca; border-radius: 8px; }
</style>
"""


HISTORY = """
import io
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("demo", json=True, stdout=(demo := io.StringIO()))
print(demo.getvalue().replace("\\n", ""))
"""
"""What ``make run`` does first: two weeks of history."""


def test_picture_of_the_way_to_opt_in(open_page: Window, site: Site) -> None:
    page = open_page(width=NARROW)
    page.set_viewport_size({"width": NARROW, "height": 700})
    hands, steps = Pointer(page, site), list[tuple[str, bytes]]()

    def keep(step: str) -> None:
        steps.append((step, page.screenshot(caret="hide")))

    page.goto("/sign-in/")
    hands.fill("User name or email address", "ann")
    hands.fill("Password", site.password("ann"))
    keep("1. Sign in")
    hands.press("Sign in")
    hands.sees("Your account")
    page.goto("/account/two-factor/number/")
    hands.fill("Mobile number", "0491 570 156")
    keep("2. Name a number")
    hands.press("Text me a code")
    hands.sees("Check your phone")
    code = site.newest_text(NUMBER).split()[0]
    hands.fill("Code", code[:-1])
    keep("3. Enter the code")
    hands.give_code(code, "Turn on two-factor sign-in")
    hands.sees("Two-factor sign-in is on")
    keep("4. It is on")
    figures = "".join(
        f"<figure><figcaption>{step}</figcaption>"
        f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture).decode()}"></figure>'
        for step, picture in steps
    )
    page.goto("about:blank")
    page.set_viewport_size({"width": 1448, "height": 780})
    page.set_content(SHEET + figures)
    page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "opt-in.png", full_page=True)


def test_pictures_of_pages_of_staff(browser: Browser, tmp_path: Path) -> None:
    """The first screen of each, with the history of a development start."""
    with serve(tmp_path, set_up=HISTORY) as site:
        window = Window(browser, site)
        page = window("/admin/")
        hands = Pointer(page, site)
        hands.fill("User name or email address", "sam")
        hands.fill("Password", site.password("sam"))
        hands.press("Sign in")
        hands.give_code(site.newest_text(STAFF_NUMBER).split()[0], "Sign in")
        expect(page).to_have_url(f"{site.url}/admin/")
        for name, path in (("staff-audit-events", "/admin/optin/auditevent/"),):
            page.goto(path)
            page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png", caret="hide")
        window.close()
