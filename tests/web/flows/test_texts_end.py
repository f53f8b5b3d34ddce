"""People with texts only are led to another factor, from four weeks before texts end."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from optin.models import File, ProviderUser, User
from tests.kit.apps import add_app, app_code, make_recovery_codes
from tests.kit.browser import APP, NUMBER_PAGE, SUCCESS, Browser, recover, sign_in
from tests.kit.people import PASSWORD
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TEXTS_END = "/account/two-factor/texts-end/"
ASKED = "/account/activity/"


@pytest.fixture(autouse=True)
def in_28_days(file: File) -> None:
    day = timezone.localdate() + timedelta(days=28)
    File.objects.filter(pk=file.pk).update(texts_end_on=day)


def enter(browser: Browser, phone: Phone, then: str = "") -> None:
    browser.go(then or "/sign-in/")
    browser.send(username="ann", password=PASSWORD)
    browser.send(code=phone.code())


@pytest.fixture
def ann(active: ProviderUser, browser: Browser, clock: time_machine.Traveller) -> Browser:
    clock.shift(timedelta(minutes=15))
    return browser


def test_led_28_days_before_and_not_29(
    ann: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(days=-1))
    File.objects.update(texts_end_on=timezone.localdate() + timedelta(days=29))
    enter(ann, phone)
    assert ann.path == "/account/"
    clock.shift(timedelta(days=1))
    enter(ann, phone, "/sign-in/")
    assert ann.path == TEXTS_END
    assert "From 30 November 2026, Harbour Books takes a new mobile number only" in ann.page.text
    ann.click("/account/")
    assert ann.path == "/account/"


def test_not_now_opens_the_page_that_was_asked_for(ann: Browser, phone: Phone) -> None:
    enter(ann, phone, ASKED)
    assert ann.path == TEXTS_END
    ann.click(ASKED)
    assert ann.path == ASKED
    # The page itself may have been asked for, when the session had ended: no loop.
    ann.go("/account/")
    ann.send("/sign-out/")
    enter(ann, phone, f"{TEXTS_END}?next={ASKED}")
    assert ann.page.address.endswith(f"{TEXTS_END}?next={ASKED}")
    ann.click(ASKED)
    assert ann.path == ASKED


def test_an_app_is_set_up_on_the_way(ann: Browser, phone: Phone) -> None:
    enter(ann, phone, ASKED)
    ann.click(APP)
    ann.send()
    ann.send(code=app_code("".join(ann.page.codes[0].split())))
    assert ann.path == SUCCESS
    ann.click(ASKED)
    assert ann.path == ASKED
    assert ann.go(TEXTS_END).address.endswith("/account/")


def test_who_has_an_app_or_nothing_is_not_led(browser: Browser, user: User) -> None:
    sign_in(browser)
    assert browser.path == "/account/"
    browser.send("/sign-out/")
    app = add_app(user)
    sign_in(browser)
    browser.send(code=app.code(1))
    assert browser.path == "/account/"


def test_no_number_alone_from_the_day_on(
    browser: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(days=28))
    sign_in(browser)
    browser.go(NUMBER_PAGE)
    assert browser.path == TEXTS_END
    assert "Harbour Books takes a new mobile number only from people who" in browser.page.text
    browser.click(APP)
    browser.send()
    browser.send(code=app_code("".join(browser.page.codes[0].split())))
    browser.go(NUMBER_PAGE)
    browser.send(number="0491 570 156")
    assert phone.messages


def test_a_lost_phone_leads_to_the_app_from_the_day_on(
    ann: Browser, user: User, clock: time_machine.Traveller
) -> None:
    code = make_recovery_codes(user)[0]
    clock.shift(timedelta(days=28))
    sign_in(ann)
    recover(ann, code)
    assert ann.path == APP
