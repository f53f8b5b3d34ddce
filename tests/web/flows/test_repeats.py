"""Double clicks, two tabs, back and reload (P-12, S-40).

One text, one count; both answers lead on; and whichever of them the browser takes, the person
stays signed in.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from django.db import connections

from optin.models import AuditEvent, ProviderUser, User
from optin.models.second_factors import overview
from tests.kit.apps import app_code, make_recovery_codes
from tests.kit.authenticator import Authenticator
from tests.kit.browser import (
    ADD_PASSKEY,
    CONFIRM,
    NEW_PASSWORD,
    NUMBER_CODE,
    NUMBER_PAGE,
    OFF,
    PROVE,
    RECOVERY,
    SUCCESS,
    TWO_FACTOR,
    Browser,
    Page,
    begin_app,
    failures,
    link_in_mail,
    name_number,
    opt_in,
    sign_in,
)
from tests.kit.people import NUMBER, OTHER_NUMBER, PASSWORD
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Submit = Callable[[Browser], Page]


@dataclass
class Story:
    """A form that is filled in, and what becomes of it, however often it is sent."""

    submit: Submit
    leads_to: str
    texts: int = 0  # that the form causes
    failures: int = 0
    decided: tuple[str, str] | None = None  # the event that there is one of
    signed_in: bool = True
    joins: bool = False  # the session that the first half began


@dataclass
class At:
    """Whoever is at the browser, and what they have."""

    browser: Browser
    user: User
    phone: Phone
    clock: time_machine.Traveller
    key: Authenticator = field(default_factory=Authenticator)


Setting = Callable[[At], Story]


def with_number(at: At, browser: Browser) -> None:
    """Opted in on the pages a while ago, and signed in."""
    sign_in(browser)
    opt_in(browser, at.phone)
    at.clock.shift(timedelta(minutes=11))


def password(at: At) -> Story:
    at.browser.go("/sign-in/")
    return Story(at.browser.submission(username="ann", password=PASSWORD), "/account/")


def password_before_a_code(at: At) -> Story:
    with_number(at, Browser())
    at.browser.go("/sign-in/")
    submit = at.browser.submission(username="ann", password=PASSWORD)
    return Story(submit, "/sign-in/code/", texts=1, signed_in=False)


def sign_in_code(at: At) -> Story:
    with_number(at, Browser())
    sign_in(at.browser)
    return Story(at.browser.submission(code=at.phone.code()), "/account/", decided=("check", "ok"))


def wrong_sign_in_code(at: At) -> Story:
    with_number(at, Browser())
    sign_in(at.browser)
    submit = at.browser.submission(code=wrong(at.phone.code()))
    event = ("check", "otp_incorrect")
    return Story(submit, "/sign-in/code/", failures=1, decided=event, signed_in=False)


def recovery_code_at_sign_in(at: At) -> Story:
    with_number(at, Browser())
    code = make_recovery_codes(at.user)[0]
    sign_in(at.browser)
    at.browser.click("/sign-in/recovery/")
    return Story(at.browser.submission(recovery=code), NUMBER_PAGE, decided=("check", "ok"))


def number(at: At) -> Story:
    sign_in(at.browser)
    at.browser.go(NUMBER_PAGE)
    return Story(at.browser.submission(number=NUMBER), NUMBER_CODE, texts=1)


def number_code(at: At) -> Story:
    sign_in(at.browser)
    name_number(at.browser)
    event = ("verify_opt_in", "ok")
    return Story(at.browser.submission(code=at.phone.code()), SUCCESS, decided=event, joins=True)


def send_again(at: At) -> Story:
    sign_in(at.browser)
    name_number(at.browser)
    at.clock.shift(60)
    at.browser.click(f"{NUMBER_CODE}not-received/")
    return Story(at.browser.submission(f"{NUMBER_CODE}send/"), NUMBER_CODE, texts=1)


def proof(at: At) -> Story:
    with_number(at, at.browser)
    at.clock.shift(timedelta(minutes=9))
    at.browser.go(CONFIRM)
    at.browser.send(password=PASSWORD)
    at.browser.go(NUMBER_PAGE)
    at.browser.send(f"{PROVE}send/")
    submit = at.browser.submission(code=at.phone.code())
    return Story(submit, NUMBER_PAGE, decided=("check", "ok"), joins=True)


def password_again(at: At) -> Story:
    sign_in(at.browser)
    at.clock.shift(timedelta(minutes=20))
    at.browser.go(NUMBER_PAGE)
    return Story(at.browser.submission(password=PASSWORD), NUMBER_PAGE, joins=True)


def new_password(at: At) -> Story:
    sign_in(at.browser)
    at.browser.go("/account/password/")
    return Story(
        at.browser.submission(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD),
        "/account/",
        decided=("password", "changed"),
    )


def not_me(at: At) -> Story:
    with_number(at, at.browser)
    at.browser.go(link_in_mail("/not-me/"))
    return Story(
        at.browser.submission(password=PASSWORD),
        "/not-me/done/",
        decided=("disown", "ok"),
        signed_in=False,
    )


def turn_off(at: At) -> Story:
    with_number(at, at.browser)
    at.browser.go(OFF)
    at.browser.send(f"{OFF}send/")
    return Story(at.browser.submission(code=at.phone.code()), TWO_FACTOR, decided=("opt_out", "ok"))


def keep_codes(at: At) -> Story:
    with_number(at, at.browser)
    at.browser.go(RECOVERY)
    return Story(at.browser.submission(), RECOVERY, decided=("recovery_codes", "ok"))


def first_app_code(at: At) -> Story:
    sign_in(at.browser)
    secret = begin_app(at.browser)
    submit = at.browser.submission(code=app_code(secret))
    return Story(submit, SUCCESS, decided=("app", "ok"), joins=True)


def first_passkey(at: At) -> Story:
    sign_in(at.browser)
    at.browser.go(ADD_PASSKEY)
    submit = at.browser.passkey_submission(at.key.create, name="Laptop")
    return Story(submit, SUCCESS, decided=("passkey", "ok"), joins=True)


def with_passkey(at: At, browser: Browser) -> None:
    """Added one a while ago, and signed in."""
    sign_in(browser)
    browser.add_passkey(at.key.create, "Laptop")
    at.clock.shift(timedelta(minutes=11))


def passkey_at_sign_in(at: At) -> Story:
    with_passkey(at, Browser())
    sign_in(at.browser)
    submit = at.browser.passkey_submission(at.key.get)
    return Story(submit, "/account/", decided=("check", "ok"))


def sign_out(at: At) -> Story:
    sign_in(at.browser)
    return Story(at.browser.submission("/sign-out/"), "/sign-in/", signed_in=False)


SETTINGS: list[Setting] = [
    password,
    password_before_a_code,
    sign_in_code,
    wrong_sign_in_code,
    recovery_code_at_sign_in,
    number,
    number_code,
    send_again,
    proof,
    password_again,
    new_password,
    not_me,
    turn_off,
    keep_codes,
    first_app_code,
    first_passkey,
    passkey_at_sign_in,
    sign_out,
]


@dataclass
class Told:
    """What was there before a form was sent."""

    at: At
    texts: int
    events: int

    @classmethod
    def now(cls, at: At, story: Story) -> "Told":
        return cls(at, len(at.phone.messages), cls.events_of(at.user, story))

    @staticmethod
    def events_of(user: User, story: Story) -> int:
        kind, outcome = story.decided or ("", "")
        return AuditEvent.objects.about(user).filter(kind=kind, outcome=outcome).count()

    def assert_once(self, story: Story) -> None:
        assert len(self.at.phone.messages) == self.texts + story.texts
        assert failures(self.at.user) == story.failures
        assert self.events_of(self.at.user, story) == self.events + bool(story.decided)


@pytest.fixture
def at(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> At:
    return At(browser, user, phone, clock)


@pytest.fixture
def story(request: pytest.FixtureRequest, at: At) -> Story:
    setting: Setting = request.param
    return setting(at)


def stories(*settings: Setting) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("story", settings, indirect=True, ids=lambda s: s.__name__)


def assert_led_on(browser: Browser, story: Story) -> None:
    # Recovery codes travel in no address and no session: the answer itself shows them.
    assert browser.answer.status_code == (200 if story.leads_to == RECOVERY else 303)
    assert browser.path == story.leads_to
    assert ("That code isn't right." in browser.page.errors) == bool(story.failures)


@stories(*SETTINGS)
@pytest.mark.parametrize("cookies", ["of the first answer", "as they were"])
def test_sent_twice(cookies: str, story: Story, at: At) -> None:
    """S-40. The second click comes before the first answer, or after its cookies were taken.

    A reload of the page to which it leads sends nothing: that is a GET.
    """
    before = Told.now(at, story)
    browser, old = at.browser, at.browser.session
    twin = browser.copy() if cookies == "as they were" else browser.tab()

    story.submit(browser)
    first = browser.copy()
    story.submit(twin)

    assert browser.path == story.leads_to
    if cookies == "as they were":
        assert_led_on(twin, story)
    twin.reload()
    assert twin.page.status == 200
    before.assert_once(story)
    if cookies == "as they were" and story.joins:
        assert twin.session == browser.session != old  # there is no third
    at.clock.shift(timedelta(minutes=2))
    if cookies == "as they were":
        assert_signed_in(first, story)
    assert_signed_in(twin, story)


def assert_signed_in(browser: Browser, story: Story) -> None:
    browser.go("/account/")
    assert (browser.path == "/account/") == story.signed_in


@pytest.mark.postgresql
@stories(*SETTINGS)
def test_sent_twice_at_once(story: Story, at: At) -> None:
    """Both in flight at the same time, with the same cookies."""
    before = Told.now(at, story)
    twins = [at.browser.copy(), at.browser.copy()]
    start = Barrier(len(twins), timeout=30)

    def press(twin: Browser) -> None:
        start.wait()
        try:
            story.submit(twin)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(twins)) as pool:
        list(pool.map(press, twins))

    before.assert_once(story)
    for twin in twins:
        assert twin.answer.status_code == (200 if story.leads_to == RECOVERY else 303)
        assert twin.path == story.leads_to
    at.clock.shift(timedelta(minutes=2))
    for twin in twins:
        assert_signed_in(twin, story)


# -- back, two tabs ----------------------------------------------------------------


def test_back_and_the_proved_code_minutes_later(at: At) -> None:
    """It leads on, counting nothing."""
    story = number_code(at)
    before = Told.now(at, story)
    story.submit(at.browser)
    at.clock.shift(timedelta(minutes=2))
    story.submit(at.browser)
    assert at.browser.path == SUCCESS
    before.assert_once(story)


def test_two_tabs_wait_for_two_numbers(browser: Browser, user: User, phone: Phone) -> None:
    sign_in(browser)
    tab = browser.tab()
    for one, named in ((browser, NUMBER), (tab, OTHER_NUMBER)):
        name_number(one, named)
    browser.send(code=phone.code_to(NUMBER))
    assert browser.path == SUCCESS
    assert failures(user) == 0
    factors = overview(user)
    assert factors.number
    assert factors.number.last_three == "156"


def test_two_tabs_of_one_sign_in(
    browser: Browser, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    tab = browser.tab()
    sign_in(tab)
    sent = len(phone.messages)
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    tab.send(code=phone.code())
    assert (tab.path, tab.page.status) == ("/account/", 200)
    assert (failures(active.user), len(phone.messages)) == (0, sent)
