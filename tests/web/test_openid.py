"""OpenID Connect: what an application learns of a person, and how they signed in."""

import json
import runpy
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone
from jwcrypto.jwk import JWK, JWKSet
from jwcrypto.jwt import JWT
from oauth2_provider.models import AbstractApplication, Grant, IDToken, get_application_model

from optin.models import AuditEvent, AuthenticatorApp, ProviderUser, User
from optin.operations import openid, staff_actions
from optin.operations.openid import MULTI_FACTOR
from optin.web.consent import Authorize, Core
from tests.kit.apps import add_app, make_recovery_codes
from tests.kit.browser import NEW_PASSWORD, Browser, link_in_mail, recover, sign_in
from tests.kit.clients import Api
from tests.kit.oauth import (
    ISSUER,
    REDIRECT,
    anybody,
    authorize,
    came_back,
    data,
    decide,
    error,
    exchange,
    make_client,
    post,
    refresh,
    signed_in,
)
from tests.kit.people import NUMBER, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("client_app")]
OUT = "/o/logout/"
LEFT = "https://client.example.com/left?a=b"


def ask(**changed: str | None) -> str:
    return authorize(**{"scope": "openid", "nonce": "n-1", **changed})


def claims(response: Any, client_id: str = "client") -> dict[str, Any]:
    """What the ID token says, checked with the published keys as a client does."""
    id_token = data(response)["id_token"]
    keys = JWKSet.from_json(Client().get("/o/jwks/").content)
    opened = JWT(jwt=id_token, key=keys, algs=["RS256"], check_claims={"iss": ISSUER})
    found: dict[str, Any] = json.loads(opened.claims)
    assert found["aud"] == client_id
    return found


def sign_in_to(http: Client, **asked: str | None) -> dict[str, Any]:
    return claims(exchange(came_back(decide(http, ask(**asked)))["code"]))


def userinfo(response: Any) -> dict[str, Any]:
    bearer = {"Authorization": f"Bearer {data(response)['access_token']}"}
    told: dict[str, Any] = Client().get("/o/userinfo/", headers=bearer).json()
    return told


def consents() -> list[str]:
    return list(AuditEvent.objects.filter(kind="consent").values_list("outcome", flat=True))


# -- what is published -------------------------------------------------------------


def test_discovery_has_what_the_specification_requires() -> None:
    """OpenID Connect Discovery 1.0, 3; every address from ``BASE_URL`` (S-26)."""
    response = Client().get("/.well-known/openid-configuration")

    told = response.json()
    assert told["issuer"] == ISSUER
    assert told["authorization_endpoint"] == f"{ISSUER}/o/authorize/"
    assert told["token_endpoint"] == f"{ISSUER}/o/token/"
    assert told["jwks_uri"] == f"{ISSUER}/o/jwks/"
    assert told["userinfo_endpoint"] == f"{ISSUER}/o/userinfo/"
    assert told["end_session_endpoint"] == f"{ISSUER}/o/logout/"
    assert told["response_types_supported"] == ["code"]
    assert told["subject_types_supported"] == ["public"]
    assert told["id_token_signing_alg_values_supported"] == ["RS256"]
    # These have defaults that are not true here.
    assert told["grant_types_supported"] == [
        *("authorization_code", "client_credentials", "refresh_token"),
    ]
    assert told["response_modes_supported"] == ["query"]
    assert told["request_uri_parameter_supported"] is False
    assert set(told["token_endpoint_auth_methods_supported"]) == {
        *("client_secret_basic", "client_secret_post"),
    }
    assert {"openid", "profile", "email"} <= set(told["scopes_supported"])
    assert told["acr_values_supported"] == [MULTI_FACTOR]


