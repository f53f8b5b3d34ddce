"""The page on which a person lets an application act for them, and what comes of it."""

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import time_machine
from django.core import mail
from django.db import OperationalError
from django.test import Client
from oauth2_provider.models import Grant

from optin.models import AuditEvent, File, Membership, ProviderUser, User
from optin.operations import sign_in as operations
from optin.web.consent import RIGHTS
from tests.kit.browser import POLICY, Browser, sign_in
from tests.kit.clients import Api
from tests.kit.oauth import (
    ASKED,
    CHALLENGE,
    ENDINGS,
    ISSUER,
    REDIRECT,
    Application,
    anybody,
    authorize,
    came_back,
    data,
    decide,
    error,
    exchange,
    make_client,
    refresh,
    shown_scope,
    signed_in,
)
from tests.kit.people import NUMBER, PASSWORD, make_user
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("client_app")]


@pytest.fixture
def person(user: User) -> Client:
    """The browser of ``user``, who is signed in."""
    return signed_in()


def form_action(response: Any) -> str:
    directives = response["Content-Security-Policy"].split("; ")
    found: list[str] = [d for d in directives if d.startswith("form-action")]
    assert len(found) == 1
    assert set(directives) - set(found) == POLICY - {"form-action 'self'"}
    return found[0]


def consents() -> list[tuple[str, int | None, Any]]:
    events = AuditEvent.objects.filter(kind="consent").order_by("id")
    return [(event.outcome, event.user_id, event.data) for event in events]


# -- the way there -----------------------------------------------------------------


def test_sign_in_with_a_code_leads_back(active: ProviderUser, phone: Phone) -> None:
    """S-30, S-36: in between, a half session gets nothing."""
    http = anybody()
    to = http.get(authorize())["Location"]
    half: Any = http.post(to, {"username": "ann", "password": PASSWORD})
    assert urlsplit(half["Location"]).path == "/sign-in/code/"
    for response in (http.get(authorize()), http.post(authorize(), {"allow": "Allow"})):
        assert urlsplit(response["Location"]).path == "/sign-in/"
    assert not Grant.objects.exists()

    back: Any = http.post(half["Location"], {"code": phone.code()})

    assert back["Location"] == authorize()
    assert came_back(decide(http, authorize()))["code"]


# -- what the page says ------------------------------------------------------------


def test_page_says_who_asks_for_what(other_file: File, person: Client) -> None:
    response: Any = person.get(authorize(scope="full modify 2fa fileid:777"))
    text = response.content.decode()

    assert response.status_code == 200
    assert "Allow Client to act for you?" in text
    assert "You're signed in as ann" in text
    assert "act for you in every way the API allows" in text
    assert text.count("turn your two-factor sign-in on and off") == 1  # two of the scopes say so
    assert "Harbour Books" in text
    assert "Ridge Bakery" not in text
    assert "client.example.com" in text
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cache-Control"] == "no-store"
    assert not Grant.objects.exists()


def test_every_scope_has_words(settings: Any) -> None:
    assert {*RIGHTS, "scim"} == settings.OAUTH2_PROVIDER["SCOPES"].keys()  # of no person


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, "2fa fileid:777 fileid:888"),
        ("2fa", "2fa fileid:777 fileid:888"),
        ("full", "full fileid:777 fileid:888"),
        ("fileid:888", "2fa fileid:888"),
        ("full fileid:888 fileid:777", "full fileid:777 fileid:888"),
        ("view modify fileid:888", "modify view fileid:888"),
    ],
)
def test_scope_names_each_file(
    user: User, other_file: File, person: Client, asked: str | None, granted: str
) -> None:
    """A token that named no file would work for files joined later; nothing implies ``full``."""
    Membership.objects.create(user=user, file=other_file)

    assert came_back(decide(person, authorize(scope=asked)))["code"]

    assert Grant.objects.get().scope == granted


