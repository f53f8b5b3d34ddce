"""How staff work: by keyboard alone, from the door to the door; what is shown once; refusals."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.crowd import Crowd, run
from tests.browser.hands import Keyboard, Pointer, sign_in
from tests.kit.chromium import NARROW, Site, Window, audit_everywhere

# -- by keyboard alone -------------------------------------------------------------


class Staff(Keyboard):
    """... who also uses what stands beside the content."""

    def skip(self) -> None:
        """Go straight to the content, as the first key on a page offers.

        A form that is sent from there leads there again: its address keeps the fragment.
        """
        if self.page.url.endswith("#content-start"):
            return
        self.reach(self.page.get_by_text("Skip to main content"))
        self.page.keyboard.press("Enter")
        expect(self.page.locator("main")).to_be_focused()

    def go(self, crumb: str) -> None:
        crumbs = self.page.get_by_role("navigation", name="Breadcrumbs")
        self.leave(crumbs.get_by_role("link", name=crumb, exact=True))

    def choose(self, label: str, option: str) -> None:
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.type(option)


MORE_THAN_A_PAGE = """
from django.db import transaction
from optin.origin import Face, Origin
about = {"now": datetime.now(UTC), "origin": Origin(Face.COMMAND), "user_id": None, "data": {}}
with transaction.atomic():
    for _ in range(60):
        AuditEvent.objects.record("purge", "ok", **about)
"""


def test_a_day_of_support_by_keyboard(open_page: Window, site: Site, crowd: Crowd) -> None:
    """P-11, P-27: the focus is seen at each step, and nothing needs a mouse."""
    somebody = crowd.on()
    run(site, MORE_THAN_A_PAGE)
    page = open_page(accept_downloads=True)
    hand = sign_in(Staff(page, site), crowd.on())

    field = page.get_by_label("Find an account")
    expect(field).to_be_focused()
    page.keyboard.type(somebody.number)
    hand.press("Find")
    hand.sees(f"Account {somebody.name}")
    hand.skip()
    hand.follow("Suspend")
    hand.sees(f"Suspend: {somebody.name}")
    hand.skip()
    hand.fill("Reason:", "The phone was stolen.")
    hand.press("Suspend")
    hand.sees(f"Account {somebody.name}")
    expect(page.get_by_text("Suspended.", exact=True)).to_be_visible()
    hand.skip()
    hand.follow("End the suspension")
    hand.fill("Reason:", "They found it.")
    hand.reach(page.get_by_label("it's the person themselves who asks"))
    page.keyboard.press("Space")
    hand.press("End the suspension")
    expect(page.get_by_text("The suspension was ended.", exact=True)).to_be_visible()

    hand.skip()
    hand.follow("Audit events")
    hand.sees("Audit events")
    hand.unfold("Filters")
    hand.choose("What happened", "Number suspended by staff")
    hand.press("Filter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    hand.skip()
    hand.follow("Clear")
    hand.skip()
    hand.leave(page.get_by_role("link", name="Older").first)
    hand.sees("Audit events, older")
    with page.expect_download() as download:
        hand.skip()
        hand.activate(page.get_by_role("button", name="Export these as CSV"))
    assert download.value.suggested_filename == "audit-events.csv"
    page.goto("/admin/")
    hand.press("Sign out")
    hand.sees("Sign in")


_HIDDEN = """() => {
    const at = document.activeElement, box = at.getBoundingClientRect();
    if (at === document.body) return null;
    const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
    const top = document.elementFromPoint(box.left + box.width / 2, y);
    return top && (at.contains(top) || top.contains(at)) ? "" : at.outerHTML.slice(0, 120);
}"""


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_nothing_lies_over_the_focus(
    width: int, open_page: Window, site: Site, crowd: Crowd
) -> None:
    """WCAG 2.4.11, on the longest pages: forwards and backwards, to the end of each."""
    page = open_page(width=width)
    hand = sign_in(Keyboard(page, site), crowd.on())
    for path in ("/admin/optin/auditevent/", "/admin/optin/user/1/change/"):
        for key in ("Tab", "Shift+Tab"):
            page.goto(path)
            for _ in range(25):
                page.keyboard.press(key)
                there, seen, where = hand._look(page.locator("body").element_handle())
                assert seen, f"nobody sees that the focus is on {where}"
                assert not page.evaluate(_HIDDEN)
                if there:
                    break


# -- what is shown once, and what is refused ---------------------------------------


@pytest.fixture
def superuser(open_page: Window, site: Site, crowd: Crowd) -> Pointer:
    return sign_in(Pointer(open_page(), site), crowd.on())


def id_of(site: Site, model: str, **found: str) -> int:
    where = ", ".join(f"{name}={value!r}" for name, value in found.items())
    made: int = run(site, f"out['id'] = {model}.objects.filter({where}).latest('pk').pk")["id"]
    return made


def test_what_is_secret_is_shown_once(superuser: Pointer, site: Site, crowd: Crowd) -> None:
    """S-37, P-24: it stands in the answer, and a way back beside it."""
    page, somebody = superuser.page, crowd.on()
    number = id_of(site, "ProviderUser", user__username=somebody.name)
    page.goto(f"/admin/optin/provideruser/{number}/reveal/")
    superuser.fill("Reason:", "They ask which phone it was.")
    superuser.press("Show the number in full")
    shown = page.locator(".secret")
    assert re.sub(r"\D", "", shown.inner_text()) == somebody.number[1:]
    audit_everywhere(page, "staff-secret-number")
    superuser.follow("Done")
    assert somebody.number[3:] not in page.content()


def test_refusals_can_be_read_by_everybody(superuser: Pointer, site: Site) -> None:
    """What staff may not do, what is not there, and too many searches."""
    page = superuser.page
    me = page.locator("#user-tools strong").inner_text()
    page.goto(f"/admin/optin/user/{id_of(site, 'User', username=me)}/suspend/")
    superuser.fill("Reason:", "Am I let?")
    superuser.press("Suspend")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Reason:")).to_have_value("Am I let?")
    audit_everywhere(page, "staff-out-of-reach")
    for name, path in {
        "unknown": "/admin/optin/nothing/",
        "row": "/admin/optin/user/0/change/",
    }.items():
        page.goto(path)
        audit_everywhere(page, f"staff-{name}")
    run(site, f"User.objects.filter(username={me!r}).update(is_superuser=False)")
    page.goto("/admin/optin/user/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    audit_everywhere(page, "staff-forbidden")
    page.goto("/admin/")
    audit_everywhere(page, "staff-without-a-role")