def test_without_a_key_it_is_off(
    settings: Any, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes = settings.OAUTH2_PROVIDER["SCOPES"]
    kept = {word: scopes[word] for word in scopes if word not in {"openid", "profile", "email"}}
    settings.OPENID_KEYS = ()
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_ENABLED": False, "SCOPES": kept}

    core = Core(Authorize.get_server())
    monkeypatch.setattr(Authorize, "_oauthlib_core", core, raising=False)

    addresses = runpy.run_path("twofa_site/urls.py")
    names = {
        each.name
        for each in [*addresses["urlpatterns"], *addresses["OAUTH"]]
        if isinstance(each, URLPattern)
    }
    assert "token" in names
    assert not names & {"openid-configuration", "jwks-info", "user-info", "rp-initiated-logout"}
    assert came_back(signed_in().get(ask()))["error"] == "invalid_scope"


# -- who somebody is ---------------------------------------------------------------


def test_a_password_alone_is_said_to_be_one(user: User, clock: time_machine.Traveller) -> None:
    """S-35a: ``auth_time`` is when they proved it, not when the token was made."""
    proved_at = int(timezone.now().timestamp())
    http = signed_in()
    clock.shift(timedelta(minutes=5))

    told = sign_in_to(http)

    assert told["sub"] == user.handle
    assert told["nonce"] == "n-1"
    assert told["auth_time"] == proved_at
    assert told["iat"] == proved_at + 300
    assert told["exp"] == told["iat"] + 3600
    assert told["amr"] == ["pwd"]
    assert "acr" not in told
    assert "ann" not in json.dumps({**told, "at_hash": ""})  # a digest may hold these letters
    assert consents() == ["signed_in"]
    assert not IDToken.objects.exists()


def test_scopes_say_what_is_told_and_the_number_never_is(
    user: User, active: ProviderUser, phone: Phone
) -> None:
    """S-35a"""
    browser = Browser()
    sign_in(browser)
    browser.send(code=phone.code())
    url = ask(scope="openid email profile")

    given = exchange(came_back(decide(browser.client, url))["code"])

    who = {"preferred_username": "ann", "email": "ann@example.com", "email_verified": False}
    assert userinfo(given) == {"sub": user.handle, **who}
    assert who.items() <= claims(given).items()
    assert NUMBER[1:] not in json.dumps(claims(given))
    # To know who somebody is lets nothing act for them.
    assert Api(token=data(given)["access_token"]).opt_in(NUMBER).brief == (
        403,
        "insufficient_scope",
    )


def test_one_mail_tells_of_an_application_that_only_knows_who_somebody_is(user: User) -> None:
    """Else each sign-in to it would send one. What lets it act is told each time (S-35)."""
    http, before = signed_in(), len(mail.outbox)

    decide(http, ask())  # the application does not use this code
    for _ in range(2):
        sign_in_to(http)
    (told,) = mail.outbox[before:]
    assert "You signed in to an app with your account" in told.subject
    assert "You signed in to Client with your account at" in str(told.body)
    assert "act for" not in str(told.body)

    decide(http, ask(scope="openid 2fa"))
    assert "allowed to act" in mail.outbox[before + 1].subject


def test_an_address_is_verified_once_its_mail_was_read(user: User) -> None:
    given = exchange(came_back(decide(signed_in(), ask(scope="openid email")))["code"])
    assert userinfo(given)["email_verified"] is False
    browser = Browser()
    browser.go("/password-reset/")
    browser.send(email=user.email)
    browser.go(link_in_mail("/password-reset/"))
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)

    assert userinfo(given)["email_verified"] is True

    User.objects.update(email="another@example.com")
    assert userinfo(given)["email_verified"] is False


