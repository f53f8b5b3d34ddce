"""The pictures of ``docs/images``: ``SCREENSHOTS=folder pytest tests/browser`` makes them.

The other tests leave pictures of the pages that they look at in the same folder; this one
puts the way from the sign-in to the end side by side.
"""

import base64
import os
from pathlib import Path

import pytest

from tests.browser.hands import Pointer
from tests.kit.chromium import NARROW, Site, Window

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


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="no pictures are asked for")
def test_picture_of_the_way_to_opt_in(open_page: Window, site: Site) -> None:
    page = open_page(width=NARROW)
    page.set_viewport_size({"width": NARROW, "height": 640})
    hands, steps = Pointer(page, site), list[tuple[str, bytes]]()

    def keep(step: str) -> None:
        steps.append((step, page.screenshot(caret="hide")))

    page.goto("/sign-in/")
    hands.fill("User name or e-mail address", "ann")
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
    hands.give_code(code, "Turn it on")
    hands.sees("Two-factor sign-in is on")
    keep("4. It is on")
    figures = "".join(
        f"<figure><figcaption>{step}</figcaption>"
        f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture).decode()}"></figure>'
        for step, picture in steps
    )
    page.goto("about:blank")
    page.set_viewport_size({"width": 1448, "height": 720})
    page.set_content(SHEET + figures)
    page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "opt-in.png", full_page=True)
