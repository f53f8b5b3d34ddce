"""P-11. What people come for, from the first page to the last, in each of three ways.

With scripts, without them, and with a keyboard alone; on a phone, and in a wide window. Scripts
are the same at each width, and pages are the same with a keyboard: so the other two find nothing.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from playwright.sync_api import expect

from tests.browser.crowd import Crowd, Person, run
from tests.browser.hands import Keyboard, Pointer
from tests.kit.chromium import NARROW, WIDE, Site, Window
from tests.kit.oauth import REDIRECT, VERIFIER, authorize

Start = Callable[[], Pointer]

WAYS: dict[str, tuple[type[Pointer], bool, int]] = {
    f"{name}-{width}": (kind, scripts, width)
    for name, kind, scripts, width in [
        ("scripts", Pointer, True, NARROW),
        ("without-scripts", Pointer, False, WIDE),
        ("keyboard", Keyboard, True, WIDE),
    ]
}


in_every_way = pytest.mark.parametrize("start", WAYS, indirect=True)


@pytest.fixture
def start(request: pytest.FixtureRequest, open_page: Window, site: Site) -> Start:
    """``start()`` gives a browser of its own to somebody of one kind."""
    kind, scripts, width = WAYS[request.param]
    return lambda: kind(open_page(width=width, scripts=scripts), site)


@pytest.fixture
def hands(start: Start) -> Pointer:
    return start()


def sign_in_with_code(hands: Pointer, person: Person) -> None:
    before = len(hands.site.texts(person.number))
    hands.sign_in(person)
    hands.sees("Check your phone")
    code = hands.site.newest_text(person.number, after=before).split()[0]
    hands.give_code(code, "Sign in")
    hands.sees("Your account")


def recovery_codes(hands: Pointer) -> list[str]:
    """Make a list of recovery codes, on the page that shows one."""
    hands.sees("Recovery codes")
    hands.press("Show the codes")
    codes = hands.page.locator(".secrets code").all_inner_texts()
    assert len(set(codes)) == 10
    hands.press("I've saved them")
    return codes


# -- text messages -----------------------------------------------------------------


@in_every_way
def test_opt_in_and_sign_in(hands: Pointer, site: Site, crowd: Crowd) -> None:
    """P-01, P-02, P-03, P-04, P-07. With the pages' own words alone."""
    person = crowd.new()
    hands.page.goto("/")
    hands.give_password(person)
    hands.sees("Your account")
    hands.follow("Turn it on")
    hands.sees("Two-factor sign-in is off")
    hands.follow("Turn it on by text message")
    code = hands.ask_for_code(person.number)
    hands.give_code(code, "Turn on two-factor sign-in")
    hands.sees("Two-factor sign-in is on")
    hands.follow("Later")
    hands.press("Sign out")
    hands.sees("Sign in")

    hands.give_password(person)
    hands.sees("Check your phone")
    assert hands.page.title().startswith("Check your phone")
    code = site.newest_text(person.number, after=1).split()[0]
    hands.give_code(code, "Sign in")
    hands.sees("Your account")
    assert len(site.texts(person.number)) == 2


@in_every_way
def test_turn_off(hands: Pointer, site: Site, crowd: Crowd) -> None:
    """P-08."""
    person = crowd.on()
    sign_in_with_code(hands, person)
    hands.page.goto("/account/two-factor/")
    hands.follow("Turn two-factor sign-in off")
    hands.sees("Turn two-factor sign-in off")
    hands.press(f"Text a code to •••{person.number[-3:]}")
    text = site.newest_text(person.number, after=2)
    assert "to turn OFF two-factor sign-in" in text
    hands.give_code(text.split()[0], "Turn it off")
    hands.sees("Two-factor sign-in is off")
    hands.press("Sign out")
    hands.give_password(person)
    hands.sees("Your account")


@in_every_way
def test_lost_phone(start: Start, site: Site, crowd: Crowd) -> None:
    """P-01, P-08: from the sign-in page to a new number, with a recovery code."""
    person, hands = crowd.on(), start()
    sign_in_with_code(hands, person)
    hands.page.goto("/account/two-factor/")
    hands.follow("Make recovery codes")
    codes = recovery_codes(hands)
    hands.sees("Two-factor sign-in is on")

    hands = start()
    hands.sign_in(person)
    hands.follow("I don't have my phone")
    hands.sees("Sign in another way")
    hands.fill("Recovery code", codes[0].lower().replace("-", " "))
    hands.press("Sign in")
    hands.sees("Change your mobile number")
    code = hands.ask_for_code(person.other_number)
    hands.give_code(code, "Use this number")
    hands.sees("Mobile number changed")
    expect(hands.page.locator("main")).to_contain_text("9 recovery codes left")


# -- an app ------------------------------------------------------------------------


def set_up_app(hands: Pointer) -> pyotp.TOTP:
    hands.sees("Get an authenticator app")
    hands.press("Continue")
    key = hands.page.locator(".key").inner_text()
    return pyotp.TOTP(key.replace(" ", ""))


def next_code(app: pyotp.TOTP) -> str:
    """The code of the next 30 seconds, taken early: that of these was used for the set-up."""
    return app.at(datetime.now(UTC), counter_offset=1)


@in_every_way
def test_app_instead_of_texts(start: Start, site: Site, crowd: Crowd) -> None:
    person, hands = crowd.new(), start()
    hands.sign_in(person)
    hands.follow("Turn it on")
    hands.follow("Turn it on with an authenticator app")
    app = set_up_app(hands)
    hands.give_code(app.now(), "Turn on two-factor sign-in")
    hands.sees("Two-factor sign-in is on")
    hands.follow("Make recovery codes")
    recovery_codes(hands)

    hands = start()
    hands.sign_in(person)
    hands.sees("Open your authenticator app")
    hands.give_code(next_code(app), "Sign in")
    hands.sees("Your account")
    assert site.texts(person.number) == []


# -- applications ------------------------------------------------------------------


CLIENT = """
from tests.kit.oauth import REDIRECT, Application
Application.objects.get_or_create(
    client_id="client", name="Ledger", client_type="public",
    authorization_grant_type="authorization-code", redirect_uris=REDIRECT)
"""


@in_every_way
def test_let_an_application_act(hands: Pointer, site: Site, crowd: Crowd) -> None:
    """RFC 6749 4.1 with PKCE: password, code, consent, and a token for the client."""
    run(site, CLIENT)
    person = crowd.on()
    hands.page.goto(authorize())
    hands.give_password(person)
    hands.give_code(site.newest_text(person.number, after=1).split()[0], "Sign in")
    hands.sees("Allow Ledger to act for you?")
    # Nobody serves the client's address: that the browser goes there is what counts.
    with hands.page.expect_request(re.compile(rf"^{re.escape(REDIRECT)}")) as came:
        hands.activate(hands.page.get_by_role("button", name="Allow", exact=True))
    answer = parse_qs(urlsplit(came.value.url).query)
    token = hands.page.request.post(
        "/o/token/",
        form={
            "grant_type": "authorization_code",
            "code": answer["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": "client",
            "code_verifier": VERIFIER,
        },
    )
    assert token.json()["scope"].split()[0] == "2fa"