def test_userinfo_takes_only_tokens_of_people_with_openid(user: User) -> None:
    http = signed_in()
    given = exchange(came_back(decide(http, ask()))["code"])
    other = exchange(came_back(decide(http, ask(scope="2fa")))["code"])
    for text in (data(other)["access_token"], data(given)["id_token"], "", "x"):
        refused = Client().get("/o/userinfo/", headers={"Authorization": f"Bearer {text}"})
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_token"})
        assert refused["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    token = data(given)["access_token"]
    assert Client().get("/o/userinfo/", {"access_token": token}).status_code == 400

    User.objects.update(is_active=False)
    assert userinfo(given) == {"error": "invalid_token"}


def test_the_sign_in_page_names_the_program_of_a_sound_request(user: User) -> None:
    """Anybody can make the address of that page."""

    def lead(url: str) -> bytes:
        content = anybody().get("/sign-in/", {"next": url}).content
        return b" ".join(content.split(b'class="lead">')[1].split(b"</p>")[0].split())

    assert anybody().get(ask())["Location"].startswith("/sign-in/?next=")
    assert lead(ask()) == b"Sign in to go on to Client."
    for bad in (
        *(ask(client_id="nobody"), ask(client_id="a\0"), ask(client_id=None)),
        *(ask(redirect_uri=f"{REDIRECT}x"), ask(redirect_uri=None), "/account/?client_id=client"),
    ):
        assert lead(bad).startswith(b"Sign in to turn two-factor")


# -- how they signed in ------------------------------------------------------------


@pytest.mark.parametrize("how", ["suspended", "disabled"])
def test_a_texted_code_counts_no_more_once_texts_do_not(
    user: User, active: ProviderUser, phone: Phone, how: str
) -> None:
    """S-07a: somebody else may have the phone. A recovery code still counts."""
    codes = make_recovery_codes(user)
    browser = Browser()
    sign_in(browser)
    browser.send(code=phone.code())
    if how == "suspended":
        staff_actions.suspend(user, reason="lost", origin=ORIGIN)
    else:
        User.objects.update(otp_disabled_at=timezone.now())

    browser.go(ask())

    assert browser.path == "/account/two-factor/prove/"
    assert not Grant.objects.exists()
    browser.send(recovery=codes[0])
    assert sign_in_to(browser.client)["amr"] == ["pwd", "mfa"]


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        ("text", ["pwd", "otp", "sms", "mfa"]),
        ("app", ["pwd", "otp", "mfa"]),
        ("recovery", ["pwd", "mfa"]),
    ],
)
def test_each_factor_is_said_to_be_what_it_is(
    user: User,
    active: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
    kind: str,
    methods: list[str],
) -> None:
    """S-35a"""
    app = None if kind == "text" else add_app(user)
    codes = make_recovery_codes(user)
    clock.shift(timedelta(minutes=1))
    browser = Browser()
    sign_in(browser)
    if kind == "recovery":
        recover(browser, codes[0])
    else:
        browser.send(code=app.code() if app else phone.code())
    proved_at = int(timezone.now().timestamp())
    clock.shift(timedelta(minutes=5))
    browser.go("/account/confirm/")
    browser.send(password=PASSWORD)

    told = sign_in_to(browser.client, acr_values=f"other {MULTI_FACTOR}")

    assert told["amr"] == methods
    assert told["acr"] == MULTI_FACTOR
    assert told["auth_time"] == proved_at  # not the password's, which is newer
    denied = decide(browser.client, ask(acr_values=MULTI_FACTOR), allow="")
    assert came_back(denied)["error"] == "access_denied"  # what was asked for is met
    # A factor that was removed counts no more.
    AuthenticatorApp.objects.all().delete()
    ProviderUser.objects.update(confirmed=False, verified_at=None)
    assert sign_in_to(browser.client)["amr"] == ["pwd"]


def test_who_needs_a_factor_is_led_to_it_and_back(user: User, phone: Phone) -> None:
    """S-35a: nothing is granted before."""
    browser = Browser()
    sign_in(browser)
    url = ask(acr_values=MULTI_FACTOR, prompt="consent")
    browser.go(url)
    assert "lets in only people who use two-factor sign-in" in browser.page.html
    stubborn = decide(browser.client, url, allow="Allow", scope="openid")
    assert stubborn.status_code == 200
    assert not Grant.objects.exists()
    back = decide(browser.client, url, allow="")
    assert came_back(back)["error"] == "unmet_authentication_requirements"

    browser.go(url)
    browser.go(next(link for link in browser.page.links if "next=" in link))
    assert "You need two-factor sign-in to go on to Client." in browser.page.text
    browser.click("/account/two-factor/number/")
    browser.send(number=NUMBER)
    browser.send(code=phone.code())
    assert "Go on to Client" in browser.page.text
    browser.click("/o/authorize/")
    told = claims(exchange(came_back(decide(browser.client, browser.page.address))["code"]))

    assert told["acr"] == MULTI_FACTOR


