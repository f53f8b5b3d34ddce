"""The home page of staff, as a browser shows it: charts and tables (P-20, P-27)."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.crowd import Crowd, run
from tests.browser.hands import sign_in
from tests.kit.chromium import Look, Site, Window, audit_everywhere

MONTH = """
from random import Random
from optin.support import statistics
chance, now = Random(5), datetime.now(UTC)
names = {
    "opt_in": {"proved": 900, "failed": 160, "waiting": 0},
    "text": {"delivered": 2400, "sent": 240, "failed": 130, "expired": 30},
    "budget": {"": 1300},
    "file": {"777": 800},
    "country": {"AU": 1100, "NZ": 150},
    "gateway": {"first": 900, "second": 300, "": 20},
    "prefix": {"3f9a21bc": 120, "77e01d5a": 60},
    "lock": {"locked": 14, "disabled": 1},
    "refused": {"": 70},
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
            share = 0.1 if what == "prefix" else 0.7
            cost = count * 5 / 100 if what in ("text", "budget", "file") else 0
            Figure.objects.create(
                span=span, day=day, what=what, name=name, count=count,
                verified=int(count * share), cost=cost,
            )
"""
"""Figures of 29 days before today: more on weekdays, and one day on which much failed."""


@pytest.fixture
def home(site: Site, crowd: Crowd, open_page: Window) -> Page:
    page = open_page()
    sign_in(page, site, crowd.on())
    return page


@pytest.mark.slow
def test_figures_of_a_month_can_be_read_by_everybody(
    home: Page, site: Site, looks: list[Look]
) -> None:
    """axe at WCAG 2.2 AA, 320 px, both schemes, no violation of the policy of the pages."""
    run(site, MONTH)
    home.goto("/admin/")
    expect(home.get_by_role("heading", name="Figures")).to_be_visible()
    expect(home.get_by_role("img", name=re.compile("^Opt-ins, day by day"))).to_be_visible()
    rows = home.locator("table[data-table=opt-ins] tbody tr")
    expect(rows).to_have_count(30)
    audit_everywhere(home, "staff-home-month", looks)


@pytest.mark.slow
def test_tables_are_read_on_with_the_keyboard(home: Page, site: Site) -> None:
    """P-11: what scrolls takes the focus, and has a name."""
    run(site, MONTH)
    home.goto("/admin/")
    table = home.get_by_role("region", name="Opt-ins, table")
    table.focus()
    home.keyboard.press("End")
    home.wait_for_function("() => document.activeElement.scrollTop > 100", timeout=10_000)


@pytest.mark.slow
def test_there_is_nothing_yet(home: Page, site: Site, looks: list[Look]) -> None:
    run(site, "Figure.objects.all().delete(); Span.objects.update(is_settled=True)")
    home.goto("/admin/")
    expect(home.get_by_text("There were no opt-ins")).to_be_visible()
    expect(home.get_by_role("img")).to_have_count(0)
    audit_everywhere(home, "staff-home-empty", looks)
