"""One grant, many who use it at once."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client
from oauth2_provider.models import AbstractApplication, AccessToken, Grant, RefreshToken

from optin.models import AuditEvent, File, User
from tests.kit.clients import Api, Tokens
from tests.kit.oauth import (
    activate,
    authorize,
    change_password,
    data,
    error,
    exchange,
    grant,
    post,
    refresh,
    shown_scope,
    signed_in,
    works,
)
from tests.kit.phone import Phone
from tests.kit.races import at_once

# SQLite lets one writer in at a time, and so hides what happens between two.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

THREADS = 8
ROUNDS = 5


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_code(user: User, client_app: AbstractApplication, number: int) -> None:
    """RFC 6749 4.1.2."""
    code = grant(user, client_app)
    answers = at_once([lambda: exchange(code)] * THREADS)

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 1, 400: THREADS - 1}
    assert {error(answer) for answer in answers if answer.status_code != 200} == {
        (400, "invalid_grant")
    }
    # Who used it second may be its thief, or its owner: nobody can tell, so nobody keeps it.
    assert not works(next(answer for answer in answers if answer.status_code == 200))
    assert not RefreshToken.objects.filter(revoked=None).exists()
    events = AuditEvent.objects.order_by("id").values_list("outcome", flat=True)
    assert list(events) == ["authorization_code", "code_reused"]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_refresh_token(user: User, client_app: AbstractApplication, number: int) -> None:
    """All are answered, and all tokens serve until one of them is used."""
    tokens = exchange(grant(user, client_app))
    answers = at_once([lambda: refresh(tokens)] * THREADS)

    assert {answer.status_code for answer in answers} == {200}
    assert all(works(answer) for answer in answers)
    assert works(refresh(answers[0]))
    assert not any(works(answer) for answer in answers)


@pytest.mark.usefixtures("password_clients")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_refresh_token_that_stays(user: User, number: int) -> None:
    """All are answered, and the access token of the last one works: it ended the others."""
    kept = Tokens().sign_in().data["refresh_token"]
    answers = at_once([lambda: Tokens().refresh(kept)] * THREADS)

    assert {answer.status for answer in answers} == {200}
    assert {answer.data["refresh_token"] for answer in answers} == {kept}
    assert len({answer.data["access_token"] for answer in answers}) == THREADS
    pings = [Api(token=answer.data["access_token"]).ping().status for answer in answers]
    assert sorted(pings) == [200] + [401] * (THREADS - 1)


@pytest.mark.usefixtures("password_clients")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_revocation_while_others_refresh(user: User, number: int) -> None:
    """Whichever comes first, no access token outlives the refresh token."""
    kept = Tokens().sign_in().data["refresh_token"]
    refreshes: list[Callable[[], Any]] = [lambda: Tokens().refresh(kept)] * (THREADS - 1)

    def revoke() -> HttpResponse:
        return post("revoke_token", {"token": kept}, "password-clients", secret="")

    *answers, revoked = at_once([*refreshes, revoke])

    assert revoked.status_code == 200
    assert {answer.status for answer in answers} <= {200, 400}
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_refresh_while_a_number_becomes_active(
    user: User, file: File, phone: Phone, client_app: AbstractApplication, number: int
) -> None:
    """S-30: whichever comes first, what is left afterwards does not refresh."""
    tokens = exchange(grant(user, client_app))

    def become_active() -> HttpResponse:
        activate(user, file, phone)
        return HttpResponse()

    answers = at_once([lambda: refresh(tokens), become_active])

    newest = answers[0] if answers[0].status_code == 200 else tokens
    assert data(newest)["refresh_token"]
    assert error(refresh(newest)) == (400, "invalid_grant")
    assert AuditEvent.objects.filter(kind="verify_opt_in", outcome="ok").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("end", [activate, change_password])
def test_consent_while_the_session_ends(
    user: User,
    file: File,
    phone: Phone,
    client_app: AbstractApplication,
    end: Callable[[User, File, Phone], None],
    number: int,
) -> None:
    """S-34: a code of before is deleted with the session, and none is made after."""
    browsers = [signed_in() for _ in range(THREADS)]
    shown = shown_scope(browsers[0].get(authorize()))

    def finish() -> HttpResponse:
        end(user, file, phone)
        return HttpResponse()

    def allow(browser: Client) -> Callable[[], Any]:
        return lambda: browser.post(authorize(), {"allow": "Allow", "scope": shown})

    *answers, _ = at_once([*map(allow, browsers), finish])

    assert {answer.status_code for answer in answers} == {303}
    codes = [
        parse_qs(urlsplit(answer["Location"]).query)["code"][0]
        for answer in answers
        if answer["Location"].startswith("https://client")
    ]
    assert not Grant.objects.exists()
    assert {error(exchange(code)) for code in codes} <= {(400, "invalid_grant")}
    assert not AccessToken.objects.exists()
    # One event for each code that was there, and none for the others.
    assert AuditEvent.objects.filter(kind="consent").count() == len(codes)
