"""No page tells who has an account (S-38), and failed sign-ins are limited (S-07)."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings

from optin.models import User
from tests.kit.browser import Browser, sign_in
from tests.kit.clients import OF_ONE_REQUEST
from tests.kit.people import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = {
    "known": "anna@example.com",
    "unknown": "nona@example.com",
    "without a password": "nopw@example.com",
    "deactivated": "gone@example.com",
}


@pytest.fixture
def people(db: None) -> None:
    for name in ("anna", "nopw", "gone"):
        User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    nopw = User.objects.get(username="nopw")
    nopw.set_unusable_password()
    nopw.save()
    User.objects.filter(username="gone").update(is_active=False)


def told(browser: Browser, name: str) -> tuple[Any, ...]:
    """All that an answer says, what differs each time and the name itself aside."""
    answer = browser.answer
    text = re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1", browser.page.html)
    text = re.sub(r'(request ID <span class="request-id">)[^<]+', r"\1", text)
    headers = {key: value for key, value in answer.items() if key not in OF_ONE_REQUEST}
    cookies = {
        key: {name: value for name, value in cookie.items() if name != "expires"}
        for key, cookie in answer.cookies.items()
    }
    return (
        answer.status_code,
        browser.page.status,
        browser.trail,
        headers,
        cookies,
        text.replace(name, "NAME").replace(name.split("@")[0], "NAME"),
    )


def wrong_password(name: str) -> tuple[Any, ...]:
    browser = Browser()
    sign_in(browser, name, "not it")
    return told(browser, name)


def reset(name: str) -> tuple[Any, ...]:
    browser = Browser()
    browser.go("/password-reset/")
    browser.send(email=name)
    return told(browser, name)


def too_many(name: str) -> tuple[Any, ...]:
    browser = Browser()
    for _ in range(12):
        sign_in(browser, name, "not it")
    assert browser.answer.status_code == 429
    assert int(browser.answer["Retry-After"]) > 0
    assert "You can try again in" in browser.page.errors
    assert browser.page.title.startswith("Error:")
    return told(browser, name)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("ask", [wrong_password, reset, too_many])
def test_answers_are_equal(ask: Callable[[str], tuple[Any, ...]], settings: LazySettings) -> None:
    """S-38."""
    settings.OPTIN_FAILED_SIGN_INS_PER_IP = ()
    known, *others = [ask(name) for name in PEOPLE.values()]
    for other in others:
        assert other == known
