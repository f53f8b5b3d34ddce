"""The button "That was not me" on the page of all activity (G-08)."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail

from optin.models import AccessKey, AuditEvent, File, Guard, KnownNetwork, ProviderUser, User
from optin.operations import erasure, not_me, opt_ins, send_controls
from optin.operations.send_controls import Target
from tests.kit.apps import App, add_app, standing
from tests.kit.browser import (
    CONFIRM,
    OFF,
    PROVE,
    Browser,
    prove,
)
from tests.kit.browser import sign_in as sign_in_on_pages
from tests.kit.people import NUMBER, ORIGIN, PASSWORD
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0) Version/26.0 Mobile Safari/604.1"
THIEF_IP = "198.51.100.9"
ACTIVITY = "/account/activity/"
HOUR = timedelta(hours=1)


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
    browser.go(ACTIVITY)
    browser.send()


@pytest.fixture
def warned(ann_on: Browser, phone: Phone, clock: time_machine.Traveller) -> tuple[Browser, Browser]:
    """Ann, who has proved a factor and and whoever else signed in."""
    clock.shift(HOUR)
    other = come_in(thief(), phone)
    clock.shift(timedelta(minutes=2))
    come_in(ann_on, phone)
    prove(ann_on, phone)
    return ann_on, other


def test_the_button_ends_all_other_sessions_and_tells_staff(
    warned: tuple[Browser, Browser], user: User, access_key: str
) -> None:
    ann, other = warned
    press(ann)
    assert ann.path == ACTIVITY
    assert "All other devices and all apps are signed out" in ann.page.flash
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
    assert ann.path == ACTIVITY
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
        ann.client.post(ACTIVITY, secure=True)
        clock.shift(timedelta(seconds=2.5))
    assert AuditEvent.objects.filter(kind="disown").count() == 1


@pytest.fixture
def app(user: User, clock: time_machine.Traveller) -> App:
    added = add_app(user)
    clock.shift(HOUR)
    return added


@pytest.mark.parametrize(
    ("pages", "mails"),
    [([ACTIVITY, "/account/access/"], 1), (["/account/access/", ACTIVITY], 0)],
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
