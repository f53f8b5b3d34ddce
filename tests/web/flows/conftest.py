"""People at a browser."""

from datetime import timedelta

import pytest
import time_machine

from optin.models import ProviderUser, User
from tests.kit.browser import Browser, sign_in
from tests.kit.phone import Phone


@pytest.fixture
def browser() -> Browser:
    return Browser("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36")


@pytest.fixture
def ann(browser: Browser, user: User) -> Browser:
    """``user``, signed in, without a second factor."""
    sign_in(browser)
    assert browser.path == "/account/"
    return browser


@pytest.fixture
def ann_on(
    browser: Browser, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> Browser:
    """``user``, whose number is active, signed in with a texted code, a while later."""
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    clock.shift(timedelta(minutes=2))
    return browser
