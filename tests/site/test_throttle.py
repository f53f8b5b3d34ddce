"""The courtesy limits over HTTP."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from optin.api.help import CALLS, Call
from optin.conf import Rate
from optin.models import AuditEvent, RefusalCount, User
from optin.runtime import throttle
from tests.kit.browser import Browser, sign_in
from tests.kit.clients import Answer, Api, Tokens, bearer, error
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)
TWICE = (Rate(2, 60),)


@pytest.fixture
def page(user: User, settings: Settings) -> Client:
    """Ann's browser, signed in."""
    client = Client(raise_request_exception=False)
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    return client


def test_a_request_that_one_limit_refuses_does_not_use_up_another(settings: Settings) -> None:
    """Each refusal tells when the limit that refused it ends."""
    short, long = Rate(2, 300), Rate(3, 3000)
    settings.OPTIN_REQUESTS_PER_USER = (short, long)
    waits = [throttle.hit(1) for _ in range(4)]
    settings.OPTIN_REQUESTS_PER_USER = (long,)
    waits += [throttle.hit(1) for _ in range(2)]
    assert [wait and wait.total_seconds() for wait in waits] == [None, None, 300, 300, None, 3000]


# -- calls -------------------------------------------------------------------------


def test_a_throttled_caller_is_told_of_a_foreign_file_and_writes_nothing(
    user: User, settings: Settings
) -> None:
    """403 comes before 429 (docs/contract.md, section 2)."""
    settings.OPTIN_REQUESTS_PER_USER = TWICE
    api = Api(token=bearer(user))
    answers = [api.opt_in(NUMBER, query="FileId=999").brief for _ in range(5)]
    assert answers == [(403, "file_access_denied")] * 5
    assert RefusalCount.objects.get().count == 2
    assert api.opt_in(NUMBER).brief == (429, "throttled")
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
def test_every_call_can_be_throttled_and_says_so_on_its_page(
    call: Call, user: User, settings: Settings
) -> None:
    settings.OPTIN_REQUESTS_PER_USER = settings.OPTIN_REQUESTS_PER_NETWORK = (Rate(1, 60),)
    user.memberships.update(manages=True)
    http = Client(headers={"Authorization": f"Bearer {bearer(user)}"})
    for _ in range(2):
        status = http.generic(call.method, f"/{call.path}?FileId=777").status_code
    assert status == 429
    assert status in {error.row.status for error in call.errors}