# -- what is asked for -------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "60"}, {"prompt": "login consent"}]
)
def test_who_signed_in_too_long_ago_does_so_again(
    user: User, clock: time_machine.Traveller, asked: dict[str, str]
) -> None:
    """... once: what they prove after they came counts, however long they take to decide."""
    browser = Browser()
    sign_in(browser)
    clock.shift(timedelta(minutes=5))
    browser.go(ask(**asked))
    assert browser.path == "/account/confirm/"
    clock.shift(timedelta(seconds=90))
    again_at = int(timezone.now().timestamp())
    browser.send(password=PASSWORD)
    assert browser.path == "/o/authorize/"
    clock.shift(timedelta(seconds=90))

    came = decide(browser.client, browser.page.address)

    assert claims(exchange(came_back(came)["code"]))["auth_time"] == again_at


def test_who_signs_in_on_the_way_does_so_once(
    active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    browser = Browser()
    browser.go(ask(prompt="login"))
    clock.shift(timedelta(seconds=30))
    browser.send(username="ann", password=PASSWORD)
    clock.shift(timedelta(seconds=30))
    browser.send(code=phone.code())

    assert browser.path == "/o/authorize/"
    # It holds for this request only, and not for long.
    clock.shift(timedelta(minutes=10))
    browser.go("/account/confirm/")
    browser.send(password=PASSWORD)
    clock.shift(timedelta(seconds=30))
    browser.go(ask(prompt="login"))
    assert browser.path == "/o/authorize/"
    clock.shift(timedelta(minutes=5))
    browser.go(ask(prompt="login"))
    assert browser.path == "/account/confirm/"


def test_a_sign_in_before_the_visit_is_none_for_it(
    user: User, clock: time_machine.Traveller
) -> None:
    """Nor if somebody fetched the page before it, or signed in for another request."""
    browser = Browser()
    browser.go(ask(prompt="login"))
    browser.go(f"/sign-in/?{urlencode({'next': ask(prompt='login', nonce='n-2')})}")
    browser.send(username="ann", password=PASSWORD)
    clock.shift(timedelta(minutes=5))

    browser.go(ask(prompt="login"))
    assert browser.path == "/account/confirm/"
    browser.go(ask(max_age="301"))
    assert browser.path == "/o/authorize/"


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"prompt": "none"}, "consent_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "nonsense"}, "invalid_request"),
        ({"prompt": "select_account"}, "account_selection_required"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1" * 10}, "invalid_request"),
        ({"nonce": "n" * 256}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://client.example.com/r"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"id_token_hint": "nonsense"}, "login_required"),
        ({"scope": "email"}, "invalid_scope"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"scope": "openid fileid:777"}, "invalid_scope"),
    ],
)
def test_what_cannot_be_done_is_told(user: User, asked: dict[str, str], word: str) -> None:
    came = came_back(signed_in().get(ask(**asked)))
    stranger: Any = anybody().get(ask(**asked))

    assert came["error"] == word
    # A stranger is asked to sign in only where it may depend on who they are.
    depends = "id_token_hint" in asked or asked.get("scope") in {"email", "openid fileid:777"}
    assert stranger["Location"].startswith("/sign-in/" if depends else REDIRECT)
    assert (came["state"], came["iss"]) == ("s&1=?", ISSUER)
    assert not Grant.objects.exists()


def test_a_hint_names_the_person_and_the_client(user: User) -> None:
    """Else an application would learn from another's ID token whether its person is here."""
    make_client("authorization-code", "other")
    http = signed_in()
    hint = data(exchange(came_back(decide(http, ask()))["code"]))["id_token"]

    assert http.get(ask(id_token_hint=hint)).status_code == 200
    by_other = http.get(ask(id_token_hint=hint, client_id="other"))
    assert came_back(by_other)["error"] == "login_required"
    make_user("ben")
    as_other = signed_in("ben").get(ask(id_token_hint=hint))
    assert came_back(as_other)["error"] == "login_required"


@pytest.mark.parametrize("changed", [{"alg": "RS512"}, {"iss": "https://other.example.com"}, {}])
def test_a_hint_is_an_id_token_of_this_service(settings: Any, changed: dict[str, str]) -> None:
    """Others may have keys of ours, from a time when they signed something else."""
    head, body = {"alg": "RS256"}, {"iss": ISSUER, "sub": "1", "aud": "client"}
    made = JWT(
        header={name: changed.get(name, value) for name, value in head.items()},
        claims={name: changed.get(name, value) for name, value in body.items()},
    )
    made.make_signed_token(JWK.from_pem(settings.OPTIN_OPENID_KEYS[0].encode()))
    assert openid.claims_of(made.serialize()) == (None if changed else body)


