"""The time of an answer tells no name (S-38), in real time."""

import statistics
import time
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.mail import EmailMessage
from django.test import RequestFactory

from optin.models import Notice, User
from tests.conftest import PASSWORD
from tests.web.flows.browser import HOST, Browser
from twofa_site.handler import Handler

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROUNDS = 25


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still."""


def seconds_to_answer(address: str, fields: dict[str, str], browser: Browser) -> float:
    """What somebody outside can measure: until the answer is there, not until all is done."""
    cookies = "; ".join(f"{key}={item.value}" for key, item in browser.client.cookies.items())
    factory = RequestFactory(SERVER_NAME=HOST)
    headers = {"cookie": cookies, "origin": f"https://{HOST}"}
    environ = factory.post(address, fields, secure=True, headers=headers).environ
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc: Any = None, /) -> Any:
        statuses.append(status)

    handler = Handler()
    begun = time.perf_counter()
    answer = handler(environ, start_response)
    b"".join(answer)
    seconds = time.perf_counter() - begun
    answer.close()
    assert statuses[0][:3] in {"422", "303"}
    return seconds


@pytest.mark.parametrize(
    ("address", "field", "more"),
    [("/sign-in/", "username", {"password": "not it"}), ("/password-reset/", "email", {})],
    ids=["sign-in", "password reset"],
)
def test_medians_of_time_are_within_25_percent(
    address: str,
    field: str,
    more: dict[str, str],
    db: None,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the real hash, and a mail server that takes its time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = settings.OPTIN_FAILED_SIGN_INS_PER_IP = ()
    monkeypatch.setattr(EmailMessage, "send", lambda *args: time.sleep(0.3))
    User.objects.create_user("anna", "anna@example.com", PASSWORD)
    times: dict[str, list[float]] = {"anna@example.com": [], "nona@example.com": []}
    browser = Browser()
    browser.go(address)
    fields = browser.page.form("", {field, *more}).fields

    for _ in range(ROUNDS):
        for name, seconds in times.items():
            seconds.append(seconds_to_answer(address, {**fields, **more, field: name}, browser))
            Notice.objects.all().delete()  # else one link a minute

    known, unknown = (statistics.median(seconds) for seconds in times.values())
    assert abs(known - unknown) <= 0.25 * max(known, unknown), (known, unknown)
