"""G-07: the reference of what was refused before a decision tells staff why, and nobody else."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
import time_machine
from django.db import DatabaseError, OperationalError
from django.test import Client, override_settings
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin.conf import Rate
from optin.models import AccessKey, File, Membership, User
from optin.operations import sign_in as signing_in
from optin.runtime import references
from optin.runtime.references import Undecided
from optin.support.diagnosis.before_a_decision import REASONS
from tests.explained.sides import found_by
from tests.kit import oauth
from tests.kit.browser import HOST, NUMBER_PAGE, Browser, sign_in
from tests.kit.clients import FORM, Answer, Api, Tokens, bearer
from tests.kit.faults import failing
from tests.kit.people import NUMBER, PASSWORD, make_user
from tests.kit.races import all_places_taken
from tests.kit.staff import REFERENCE, browser_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
]

ONE = (Rate(1, 60),)


@dataclass(frozen=True)
class Refused:
    """What the client or the person got."""

    status: int
    said: str  # the code, or all that the page says
    reference: str


@dataclass
class Scene:
    """``ann`` and what she has; a page only where one is opened."""

    user: User
    file: File

    def key(self, user: User | None = None, file: File | None = None) -> str:
        return AccessKey.objects.make(user or self.user, file or self.file, timezone.now())[1]

    def token(self, scope: str = "full", **how: Any) -> Api:
        return Api(token=bearer(self.user, scope, **how))

    def browser(self) -> Browser:
        browser = Browser()
        sign_in(browser)
        assert browser.path == "/account/"
        return browser


def call(answer: Answer) -> Refused:
    code = answer.code or str(answer.data.get("error", ""))
    return Refused(answer.status, code, answer.headers["Support-Reference"])


def endpoint(response: Any) -> Refused:
    return Refused(response.status_code, oauth.error(response)[1], response["Support-Reference"])


def shown(browser: Browser) -> Refused:
    found = REFERENCE.search(browser.page.text)
    assert found, browser.page.text
    if browser.answer.status_code >= 400:
        assert browser.answer["Support-Reference"] == found[1]
    return Refused(browser.page.status, " ".join(browser.page.text.split()), found[1])


def _fail(*args: object, **how: object) -> NoReturn:
    raise RuntimeError("a fault of ours")


# -- credentials -------------------------------------------------------------------


@override_settings(LEGACY_ACCESS_KEYS=False)
def keys_off(s: Scene) -> Refused:
    return call(Api(key=s.key()).opt_in(NUMBER))


def unknown_token(s: Scene) -> Refused:
    return call(Api(token="unknown").opt_in(NUMBER))


def expired_token(s: Scene) -> Refused:
    return call(s.token(lifetime=-timedelta(seconds=1)).opt_in(NUMBER))


def revoked_token(s: Scene) -> Refused:
    api = s.token()
    AccessToken.objects.all().delete()
    return call(api.opt_in(NUMBER))


def token_of_deactivated(s: Scene) -> Refused:
    api = s.token()
    User.objects.filter(pk=s.user.pk).update(is_active=False)
    return call(api.opt_in(NUMBER))


def unknown_key(s: Scene) -> Refused:
    return call(Api(key="unknown").opt_in(NUMBER))


def revoked_key(s: Scene) -> Refused:
    key = s.key()
    AccessKey.objects.update(revoked_at=timezone.now())
    return call(Api(key=key).opt_in(NUMBER))


def key_of_deactivated(s: Scene) -> Refused:
    key = s.key()
    User.objects.filter(pk=s.user.pk).update(is_active=False)
    return call(Api(key=key).opt_in(NUMBER))


def two_people(s: Scene) -> Refused:
    key = s.key(make_user("ben", s.file))
    return call(Api(token=bearer(s.user), key=key).opt_in(NUMBER))


def client_grant(s: Scene) -> Refused:
    oauth.make_client("client-credentials")
    return endpoint(oauth.exchange("code"))


def unknown_scope(s: Scene) -> Refused:
    oauth.make_client("client-credentials")
    return endpoint(oauth.post("token", {"grant_type": "client_credentials", "scope": "admin"}))


@override_settings(OPTIN_REQUESTS_PER_USER=ONE)
def file_untold(s: Scene) -> Refused:
    api = s.token()
    assert api.ping().status == 200
    api.file_id = 888
    return call(api.opt_in(NUMBER))


@override_settings(OPTIN_REQUESTS_PER_USER=ONE)
def scope_untold(s: Scene) -> Refused:
    api = s.token("view")
    assert api.ping().status == 200
    return call(api.opt_in(NUMBER))


# -- what was sent -----------------------------------------------------------------


def _sandbox() -> Api:
    file = File.objects.create(id=900, name="Harbour Sandbox", is_sandbox=True)
    tess = User.objects.create_user("tess", "tess@example.com", PASSWORD, is_test=True)
    Membership.objects.create(user=tess, file=file)
    return Api(token=bearer(tess), file_id=900)


def method_of_page(s: Scene) -> Refused:
    response = Client(SERVER_NAME=HOST).put("/sign-in/", secure=True)
    return Refused(response.status_code, "", response["Support-Reference"])


def no_page(s: Scene) -> Refused:
    browser = Browser()
    browser.go("/acount/")
    return shown(browser)


def foreign_host_of_page(s: Scene) -> Refused:
    browser = Browser()
    browser.client.defaults["SERVER_NAME"] = "old.example.org"
    browser.go("/sign-in/")
    return shown(browser)


def cursor_gone(s: Scene) -> Refused:
    s.user.memberships.update(manages=True)
    return call(s.token("events").send("GET", "/events", query="FileId=777&after=5"))


def endpoint_limit(s: Scene) -> Refused:
    s.user.memberships.update(manages=True)
    body = '{"Url": "https://hooks.example.com/"}'
    for _ in range(6):
        answer = s.token("events").send("POST", "/endpoints", body, query="FileId=777")
    return call(answer)


# -- too many ----------------------------------------------------------------------


@override_settings(OPTIN_REQUESTS_PER_USER=ONE)
def user_requests(s: Scene) -> Refused:
    api = s.token()
    assert api.ping().status == 200
    return call(api.opt_in(NUMBER))


@override_settings(OPTIN_REQUESTS_PER_NETWORK=ONE)
def network_requests(s: Scene) -> Refused:
    Tokens().sign_in()
    return call(Tokens().sign_in())


@override_settings(OPTIN_REQUESTS_PER_NETWORK=ONE)
def network_requests_of_endpoint(s: Scene) -> Refused:
    oauth.post("token", {})
    return endpoint(oauth.post("token", {}))


@override_settings(OPTIN_REQUESTS_PER_NETWORK=ONE)
def network_requests_of_page(s: Scene) -> Refused:
    browser = Browser()
    for _ in range(2):
        browser.go("/sign-in/")
        browser.send(username="ann", password="wrong")
    return shown(browser)


def page_requests(s: Scene) -> Refused:
    browser = s.browser()
    with override_settings(OPTIN_REQUESTS_PER_USER=ONE):
        browser.go("/account/")
        browser.go("/account/")
    return shown(browser)


def busy(s: Scene) -> Refused:
    signing_in.enable_password_clients()
    with all_places_taken():
        return call(Tokens().sign_in())


def busy_page(s: Scene) -> Refused:
    browser = Browser()
    browser.go("/sign-in/")
    with all_places_taken():
        browser.send(username="ann", password=PASSWORD)
    return shown(browser)


# -- faults ------------------------------------------------------------------------


def database_away(s: Scene) -> Refused:
    api = s.token()
    with failing(OperationalError("gone")):
        return call(api.opt_in(NUMBER))


def database_away_from_endpoint(s: Scene) -> Refused:
    with failing(OperationalError("gone")):
        return endpoint(oauth.post("token", {"grant_type": "client_credentials"}))


def database_away_from_page(s: Scene) -> Refused:
    browser = s.browser()
    with failing(OperationalError("gone")):
        browser.go("/account/")
    return shown(browser)


def not_written(s: Scene) -> Refused:
    api = s.token()
    with failing(DatabaseError("read only"), "optin_auditevent"):
        return call(api.opt_in(NUMBER))


def internal(s: Scene) -> Refused:
    with patch("optin.operations.opt_ins.opt_in", _fail):
        return call(s.token().opt_in(NUMBER))


def internal_of_page(s: Scene) -> Refused:
    browser = s.browser()
    with patch("optin.web.account.page", _fail):
        browser.go("/account/")
    return shown(browser)


# -- pages -------------------------------------------------------------------------


def csrf(s: Scene) -> Refused:
    browser = s.browser()
    browser.go(NUMBER_PAGE)
    submit = browser.submission(number=NUMBER)
    del browser.client.cookies["__Host-csrf"]
    submit(browser)
    return shown(browser)


def session_ended(s: Scene) -> Refused:
    browser = s.browser()
    browser.client.session.delete()
    browser.go("/account/")
    return shown(browser)


def not_staff(s: Scene) -> Refused:
    browser = s.browser()
    browser.go("/admin/")
    return shown(browser)


def link_gone(s: Scene) -> Refused:
    browser = Browser()
    browser.go("/not-me/nothing/")
    return shown(browser)


def bad_consent(s: Scene) -> Refused:
    browser = s.browser()
    browser.go("/o/authorize/?client_id=nobody&redirect_uri=https://client.example.com/")
    return shown(browser)


# fmt: off
CASES: list[tuple[Undecided, int, str, Callable[[Scene], Refused]]] = [
    (Undecided.NO_CREDENTIAL, 401, "not_authenticated", lambda s: call(Api().opt_in(NUMBER))),
    (Undecided.KEYS_OFF, 401, "not_authenticated", keys_off),
    (Undecided.INVALID_TOKEN, 401, "invalid_token", unknown_token),
    (Undecided.INVALID_KEY, 401, "invalid_token", unknown_key),
    (Undecided.TWO_PEOPLE, 401, "invalid_token", two_people),
    (Undecided.UNKNOWN_CLIENT, 401, "invalid_client",
        lambda s: endpoint(oauth.post("token", {"grant_type": "client_credentials"}, "nobody"))),
    (Undecided.CLIENT_GRANT, 400, "unauthorized_client", client_grant),
    (Undecided.PASSWORD_CALLS_OFF, 400, "unauthorized_client", lambda s: call(Tokens().sign_in())),
    (Undecided.GRANT_TYPE, 400, "unsupported_grant_type",
        lambda s: call(Tokens().sign_in(grant_type="refresh_token"))),
    (Undecided.GRANT_TYPE, 400, "unsupported_grant_type",
        lambda s: endpoint(oauth.post("token", {"grant_type": "password"}))),
    (Undecided.UNKNOWN_SCOPE, 400, "invalid_scope", unknown_scope),
    (Undecided.FILE_UNTOLD, 403, "file_access_denied", file_untold),
    (Undecided.SCOPE_UNTOLD, 403, "insufficient_scope", scope_untold),
    (Undecided.MALFORMED, 400, "invalid_request",
        lambda s: call(s.token().post("opt-in-to-2fa", "{"))),
    (Undecided.MALFORMED, 400, "invalid_request",
        lambda s: endpoint(oauth.post("token", "grant_type=password&grant_type=password"))),
    (Undecided.NO_NUMBER, 400, "mobile_number_invalid", lambda s: call(s.token().opt_in("12"))),
    (Undecided.ONLY_FICTION, 400, "mobile_number_invalid",
        lambda s: call(_sandbox().opt_in("+61412345678"))),
    (Undecided.REHEARSED, 429, "throttled", lambda s: call(_sandbox().opt_in("+61491577644"))),
    (Undecided.TOO_LARGE, 413, "too_large",
        lambda s: call(s.token().post("opt-in-to-2fa", " " * 16_385))),
    (Undecided.MEDIA_TYPE, 415, "unsupported_media_type",
        lambda s: call(s.token().post("opt-in-to-2fa", "a=b", media_type=FORM))),
    (Undecided.METHOD, 405, "method_not_allowed",
        lambda s: call(s.token().send("GET", "/User/opt-in-to-2fa"))),
    (Undecided.METHOD, 405, "", method_of_page),
    (Undecided.METHOD, 405, "invalid_request",
        lambda s: endpoint(Client(SERVER_NAME=HOST).get("/o/token/", secure=True))),
    (Undecided.NO_ADDRESS, 404, "not_found",
        lambda s: call(s.token().send("POST", "/User/opt-in"))),
    (Undecided.NO_ADDRESS, 404, "Page not found", no_page),
    (Undecided.FOREIGN_HOST, 400, "invalid_request",
        lambda s: call(s.token().send("GET", "/authorisation/ping", SERVER_NAME="old.example"))),
    (Undecided.FOREIGN_HOST, 400, "doesn't belong to this service", foreign_host_of_page),
    (Undecided.ENDPOINT, 409, "endpoint_limit", endpoint_limit),
    (Undecided.CURSOR_GONE, 410, "cursor_gone", cursor_gone),
    (Undecided.USER_REQUESTS, 429, "throttled", user_requests),
    (Undecided.NETWORK_REQUESTS, 429, "temporarily_unavailable", network_requests),
    (Undecided.NETWORK_REQUESTS, 429, "temporarily_unavailable", network_requests_of_endpoint),
    (Undecided.NETWORK_REQUESTS, 429, "You sent too many requests", network_requests_of_page),
    (Undecided.PAGE_REQUESTS, 429, "You sent too many requests", page_requests),
    (Undecided.BUSY, 503, "temporarily_unavailable", busy),
    (Undecided.BUSY, 503, "Not available right now", busy_page),
    (Undecided.DATABASE_AWAY, 503, "unavailable", database_away),
    (Undecided.DATABASE_AWAY, 503, "temporarily_unavailable", database_away_from_endpoint),
    (Undecided.DATABASE_AWAY, 503, "Not available right now", database_away_from_page),
    (Undecided.NOT_WRITTEN, 503, "unavailable", not_written),
    (Undecided.INTERNAL, 500, "internal_error", internal),
    (Undecided.INTERNAL, 500, "Something went wrong on our side", internal_of_page),
    (Undecided.CSRF, 403, "This form can't be sent", csrf),
    (Undecided.SESSION_ENDED, 200, "You were signed out.", session_ended),
    (Undecided.NOT_STAFF, 403, "You don't have access to this page", not_staff),
    (Undecided.LINK_GONE, 404, "This link no longer works", link_gone),
    (Undecided.BAD_CONSENT, 400, "It wasn't given access.", bad_consent),
]
# fmt: on


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def scene(user: User, file: File) -> Scene:
    return Scene(user, file)


@pytest.mark.parametrize(
    ("cause", "status", "said", "bring_about"), CASES, ids=[case[0].name for case in CASES]
)
def test_staff_learn_why(
    scene: Scene,
    clock: time_machine.Traveller,
    cause: Undecided,
    status: int,
    said: str,
    bring_about: Callable[[Scene], Refused],
) -> None:
    refused = bring_about(scene)
    assert refused.status == status
    assert said in refused.said
    clock.shift(60)
    html = found_by(browser_of("support"), refused.reference)
    assert "was refused before anything was decided, at" in html
    assert REASONS[cause].words in html
    assert REASONS[cause].advice in html
    # What leads the operators to its line in the log.
    assert f"begins with {int(timezone.now().timestamp()) - 60:08x} ." in html


def test_each_cause_is_brought_about_and_has_words_of_its_own() -> None:
    assert {case[0] for case in CASES} == set(Undecided) == set(REASONS)
    assert len({reason.words for reason in REASONS.values()}) == len(REASONS)
    assert all(cause < references.CAUSES for cause in Undecided)


# -- no oracle ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "alike",
    [
        (unknown_token, expired_token, revoked_token, token_of_deactivated),
        (unknown_key, revoked_key, key_of_deactivated),
    ],
    ids=["token", "key"],
)
def test_a_thief_learns_nothing_by_comparing_references(
    scene: Scene, alike: tuple[Callable[[Scene], Refused], ...]
) -> None:
    """In one second all are equal, so nobody can tell a revoked credential from an invented one."""
    assert len({bring_about(scene) for bring_about in alike}) == 1


def test_what_may_or_may_not_have_an_event_tells_no_cause(
    scene: Scene, clock: time_machine.Traveller
) -> None:
    """Else the reference would tell whether a name, an id or a refresh token is known."""
    signing_in.enable_password_clients()
    application = oauth.make_client("authorization-code")
    given = oauth.exchange(oauth.grant(scene.user, application))
    again = {"grant_type": "refresh_token", "refresh_token": oauth.data(given)["refresh_token"]}
    assert oauth.post("token", again).status_code == 200
    clock.shift(11)  # past the grace of a lost answer
    api = scene.token("2fa")
    own = api.opt_in(NUMBER).data["ProviderUserId"]
    answers: list[Any] = [
        oauth.post("token", again),
        oauth.post("token", again | {"refresh_token": "unknown"}),
        oauth.exchange("unknown"),
        *(Tokens().sign_in(name, "wrong") for name in ("ann", "nobody")),
        Tokens().refresh("unknown"),
        *(api.verify(row, "1234567") for row in (own, 999)),
    ]
    for answer in answers:
        assert answer.headers["Support-Reference"] == references.of(answer.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: AccessKey.objects.update(revoked_at=timezone.now()), "It was revoked at"),
        (lambda: User.objects.filter(username="ann").update(is_active=False), "is deactivated"),
        (AccessKey.objects.all().delete, "No access key begins with"),
    ],
)
def test_the_key_tells_staff_what_its_reference_does_not(
    scene: Scene,
    change: Callable[[], object],
    said: str,
) -> None:
    key = scene.key()
    change()
    assert call(Api(key=key).opt_in(NUMBER)).said == "invalid_token"
    assert said in found_by(browser_of("support"), key[:6])
