"""What happened since the last visit, on the account page, and "That was not me" (G-08)."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import AbstractApplication

from optin.models import AccessKey, AuditEvent, File, Guard, KnownNetwork, ProviderUser, User
from optin.operations import erasure, not_me, opt_ins, send_controls
from optin.operations.send_controls import Target
from optin.origin import Face, Origin
from tests.kit import grants
from tests.kit.apps import App, add_app, standing
from tests.kit.browser import (
    CONFIRM,
    NUMBER_CODE,
    OFF,
    PROVE,
    Browser,
    name_number,
    prove,
)
from tests.kit.browser import sign_in as sign_in_on_pages
from tests.kit.oauth import authorize
from tests.kit.people import NUMBER, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TITLE = "Since your last visit"
BUTTON = "That wasn't me"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0) Version/26.0 Mobile Safari/604.1"
THIEF_IP = "198.51.100.9"
HOUR = timedelta(hours=1)
FOR_OTHERS = "Code sent to your number because another account asked for it"


def told(browser: Browser) -> str:
    """The part of the account page about the last visit, "" if there is none."""
    browser.go("/account/")
    before = browser.page.text.partition("Latest activity")[0]
    text = " ".join(before.partition(TITLE)[2].split())
    return text.removesuffix(BUTTON).partition("Did somebody else do any of this?")[0]


def thief() -> Browser:
    return Browser(IPHONE, THIEF_IP)


def come_in(browser: Browser, phone: Phone) -> Browser:
    """Sign in, with a texted code where one is asked for."""
    sign_in_on_pages(browser)
    if browser.path == "/sign-in/code/":
        browser.send(code=phone.code_to(NUMBER))
    assert browser.path == "/account/"
    return browser


def visit(browser: Browser, phone: Phone, clock: time_machine.Traveller) -> None:
    """Sign in again, a while later."""
    clock.shift(HOUR)
    come_in(browser, phone)


def press(browser: Browser) -> None:
    browser.go("/account/")
    browser.send()


# -- what is listed ----------------------------------------------------------------


def test_nothing_is_said_where_there_is_nothing(
    ann_on: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Own texts, own sign-ins and own wrong codes, before the last visit and since."""
    assert TITLE not in ann_on.page.text  # the first one
    for _ in range(2):
        clock.shift(HOUR)
        sign_in_on_pages(ann_on)
        ann_on.send(code=wrong(phone.code()))
        ann_on.send(code=phone.code())
        assert ann_on.path == "/account/"
        assert TITLE not in ann_on.page.text
        assert BUTTON not in ann_on.page.text


