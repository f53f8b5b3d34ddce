"""The home page and the charts of staff, as a browser shows them (P-20, P-27)."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.crowd import Crowd, run
from tests.browser.hands import Pointer, sign_in
from tests.kit.chromium import PHONE, WIDE, Site, Window, audit_everywhere

MONTH = """
from random import Random
from optin.support import statistics
chance, now = Random(5), datetime.now(UTC)
names = {
    "opt_in": {"proved": 900, "failed": 160, "waiting": 0},
    "budget": {"": 1300},
    "lock": {"locked": 14, "disabled": 1},
}
statistics.roll_up(now)
first = Span.objects.earliest("start").start
for n in range(1, 30):
    day = statistics.day_of(now) - timedelta(days=n)
    start = statistics._midnight(day)
    end = min(statistics._midnight(day + timedelta(days=1)), first)
    if start >= end:
        continue
    span = Span.objects.create(start=start, end=end, day=day, made_at=now, is_settled=True)
    busy = 0.4 if day.weekday() > 4 else 1.0
    for what, amounts in names.items():
        for name, much in amounts.items():
            much *= 4 if n == 9 and name == "failed" else 1
            count = int(much * busy * chance.uniform(0.7, 1.3))
            cost = count * 5 / 100 if what == "budget" else 0
            Figure.objects.create(
                span=span, day=day, what=what, name=name, count=count, cost=cost,
            )
"""
"""Figures of 29 days before today: more on weekdays, and one day on which much failed."""


@pytest.fixture
def home(site: Site, crowd: Crowd, open_page: Window) -> Page:
    page = open_page()
    sign_in(Pointer(page, site), crowd.on())
    return page


NEEDS = """
now = datetime.now(UTC)
later = now + timedelta(hours=3)
Guard.objects.create(kind="breaker", covers="prefix", key="k", made_at=now, until=later)
Guard.objects.create(kind="stop", covers="all", made_at=now)
GatewayHealth.objects.update_or_create(
    gateway="simulator", defaults={"failures": 4, "tripped_until": later}
)
for name in ("ann", "ben"):
    Revocation.objects.create(
        user=User.objects.get(username=name), reason="lost", asked_at=now, due_at=later
    )
"""
"""Three things that need somebody, and a stop, which each page tells of."""
ONLY_THREE = "document.querySelectorAll('.needs li').forEach((li, n) => n > 2 && li.remove())"
"""Removes the others: tests before this one may have left more."""


def test_home_is_one_screen_with_the_search_in_focus(home: Page, site: Site) -> None:
    """P-20: at 1280 x 800 nothing lies below, and nothing beside."""
    run(site, NEEDS)
    try:
        home.set_viewport_size({"width": WIDE, "height": 800})
        home.goto("/admin/")
        expect(home.get_by_label("Find an account")).to_be_focused()
        expect(home.get_by_text("All texts are stopped")).to_be_visible()
        expect(home.locator(".needs li").nth(2)).to_be_visible()
        home.evaluate(ONLY_THREE)
        expect(home.get_by_role("navigation", name="Sidebar")).to_be_visible()
        height = home.evaluate("document.documentElement.scrollHeight")
        assert height <= 800, (height, home.locator(".needs").inner_text())
    finally:
        # Not what other tests look at.
        run(site, "Guard.objects.filter(covers__in=['prefix', 'all']).delete()")
        run(site, "GatewayHealth.objects.filter(gateway='simulator').delete()")
        run(site, "Revocation.objects.filter(reason='lost').delete()")


def test_home_leads_everywhere_without_scripts(open_page: Window, site: Site, crowd: Crowd) -> None:
    """Beside the page, or on a phone below it."""
    page = open_page(scripts=False)
    sign_in(Pointer(page, site), crowd.on())
    lists = page.get_by_role("link", name="Audit events")
    expect(lists).to_have_count(1)
    page.set_viewport_size({"width": PHONE, "height": 844})
    expect(page.locator("main").get_by_role("link", name="Audit events")).to_be_visible()
    expect(lists).to_have_count(1)


def test_figures_of_a_month_can_be_read_by_everybody(home: Page, site: Site) -> None:
    """axe at WCAG 2.2 AA, 320 px, both schemes, no violation of the policy of the pages."""
    run(site, MONTH)
    home.goto("/admin/figures/")
    expect(home.get_by_role("img", name=re.compile("^Conversion of opt-ins"))).to_be_visible()
    for summary in home.locator("summary").all():
        summary.click()
    expect(home.locator("table[data-table=conversion] tbody tr")).to_have_count(30)
    audit_everywhere(home, "staff-figures-month")
