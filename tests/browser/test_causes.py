"""Why no text came, why somebody cannot sign in: one page says it, in words (P-21).

Each cause is brought about as it comes about: by calls, pages and commands of a running
server, by a gateway that refuses or is away, by what that gateway reports. Then a member of
staff, who signed in with a second factor, finds the person from the home page. All that is
asked of them is to read what stands first.
"""

import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, FloatRect, Page, expect

from tests.browser.crowd import PASSWORD, Crowd, Person, run
from tests.browser.hands import Pointer, another
from tests.kit.chromium import PATIENCE, WIDE, Site, Window, beside, shoot

SECRET = "0123456789abcdef" * 2  # of the addresses for receipts
PHONE_WIDTH = 375
ASK = "/User/opt-in-to-2fa"
ABROAD = "+6421555123"


# -- the gateway -------------------------------------------------------------------


class Gateway(ThreadingHTTPServer):
    """Takes texts by HTTP, onto the same phone as the simulator, but for numbers it refuses."""

    daemon_threads = True

    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.phone = site.data_dir / "sms.jsonl"
        self.refuses: set[str] = set()
        self.taken: dict[str, str] = {}  # the newest reference by number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Taking(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = text["to"] in self.server.refuses
        if not refused:
            self.server.taken[text["to"]] = text["reference"]
            with self.server.phone.open("a", encoding="utf-8") as phone:
                phone.write(json.dumps({**text, "at": datetime.now(UTC).isoformat()}) + "\n")
        self.send_response(400 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def gateway_for(site: Site) -> Iterator[Gateway]:
    gateway = Gateway(site)
    thread = threading.Thread(target=gateway.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield gateway
    finally:
        gateway.shutdown()
        thread.join()
        gateway.server_close()


def nobodys_address() -> str:
    """An address at which nothing listens: a gateway that is down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


# -- those who call, and those who answer ------------------------------------------


def call(site: Site, path: str, body: dict[str, str], token: str = "") -> tuple[int, Any]:
    """Call the API as a client does; return the status and the answer."""
    request = urllib.request.Request(  # noqa: S310
        f"{site.url}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


@dataclass(frozen=True)
class Caller:
    """Who calls, and what support types into the field on the home page."""

    person: Person
    typed: str


@dataclass
class Desk:
    """Two of the staff at their browsers, the server, and the people who call."""

    site: Site
    gateway: Gateway
    crowd: Crowd
    support: Pointer
    window: Window
    undo: Callable[[], None] = lambda: None
    prefixes: Iterator[str] = field(default_factory=lambda: (f"+61400{n:02d}" for n in range(99)))

    def sign_in(self, person: Person, at: Site | None = None, **changes: str) -> int:
        """Ask for a token, as a client does when somebody signs in; return the status."""
        body = {"grant_type": "password", "username": person.name, "password": PASSWORD, **changes}
        return call(at or self.site, "/authorisation/token", body)[0]

    def opt_in(self, person: Person, *numbers: str, at: Site | None = None) -> list[int]:
        """Ask for opt-ins by the API; return the statuses."""
        body = {"grant_type": "password", "username": person.name, "password": PASSWORD}
        site = at or self.site
        token = call(site, "/authorisation/token", body)[1]["access_token"]
        path = f"{ASK}?FileId=777"
        return [call(site, path, {"MobileNumber": n}, token)[0] for n in numbers]

    def guess(self, person: Person, times: int, at: Site | None = None) -> None:
        """Sign in, and enter wrong codes."""
        before = len(self.site.texts(person.number))
        assert self.sign_in(person, at) == 401
        code = self.site.newest_text(person.number, after=before).split()[0]
        for _ in range(times):
            assert self.sign_in(person, at, verification_code=another(code)) == 400

    def report(self, number: str, status: str) -> None:
        """Post what a carrier said of the last text to *number*, as the gateway does."""
        query = urlencode({"reference": self.gateway.taken[number]})
        request = urllib.request.Request(  # noqa: S310
            f"{self.site.url}/receipts/http/{SECRET}?{query}",
            urlencode({"status": status}).encode(),
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.status == 200

    def person_at(self, path: str, person: Person) -> Pointer:
        """Somebody who signed in with the password, on a page."""
        hand = Pointer(self.window(), self.site)
        hand.sign_in(person)
        hand.sees("Your account")
        hand.page.goto(path)
        return hand

    def press_switch(self, switch: str, reason: str) -> None:
        """As an administrator."""
        hand = self.administrator
        hand.page.goto("/admin/optin/guard/")
        hand.page.get_by_role("link", name=switch, exact=True).click()
        hand.fill("Reason:", reason)
        hand.press(switch)

    @cached_property
    def administrator(self) -> Pointer:
        return come_in(self.window(), self.site, self.crowd.on(), "administrator")

    def find(self, who: str) -> Page:
        """From the home page to the one page of the account, and nothing else."""
        page = self.support.page
        page.goto("/admin/")
        page.get_by_label("Find an account").fill(who)
        self.support.press("Find")
        expect(page).to_have_url(re.compile(r"/admin/optin/user/\d+/change/$"))
        return page


@pytest.fixture(scope="module")
def desk(site: Site, crowd: Crowd, browser: Browser) -> Iterator[Desk]:
    with gateway_for(site) as gateway:
        settings = {
            "OPTIN_GATEWAYS": "http",
            "OPTIN_FICTIONAL_NUMBERS": "yes",
            "OPTIN_GATEWAY_HTTP_URL": gateway.url,
            "OPTIN_GATEWAY_HTTP_BODY": '{"to":"{to}","body":"{body}","reference":"{reference}"}',
            "OPTIN_RECEIPT_SECRET": SECRET,
            # What takes hours or dozens of tries otherwise.
            "OPTIN_RESEND_WAIT": "0",
            "OPTIN_FAILED_SIGN_INS_PER_NAME": "3/300",
            "OPTIN_LOCK_AFTER": "3",
        }
        with beside(site, **settings) as own:
            window = Window(browser, own)
            support = come_in(window(), own, crowd.on(), "support")
            yield Desk(own, gateway, crowd, support, window)
            window.close()


def come_in(page: Page, site: Site, person: Person, role: str) -> Pointer:
    """Give *person* a role; sign them in from the door of the admin, by a texted code too."""
    run(
        site,
        "from optin.operations import staff; from optin.origin import Face, Origin\n"
        f"user = User.objects.get(username={person.name!r})\n"
        f"staff.give_role(user, {role!r}, reason='new here', origin=Origin(Face.COMMAND))",
    )
    hand, before = Pointer(page, site), len(site.texts(person.number))
    page.goto("/admin/")
    hand.give_password(person)
    hand.give_code(site.newest_text(person.number, after=before).split()[0], "Sign in")
    expect(page).to_have_url(f"{site.url}/admin/")
    return hand


def in_one_window(seconds: int) -> None:
    """Wait for the next window of a limit where this one is about to end: counts begin anew."""
    left = seconds - time.time() % seconds
    if left < PATIENCE:
        time.sleep(left)


# -- ten causes of "no SMS" --------------------------------------------------------


def number_limit(desk: Desk) -> Caller:
    person = desk.crowd.new()
    in_one_window(600)
    assert desk.opt_in(person, *[person.number] * 6)[-1] == 429
    return Caller(person, person.email)


def country(desk: Desk) -> Caller:
    """Their first request ever: no number was stored for them."""
    person = desk.crowd.new()
    assert desk.opt_in(person, ABROAD) == [400]
    return Caller(person, "+64 21 555 123")


def breaker(desk: Desk) -> Caller:
    """Three opt-ins that nobody proves, then theirs, which is not stored either."""
    others, person, prefix = desk.crowd.new(), desk.crowd.new(), next(desk.prefixes)
    # A server of its own: elsewhere three would close the prefix of everybody at the new hour.
    with beside(desk.site, OPTIN_BREAKER_UNPROVED="3") as strict:
        assert desk.opt_in(others, *(f"{prefix}000{n}" for n in (1, 2, 3)), at=strict) == [200] * 3
        assert desk.opt_in(person, f"{prefix}0004", at=strict) == [429]
    return Caller(person, f"{prefix}0004".replace("+61", "0"))


def budget(desk: Desk) -> Caller:
    other, person = desk.crowd.new(), desk.crowd.new()
    with beside(desk.site, OPTIN_SENDS_TOTAL="1/7200") as poor:
        assert desk.opt_in(other, other.number, at=poor) == [200]
        assert desk.opt_in(person, person.number, at=poor) == [429]
    return Caller(person, person.email)


def gateway_refused(desk: Desk) -> Caller:
    person = desk.crowd.new()
    desk.gateway.refuses.add(person.number)
    assert desk.opt_in(person, person.number) == [200]
    return Caller(person, person.name)


def gateway_down(desk: Desk) -> Caller:
    person = desk.crowd.on()
    with beside(desk.site, OPTIN_GATEWAY_HTTP_URL=nobodys_address()) as cut_off:
        assert desk.sign_in(person, cut_off) == 401
    return Caller(person, person.number)


def carrier_refused(desk: Desk) -> Caller:
    person = desk.crowd.on()
    assert desk.sign_in(person) == 401
    desk.report(person.number, "undelivered")
    return Caller(person, person.name)


def expired(desk: Desk) -> Caller:
    """The gateway was away; when it was back, the code was about to expire."""
    person = desk.crowd.on()
    away = {"OPTIN_GATEWAY_HTTP_URL": nobodys_address(), "OPTIN_OTP_LIFETIME": "66"}
    with beside(desk.site, **away) as cut_off:
        assert desk.sign_in(person, cut_off) == 401
    time.sleep(1.1)
    desk.site.manage("send_due")
    return Caller(person, person.email)


def mistyped(desk: Desk) -> Caller:
    """Theirs ends in 1 less."""
    person = desk.crowd.new()
    hand = desk.person_at("/account/two-factor/number/", person)
    hand.ask_for_code(person.other_number)
    return Caller(person, person.name)


def stop_switch(desk: Desk) -> Caller:
    """An administrator presses it, then somebody signs in."""
    person = desk.crowd.on()
    desk.press_switch("Stop all texts", "prices rose overnight")
    desk.undo = lambda: desk.press_switch("Allow texts again", "contract signed")
    Pointer(desk.window(), desk.site).sign_in(person)
    return Caller(person, person.name)


# -- causes of "I cannot sign in" --------------------------------------------------


def passwords_limited(desk: Desk) -> Caller:
    person = desk.crowd.on()
    in_one_window(300)
    tries = [desk.sign_in(person, password="is it this one") for _ in range(4)]
    assert tries == [400, 400, 400, 429]
    return Caller(person, person.name)


def locked(desk: Desk) -> Caller:
    person = desk.crowd.on()
    desk.guess(person, 3)
    assert desk.sign_in(person) == 429
    return Caller(person, person.number)


def disabled(desk: Desk) -> Caller:
    person = desk.crowd.on()
    with beside(desk.site, OPTIN_DISABLE_AFTER="2") as strict:
        desk.guess(person, 2, strict)
    return Caller(person, person.email)


def suspended(desk: Desk) -> Caller:
    """The phone was stolen yesterday; today they call."""
    person = desk.crowd.on()
    page = desk.find(person.name)
    page.get_by_role("link", name="Suspend", exact=True).click()
    desk.support.fill("Reason:", "phone stolen, says the person")
    desk.support.press("Suspend")
    assert desk.sign_in(person) == 401
    return Caller(person, person.number)


def deactivated(desk: Desk) -> Caller:
    """Whoever runs the service did it, in a program of their own."""
    person = desk.crowd.on()
    run(desk.site, f"User.objects.filter(username={person.name!r}).update(is_active=False)")
    assert desk.sign_in(person) == 400
    return Caller(person, person.email)


def phone_lost(desk: Desk) -> Caller:
    """They have no recovery codes, and no app."""
    person = desk.crowd.on()
    return Caller(person, person.name)


# -- what stands first -------------------------------------------------------------

AT = r"\d{4}-\d\d-\d\d \d\d:\d\d A\w{3}"
"""A time with its zone."""
NO_TEXT, NO_ENTRY = "no_text", "no_entry"
Seed = Callable[[Desk], Caller]


def slow(*values: Any, id: str) -> Any:
    return pytest.param(*values, id=id, marks=pytest.mark.slow)


CAUSES = [
    slow(
        number_limit,
        (NO_TEXT, "number_limit"),
        rf"\.\.\. \d{{3}} was asked for at {AT}, and refused: 5 of 5 texts to this number in "
        rf"10 minutes, .*Trying again works from {AT}\.",
        r"ends by itself\. Tell them to wait until then",
        id="limit-per-number",
    ),
    pytest.param(
        country,
        (NO_TEXT, "region"),
        rf"\.\.\. 123 was asked for at {AT}, and refused: numbers of the country NZ are not "
        r"allowed\. Only numbers of AU work here\.",
        r"Tell them that it takes a mobile number of an allowed country, or an authenticator app",
        id="country-not-allowed",
    ),
    slow(
        breaker,
        (NO_TEXT, "prefix_closed"),
        rf"\.\.\. 004 was asked for at {AT}, and refused: numbers that begin like this one are "
        rf"closed to opt-ins for a while, against fraud \(3 .*again works from {AT}\.",
        r"An administrator can open the prefix",
        id="breaker",
    ),
    slow(
        budget,
        (NO_TEXT, "total_budget"),
        rf"was asked for at {AT}, and refused: the budget of all texts is used up \(1 of 1 texts "
        rf"in all in 2 hours, .*Trying again works from {AT}\.",
        r"Tell an administrator at once: others are refused too",
        id="budget",
    ),
    slow(
        gateway_refused,
        (NO_TEXT, "gateway_refused"),
        rf"The gateway http refused the text for the number \.\.\. \d{{3}} at {AT}: the gateway "
        r"answered 400",
        r"Ask how their number ends",
        id="gateway-refused",
    ),
    slow(
        gateway_down,
        (NO_TEXT, "gateway_down"),
        rf"No gateway has taken the text of {AT}: it is down or fails. Tried: http; the last one "
        r"said: the gateway could not be reached",
        r"Tell the operators: it is so for everybody",
        id="gateway-down",
    ),
    pytest.param(
        carrier_refused,
        (NO_TEXT, "carrier_refused"),
        rf"The gateway http took the text for the number \.\.\. \d{{3}} at {AT}; then the carrier "
        r"refused it: undelivered",
        r"Ask how their number ends: is it this one\?",
        id="carrier-refused",
    ),
    slow(
        expired,
        (NO_TEXT, "expired_unsent"),
        rf"The text of {AT} was not sent in time: its code had expired",
        r"Tell them to ask again now",
        id="expired-before-sending",
    ),
    slow(
        mistyped,
        (NO_TEXT, "number_mistyped"),
        rf"The number may be mistyped: the text of {AT} was for \.\.\. \d{{3}}, which nobody has",
        r"Ask how their number ends\. If it is not \.\.\. \d{3}, tell them to go back",
        id="number-mistyped",
    ),
    slow(
        stop_switch,
        (NO_TEXT, "all_stopped"),
        rf"\.\.\. \d{{3}} was asked for at {AT}, and refused: Staff stopped all texts at {AT}: "
        r"“prices rose overnight”",
        r"Tell the person that it is not their phone, and that nobody gets texts now",
        id="stop-switch",
    ),
    slow(
        passwords_limited,
        (NO_ENTRY, "password_limit"),
        rf"Sign-in was refused at {AT}, from 127\.0\.0\.1: 3 of 3 wrong passwords for this name "
        rf"from one network in 5 minutes. Trying again works from {AT}\.",
        r"it ends by itself.*“Forgotten your password\?” mails a link",
        id="wrong-passwords",
    ),
    pytest.param(
        locked,
        (NO_ENTRY, "locked"),
        rf"No code is accepted, and no text sent, until {AT}, after 3 wrong codes",
        r"Tell them to wait until then; or, if you are sure who it is, press “Unlock”",
        id="locked-by-wrong-codes",
    ),
    slow(
        disabled,
        (NO_ENTRY, "disabled"),
        rf"Codes by text message have been disabled since {AT}, after 2 wrong codes",
        r"^If you are sure who it is, press “Unlock”",
        id="disabled-by-wrong-codes",
    ),
    slow(
        suspended,
        (NO_ENTRY, "suspended"),
        rf"Staff suspended the number \.\.\. \d{{3}} at {AT}: “phone stolen, says the person”",
        r"Press “End the suspension” only if you are sure who it is",
        id="suspended-by-staff",
    ),
    slow(
        deactivated,
        (NO_ENTRY, "deactivated"),
        r"The account is deactivated: its password is refused as if wrong",
        r"Ask the operators why",
        id="deactivated",
    ),
    slow(
        phone_lost,
        (NO_ENTRY, "phone_only"),
        r"The phone with the number \.\.\. \d{3} is the only way in: there is no authenticator app",
        r"If it is lost: press “Suspend” .*, make sure who calls",
        id="phone-lost-without-recovery-codes",
    ),
    slow(
        carrier_refused,
        (NO_ENTRY, "no_code_entered"),
        rf"A code to sign in was asked for at {AT}, and none was entered since",
        r"The password was right\. If the text did not come, see above why",
        id="text-did-not-arrive",
    ),
]


def picture(page: Page, name: str, top: str, bottom: str) -> None:
    """Take a picture for the guide, from one element down to another: where they are asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        first, last = (page.locator(each).first.bounding_box() for each in (top, bottom))
        assert first
        assert last
        y, below = first["y"] - 10, last["y"] + last["height"]
        clip: FloatRect = {
            "x": last["x"] - 10,
            "y": y,
            "width": last["width"] + 20,
            "height": below - y + 6,
        }
        page.screenshot(path=Path(folder) / f"{name}.png", clip=clip, full_page=True)


@pytest.fixture
def own_desk(desk: Desk) -> Iterator[Desk]:
    yield desk
    desk.undo()
    desk.undo = lambda: None


@pytest.mark.parametrize(("seed", "first", "words", "advice"), CAUSES)
def test_the_page_of_the_account_names_the_cause_first(
    own_desk: Desk,
    seed: Seed,
    first: tuple[str, str],
    words: str,
    advice: str,
    request: pytest.FixtureRequest,
) -> None:
    """In words, above all else that is known, with the time, and with what to do about it."""
    page = own_desk.find(seed(own_desk).typed)
    question, why = first
    cause = page.locator(f"[data-question={question}] > li").first
    expect(cause).to_have_attribute("data-cause", why)
    said, to_do = cause.inner_text().split("What to do: ")
    assert re.search(words, said), said
    assert re.search(advice, to_do), to_do
    box = cause.bounding_box()
    assert box
    assert box["y"] + box["height"] < 800, "whoever is on the phone must scroll"
    name = request.node.callspec.id
    picture(page, f"call-{name}", "h1", "#content-main > .module")
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 800})
    shoot(page, f"cause-{name}-{PHONE_WIDTH}-light")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": WIDE, "height": 800})
    assert wide <= PHONE_WIDTH, f"scrolls sideways: {wide} px"