def test_a_text_that_was_not_asked_for_and_a_wrong_code_are_listed(
    ann_on: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    other = thief()
    sign_in_on_pages(other)
    other.send(code=wrong(phone.code()))
    visit(ann_on, phone, clock)
    said = told(ann_on)
    place = f"from {THIEF_IP}, Safari on iPhone"
    assert said.count(place) == 2
    assert "Code sent, to sign in" in said
    assert "Wrong code entered, to sign in" in said
    # And it stays while the visit lasts, but no longer.
    assert told(ann_on) == said
    visit(ann_on, phone, clock)
    assert TITLE not in ann_on.page.text


def test_a_sign_in_elsewhere_is_listed_and_its_text_is_not(
    ann_on: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Though it makes the time of the last visit."""
    clock.shift(HOUR)
    come_in(thief(), phone)
    visit(ann_on, phone, clock)
    said = told(ann_on)
    assert said.count(THIEF_IP) == 1
    assert "Signed in with a text code" in said
    assert "Code sent" not in said


def test_a_sign_in_through_an_application_is_listed(
    ann: Browser, phone: Phone, clock: time_machine.Traveller, password_clients: None
) -> None:
    clock.shift(HOUR)
    grants.tokens("ann", origin=Origin(Face.TOKEN, ip=THIEF_IP))
    visit(ann, phone, clock)
    words = told(ann)
    assert "Signed in with the password" in words
    assert f"from {THIEF_IP}, through an app" in words


def test_an_application_that_was_let_act_elsewhere_is_listed(
    ann_on: Browser,
    phone: Phone,
    clock: time_machine.Traveller,
    client_app: AbstractApplication,
) -> None:
    """Though a right code came from there: the thief's own."""
    clock.shift(HOUR)
    other = come_in(thief(), phone)
    clock.shift(timedelta(minutes=1))
    other.go(authorize())
    other.client.handler.enforce_csrf_checks = False
    scope = other.page.inputs["scope"]["value"]
    other.client.post(authorize(), {"allow": "Allow", "scope": scope}, secure=True)
    visit(ann_on, phone, clock)
    words = told(ann_on)
    assert "An app was allowed to act for the account" in words
    assert f"from {THIEF_IP}" in words


def test_texts_to_the_number_for_other_accounts_are_one_line(
    ann_on: Browser, stranger: User, phone: Phone, file: File, clock: time_machine.Traveller
) -> None:
    """It does not say for whom, or from where (S-38)."""
    third = make_user("cid", file)
    for each in (stranger, third):
        clock.shift(HOUR)
        opt_ins.opt_in(each, file, NUMBER, origin=Origin(Face.API, ip=THIEF_IP))
    visit(ann_on, phone, clock)
    said = told(ann_on)
    assert said.count(FOR_OTHERS) == 1
    assert f"{FOR_OTHERS}, 2 times" in said
    assert not {THIEF_IP, "ben", "cid", NUMBER, NUMBER[-6:]} & set(said.replace(",", " ").split())
    visit(ann_on, phone, clock)
    assert FOR_OTHERS not in ann_on.page.text


def test_from_before_the_number_was_theirs_is_not_listed(
    ann: Browser, stranger: User, phone: Phone, file: File, clock: time_machine.Traveller
) -> None:
    visit(ann, phone, clock)
    opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    clock.shift(HOUR)
    visit(ann, phone, clock)
    name_number(ann)
    assert ann.path == NUMBER_CODE
    ann.send(code=phone.code_to(NUMBER))
    assert told(ann) == ""


def test_a_network_that_changes_during_a_visit_is_no_news(
    ann_on: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    visit(ann_on, phone, clock)
    moved = Browser(ann_on.agent, "203.0.113.77")
    moved.client.cookies = ann_on.client.cookies
    clock.shift(timedelta(minutes=5))
    assert told(moved) == ""


# -- the button --------------------------------------------------------------------


@pytest.fixture
def warned(ann_on: Browser, phone: Phone, clock: time_machine.Traveller) -> tuple[Browser, Browser]:
    """Ann, who has proved a factor and whose page lists a sign-in, and whoever signed in."""
    clock.shift(HOUR)
    other = come_in(thief(), phone)
    clock.shift(timedelta(minutes=2))
    come_in(ann_on, phone)
    prove(ann_on, phone)
    ann_on.go("/account/")
    assert TITLE in ann_on.page.text
    return ann_on, other


def test_the_button_ends_all_other_sessions_and_tells_staff(
    warned: tuple[Browser, Browser], user: User, access_key: str
) -> None:
    ann, other = warned
    press(ann)
    assert ann.path == "/account/"
    assert "All other devices and all apps are signed out" in ann.page.flash
    assert TITLE not in ann.page.text
    assert other.go("/account/").address.partition("?")[0].endswith("/sign-in/")
    event = AuditEvent.objects.get(kind="disown")
    assert (event.outcome, event.user_id, event.last_three) == ("secured", user.pk, NUMBER[-3:])
    (told,) = (one for one in mail.outbox if "Everybody else was signed out" in one.subject)
    assert told.to == [user.email]
    assert ProviderUser.objects.get(user=user).confirmed
    assert AccessKey.objects.filter(user=user, revoked_at=None).exists()
    # G-02: else strangers could keep the owner out from there.
    assert KnownNetwork.objects.filter(user=user).count() == 1


def test_the_button_stops_texts_to_strangers_and_not_to_the_owner(
    warned: tuple[Browser, Browser],
    user: User,
    stranger: User,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    ann, _ = warned
    press(ann)
    clock.shift(HOUR)
    before = len(phone.messages)
    # Who asks is told as if it was sent (S-38).
    assert opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN).outcome == "sent"
    assert len(phone.messages) == before
    assert AuditEvent.objects.get(user_id=stranger.pk, kind="opt_in").outcome == "withheld"
    visit(ann, phone, clock)
    assert len(phone.messages) == before + 1
    # Off and on again, with the same number.
    ann.go(OFF)
    ann.send(f"{OFF}send/")
    ann.send(code=phone.code())
    clock.shift(HOUR)
    assert opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome == "sent"
    assert len(phone.messages) == before + 3
    # It ends by itself.
    clock.shift(timedelta(days=30))
    opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    assert len(phone.messages) == before + 4


def test_staff_can_open_the_number_again(
    warned: tuple[Browser, Browser],
    stranger: User,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    press(warned[0])
    clock.shift(HOUR)
    before = len(phone.messages)
    send_controls.unlist(Target.number(NUMBER), reason="theirs", origin=ORIGIN)
    assert not Guard.objects.exists()
    opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    assert len(phone.messages) == before + 1


def test_only_the_owner_and_staff_open_the_number_again(
    warned: tuple[Browser, Browser], user: User, stranger: User, file: File
) -> None:
    """Not a stranger who asks for it and is erased, nor the end of another list."""
    press(warned[0])
    closed = Guard.objects.filter(kind=Guard.Kind.NOT_ME)
    opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    erasure.erase(stranger, reason="they asked", origin=ORIGIN)
    assert closed.exists()
    target = Target.number(NUMBER)
    send_controls.keep_safe(target, timedelta(days=1), reason="a friend", origin=ORIGIN)
    before = AuditEvent.objects.count()
    send_controls.unlist(target, reason="it is over", origin=ORIGIN)
    assert closed.get()
    assert AuditEvent.objects.count() == before + 1
    send_controls.unlist(target, reason="a restore", origin=ORIGIN, also_closed=False)
    assert closed.exists()
    erasure.erase(user, reason="they asked", origin=ORIGIN)
    assert not closed.exists()


def test_later_it_asks_for_the_password_and_a_code_first(
    warned: tuple[Browser, Browser], phone: Phone, clock: time_machine.Traveller
) -> None:
    ann, _ = warned
    clock.shift(timedelta(minutes=21))
    press(ann)
    assert ann.path == CONFIRM
    assert ann.page.flash == "Enter your password. Then press “That wasn't me” again."
    assert not AuditEvent.objects.filter(kind="disown").exists()
    ann.send(password=PASSWORD)
    assert TITLE in ann.page.text
    press(ann)
    assert ann.path == PROVE
    assert ann.page.flash == "Enter a code. Then press “That wasn't me” again."
    assert not AuditEvent.objects.filter(kind="disown").exists()
    prove(ann, phone)
    press(ann)
    assert AuditEvent.objects.filter(kind="disown").count() == 1


def test_without_a_factor_each_press_needs_the_password(
    ann: Browser, clock: time_machine.Traveller
) -> None:
    """Or whoever stole the cookie could send a mail by each press."""
    ann.client.handler.enforce_csrf_checks = False
    for _ in range(3):
        ann.client.post("/account/", secure=True)
        clock.shift(timedelta(seconds=2.5))
    assert AuditEvent.objects.filter(kind="disown").count() == 1


@pytest.fixture
def app(user: User, clock: time_machine.Traveller) -> App:
    added = add_app(user)
    clock.shift(HOUR)
    return added


@pytest.mark.parametrize(
    ("pages", "mails"),
    [(["/account/", "/account/access/"], 1), (["/account/access/", "/account/"], 0)],
    ids=["not me first", "all others first"],
)
def test_a_stolen_cookie_does_not_keep_the_owner_out(
    pages: list[str], mails: int, app: App, browser: Browser, clock: time_machine.Traveller
) -> None:
    """G-02: not even one whose session has just proved a factor, so that the first press works."""
    victim = Browser()
    sign_in_on_pages(victim)
    victim.send(code=app.code())
    clock.shift(timedelta(minutes=1))
    stolen = victim.copy()
    before = len(mail.outbox)

    def attack() -> None:
        stolen.client.handler.enforce_csrf_checks = False
        for page in pages:
            stolen.client.post(page, {"others": "all"}, secure=True)
            clock.shift(timedelta(seconds=2.5))

    browser.go("/sign-in/")
    browser.send(username="ann", password=PASSWORD)
    attack()
    assert AuditEvent.objects.filter(kind__in=["disown", "session"]).count() == 1
    browser.send(code=wrong(app.code()))
    attack()
    clock.shift(timedelta(seconds=30))
    browser.send(code=app.code())
    assert browser.path == "/account/"
    for _ in range(5):
        attack()
    browser.reload()
    assert browser.path == "/account/"
    assert len(mail.outbox) == before + mails


def test_a_stolen_cookie_tries_no_code_and_sends_no_text(
    app: App, browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """G-02: else it locked the owner's codes, and used up their texts."""
    victim = Browser()
    sign_in_on_pages(victim)
    victim.send(code=app.code())
    stolen = victim.copy()
    stolen.client.handler.enforce_csrf_checks = False
    sent = len(phone.texts)
    stolen.client.post(PROVE, {"code": wrong(app.code())}, secure=True)
    clock.shift(timedelta(minutes=21))  # the password is not fresh any more
    for _ in range(12):
        stolen.client.post(PROVE, {"code": wrong(app.code())}, secure=True)
        stolen.client.post(f"{PROVE}send/", secure=True)
        clock.shift(timedelta(minutes=1))
    user.refresh_from_db()
    assert (user.otp_failures, len(phone.texts)) == (1, sent)


def test_a_sign_in_that_waits_for_its_code_opens_nothing_by_a_code_from_before(
    app: App, user: User
) -> None:
    """The button lets it stand, but not what it proved: the code was repeated a moment ago."""
    thief_at_code = thief()
    sign_in_on_pages(thief_at_code)
    enter = thief_at_code.submission(code=app.code())
    before = thief_at_code.copy()
    enter(thief_at_code)
    assert thief_at_code.path == "/account/"
    user.refresh_from_db()
    not_me.shut_out(user, standing=standing(), origin=ORIGIN, keep_session=lambda _user: None)
    enter(before)
    assert before.path == "/sign-in/code/"
    thief_at_code.reload()
    assert thief_at_code.path == "/sign-in/"


# -- what it costs -----------------------------------------------------------------


def test_it_takes_few_statements(
    ann_on: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Two on the account page, one more with lines; none at sign-in (``tests/api``)."""

    def statements() -> int:
        ann_on.go("/account/")  # which may save that the session is used
        with CaptureQueriesContext(connection) as captured:
            ann_on.go("/account/")
        return len(captured)

    first = statements()  # no visit before it
    visit(ann_on, phone, clock)
    quiet = statements()
    clock.shift(HOUR)
    sign_in_on_pages(thief())
    visit(ann_on, phone, clock)
    assert (quiet - first, statements() - first) == (2, 3)
