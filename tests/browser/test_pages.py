"""Every page in every state, as it looks and to whom it speaks (P-10, P-11).

Tests without a browser bring all states about. Each file of them runs once more, and the pages that
it shows are looked at: by axe, at both widths, in both schemes, and for what the browser complains
about. ``test_every_page`` opens each address, so a new page is looked at too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.template import engines
from playwright.sync_api import Page, Route

from tests.browser.shown import FOLDER
from tests.kit.chromium import Window, audit_everywhere
from tests.kit.server import ROOT

SHOWN_BY = [
    *("delivery/test_sim_swaps.py", "sandbox/test_nothing_leaks.py"),
    *("web/test_consent.py", "web/test_openid.py"),
    *(
        f"web/flows/test_{name}.py"
        for name in (
            *("access", "email_change", "every_page", "flows", "integrations", "not_me_button"),
            *("lost_everything", "on_the_way", "passkeys", "revocation", "stop", "texts_end"),
            *("true_words", "ways_on"),
        )
    ),
]
_seen: set[str] = set()
"""Shapes of pages that this process has looked at."""


def show(tests: str, folder: Path) -> None:
    """Run *tests*, and leave the pages that they show in *folder*."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "tests.browser.shown", "-m", "not postgresql", f"tests/{tests}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], FOLDER: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def look(page: Page, name: str, html: str, policy: str) -> None:
    """Have *page* show *html* among the files of the real site, and look at it."""

    def answer(route: Route) -> None:
        headers = {"content-security-policy": policy}
        route.fulfill(body=html, content_type="text/html", headers=headers)

    page.route("**/shown", answer)
    page.goto("/shown")
    audit_everywhere(page, name)
    page.unroute("**/shown")


@pytest.mark.parametrize("tests", SHOWN_BY)
def test_pages_can_be_used_by_everybody(tests: str, open_page: Window, tmp_path: Path) -> None:
    """P-10, P-11."""
    show(tests, tmp_path)
    page = open_page()
    new = [each for each in sorted(tmp_path.iterdir()) if each.name not in _seen]
    for each in new:
        _seen.add(each.name)
        look(page, each.stem, **json.loads(each.read_text()))


@pytest.mark.parametrize("name", ["400", "403_csrf", "429", "500", "503"])
def test_faults_can_be_read_by_everybody(name: str, open_page: Window) -> None:
    context = {"service_name": "Two-Factor", "support": "support@example.com", "wait": "2 minutes"}
    html = engines["django"].get_template(f"{name}.html").render(context)
    page = open_page("/sign-in/")
    policy = page.request.get("/sign-in/").headers["content-security-policy"]
    look(page, f"fault-{name}", html, policy)
