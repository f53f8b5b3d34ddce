"""Whoever takes the cookie of a session right after its sign-in, and has no phone of its owner."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine

from optin.models import AuthenticatorApp, EmailChange, ProviderUser, User
from optin.models.second_factors import overview
from tests.kit import apps
from tests.kit.browser import APP, NUMBER_PAGE, OFF, PROVE, RECOVERY, Browser, opt_in, sign_in
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

EMAIL = "/account/email/"
OTHER = "+61491570110"
SAID = "Use what you had before, or sign out and sign in again."
Clock = time_machine.Traveller
Typed = dict[str, str]


def recovery_code(thief: Browser) -> Typed:
    thief.go(RECOVERY)
    thief.send()
    return {"recovery": thief.page.codes[0]}


def app(thief: Browser) -> Typed:
    thief.go(APP)
    thief.send()
    secret = AuthenticatorApp.objects.get().open_secret()
    thief.send(code=apps.app_code(secret))
    return {"code": apps.app_code(secret, 1)}


@pytest.mark.parametrize("make", [recovery_code, app])
@pytest.mark.parametrize("page", [OFF, EMAIL])
def test_what_it_makes_itself_proves_nothing(
    ann_on: Browser, user: User, phone: Phone, page: str, make: Callable[[Browser], Typed]
) -> None:
    """P-08, S-39a. The phone that was there before does."""
    typed = make(ann_on)
    ann_on.go(page)
    assert ann_on.path == (OFF if page == OFF else PROVE)
    ann_on.send(**typed)
    assert SAID in ann_on.page.errors
    assert overview(user).number
    ann_on.go(EMAIL)
    assert ann_on.path == PROVE

    ann_on.send(f"{PROVE}send/")
    ann_on.send(code=phone.code())

    assert ann_on.path == EMAIL
    ann_on.send(email="ann.new@example.org")
    assert EmailChange.objects.exists()
    ann_on.go(OFF)
    ann_on.send(**typed)
    assert not overview(user).is_on


def test_it_replaces_no_app_and_a_number_beside_it_proves_nothing(
    user: User, browser: Browser, phone: Phone, clock: Clock
) -> None:
    """P-08."""
    owner = apps.add_app(user)
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    browser.send(code=owner.code())
    clock.shift(timedelta(minutes=1))
    browser.go(APP)
    assert browser.path == PROVE
    opt_in(browser, phone, OTHER)
    clock.shift(timedelta(minutes=2))
    browser.go(EMAIL)
    assert browser.path == PROVE
    browser.send(f"{PROVE}send/")
    browser.send(code=phone.code_to(OTHER))
    assert SAID in browser.page.errors


def test_the_id_of_before_does_not_help(ann_on: Browser) -> None:
    """It works for a moment, and what is right there is taken for repeated here (P-12)."""
    before = ann_on.copy()
    app(ann_on)
    recovery = recovery_code(ann_on)
    for browser in (before, ann_on):
        browser.go(f"{PROVE}?next={EMAIL}")
        browser.send(**recovery)
        assert browser.path != EMAIL


def test_a_new_sign_in_starts_afresh(ann_on: Browser, phone: Phone, clock: Clock) -> None:
    """Whoever signs in has the password."""
    recovery = recovery_code(ann_on)
    ann_on.go("/account/")
    ann_on.send("/sign-out/")
    clock.shift(timedelta(minutes=2))
    sign_in(ann_on)
    ann_on.send(code=phone.code())
    ann_on.go(EMAIL)
    assert ann_on.path == PROVE
    ann_on.send(**recovery)
    assert ann_on.path == EMAIL


def test_who_had_no_factor_turns_it_off_again(ann: Browser, user: User) -> None:
    for _ in range(2):
        app(ann)
        ann.go(OFF)
        ann.send(code=apps.app_code(AuthenticatorApp.objects.get().open_secret(), 1))
        assert not overview(user).is_on


def test_it_replaces_no_number(ann_on: Browser, active: ProviderUser, phone: Phone) -> None:
    """P-08."""
    sent = len(phone.messages)
    ann_on.go(NUMBER_PAGE)
    assert ann_on.path == PROVE
    assert len(phone.messages) == sent
    ann_on.send(f"{PROVE}send/")
    ann_on.send(code=phone.code())
    assert ann_on.path == NUMBER_PAGE
