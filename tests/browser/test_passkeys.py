"""Passkeys: with the script of the pages, and the virtual authenticator of Chromium."""

from typing import Any

from playwright.sync_api import expect

from tests.browser.crowd import Crowd, Person
from tests.browser.hands import Keyboard, Pointer
from tests.browser.keys import Keys
from tests.kit.chromium import NARROW, Site, Window, audit, beside

WITHOUT_JSON = """
    delete PublicKeyCredential.parseCreationOptionsFromJSON;
    delete PublicKeyCredential.parseRequestOptionsFromJSON;
    delete PublicKeyCredential.prototype.toJSON;
"""
"""Makes the browser like those from before WebAuthn level 3."""

TWO_FACTOR = "/account/two-factor/"
ADD = f"{TWO_FACTOR}passkeys/add/"


def add(hands: Pointer, name: str) -> None:
    hands.page.goto(ADD)
    hands.sees("Add a passkey")
    hands.fill("Name", name)
    hands.press("Add the passkey")


def begin(window: Window, site: Site, person: Person, *held: dict[str, Any]) -> Pointer:
    """Give the password of *person*, in an older browser with the passkeys *held*."""
    hands = Pointer(window(), site)
    hands.page.add_init_script(WITHOUT_JSON)
    Keys(hands.page, list(held))
    hands.sign_in(person)
    hands.sees("Use your passkey")
    return hands


def keyed(window: Window, site: Site, person: Person) -> tuple[Pointer, Keys]:
    """A browser in which *person* has signed in, and added a passkey."""
    hands = Pointer(window(), site)
    keys = Keys(hands.page)
    hands.sign_in(person)
    add(hands, "Laptop")
    return hands, keys


def said(hands: Pointer, words: str) -> None:
    """The page says it without being left, and can be used again."""
    expect(hands.page.locator("form[data-passkey] [role=status]")).to_contain_text(words)
    expect(hands.page.locator("form[data-passkey] button")).to_be_enabled()


def test_with_nothing_but_a_keyboard(open_page: Window, site: Site, crowd: Crowd) -> None:
    """Add one, sign in with it, prove with it, rename it, and remove it."""
    person = crowd.new()
    hands = Keyboard(open_page(width=NARROW), site)
    keys = Keys(hands.page)
    hands.sign_in(person)
    hands.follow("Turn it on")
    hands.follow("Turn it on with a passkey")
    add(hands, "Blue key")
    hands.sees("Two-factor sign-in is on")
    assert len(keys.held) == 1
    hands.press("Sign out")

    hands.give_password(person)
    hands.sees("Use your passkey")
    hands.press("Use your passkey")
    hands.sees("Your account")
    assert site.texts(person.number) == []

    hands.page.goto("/account/two-factor/prove/")
    hands.sees("Confirm it's you")
    hands.press("Use your passkey")
    hands.sees("Two-factor sign-in is on")
    hands.follow("Rename Blue key")
    hands.fill("Name", "Green key")
    hands.press("Save")
    hands.follow("Turn two-factor sign-in off")
    hands.sees("Turn two-factor sign-in off")
    hands.press("Use your passkey")
    hands.sees("Two-factor sign-in is off")


def test_cancelled_in_another_tab_and_copied(open_page: Window, site: Site, crowd: Crowd) -> None:
    """What goes wrong is said, and the next try leads on."""
    person = crowd.new()
    hands, keys = keyed(open_page, site, person)
    (old,) = keys.held

    hands.page.goto("/account/two-factor/prove/")
    keys.let_person_cancel()
    hands.activate(hands.page.get_by_role("button", name="Use your passkey"))
    said(hands, "Nothing was done")
    audit(hands.page)
    keys.let_person_cancel(False)

    tab = Pointer(hands.page.context.new_page(), site)
    Keys(tab.page, keys.held)
    tab.page.goto("/account/two-factor/prove/")
    tab.press("Use your passkey")
    tab.sees("Two-factor sign-in is on")
    hands.press("Use your passkey")
    expect(hands.page.locator(".errors")).to_contain_text("This page was out of date")
    hands.press("Use your passkey")
    hands.sees("Two-factor sign-in is on")

    hands.page.goto(ADD)
    hands.activate(hands.page.get_by_role("button", name="Add the passkey"))
    said(hands, "already has a passkey for your account")

    thief = begin(open_page, site, person, old)
    thief.press("Use your passkey")
    expect(thief.page.locator(".errors")).to_contain_text("There may be a copy of that passkey")
    owner = begin(open_page, site, person, *keys.held)
    owner.press("Use your passkey")
    owner.sees("Your account")


def test_without_scripts_there_are_the_other_ways(
    open_page: Window, site: Site, crowd: Crowd
) -> None:
    person = crowd.on()
    hands = Pointer(open_page(), site)
    hands.page.add_init_script(WITHOUT_JSON)
    Keys(hands.page)
    hands.sign_in(person)
    code = site.newest_text(person.number, after=1).split()[0]
    hands.give_code(code, "Sign in")
    add(hands, "Laptop")
    hands.sees("Passkey added")

    hands = Pointer(open_page(scripts=False), site)
    hands.sign_in(person)
    hands.sees("Use your passkey")
    expect(hands.page.get_by_role("button", name="Use your passkey")).to_be_disabled()
    expect(hands.page.locator("noscript p")).to_be_visible()
    hands.press(f"Text a code to •••{person.number[-3:]}")
    code = site.newest_text(person.number, after=2).split()[0]
    hands.give_code(code, "Sign in")
    hands.sees("Your account")


def test_a_passkey_alone(open_page: Window, site: Site, crowd: Crowd) -> None:
    """Neither a name nor a password is given. A change asks for the password."""
    _, keys = keyed(open_page, site, crowd.new())

    with beside(site, OPTIN_PASSKEY_SIGN_IN="1") as other:
        hands = Pointer(open_page(f"{other.url}/sign-in/"), other)
        Keys(hands.page, keys.held)
        audit(hands.page)
        hands.press("Sign in with a passkey")
        hands.sees("Your account")
        hands.page.goto(f"{other.url}{ADD}")
        hands.sees("Enter your password again")
