"""Double clicks, two tabs, back and reload (P-12, S-40).

One text, one count; both answers lead on; and whichever of them the browser takes, the person
stays signed in.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from django.db import connections

from optin.models import AuditEvent, ProviderUser, User
from optin.operations import authenticators
from tests.kit.apps import app_code, make_recovery_codes, set_up_app
from tests.kit.browser import (
    APP,
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
    failures,
    link_in_mail,
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


Setting = Callable[[Browser, User, Phone, time_machine.Traveller], Story]


def with_number(browser: Browser, phone: Phone, clock: time_machine.Traveller) -> None:
    """Opted in on the pages a while ago, and signed in."""
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    browser.send(number=NUMBER)
    browser.send(code=phone.code())
    clock.shift(timedelta(minutes=11))


def password(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    browser.go("/sign-in/")
    return Story(browser.submission(username="ann", password="correct horse battery"), "/account/")


def password_before_a_code(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    with_number(Browser(), phone, clock)
    browser.go("/sign-in/")
    submit = browser.submission(username="ann", password="correct horse battery")
    return Story(submit, "/sign-in/code/", texts=1, signed_in=False)


def sign_in_code(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    with_number(Browser(), phone, clock)
    sign_in(browser)
    return Story(browser.submission(code=phone.code()), "/account/", decided=("check", "ok"))


def wrong_sign_in_code(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    with_number(Browser(), phone, clock)
    sign_in(browser)
    submit = browser.submission(code=wrong(phone.code()))
    event = ("check", "otp_incorrect")
    return Story(submit, "/sign-in/code/", failures=1, decided=event, signed_in=False)


def recovery_code_at_sign_in(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    with_number(Browser(), phone, clock)
    code = make_recovery_codes(user)[0]
    sign_in(browser)
    browser.click("/sign-in/recovery/")
    return Story(browser.submission(recovery=code), NUMBER_PAGE, decided=("check", "ok"))


def recovery_code_without_a_number(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    """What is lost is the app."""
    set_up_app(user)
    code = make_recovery_codes(user)[0]
    sign_in(browser)
    browser.click("/sign-in/recovery/")
    return Story(browser.submission(recovery=code), APP, decided=("check", "ok"))


def number(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    return Story(browser.submission(number=NUMBER), NUMBER_CODE, texts=1)


def number_code(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    browser.send(number=NUMBER)
    event = ("verify_opt_in", "ok")
    return Story(browser.submission(code=phone.code()), SUCCESS, decided=event)


def wrong_number_code(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    browser.send(number=NUMBER)
    submit = browser.submission(code=wrong(phone.code()))
    return Story(submit, NUMBER_CODE, failures=1, decided=("verify_opt_in", "otp_incorrect"))


def send_again(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    browser.send(number=NUMBER)
    clock.shift(60)
    browser.click(f"{NUMBER_CODE}not-received/")
    return Story(browser.submission(f"{NUMBER_CODE}send/"), NUMBER_CODE, texts=1)


def proof(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    with_number(browser, phone, clock)
    clock.shift(timedelta(minutes=9))
    browser.go(CONFIRM)
    browser.send(password="correct horse battery")
    browser.go(NUMBER_PAGE)
    browser.send(f"{PROVE}send/")
    return Story(browser.submission(code=phone.code()), NUMBER_PAGE, decided=("check", "ok"))


def password_again(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    sign_in(browser)
    clock.shift(timedelta(minutes=20))
    browser.go(NUMBER_PAGE)
    return Story(browser.submission(password="correct horse battery"), NUMBER_PAGE)


def new_password(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    sign_in(browser)
    browser.go("/account/password/")
    return Story(
        browser.submission(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD),
        "/account/",
        decided=("password", "changed"),
    )


def not_me(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    with_number(browser, phone, clock)
    browser.go(link_in_mail("/not-me/"))
    return Story(
        browser.submission(password=PASSWORD),
        "/not-me/done/",
        decided=("disown", "ok"),
        signed_in=False,
    )


def turn_off(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    with_number(browser, phone, clock)
    browser.go(OFF)
    browser.send(f"{OFF}send/")
    return Story(browser.submission(code=phone.code()), TWO_FACTOR, decided=("opt_out", "ok"))


def keep_codes(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    with_number(browser, phone, clock)
    browser.go(RECOVERY)
    return Story(browser.submission(), RECOVERY, decided=("recovery_codes", "ok"))


def first_app_code(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    sign_in(browser)
    browser.go(APP)
    browser.send()
    secret = next(text for text in browser.page.codes if len(text) > 30)
    return Story(browser.submission(code=app_code(secret)), SUCCESS, decided=("app", "ok"))


def app_code_at_sign_in(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> Story:
    secret = set_up_app(user)
    sign_in(browser)
    submit = browser.submission(code=app_code(secret, 1))
    return Story(submit, "/account/", decided=("check", "ok"))


def sign_out(browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller) -> Story:
    sign_in(browser)
    return Story(browser.submission("/sign-out/"), "/sign-in/", signed_in=False)


SETTINGS: list[Setting] = [
    password,
    password_before_a_code,
    sign_in_code,
    wrong_sign_in_code,
    recovery_code_at_sign_in,
    recovery_code_without_a_number,
    number,
    number_code,
    wrong_number_code,
    send_again,
    proof,
    password_again,
    new_password,
    not_me,
    turn_off,
    keep_codes,
    first_app_code,
    app_code_at_sign_in,
    sign_out,
]


@dataclass
class Told:
    """What was there before a form was sent."""

    user: User
    phone: Phone
    texts: int
    events: int

    @classmethod
    def now(cls, user: User, phone: Phone, story: Story) -> "Told":
        return cls(user, phone, len(phone.messages), cls.events_of(user, story))

    @staticmethod
    def events_of(user: User, story: Story) -> int:
        kind, outcome = story.decided or ("", "")
        return AuditEvent.objects.about(user).filter(kind=kind, outcome=outcome).count()

    def assert_once(self, story: Story) -> None:
        assert len(self.phone.messages) == self.texts + story.texts
        assert failures(self.user) == story.failures
        assert self.events_of(self.user, story) == self.events + bool(story.decided)


@pytest.fixture
def story(
    request: pytest.FixtureRequest,
    browser: Browser,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
) -> Story:
    setting: Setting = request.param
    return setting(browser, user, phone, clock)


every_form = pytest.mark.parametrize(
    "story", SETTINGS, indirect=True, ids=lambda setting: setting.__name__
)


@every_form
@pytest.mark.parametrize("cookies", ["of the first answer", "as they were"])
def test_sent_twice(
    cookies: str,
    story: Story,
    browser: Browser,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """The second click comes before the first answer, or after its cookies were taken."""
    before = Told.now(user, phone, story)
    twin = browser.copy() if cookies == "as they were" else browser.tab()

    story.submit(browser)
    first = browser.copy()
    story.submit(twin)

    assert browser.path == story.leads_to
    before.assert_once(story)
    clock.shift(timedelta(minutes=2))
    if cookies == "as they were":
        assert_signed_in(first, story)
    assert_signed_in(twin, story)


def assert_signed_in(browser: Browser, story: Story) -> None:
    browser.go("/account/")
    assert (browser.path == "/account/") == story.signed_in


@every_form
def test_second_answer_leads_where_the_first_did(
    story: Story, browser: Browser, clock: time_machine.Traveller
) -> None:
    twin = browser.copy()
    story.submit(browser)
    story.submit(twin)
    # Recovery codes travel in no address and no session: the answer itself shows them.
    assert twin.answer.status_code == (200 if story.leads_to == RECOVERY else 303)
    assert twin.path == story.leads_to
    assert ("not right" in twin.page.errors) == bool(story.failures)


@pytest.mark.parametrize(
    "story",
    [number_code, proof, password_again, first_app_code],
    indirect=True,
    ids=lambda setting: setting.__name__,
)
def test_both_halves_go_on_in_one_session(story: Story, browser: Browser) -> None:
    """The second half joins the session that the first began: there is no third."""
    twin = browser.copy()
    old = browser.session
    story.submit(browser)
    story.submit(twin)
    assert twin.session == browser.session != old


@pytest.mark.postgresql
@every_form
def test_sent_twice_at_once(
    story: Story,
    browser: Browser,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """Both in flight at the same time, with the same cookies."""
    before = Told.now(user, phone, story)
    twins = [browser.copy(), browser.copy()]
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
    clock.shift(timedelta(minutes=2))
    for twin in twins:
        assert_signed_in(twin, story)


# -- back, reload, two tabs --------------------------------------------------------


@every_form
def test_reload_after_it_was_sent(story: Story, browser: Browser, user: User, phone: Phone) -> None:
    """The answer is a GET: nothing is sent again, and no dialog asks."""
    story.submit(browser)
    after = Told.now(user, phone, story)
    browser.reload()
    assert browser.page.status == 200
    assert (len(phone.messages), Told.events_of(user, story)) == (after.texts, after.events)
    assert failures(user) == story.failures


@pytest.mark.parametrize("minutes", [0, 2])
def test_back_and_the_proved_code_again(
    minutes: int, browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """It leads on, counting nothing: at once by what was remembered, later by what is so."""
    story = number_code(browser, user, phone, clock)
    story.submit(browser)
    clock.shift(timedelta(minutes=minutes))
    story.submit(browser)
    assert browser.path == SUCCESS
    assert failures(user) == 0
    assert AuditEvent.objects.filter(kind="verify_opt_in", outcome="ok").count() == 1


@pytest.mark.parametrize(
    "story",
    [proof, turn_off, first_app_code, number_code, wrong_number_code, wrong_sign_in_code],
    indirect=True,
    ids=lambda setting: setting.__name__,
)
def test_back_and_the_same_code_again(
    story: Story, browser: Browser, user: User, phone: Phone
) -> None:
    """It is the same guess, though the session may have a new id by now."""
    before = Told.now(user, phone, story)
    story.submit(browser)
    story.submit(browser)
    assert browser.path == story.leads_to
    assert bool(browser.page.errors) == bool(story.failures)
    before.assert_once(story)


def test_two_tabs_wait_for_two_numbers(browser: Browser, user: User, phone: Phone) -> None:
    sign_in(browser)
    tab = browser.tab()
    for one, named in ((browser, NUMBER), (tab, OTHER_NUMBER)):
        one.go(NUMBER_PAGE)
        one.send(number=named)
    browser.send(code=phone.code_to(NUMBER))
    assert browser.path == SUCCESS
    assert failures(user) == 0
    factors = authenticators.overview(user)
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
