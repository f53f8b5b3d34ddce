"""What people do beside the straight way, and the windows they do it in (P-04, P-11, P-12)."""

from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.crowd import PASSWORD, Crowd, Person
from tests.browser.hands import Pointer, another
from tests.kit.chromium import NARROW, WIDE, Site, Window, audit, shoot

NUMBER = "/account/two-factor/number/"


@pytest.fixture(
    params=[
        pytest.param(True, id="scripts"),
        pytest.param(False, id="without-scripts"),  # where nothing but the server helps
    ]
)
def hands(request: pytest.FixtureRequest, open_page: Window, site: Site) -> Pointer:
    return Pointer(open_page(width=NARROW, scripts=request.param), site)


@pytest.fixture
def hand(open_page: Window, site: Site) -> Pointer:
    return Pointer(open_page(width=NARROW), site)


def ask(hands: Pointer, person: Person) -> str:
    """Go to where a code was texted to the person's number; return the code."""
    hands.sign_in(person)
    hands.sees("Your account")
    hands.page.goto(NUMBER)
    return hands.ask_for_code(person.number)


def twice(hands: Pointer, button: str) -> None:
    """Click a button twice, as fast as the browser takes it."""
    hands.page.get_by_role("button", name=button, exact=True).dblclick()


def give_twice(hands: Pointer, code: str, button: str) -> None:
    """Give a code, and press the button twice where the code does not send itself."""
    if hands.sends_itself(code):
        hands.give_code(code, button)
        return
    hands.fill("Code", code)
    twice(hands, button)


# -- codes, as phones and people give them -----------------------------------------


@pytest.mark.parametrize("between", [" ", "-"])
def test_code_can_be_pasted_as_it_was_read(between: str, hand: Pointer, crowd: Crowd) -> None:
    """P-04."""
    code = ask(hand, crowd.new())
    hand.page.get_by_label("Code").focus()
    hand.page.keyboard.insert_text(f" {code[:3]}{between}{code[3:]} ")
    hand.sees("Two-factor sign-in is on")


def test_last_digit_sends_the_code_once(hand: Pointer, crowd: Crowd) -> None:
    """Enter and a click a moment later send nothing more."""
    code = ask(hand, crowd.new())
    expect(hand.page.get_by_text("We'll submit it when you've typed all 7 digits.")).to_be_visible()
    sent: list[str] = []
    hand.page.on("request", lambda asked: sent.extend([asked.url] * (asked.method == "POST")))
    hand.page.get_by_label("Code").focus()
    hand.page.keyboard.type(code[:-1])
    hand.page.wait_for_timeout(300)
    assert sent == []
    # In one go, before the answer comes.
    hand.page.evaluate(
        """digit => {
            const field = document.querySelector("[data-digits]");
            field.value += digit;
            for (let n = 0; n < 3; n++) field.dispatchEvent(new InputEvent("input"));
            field.form.requestSubmit();
            field.form.querySelector("button").click();
        }""",
        code[-1],
    )
    hand.sees("Two-factor sign-in is on")
    assert len(sent) == 1


def test_code_in_a_sentence_waits_for_the_button(hand: Pointer, crowd: Crowd) -> None:
    code = ask(hand, crowd.new())
    hand.give_code(f"Your code is {code}", "Turn on two-factor sign-in")
    hand.sees("Two-factor sign-in is on")


# -- what is shown once ------------------------------------------------------------


def test_recovery_codes_are_kept_before_one_leaves(hand: Pointer, crowd: Crowd) -> None:
    """The browser asks whoever leaves with nothing saved; Copy, Download or Print save them."""
    code = ask(hand, crowd.new())
    hand.give_code(code, "Turn on two-factor sign-in")
    hand.follow("Make recovery codes")
    hand.press("Show the codes")
    shown = hand.page.locator(".secrets code").all_inner_texts()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    hand.page.on("dialog", stay)
    hand.page.get_by_role("link", name="Account", exact=True).click()
    hand.page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    hand.sees("Recovery codes")
    with hand.page.expect_download() as began:
        hand.page.get_by_role("button", name="Download").click()
    assert set(shown) <= set(began.value.path().read_text().split())
    # A browser that asks first, and a person who says no.
    hand.page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }"
    )
    hand.page.get_by_role("button", name="Copy").click()
    expect(hand.page.get_by_text("The text is selected: copy it")).to_be_visible()
    assert hand.page.evaluate("getSelection().toString()").split() == shown
    hand.page.evaluate("() => { delete navigator.clipboard.writeText; }")
    hand.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    hand.page.get_by_role("button", name="Copy").click()
    expect(hand.page.get_by_text("Copied.")).to_be_visible()
    copied = hand.page.evaluate("navigator.clipboard.readText()")
    assert copied.split() == shown
    expect(hand.page.get_by_role("button", name="Print")).to_be_visible()
    hand.page.get_by_role("link", name="Account", exact=True).click()
    hand.sees("Your account")
    assert asked == ["beforeunload"]


