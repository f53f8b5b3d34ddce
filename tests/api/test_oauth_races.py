"""One grant, many who use it at once: tokens for one of them."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections
from django.http import HttpResponse
from oauth2_provider.models import AbstractApplication, RefreshToken

from optin.models import AuditEvent, File, User
from tests.api.test_oauth_endpoints import (
    activate,
    client_app,
    data,
    error,
    exchange,
    grant,
    refresh,
    works,
)
from tests.conftest import Phone

__all__ = ["client_app"]  # a fixture

# SQLite lets one writer in at a time, and so hides what happens between two.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

THREADS = 8
ROUNDS = 5


def at_once(*calls: Callable[[], HttpResponse]) -> list[HttpResponse]:
    start = Barrier(len(calls), timeout=30)

    def work(call: Callable[[], HttpResponse]) -> HttpResponse:
        start.wait()
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(work, calls))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_code(user: User, client_app: AbstractApplication, number: int) -> None:
    """RFC 6749 4.1.2."""
    code = grant(user, client_app)
    answers = at_once(*[lambda: exchange(code)] * THREADS)

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 1, 400: THREADS - 1}
    assert works(next(answer for answer in answers if answer.status_code == 200))
    assert {error(answer) for answer in answers if answer.status_code != 200} == {
        (400, "invalid_grant")
    }
    # Nothing was made for the others: the event tells of one.
    assert RefreshToken.objects.count() == 1
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_refresh_token(user: User, client_app: AbstractApplication, number: int) -> None:
    tokens = exchange(grant(user, client_app))
    answers = at_once(*[lambda: refresh(tokens)] * THREADS)

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 1, 400: THREADS - 1}
    assert {error(answer) for answer in answers if answer.status_code != 200} == {
        (400, "invalid_grant")
    }


@pytest.mark.parametrize("number", range(ROUNDS))
def test_refresh_while_a_number_becomes_active(
    user: User, file: File, phone: Phone, client_app: AbstractApplication, number: int
) -> None:
    """S-30: whichever comes first, what is left afterwards does not refresh."""
    tokens = exchange(grant(user, client_app))

    def become_active() -> HttpResponse:
        activate(user, file, phone)
        return HttpResponse()

    answers = at_once(lambda: refresh(tokens), become_active)

    newest = answers[0] if answers[0].status_code == 200 else tokens
    assert data(newest)["refresh_token"]
    assert error(refresh(newest)) == (400, "invalid_grant")
    assert AuditEvent.objects.filter(kind="verify_opt_in", outcome="ok").count() == 1
