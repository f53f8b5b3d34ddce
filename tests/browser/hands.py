"""The ways in which people use a page: by pointing, or by keyboard alone."""

from typing import TypeVar

from playwright.sync_api import ElementHandle, Locator, Page, expect

from tests.browser.crowd import PASSWORD, Person, run
from tests.kit.chromium import Site

Hand = TypeVar("Hand", bound="Pointer")

_FOCUS = """target => {
    const at = document.activeElement;
    const box = at.getBoundingClientRect(), style = getComputedStyle(at);
    const outlined = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
    const down = box.bottom > 0 && box.top < innerHeight;
    const across = box.right > 0 && box.left < innerWidth;
    const seen = at === document.body || (outlined && down && across);
    return [at === target, seen, at.outerHTML.slice(0, 100)];
}"""
"""Whether the focus is on the target, and whether one sees where it is."""


class Pointer:
    """Somebody with a mouse, or a finger."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site

    # -- one thing at a time -------------------------------------------------------

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def activate(self, target: Locator) -> None:
        target.click()

    def leave(self, target: Locator) -> None:
        """Activate what leads to a page; return once that has come to rest.

        A page that says what is wrong takes the focus when it is first painted. Who types
        before that has the focus already, which the browser complains about.
        """
        with self.page.expect_navigation():
            self.activate(target)
        self._rest()

    def _rest(self) -> None:
        errors = self.page.locator(".errors")
        if errors.count():
            expect(errors).to_be_focused()

    def press(self, button: str) -> None:
        self.leave(self.page.get_by_role("button", name=button, exact=True))

    def follow(self, link: str) -> None:
        found = self.page.locator("main").get_by_role("link", name=link, exact=True)
        self.leave(found.first)

    def unfold(self, summary: str) -> None:
        self.activate(self.page.locator("summary", has_text=summary))

    def sees(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    # -- what many tests begin with ------------------------------------------------

    def sign_in(self, person: Person, password: str = PASSWORD) -> None:
        self.page.goto("/sign-in/")
        self.give_password(person, password)

    def give_password(self, person: Person, password: str = PASSWORD) -> None:
        self.fill("User name or email address", person.name)
        self.fill("Password", password)
        self.press("Sign in")

    def ask_for_code(self, number: str, *, button: str = "Text me a code") -> str:
        """Name a number, on the page that asks for one; return the code that was texted."""
        before = len(self.site.texts(number))
        self.fill("Mobile number", number)
        self.press(button)
        self.sees("Check your phone")
        return self.site.newest_text(number, after=before).split()[0]

    def give_code(self, code: str, button: str) -> None:
        with self.page.expect_navigation():
            sends_itself = self.sends_itself(code)
            self.fill("Code", code)
            if not sends_itself:
                self.activate(self.page.get_by_role("button", name=button, exact=True))
        self._rest()

    def sends_itself(self, code: str) -> bool:
        """Whether the page says that it sends *code* with its last digit."""
        digits = self.page.get_by_label("Code", exact=True).get_attribute("data-digits")
        says_so = self.page.locator("[data-sends]:visible").count() == 1
        return says_so and code.isdigit() and digits == str(len(code))


class Keyboard(Pointer):
    """Somebody with nothing else: Tab, Enter, Space. They see where they are at each step."""

    def _look(self, handle: ElementHandle | None) -> tuple[bool, bool, str]:
        """Where the focus is, and whether it shows: a busy machine paints a moment later."""
        for _ in range(30):
            there, seen, where = self.page.evaluate(_FOCUS, handle)
            if seen:
                break
            self.page.wait_for_timeout(100)
        return there, seen, where

    def reach(self, target: Locator) -> None:
        handle = target.element_handle()
        for _ in range(40):
            there, seen, where = self._look(handle)
            assert seen, f"nobody sees that the focus is on {where}"
            if there:
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {target}")

    def fill(self, label: str, text: str) -> None:
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def activate(self, target: Locator) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")


def another(code: str) -> str:
    """Return a wrong code beside *code*."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def make_superuser(site: Site, person: Person) -> None:
    run(site, f"User.objects.filter(username={person.name!r}).update(is_staff=1, is_superuser=1)")


def sign_in(hand: Hand, person: Person) -> Hand:
    """Make *person* a superuser, and sign them in from the door of the admin."""
    make_superuser(hand.site, person)
    before = len(hand.site.texts(person.number))
    hand.page.goto("/admin/")
    hand.give_password(person)
    code = hand.site.newest_text(person.number, after=before).split()[0]
    hand.give_code(code, "Sign in")
    expect(hand.page).to_have_url(f"{hand.site.url}/admin/")
    return hand
