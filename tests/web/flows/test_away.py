"""The database away, or read-only: a page that says so, and no restart (S-64)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from tests.kit.browser import NUMBER_PAGE, Browser, sign_in
from tests.kit.faults import failing
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "secret of the connection"


@contextmanager
def read_only() -> Iterator[None]:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            raise DatabaseError(SECRET)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        yield


def cut_off() -> AbstractContextManager[None]:
    return failing(OperationalError(SECRET))


def closed() -> AbstractContextManager[None]:
    return failing(InterfaceError(SECRET))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def assert_unavailable(browser: Browser) -> None:
    assert browser.page.status == 503
    assert int(browser.answer["Retry-After"]) > 0
    assert browser.page.heading == "Not available right now"
    assert SECRET not in browser.page.html
    assert "File " not in browser.page.html
    for header in ("Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options"):
        assert browser.answer[header]
    assert browser.answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("fault", [cut_off, closed, read_only])
def test_page_says_so_and_goes_on_afterwards(
    fault: Callable[[], AbstractContextManager[None]],
    debug: bool,
    ann: Browser,
    phone: Phone,
    settings: LazySettings,
) -> None:
    settings.DEBUG = debug
    ann.go(NUMBER_PAGE)
    submit = ann.submission(number=NUMBER)

    with fault():
        submit(ann)
        assert_unavailable(ann)

    assert phone.messages == []
    submit(ann)
    assert ann.page.heading == "Check your phone"
    assert len(phone.messages) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_sign_in(debug: bool, browser: Browser, user: Any, settings: LazySettings) -> None:
    """What fails in the middle of it is no half of a sign-in."""
    settings.DEBUG = debug
    browser.go("/sign-in/")
    submit = browser.submission(username="ann", password=PASSWORD)
    for fault in (cut_off, read_only):
        with fault():
            submit(browser)
            assert_unavailable(browser)
        assert not browser.session
    sign_in(browser)
    assert browser.path == "/account/"


def test_a_session_that_cannot_be_saved_goes_on(
    ann: Browser, clock: time_machine.Traveller
) -> None:
    """It has not ended, as Django says."""
    clock.shift(61)  # then it is saved
    with failing(OperationalError(SECRET), 'UPDATE "django_session"'):
        ann.go("/account/")
        assert_unavailable(ann)
    ann.go("/account/")
    assert ann.path == "/account/"
