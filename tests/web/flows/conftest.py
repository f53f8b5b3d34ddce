"""People at a browser."""

from datetime import timedelta

import pyotp
import pytest
import time_machine
from django.utils import timezone

from optin.models import ProviderUser, User
from optin.operations import authenticators
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By, FactorOutcome
from tests.conftest import PASSWORD, Phone
from tests.web.flows.browser import Browser

WEB = Origin(Face.WEB, ip="192.0.2.9")


def standing() -> Standing:
    """Of a session that has proved everything just now."""
    now = timezone.now()
    return Standing(now, now, By.APP)


def set_up_app(user: User) -> str:
    """Give *user* an authenticator app; return its secret."""
    user = User.objects.get(pk=user.pk)
    authenticators.begin_app(user, standing=standing(), origin=WEB)
    waiting = authenticators.waiting_secret(user, origin=WEB)
    assert waiting
    secret = waiting[0]
    result = authenticators.confirm_app(user, app_code(secret), standing=standing(), origin=WEB)
    assert result.outcome is FactorOutcome.OK
    return secret


def app_code(secret: str, steps: int = 0) -> str:
    """What the app shows, so many steps of 30 seconds from now."""
    at = timezone.now() + timedelta(seconds=30 * steps)
    return pyotp.TOTP(secret.replace(" ", "")).at(at)


def make_recovery_codes(user: User) -> list[str]:
    user = User.objects.get(pk=user.pk)
    codes = authenticators.new_recovery_codes(user, standing=standing())
    result = authenticators.keep_recovery_codes(
        user,
        codes,
        instead_of=authenticators.newest_recovery_code(user),
        standing=standing(),
        origin=WEB,
    )
    assert result.outcome is FactorOutcome.OK
    return codes


@pytest.fixture
def browser() -> Browser:
    return Browser("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36")


def sign_in(browser: Browser, name: str = "ann", password: str = PASSWORD) -> None:
    """Up to the code, where there is one to enter."""
    browser.go("/sign-in/")
    browser.send(username=name, password=password)


@pytest.fixture
def ann(browser: Browser, user: User) -> Browser:
    """``user``, signed in, without a second factor."""
    sign_in(browser)
    assert browser.path == "/account/"
    return browser


@pytest.fixture
def ann_on(
    browser: Browser, user: User, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> Browser:
    """``user``, whose number is active, signed in with a texted code, a while later."""
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    clock.shift(timedelta(minutes=2))
    return browser