# -- twice, back, again, and beside (P-12) -----------------------------------------


def test_double_clicks_do_everything_once(hands: Pointer, site: Site, crowd: Crowd) -> None:
    """P-12. From the sign-in to the last page: one text, and no step lost."""
    person = crowd.new()
    hands.page.goto("/sign-in/")
    hands.fill("User name or email address", person.name)
    hands.fill("Password", PASSWORD)
    twice(hands, "Sign in")
    hands.sees("Your account")
    hands.page.goto(NUMBER)
    hands.fill("Mobile number", person.number)
    twice(hands, "Text me a code")
    hands.sees("Check your phone")
    (text,) = site.texts(person.number)
    give_twice(hands, another(text.split()[0]), "Turn on two-factor sign-in")
    expect(hands.page.locator(".errors")).to_contain_text("That code isn't right.")
    give_twice(hands, text.split()[0], "Turn on two-factor sign-in")
    hands.sees("Two-factor sign-in is on")
    hands.page.goto("/account/")
    hands.sees("Your account")
    hands.press("Sign out")
    hands.give_password(person)
    hands.sees("Check your phone")
    code = site.newest_text(person.number, after=1).split()[0]
    give_twice(hands, code, "Sign in")
    hands.sees("Your account")
    assert len(site.texts(person.number)) == 2


def test_back_and_forward_keep_every_step(hands: Pointer, site: Site, crowd: Crowd) -> None:
    """Back to the number and forth to the code: no text, and the code still counts."""
    person = crowd.new()
    code = ask(hands, person)
    hands.page.go_back()
    hands.sees("Your mobile number")
    hands.page.go_forward()
    hands.sees("Check your phone")
    hands.give_code(code, "Turn on two-factor sign-in")
    hands.sees("Two-factor sign-in is on")
    hands.page.go_back()
    hands.sees("There's no code to enter")
    hands.page.goto("/account/two-factor/")
    hands.sees("Two-factor sign-in is on")
    assert len(site.texts(person.number)) == 1


# -- windows (P-11) ----------------------------------------------------------------


def overlaps(page: Page) -> list[str]:
    """What hangs out of the window, or is smaller than a finger can hit."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("a:not(.skip), button, input, summary")]
            .filter(e => e.type !== "hidden" && e.checkVisibility())
            .filter(e => {
                const box = e.getBoundingClientRect();
                const around = e.parentElement.textContent.trim();
                const inSentence = e.matches("a") && around !== e.textContent.trim();
                const small = Math.min(box.width, box.height) < 24 && !inSentence;
                return small || box.left < 0 || box.right > innerWidth + 0.5;
            }).map(e => e.outerHTML.slice(0, 120))"""
    )
    return found


@pytest.mark.parametrize(
    ("height", "options"),
    [
        pytest.param(256, {"width": NARROW}, id="400-percent"),
        pytest.param(800, {"width": WIDE, "forced_colors": "active"}, id="forced-colours"),
    ],
)
def test_opt_in_in_any_window(
    height: int, options: dict[str, Any], open_page: Window, site: Site, crowd: Crowd
) -> None:
    """P-11. 1280 by 1024 at 400 % is 320 by 256; forced colours keep edges and the focus."""
    page = open_page(**options)
    page.set_viewport_size({"width": options["width"], "height": height})
    hands, person = Pointer(page, site), crowd.new()

    def look(heading: str) -> None:
        hands.sees(heading)
        audit(page)
        assert overlaps(page) == []
        shoot(page, f"{heading.lower().replace(' ', '-')}-{'-'.join(map(str, options.values()))}")

    page.goto("/sign-in/")
    look("Sign in")
    hands.give_password(person)
    look("Your account")
    page.goto("/account/two-factor/")
    look("Two-factor sign-in is off")
    hands.follow("Turn it on by text message")
    look("Your mobile number")
    code = hands.ask_for_code(person.number)
    hands.give_code(another(code), "Turn on two-factor sign-in")
    expect(page.locator(".errors")).to_be_focused()
    look("Check your phone")
    hands.give_code(code, "Turn on two-factor sign-in")
    look("Two-factor sign-in is on")
    hands.follow("Make recovery codes")
    look("Recovery codes")
    hands.press("Show the codes")
    look("Recovery codes")