@pytest.mark.usefixtures("password_clients")
@pytest.mark.parametrize("has_password", [True, False])
def test_token_calls_are_throttled_by_network(
    user: User, settings: Settings, *, has_password: bool
) -> None:
    settings.OPTIN_REQUESTS_PER_NETWORK = TWICE
    near, far = Tokens(ip="2001:db8::1"), Tokens(ip="2001:db8:0:1::1")

    def ask(tokens: Tokens) -> Answer:
        return tokens.sign_in() if has_password else tokens.refresh("unknown")

    assert {ask(near).status for _ in range(2)} == {200 if has_password else 400}
    events = AuditEvent.objects.count()
    answer = ask(Tokens(ip="2001:db8::2"))
    assert error(answer) == (429, "temporarily_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert AuditEvent.objects.count() == events
    assert ask(far).status != 429


def _no_password_by_call(ip: str) -> int:
    return Api().send("POST", "/authorisation/token", b"", REMOTE_ADDR=ip).status


def _no_password_by_form(ip: str) -> int:
    form = {"username": "ann", "password": ""}
    return Client(REMOTE_ADDR=ip).post("/sign-in/", form).status_code


def _made_up_token(ip: str) -> int:
    return Tokens(ip=ip).refresh("unknown").status


@pytest.mark.usefixtures("password_clients", "active")
@pytest.mark.parametrize("once", [_no_password_by_call, _no_password_by_form, _made_up_token])
def test_whoever_has_no_password_stops_nobody_who_has_one(
    once: Callable[[str], int], phone: Phone, settings: Settings
) -> None:
    """G-02: she signs in from the same address, by page with the code too, and by call."""
    settings.OPTIN_REQUESTS_PER_NETWORK = TWICE
    assert [once("2001:db8::2") for _ in range(4)][2:] == [429, 429]
    browser = Browser(ip="2001:db8::1")
    sign_in(browser)
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    assert error(Tokens(ip="2001:db8::1").sign_in()) == (401, "2fa_code_required")


@pytest.mark.usefixtures("active")
def test_a_password_in_a_session_before_its_code_counts_for_the_address(settings: Settings) -> None:
    """Or whoever has an account could try more passwords of others than an address may."""
    settings.OPTIN_REQUESTS_PER_NETWORK = TWICE
    client = Client(REMOTE_ADDR="2001:db8::1")
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    form = {"username": "ben", "password": "x"}
    assert [client.post("/sign-in/", form).status_code for _ in range(2)] == [422, 429]


def test_the_token_endpoints_are_throttled_by_network(settings: Settings, client: Client) -> None:
    """With one count for all three."""
    settings.OPTIN_REQUESTS_PER_NETWORK = TWICE
    for endpoint in ("token", "introspect"):
        assert client.post(f"/o/{endpoint}/", {"client_id": "x"}).status_code in {400, 401}
    answer = client.post("/o/revoke_token/")
    assert answer.status_code == 429
    assert answer.json() == {"error": "temporarily_unavailable"}
    assert 1 <= int(answer["Retry-After"]) <= 60


# -- pages -------------------------------------------------------------------------


def test_pages_are_throttled_by_session(page: Client, settings: Settings) -> None:
    settings.OPTIN_REQUESTS_PER_USER = TWICE
    assert [page.get("/account/").status_code for _ in range(2)] == [200, 200]
    for answer in (page.get("/account/activity/"), page.post("/account/confirm/", {})):
        assert answer.status_code == 429
        assert 1 <= int(answer["Retry-After"]) <= 60
        assert answer["Cache-Control"] == "no-store"
        text = answer.content.decode()
        assert "Too many requests" in text
        assert re.search(r"You can try again in (60|59|1).(seconds|minute)\.", text)
    german = page.get("/account/", headers={"Accept-Language": "de"})
    assert "Zu viele Anfragen" in german.content.decode()
    # Whoever has the cookie of one session does not keep its owner from all others.
    other = Client()
    other.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert [other.get("/account/").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("address", ["/readyz", "/static/optin/icon.svg"])
def test_what_watches_and_what_stands_still_is_not_throttled(
    address: str, page: Client, settings: Settings
) -> None:
    settings.OPTIN_REQUESTS_PER_USER = TWICE
    for _ in range(4):
        answer = page.get(address)
        answer.close()
        assert answer.status_code != 429


def test_forms_are_throttled_by_network_before_anybody_is_known(
    user: User, settings: Settings
) -> None:
    settings.OPTIN_REQUESTS_PER_NETWORK = TWICE
    form = {"username": "ann", "password": "x"}

    def send(ip: str) -> int:
        return Client(REMOTE_ADDR=ip).post("/sign-in/", form).status_code

    assert [send(f"2001:db8::{n}") for n in (1, 2, 3)] == [422, 422, 429]
    assert AuditEvent.objects.count() == 2
    assert send("2001:db8:0:1::1") == 422
    assert [send("") for _ in range(3)] == [422] * 3  # behind a Unix socket nobody has an address
    assert Client(REMOTE_ADDR="2001:db8::1").get("/sign-in/").status_code == 200


def test_calls_with_a_session_count_for_the_calls_alone(
    page: Client, user: User, settings: Settings
) -> None:
    settings.OPTIN_REQUESTS_PER_USER = TWICE
    api = Api(token=bearer(user), http=page)
    assert [api.opt_in("x").status for _ in range(3)] == [400, 400, 429]
    # Whoever has a stolen token cannot keep its owner from their pages.
    assert page.get("/account/").status_code == 200