def test_a_test_account_is_nobody_elsewhere(user: User) -> None:
    """S-35a: others see its codes on a page."""
    User.objects.update(is_test=True)
    http = signed_in()
    assert came_back(http.get(ask()))["error"] == "access_denied"
    assert http.get(ask(scope="2fa")).status_code == 200


def test_nobody_is_told_silently(user: User) -> None:
    assert came_back(anybody().get(ask(prompt="none")))["error"] == "login_required"
    unknown = anybody().get(ask(prompt="none", redirect_uri="https://evil.example.com/"))
    assert unknown.status_code == 400


@pytest.mark.parametrize("name", ["nonce", "prompt", "max_age", "acr_values", "id_token_hint"])
def test_each_is_given_once(user: User, name: str) -> None:
    response = signed_in().get(f"{ask(**{name: '1'})}&{name}=1")
    assert response.status_code == 400


# -- tokens ------------------------------------------------------------------------


def test_a_token_is_for_the_client_that_asked(user: User) -> None:
    """S-35a: its audience is none that the form of the token request could name."""
    make_client("authorization-code", "other")
    code = came_back(decide(signed_in(), ask()))["code"]
    body = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": "v" * 64}
    given = post("token", {**body, "code": code, "client_id": "other"})

    assert given.status_code == 400


def test_the_nonce_is_that_of_the_browser(user: User) -> None:
    """S-35a: who stole a code cannot make it fit the session of another browser."""
    code = came_back(decide(signed_in(), ask(nonce=None)))["code"]
    assert "nonce" not in claims(exchange(code, nonce="n-2"))


@pytest.mark.parametrize("algorithm", ["", "HS256"])
def test_the_row_of_a_client_does_not_choose_the_algorithm(user: User, algorithm: str) -> None:
    """No HS256, with which every holder of a secret could sign."""
    get_application_model().objects.update(algorithm=algorithm)
    assert sign_in_to(signed_in())["sub"] == user.handle


def test_a_refresh_says_nothing_new(user: User) -> None:
    given = exchange(came_back(decide(signed_in(), ask()))["code"])
    again = refresh(given)
    assert "id_token" not in data(again)
    assert userinfo(again) == {"sub": user.handle}


def test_a_client_without_a_person_gets_no_identity(db: None) -> None:
    make_client("client-credentials", "machine")
    asked = {"grant_type": "client_credentials", "scope": "openid"}
    assert error(post("token", asked, "machine")) == (400, "invalid_scope")


def test_earlier_keys_are_published(user: User, settings: Any) -> None:
    http = signed_in()
    old = exchange(came_back(decide(http, ask()))["code"])
    pem = JWK.generate(kty="RSA", size=2048).export_to_pem(private_key=True, password=None).decode()
    keys = (pem, *settings.OPTIN_OPENID_KEYS)
    settings.OPTIN_OPENID_KEYS = keys
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OIDC_RSA_PRIVATE_KEY": keys[0],
        "OIDC_RSA_PRIVATE_KEYS_INACTIVE": keys[1:],
    }

    new = exchange(came_back(decide(http, ask()))["code"])

    kids = {JWT(jwt=data(each)["id_token"]).token.jose_header["kid"] for each in (old, new)}
    assert len(kids) == 2
    assert claims(old)["sub"] == claims(new)["sub"]
    hint = data(old)["id_token"]
    assert openid.claims_of(hint)
    published = Client().get("/o/jwks/").json()["keys"]
    assert {key["kid"] for key in published} == kids
    settings.OPTIN_OPENID_KEYS = keys[:1]
    assert openid.claims_of(hint) is None
    assert all(key.keys() == {"alg", "use", "kid", "kty", "n", "e"} for key in published)


# -- signing out -------------------------------------------------------------------


@pytest.fixture
def leaving(client_app: AbstractApplication) -> AbstractApplication:
    client_app.post_logout_redirect_uris = LEFT
    client_app.save()
    return client_app