# -- what to do about it -----------------------------------------------------------


def act(hand: Pointer, action: str, reason: str) -> None:
    """Press one of the buttons of the page, and give a reason."""
    hand.page.get_by_role("link", name=action, exact=True).click()
    hand.fill("Reason:", reason)
    hand.press(action)


def can_sign_in(desk: Desk, person: Person) -> bool:
    """Whether a code arrives, and lets them in."""
    before = len(desk.site.texts(person.number))
    assert desk.sign_in(person) == 401
    code = desk.site.newest_text(person.number, after=before).split()[0]
    return desk.sign_in(person, verification_code=code) == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "action"),
    [(locked, "Unlock"), (disabled, "Unlock"), (suspended, "End the suspension")],
    ids=["locked", "disabled", "suspended"],
)
def test_what_support_does_lets_them_in_again(desk: Desk, seed: Seed, action: str) -> None:
    caller = seed(desk)
    desk.find(caller.typed)
    act(desk.support, action, "they named their last three invoices")
    assert can_sign_in(desk, caller.person)


@pytest.mark.slow
def test_an_administrator_opens_the_prefix(desk: Desk) -> None:
    caller = breaker(desk)
    hand = desk.administrator
    hand.page.goto("/admin/optin/guard/")
    hand.page.get_by_role("link", name="Open a prefix", exact=True).click()
    hand.fill("Mobile number:", caller.typed)
    hand.fill("Reason:", "a trade fair")
    hand.press("Open a prefix")
    assert desk.opt_in(caller.person, caller.typed) == [200]


@pytest.mark.slow
def test_texts_go_again_after_the_stop(desk: Desk) -> None:
    """Then the page says so."""
    caller = stop_switch(desk)
    desk.undo()
    desk.undo = lambda: None
    first = desk.find(caller.typed).locator("[data-cause]").first
    expect(first).to_contain_text("staff stopped all texts. This is over.")
    expect(first).to_contain_text("Tell them to ask once now.")
    assert can_sign_in(desk, caller.person)


@pytest.mark.slow
def test_the_code_that_waits_is_sent_again(desk: Desk) -> None:
    caller = carrier_refused(desk)
    before = desk.site.texts(caller.person.number)
    desk.find(caller.typed)
    act(desk.support, "Send the code again", "it did not come")
    again = desk.site.newest_text(caller.person.number, after=len(before)).split()[0]
    assert desk.sign_in(caller.person, verification_code=again) == 200


@pytest.mark.slow
def test_the_right_number_after_the_mistyped_one(desk: Desk) -> None:
    person = mistyped(desk).person
    assert desk.opt_in(person, person.number) == [200]
    assert desk.site.newest_text(person.number)
