"""Why no text came, why somebody cannot sign in: one page says it, in words (P-21).

A cause is brought about by calls and pages of a running server, or by what a gateway reports.
Then a member of staff, who signed in with a second factor, finds the person from the home page, and
reads what stands first. tests/explained has all causes.
"""

import json
import os
import re
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


# -- the gateway -------------------------------------------------------------------


class Gateway(ThreadingHTTPServer):
    """Takes texts by HTTP, onto the same phone as the simulator."""

    daemon_threads = True

    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.phone = site.data_dir / "sms.jsonl"
        self.taken: dict[str, str] = {}  # the newest reference by number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Taking(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken[text["to"]] = text["reference"]
        with self.server.phone.open("a", encoding="utf-8") as phone:
            phone.write(json.dumps({**text, "at": datetime.now(UTC).isoformat()}) + "\n")
        self.send_response(200)
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


# -- causes of "no SMS" ------------------------------------------------------------


def number_limit(desk: Desk) -> Caller:
    person = desk.crowd.new()
    in_one_window(600)
    assert desk.opt_in(person, *[person.number] * 6)[-1] == 429
    return Caller(person, person.email)


def breaker(desk: Desk) -> Caller:
    """Three opt-ins that nobody proves, then theirs, which is not stored either."""
    others, person, prefix = desk.crowd.new(), desk.crowd.new(), next(desk.prefixes)
    # A server of its own: elsewhere three would close the prefix of everybody at the new hour.
    with beside(desk.site, OPTIN_BREAKER_UNPROVED="3") as strict:
        assert desk.opt_in(others, *(f"{prefix}000{n}" for n in (1, 2, 3)), at=strict) == [200] * 3
        assert desk.opt_in(person, f"{prefix}0004", at=strict) == [429]
    return Caller(person, f"{prefix}0004".replace("+61", "0"))


def carrier_refused(desk: Desk) -> Caller:
    person = desk.crowd.on()
    assert desk.sign_in(person) == 401
    desk.report(person.number, "undelivered")
    return Caller(person, person.name)


def stop_switch(desk: Desk) -> Caller:
    """An administrator presses it, then somebody signs in."""
    person = desk.crowd.on()
    desk.press_switch("Stop all texts", "prices rose overnight")
    desk.undo = lambda: desk.press_switch("Allow texts again", "contract signed")
    Pointer(desk.window(), desk.site).sign_in(person)
    return Caller(person, person.name)


# -- causes of "I cannot sign in" --------------------------------------------------


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


# -- what stands first -------------------------------------------------------------

AT = r"\d{4}-\d\d-\d\d \d\d:\d\d A\w{3}"
"""A time with its zone."""
NO_TEXT, NO_ENTRY = "no_text", "no_entry"
Seed = Callable[[Desk], Caller]


CAUSES = [
    pytest.param(
        number_limit,
        (NO_TEXT, "number_limit"),
        rf"\.\.\. \d{{3}} was asked for at {AT}, and refused: 5 of 5 texts to this number in "
        rf"10 minutes, .*Trying again works from {AT}\.",
        r"ends by itself\. Tell them to wait until then",
        id="limit-per-number",
    ),
    pytest.param(
        locked,
        (NO_ENTRY, "locked"),
        rf"No code is accepted, and no text sent, until {AT}, after 3 wrong codes",
        r"Tell them to wait until then; or, if you are sure who it is, press “Unlock”",
        id="locked-by-wrong-codes",
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


@pytest.mark.parametrize(("seed", "first", "words", "advice"), CAUSES)
def test_the_page_of_the_account_names_the_cause_first(
    desk: Desk,
    seed: Seed,
    first: tuple[str, str],
    words: str,
    advice: str,
    request: pytest.FixtureRequest,
) -> None:
    """In words, above all else that is known, with the time, and with what to do about it."""
    page = desk.find(seed(desk).typed)
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


def test_an_administrator_opens_the_prefix(desk: Desk) -> None:
    caller = breaker(desk)
    hand = desk.administrator
    hand.page.goto("/admin/optin/guard/")
    hand.page.get_by_role("link", name="Open a prefix", exact=True).click()
    hand.fill("Mobile number:", caller.typed)
    hand.fill("Reason:", "a trade fair")
    hand.press("Open a prefix")
    assert desk.opt_in(caller.person, caller.typed) == [200]


def test_texts_go_again_after_the_stop(desk: Desk) -> None:
    """Then the page says so."""
    caller = stop_switch(desk)
    desk.undo()
    desk.undo = lambda: None
    first = desk.find(caller.typed).locator("[data-cause]").first
    expect(first).to_contain_text("staff stopped all texts. This is over.")
    expect(first).to_contain_text("Tell them to ask once now.")
    assert can_sign_in(desk, caller.person)


def test_the_code_that_waits_is_sent_again(desk: Desk) -> None:
    caller = carrier_refused(desk)
    before = desk.site.texts(caller.person.number)
    desk.find(caller.typed)
    act(desk.support, "Send the code again", "it did not come")
    again = desk.site.newest_text(caller.person.number, after=len(before)).split()[0]
    assert desk.sign_in(caller.person, verification_code=again) == 200