def test_signing_out_is_asked_for_and_leads_back(user: User, leaving: AbstractApplication) -> None:
    http = Client(enforce_csrf_checks=True)
    page = http.get("/sign-in/")
    token = page.context["csrf_token"]
    http.post("/sign-in/", {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": token})
    query = {"client_id": "client", "post_logout_redirect_uri": LEFT, "state": "s"}
    url = f"{OUT}?{urlencode(query)}"

    asked = http.get(url)
    assert b"Client asks whether you want to sign out here too" in asked.content
    assert "https://client.example.com" in asked["Content-Security-Policy"]
    forged = http.post(url, {"sign_out": "yes"})
    assert forged.status_code == 403
    assert http.get("/account/").status_code == 200
    # A form of the client only leads to the page.
    led = http.post(OUT, {"client_id": "client", "state": "s", "evil": "x"})
    assert led["Location"] == f"{OUT}?client_id=client&state=s"
    assert http.get("/account/").status_code == 200

    left = http.post(url, {"sign_out": "yes", "csrfmiddlewaretoken": asked.context["csrf_token"]})

    assert left.status_code == 303
    assert left["Location"] == f"{LEFT}&state=s"
    assert http.get("/account/").status_code == 303
    assert http.get(url)["Location"] == f"{LEFT}&state=s"  # nobody is left to ask


def test_signing_out_ends_a_half_sign_in_too(active: ProviderUser) -> None:
    browser = Browser()
    sign_in(browser)
    assert browser.path == "/sign-in/code/"
    browser.go(OUT)
    assert browser.path == OUT  # it asks
    browser.send(press="sign_out")
    browser.go("/sign-in/code/")
    assert browser.path == "/sign-in/"


def test_who_was_signed_out_before_is_told_that_they_are(client_app: AbstractApplication) -> None:
    browser = Browser()
    browser.go(f"{OUT}?client_id=client")
    assert browser.path == "/sign-in/"
    assert browser.page.flash == "You're signed out."


def test_nobody_is_signed_out_for_an_address_that_is_not_followed(
    user: User, leaving: AbstractApplication
) -> None:
    """A row may have one that no browser should be sent to."""
    address = leaving.post_logout_redirect_uris = "http://client.example.com/left"
    leaving.save()
    http = signed_in()
    query = urlencode({"client_id": "client", "post_logout_redirect_uri": address})
    assert http.post(f"{OUT}?{query}", {"sign_out": "yes"}).status_code == 400
    assert http.get("/account/").status_code == 200


def test_signing_out_leads_nowhere_else(
    user: User, leaving: AbstractApplication, clock: time_machine.Traveller
) -> None:
    make_client("authorization-code", "other")
    given = exchange(came_back(decide(signed_in(), ask()))["code"])
    hint = data(given)["id_token"]
    head, body, _signature = hint.split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{body}."
    refused: list[dict[str, str]] = [
        {"post_logout_redirect_uri": LEFT},
        {"post_logout_redirect_uri": f"{LEFT}&c=d", "client_id": "client"},
        {"post_logout_redirect_uri": LEFT, "client_id": "other"},
        {"post_logout_redirect_uri": LEFT, "client_id": "nobody"},
        {"post_logout_redirect_uri": LEFT, "client_id": "other", "id_token_hint": hint},
        {"post_logout_redirect_uri": LEFT, "id_token_hint": "a" * 4000},
    ]
    for query in refused:
        assert anybody().get(OUT, query).status_code == 400
    # The key that signed it may be gone by now: so the person is asked, but led nowhere.
    for unknown in (unsigned, f"{head}.{body}.", "nonsense"):
        query = {"post_logout_redirect_uri": LEFT, "id_token_hint": unknown, "client_id": "client"}
        assert anybody().get(OUT, query)["Location"] == "/sign-in/?out=1"
        assert b"Client asks whether" in signed_in().get(OUT, query).content
    assert anybody().get(f"{OUT}?client_id=client&client_id=other").status_code == 400
    # An old one still says which application asks.
    clock.shift(timedelta(days=1))
    old = anybody().get(OUT, {"post_logout_redirect_uri": LEFT, "id_token_hint": hint})
    assert old["Location"] == LEFT
