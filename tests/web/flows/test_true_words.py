"""Pages say what is true: of codes, mails, numbers, and what was not done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.utils import timezone

from optin.models import ProviderUser, User
from tests.kit.apps import set_up_app
from tests.kit.browser import (
    NUMBER_CODE,
    NUMBER_PAGE,
    OFF,
    RECOVERY,
    SUCCESS,
    TWO_FACTOR,
    Browser,
    failures,
    name_number,
    opt_in,
    sign_in,
)
from tests.kit.people import OTHER_NUMBER, PASSWORD
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CODE = "/sign-in/code/"


# -- the length of the code that is waited for --------------------------------------


def by_app(browser: Browser, user: User) -> None:
    set_up_app(user)
    ProviderUser.objects.get(user=user).release(timezone.now())
    sign_in(browser)


def by_both(browser: Browser, user: User) -> None:
    set_up_app(user)
    sign_in(browser)
    browser.send(f"{CODE}send/")


BOTH = "The code from your authenticator app has 6 digits, the one from the text message 7."


@pytest.mark.parametrize(
    ("way", "hint", "digits", "typed", "says"),
    [
        (by_app, "The 6 digits that your", "6", "1234567", "too long. The code has 6 digits."),
        (by_app, "The 6 digits that your", "6", "12345", "too short. The code has 6 digits."),
        (by_both, "or the 7 digits from the text message.", "7", "12345", f"too short. {BOTH}"),
        (by_both, "or the 7 digits from the text message.", "7", "12345678", f"too long. {BOTH}"),
    ],
)
def test_length_of_the_code_that_is_waited_for(
    way: Callable[[Browser, User], None],
    hint: str,
    digits: str,
    typed: str,
    says: str,
    browser: Browser,
    user: User,
    active: Any,
    clock: time_machine.Traveller,
) -> None:
    clock.shift(timedelta(minutes=15))
    way(browser, user)
    assert hint in browser.page.text
    assert browser.page.inputs["code"]["data-digits"] == digits
    browser.send(code=typed)
    assert says in browser.page.errors
    assert failures(user) == 0


def test_texted_code_of_the_length_before(
    ann: Browser, phone: Phone, settings: Any, user: User
) -> None:
    """What counts is the code that waits, not the setting of now."""
    name_number(ann)
    settings.OPTIN_OTP_DIGITS = 6
    ann.reload()
    assert "The 7 digits from the text message." in ann.page.text
    ann.send(code="123456")
    assert "That code is too short. The code has 7 digits." in ann.page.errors
    ann.send(code=phone.code())
    assert (ann.path, failures(user)) == (SUCCESS, 0)


# -- mails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "sends_mail"), [("ann@example.com", True), ("", True), ("ann@example.com", False)]
)
def test_a_mail_is_told_of_where_one_was_sent(
    email: str, sends_mail: bool, ann: Browser, user: User, phone: Phone, settings: Any
) -> None:
    is_told = bool(email) and sends_mail
    settings.SENDS_MAIL = sends_mail
    User.objects.filter(pk=user.pk).update(email=email)
    opt_in(ann, phone)
    assert (ann.path, "email" in ann.page.text) == (SUCCESS, is_told)
    ann.go(OFF)
    assert ("We tell you by email." in ann.page.text) is is_told
    ann.send(f"{OFF}send/")
    ann.send(code=phone.code())
    assert ann.page.flash.startswith("Two-factor sign-in is off.")
    assert ("email" in ann.page.flash) is is_told


# -- numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "example", "countries"),
    [
        (("AU",), "0491 570 156 or +61 491 570 156.", ""),
        (
            ("AU", "NZ"),
            "0491 570 156 or +61 491 570 156.",
            '+64 (<span data-region="NZ">NZ</span>).',
        ),
        (("NZ",), "021 123 4567 or +64 21 123 4567.", ""),
    ],
)
def test_hint_of_the_countries(
    regions: tuple[str, ...], example: str, countries: str, ann: Browser, settings: Any
) -> None:
    settings.OPTIN_SMS_REGIONS = regions
    ann.go(NUMBER_PAGE)
    for number in example.rstrip(".").split(" or "):
        assert number.replace(" ", "\u00a0") in ann.page.text  # it stays on one line
    assert countries in ann.page.html
    assert ("countries" in ann.page.text) is bool(countries)


# -- what was not done ---------------------------------------------------------------


# -- nothing lost --------------------------------------------------------------------


def test_session_that_ended_leads_back_to_the_code_that_lives(ann: Browser, phone: Phone) -> None:
    name_number(ann)
    page, submit = ann.page.address, ann.submission(code=phone.code())
    Session.objects.all().delete()
    submit(ann)
    assert ann.path == "/sign-in/"
    assert "You were signed out. Sign in to continue" in ann.page.text
    ann.send(username="ann", password=PASSWORD)
    assert ann.page.address == page
    ann.send(code=phone.code())
    assert (ann.path, len(phone.messages)) == (SUCCESS, 1)


def test_stranger_is_not_told_of_a_session(browser: Browser, db: None) -> None:
    browser.go(TWO_FACTOR)
    assert browser.page.flash == ""


def test_code_of_somebody_else_is_not_led_to(ann: Browser, stranger: User) -> None:
    """S-38: the address names any number; only one's own shows a code."""
    sign_in(other := Browser(), stranger.username)
    name_number(other, OTHER_NUMBER)
    query = other.page.address.partition("?")[2]
    for asked in (query, "number=999999", "number=x", "number=\u0661"):
        ann.go(f"{NUMBER_CODE}?{asked}")
        assert ann.path == TWO_FACTOR
        assert OTHER_NUMBER[-3:] not in ann.page.text


def test_recovery_codes_are_not_made_while_locked(ann_on: Browser, user: User) -> None:
    until = timezone.now() + timedelta(minutes=15)
    User.objects.filter(pk=user.pk).update(otp_locked_until=until)
    ann_on.go(RECOVERY)
    assert "No code is accepted until" in ann_on.page.text
    assert "codes" not in ann_on.page.inputs
