"""The pages for staff, as a browser shows them (P-27)."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bench import Look, Site, Window, audit_everywhere
from tests.browser.crowd import Crowd, Person, run
from tests.browser.hands import Pointer


def sign_in(page: Page, site: Site, person: Person) -> Pointer:
    """Make *person* a superuser, and sign them in from the door of the admin."""
    run(site, f"User.objects.filter(username={person.name!r}).update(is_staff=1, is_superuser=1)")
    hand, before = Pointer(page, site), len(site.texts(person.number))
    page.goto("/admin/")
    hand.give_password(person)
    code = site.newest_text(person.number, after=before).split()[0]
    hand.give_code(code, "Sign in")
    expect(page).to_have_url(f"{site.url}/admin/")
    return hand


@pytest.fixture
def staff(site: Site, crowd: Crowd, open_page: Window) -> tuple[Page, Pointer]:
    page = open_page()
    return page, sign_in(page, site, crowd.on())


def test_pages_can_be_used_by_everybody(
    staff: tuple[Page, Pointer], crowd: Crowd, looks: list[Look]
) -> None:
    """axe at WCAG 2.2 AA, 320 px, both schemes, no violation of the policy of the pages."""
    page, hand = staff
    person = crowd.on()
    audit_everywhere(page, "staff-home", looks)
    for name, path in {
        "log": "optin/auditevent/",
        "log-filtered": "optin/auditevent/?user_id=x&kind=check",
        "accounts": "optin/user/",
        "numbers": "optin/provideruser/",
        "texts": "optin/smsmessage/",
        "guards": "optin/guard/",
        "key": "optin/accesskey/make/",
    }.items():
        page.goto(f"/admin/{path}")
        audit_everywhere(page, f"staff-{name}", looks)
    page.goto("/admin/")
    page.get_by_label("Find an account").fill(person.number)
    hand.press("Find")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    audit_everywhere(page, "staff-account", looks)
    page.get_by_role("link", name="Suspend", exact=True).click()
    audit_everywhere(page, "staff-suspend", looks)
    hand.press("Suspend")
    expect(page.get_by_role("alert")).to_be_visible()
    audit_everywhere(page, "staff-suspend-refused", looks)
    hand.fill("Reason:", "phone stolen")
    hand.press("Suspend")
    expect(page.get_by_text("Suspended.", exact=True)).to_be_visible()
    expect(page.locator("[data-cause=suspended]").first).to_be_visible()