@pytest.mark.parametrize("scope", ["fileid:888", "2fa fileid:777 fileid:888", "fileid:999"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_foreign_file_is_refused(other_file: File, person: Client, scope: str, method: str) -> None:
    """S-33: alike whether the file exists or not; its name is not told."""
    sent = {"allow": "Allow", "scope": scope}
    response = getattr(person, method)(authorize(scope=scope), sent if method == "post" else None)

    assert came_back(response)["error"] == "invalid_scope"
    assert not Grant.objects.exists()


def test_what_is_granted_was_shown(user: User, other_file: File, person: Client) -> None:
    """A file that the person joined while they read is asked about again."""
    shown = shown_scope(person.get(authorize()))
    Membership.objects.create(user=user, file=other_file)

    again: Any = person.post(authorize(), {"allow": "Allow", "scope": shown})

    assert again.status_code == 200
    assert "Ridge Bakery" in again.content.decode()
    assert form_action(again) == "form-action 'self' https://client.example.com"
    assert not Grant.objects.exists()


def test_name_of_the_application_is_text(person: Client) -> None:
    Application.objects.update(name="<script>alert(1)</script>")
    text = person.get(authorize()).content.decode()

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


# -- both decisions ----------------------------------------------------------------


def test_whole_grant(user: User, person: Client) -> None:
    """RFC 6749 4.1, RFC 7636, RFC 9207: from consent to a call, and on by refresh."""
    came = came_back(decide(person, authorize()))
    assert came.keys() == {"code", "state", "iss"}
    assert (came["state"], came["iss"]) == ("s&1=?", ISSUER)

    tokens = exchange(came["code"])

    assert tokens.status_code == 200
    assert data(tokens)["scope"] == "2fa fileid:777"
    newest = data(refresh(tokens))["access_token"]
    assert Api(token=newest).opt_in(NUMBER).status == 200
    assert error(exchange(came["code"])) == (400, "invalid_grant")
    assert Api(token=newest).opt_in(NUMBER).status == 401  # RFC 6749 4.1.2
    assert consents() == [("ok", user.pk, {"client_id": "client"})]


def test_without_a_file_it_works_for_none(user: User, person: Client) -> None:
    """A file joined later was not shown: it needs a new token (docs/contract.md, section 3)."""
    membership = user.memberships.get()
    membership.delete()
    tokens = data(exchange(came_back(decide(person, authorize()))["code"]))
    assert tokens["scope"] == "2fa"
    membership.pk = None
    membership.save()

    api = Api(token=tokens["access_token"])
    assert api.opt_in(NUMBER).brief == (403, "file_access_denied")


def test_who_has_not_proved_enough_is_asked_and_led_back(
    active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-35. What an application may do outlives a session: a stolen cookie is not enough."""
    http = anybody()
    clock.shift(900)
    http.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    http.post("/sign-in/code/", {"code": phone.code()})
    shown = {"allow": "Allow", "scope": shown_scope(http.get(authorize()))}

    clock.shift(1200)
    for page in ("/account/confirm/", "/account/two-factor/prove/"):
        for response in (http.get(authorize()), http.post(authorize(), shown)):
            to: Any = urlsplit(response.headers["Location"])
            assert (to.path, parse_qs(to.query)) == (page, {"next": [authorize()]})
        http.post("/account/confirm/", {"password": PASSWORD})
    assert not Grant.objects.exists()

    http.post("/account/two-factor/prove/send/")
    http.post("/account/two-factor/prove/", {"code": phone.code()})
    mail.outbox.clear()
    assert came_back(http.post(authorize(), shown))["code"]
    (told,) = mail.outbox
    assert "An app was allowed to act for your account" in told.subject
    assert "Client can now act for your account" in str(told.body)


@pytest.mark.parametrize("sent", ["", "False", "0", "on", "allow"])
def test_all_but_allow_denies(user: User, person: Client, sent: str) -> None:
    came = came_back(person.post(authorize(), {"allow": sent, "scope": "2fa fileid:777"}))

    assert came.keys() <= {"error", "error_description", "state", "iss"}
    assert came["error"] == "access_denied"
    assert (came["state"], came["iss"]) == ("s&1=?", ISSUER)
    assert consents() == [("denied", user.pk, {"client_id": "client"})]
    assert not Grant.objects.exists()


def test_no_state_was_sent(person: Client) -> None:
    for pressed in ({}, {"allow": ""}):
        assert "state" not in came_back(decide(person, authorize(state=None), **pressed))


@pytest.mark.parametrize("query", ["?a=b", "?diss=1&a=%2Fb"])
def test_query_of_the_redirect_stays(person: Client, query: str) -> None:
    Application.objects.update(redirect_uris=REDIRECT + query)
    response = decide(person, authorize(redirect_uri=REDIRECT + query), allow="")

    came = came_back(response)
    assert response["Location"].startswith(REDIRECT + query + "&")
    assert (came["error"], came["a"], came["iss"]) == (
        "access_denied",
        parse_qs(query[1:])["a"][0],
        ISSUER,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"approval_prompt": "auto"},
        {"prompt": "none"},
        {"response_mode": "fragment"},
    ],
    ids=str,
)
@pytest.mark.parametrize("skip", [True, False])
def test_a_person_is_always_asked(person: Client, more: dict[str, str], *, skip: bool) -> None:
    """S-60: no GET makes a code, also not for an application that was let act before."""
    Application.objects.update(skip_authorization=skip)
    assert exchange(came_back(decide(person, authorize()))["code"]).status_code == 200

    response = person.get(authorize(**more))

    assert response.status_code == 200
    assert shown_scope(response)
    assert not Grant.objects.exists()
    assert came_back(decide(person, authorize(**more)))["code"]


# -- requests that cannot be served ------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_client_is_told_what_is_wrong(person: Client, method: str) -> None:
    """S-35: PKCE with S256 is required; no implicit grant."""
    sent = {"allow": "Allow", **ASKED, "scope": "2fa fileid:777"} if method == "post" else None
    refused: list[tuple[dict[str, str | None], str]] = [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "x" * 129}, "invalid_request"),
        ({"code_challenge": f"{CHALLENGE[:-1]}="}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"response_type": "code token"}, "unauthorized_client"),
        ({"response_type": "id_token"}, "unauthorized_client"),
        ({"response_type": "code id_token", "scope": "openid"}, "unauthorized_client"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "fileid:0"}, "invalid_scope"),
        ({"scope": "fileid:99999999999999999999"}, "invalid_scope"),
    ]
    for changed, expected in refused:
        came = came_back(getattr(person, method)(authorize(**changed), sent))

        assert came["error"] == expected
        assert (came["state"], came["iss"]) == ("s&1=?", ISSUER)
    assert not Grant.objects.exists()
    assert not consents()


@pytest.mark.parametrize(
    "grant_type",
    [
        Application.GRANT_CLIENT_CREDENTIALS,
        Application.GRANT_IMPLICIT,
        Application.GRANT_PASSWORD,
        Application.GRANT_DEVICE_CODE,
    ],
)
@pytest.mark.parametrize("response_type", ["code", "token"])
def test_application_of_another_grant(person: Client, grant_type: str, response_type: str) -> None:
    """S-35: no implicit grant either, even to a client that was registered for it."""
    Application.objects.update(authorization_grant_type=grant_type)
    response = person.get(authorize(response_type=response_type))

    assert came_back(response)["error"] == "unauthorized_client"


HOSTILE = "https://evil.example.com/"
EVIL = [
    *(HOSTILE, f"{REDIRECT}/x", f"{REDIRECT}?a=b", REDIRECT.upper(), "javascript:alert(1)", "x"),
    REDIRECT.replace("https", "http"),
    "https://evil.example.com; script-src *",
    "https://client.example.com@evil.example.com/callback",
    "https://[::1",
    "https://client.example.com\\@evil.example.com/callback",
    'https://evil.example.com/"><script>alert(1)</script>',
]


REFUSED = [
    *(authorize(redirect_uri=uri) for uri in EVIL),
    authorize(redirect_uri=None),
    authorize(client_id=None),
    *(authorize(client_id=name) for name in ("unknown", "CLIENT", "machine", "x" * 1500)),
    authorize(client_id='"><script>alert(1)</script>'),
    authorize(client_id="https://evil.example.com/client.json"),
    "/o/authorize/",
    "/o/authorize/?&&=;%zz",
    *(authorize(**{name: "a\0b"}) for name in ASKED),
    *(authorize(**{name: "a\r\nSet-Cookie: a=b"}) for name in ASKED),
    *(authorize(**{name: "ü\udc80".encode("utf-8", "replace").decode()}) for name in ASKED),
    *(f"{authorize()}&{name}=x" for name in ASKED),
    *(f"{authorize()}&{name}={quote(value)}" for name, value in ASKED.items()),
    f"{authorize(state=None)}&state=%zz",
    f"{authorize(state=None)}&state=%ff%fe",
    f"{authorize()}&{'a' * 2048}",
    authorize(state="x" * 2048),
    authorize(scope="2fa " * 600),
    authorize(state="x" * 1_000_000),
    f"{authorize()}&{'&'.join(['a=b'] * 3000)}",
]


@pytest.mark.parametrize("method", ["get", "post"])
def test_error_page(person: Client, method: str) -> None:
    """S-20, S-22, S-60: a page of ours; nobody is led anywhere, nothing is repeated."""
    make_client(Application.GRANT_CLIENT_CREDENTIALS, "machine", redirect_uris="")
    sent = {"allow": "Allow", **ASKED, "scope": "2fa fileid:777"} if method == "post" else None
    for url in REFUSED:
        response: Any = getattr(person, method)(url, sent)
        text = response.content.decode()

        assert response.status_code == 400, url[:80]
        assert "We can't process this request" in text
        assert "Location" not in response.headers
        assert form_action(response) == "form-action 'self'"
        for echo in ("evil.example", "alert(1)", "unsafe-inline", "x" * 20, "Set-Cookie"):
            assert echo not in text
    assert not Grant.objects.exists()
    assert not consents()


@pytest.mark.parametrize("url", [authorize(state="x" * 1_000_000), authorize(client_id="a\0b")])
def test_error_page_for_anybody(url: str) -> None:
    assert anybody().get(url).status_code == 400


def test_longest_address_is_served(person: Client) -> None:
    rest = 2048 - len(authorize(state="").partition("?")[2])

    assert came_back(decide(person, authorize(state="x" * rest)))["state"] == "x" * rest


def test_unknown_parameters_are_ignored(person: Client) -> None:
    """RFC 6749 3.1."""
    url = f"{authorize()}&resource=nonsense&nonce={'n' * 300}&claims=%7B&ui_locales=%C3%BC&a=1&a=2"

    assert came_back(decide(person, url))["code"]


def test_fields_of_the_form_add_nothing(user: User, person: Client) -> None:
    """S-25: the address says what is asked; another scope than was shown is asked again."""
    make_client(Application.GRANT_AUTHORIZATION_CODE, "other", redirect_uris=HOSTILE)
    changed = {
        "client_id": "other",
        "redirect_uri": HOSTILE,
        "state": "another",
        "code_challenge": "x" * 43,
        "code_challenge_method": "plain",
        "response_type": "token",
        "resource": "x",
        "claims": "{",
        "nonce": "n" * 300,
        "user": "2",
        "origin": "x",
        "approval_prompt": "auto",
        "allow": "Allow",
    }
    for scope in ("full fileid:777", "2fa fileid:777 fileid:888"):
        again: Any = person.post(authorize(), {**changed, "scope": scope})
        assert shown_scope(again) == "2fa fileid:777"
        assert not Grant.objects.exists()
    came = came_back(person.post(authorize(), {**changed, "scope": "2fa fileid:777"}))
    assert came["state"] == "s&1=?"
    kept = Grant.objects.get()
    assert (kept.user, kept.application.client_id) == (user, "client")
    assert (kept.redirect_uri, kept.scope) == (REDIRECT, "2fa fileid:777")
    assert (kept.code_challenge, kept.code_challenge_method) == (CHALLENGE, "S256")
    assert data(exchange(came["code"]))["scope"] == "2fa fileid:777"


def test_fields_alone_ask_nothing(person: Client) -> None:
    sent = {**ASKED, "scope": "2fa fileid:777", "allow": "Allow"}

    assert person.post("/o/authorize/", sent).status_code == 400
    assert not Grant.objects.exists()


# -- the policy of the page --------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "action"),
    [
        (REDIRECT, " https://client.example.com"),
        ("https://client.example.com:8443/a;b,c", " https://client.example.com:8443"),
        ("https://client.example.com;script-src/", ""),
        ("https://client.example.com,*/", ""),
        ("https://*/", ""),
        ("https://user@client.example.com/", ""),
    ],
)
def test_form_leads_to_the_registered_origin(person: Client, uri: str, action: str) -> None:
    """Even what an operator registered adds a host to the policy, or nothing."""
    Application.objects.update(redirect_uris=uri)
    response = person.get(authorize(redirect_uri=uri))

    assert form_action(response) == f"form-action 'self'{action}"


# -- what ends meanwhile -----------------------------------------------------------


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("allow", [True, False])
def test_session_that_ends_during_the_request(
    user: User,
    file: File,
    phone: Phone,
    person: Client,
    end: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    allow: bool,
) -> None:
    """S-34: after the session was looked at, before the code is kept."""
    consent = operations.consent

    def late(*args: Any, **kwargs: Any) -> None:
        end(user, file, phone)
        consent(*args, **kwargs)

    shown = shown_scope(person.get(authorize()))
    monkeypatch.setattr(operations, "consent", late)
    response = person.post(authorize(), {"allow": "Allow" if allow else "", "scope": shown})

    assert response["Location"].startswith("/sign-in/?")
    assert not Grant.objects.exists()
    assert not consents()


def test_no_code_without_its_event(person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-52: what cannot be recorded does not happen."""
    shown = shown_scope(person.get(authorize()))

    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError

    monkeypatch.setattr(type(AuditEvent.objects), "record", fail)
    for allow in ("Allow", ""):
        response = person.post(authorize(), {"allow": allow, "scope": shown})

        assert response.status_code == 503
        assert "Location" not in response.headers
    assert not Grant.objects.exists()


def test_another_person_in_the_same_browser(user: User, file: File) -> None:
    """A page that was shown to ann is no consent of ben."""
    make_user("ben", file)
    browser = Browser()
    sign_in(browser)
    browser.go(authorize())
    allow = browser.submission(press="allow")
    browser.send("/sign-out/")
    sign_in(browser, "ben")
    allow(browser)

    assert browser.answer.status_code == 403
    assert not Grant.objects.exists()
