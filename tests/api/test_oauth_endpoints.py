"""The endpoints below /o/: which there are, and the terms on which they give tokens."""

import io
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode

import pytest
import time_machine
from django.apps import apps
from django.contrib.auth.hashers import identify_hasher
from django.core.exceptions import ValidationError
from django.db import DataError, OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from oauth2_provider.models import AbstractApplication, AccessToken

from optin.api.oauth import RandomSecretHasher
from optin.conf import Rate
from optin.models import AuditEvent, File, Membership, User
from optin.operations import tenants
from tests.kit.clients import Api, Tokens, bearer
from tests.kit.oauth import (
    ENDINGS,
    REDIRECT,
    SECRET,
    VERIFIER,
    Application,
    data,
    error,
    exchange,
    grant,
    make_client,
    post,
    refresh,
    works,
)
from tests.kit.people import NUMBER, ORIGIN, PASSWORD
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
DAY = 86400


@pytest.fixture
def machine(db: None) -> AbstractApplication:
    """A client that speaks for nobody."""
    return make_client(Application.GRANT_CLIENT_CREDENTIALS, "machine")


# -- what holds for each -----------------------------------------------------------


def test_metadata(settings: Any) -> None:
    """RFC 8414; every address from ``BASE_URL``, whatever the Host (S-26)."""
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_ISS_ENDPOINT": settings.BASE_URL}
    response = Client().get(
        "/.well-known/oauth-authorization-server",
        headers={"Host": "testserver", "X-Forwarded-Host": "evil.example.com"},
    )

    metadata = response.json()
    base = "https://2fa.example.com"
    expected = {
        "issuer": base,
        "authorization_endpoint": f"{base}/o/authorize/",
        "token_endpoint": f"{base}/o/token/",
        "revocation_endpoint": f"{base}/o/revoke_token/",
        "introspection_endpoint": f"{base}/o/introspect/",
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": False,
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "response_types_supported": ["code"],
        "scopes_supported": sorted(settings.OAUTH2_PROVIDER["SCOPES"]),
        "jwks_uri": f"{base}/o/jwks/",
    }
    assert metadata | expected == metadata
    assert not {"registration_endpoint", "device_authorization_endpoint"} & metadata.keys()


each_endpoint = pytest.mark.parametrize("endpoint", ["token", "revoke_token", "introspect"])


def ask(method: str, endpoint: str, body: bytes = b"", **environ: Any) -> HttpResponse:
    """Send anything, as anybody."""
    http = Client(raise_request_exception=False)
    return cast(HttpResponse, http.generic(method, f"/o/{endpoint}/", body, **environ))


@each_endpoint
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_post_only(db: None, endpoint: str, method: str) -> None:
    response = ask(method, endpoint)

    assert error(response) == (405, "invalid_request")
    assert response.headers["Allow"] == "POST"


@each_endpoint
@pytest.mark.parametrize("query", ["token=x", "a=%zz", "a=\x7f"])
def test_nothing_in_the_address(db: None, endpoint: str, query: str) -> None:
    """S-35: what stands there stands in logs."""
    response = ask("POST", endpoint, b"token=x", content_type=FORM, QUERY_STRING=query)

    assert error(response) == (400, "invalid_request")


@each_endpoint
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"\xff\x00&&=;%zz"),
        (FORM, b"grant_type=%00&token=%00&client_id=%00&client_secret=%00"),
        (FORM, b"grant_type=authorization_code&code=%00&client_id=client&code_verifier=%00"),
        (FORM, b"grant_type=client_credentials&resource=nonsense"),
        ("application/json", b'{"grant_type": "client_credentials"}'),
        ("multipart/form-data; boundary=a", b"--a\r\nbad"),
        (f"{FORM}; charset=utf-16", b"grant_type=x"),
        ("", b""),
    ],
)
def test_bad_input_is_never_our_fault(
    client_app: AbstractApplication, endpoint: str, content_type: str, body: bytes
) -> None:
    for authorization in ("", "Basic", "Basic !", "Basic \xff", "Basic Y2xpZW50OgA=", "Bearer x"):
        headers = {"Authorization": authorization} if authorization else {}
        response = ask("POST", endpoint, body, content_type=content_type, headers=headers)

        status, _word = error(response)
        assert 400 <= status < 500
    assert not AccessToken.objects.exists()


class HungUp(io.BytesIO):
    """What a server reads from a client that sends no more."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise TimeoutError


@each_endpoint
@pytest.mark.parametrize(
    ("body", "environ"),
    [
        pytest.param("x", {"wsgi.input": HungUp()}, id="broken off"),
        pytest.param("token=x", {"wsgi.input": io.BytesIO(b"token=")}, id="cut"),
        pytest.param("token=x&token=x", {}, id="twice"),
        pytest.param("&".join(f"a{n}=" for n in range(1001)), {}, id="many fields"),
        pytest.param("token=" + "x" * 65536, {}, id="much"),
        pytest.param("state=%3Cmeta%3E&grant_type=authorization_code", {}, id="no token"),
        pytest.param("token=x", {"HTTP_AUTHORIZATION": "Basic \xff"}, id="not ASCII"),
    ],
)
def test_what_cannot_be_read_in_one_way(
    machine: AbstractApplication,
    caplog: pytest.LogCaptureFixture,
    endpoint: str,
    body: str,
    environ: dict[str, Any],
) -> None:
    """Nor does it leave a line that would wake an operator."""
    response = post(endpoint, body, "machine", **environ)

    assert error(response) == (400, "invalid_request")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OperationalError, (503, "temporarily_unavailable")),
        # What PostgreSQL says to a NUL.
        (DataError, (400, "invalid_request")),
    ],
)
def test_no_token_without_its_event(
    machine: AbstractApplication,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[Exception],
    expected: tuple[int, str],
) -> None:
    """S-52: what cannot be recorded does not happen."""

    def fail(*args: object, **kwargs: object) -> None:
        raise fault

    monkeypatch.setattr(type(AuditEvent.objects), "record", fail)
    response = post("token", {"grant_type": "client_credentials"}, "machine")

    assert error(response) == expected
    assert ("Retry-After" in response.headers) == (expected[0] == 503)
    assert not AccessToken.objects.exists()


# -- clients -----------------------------------------------------------------------


def test_client_secret_is_hashed_fast(machine: AbstractApplication) -> None:
    """A slow hash of 128 random characters would cost 200 ms a request for nothing."""
    kept = Application.objects.get().client_secret

    assert SECRET not in kept
    assert isinstance(identify_hasher(kept), RandomSecretHasher)
    assert RandomSecretHasher().decode(kept)["iterations"] == 1


@pytest.mark.parametrize(
    "uri",
    [
        *("http://client.example.com/callback", "http://127.0.0.1:9000/", "http://localhost/"),
        *("client://callback", "javascript:alert(1)", "https://*.example.com/", "//example.com/"),
    ],
)
def test_redirects_go_to_https_only(uri: str) -> None:
    client = Application(
        client_id="x",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=uri,
    )

    with pytest.raises(ValidationError) as caught:
        client.full_clean()
    assert "redirect_uris" in caught.value.message_dict


@pytest.mark.parametrize(
    "registered_for", [Application.GRANT_PASSWORD, Application.GRANT_DEVICE_CODE]
)
def test_other_grants_are_refused(user: User, registered_for: str) -> None:
    """S-35: even to a client that was registered for them."""
    make_client(registered_for)
    person = {"username": "ann", "password": PASSWORD, "device_code": "x", "scope": "full"}
    device = "urn:ietf:params:oauth:grant-type:device_code"

    for grant_type in ("password", "implicit", "token", "", "x", "Client_Credentials", device):
        response = post("token", {"grant_type": grant_type, **person})
        assert error(response) == (400, "unsupported_grant_type")
    assert not AccessToken.objects.exists()


@pytest.mark.usefixtures("password_clients")
@pytest.mark.parametrize("grant_type", ["password", "client_credentials", "authorization_code"])
def test_clients_without_an_id_get_nothing_here(user: User, grant_type: str) -> None:
    """The application behind the token calls is no client of these endpoints."""
    body = {"grant_type": grant_type, "username": "ann", "password": PASSWORD, "code": "x"}
    response = post("token", body, "password-clients", secret="")

    assert 400 <= response.status_code < 500
    assert not AccessToken.objects.exists()


# -- client credentials, introspection, revocation ---------------------------------


def test_client_credentials(machine: AbstractApplication, file: File) -> None:
    """Such a token has no user: no call is open to it."""
    response = post("token", {"grant_type": "client_credentials", "scope": "full"}, "machine")

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert "refresh_token" not in data(response)
    assert Api(token=data(response)["access_token"]).opt_in(NUMBER).brief == (401, "invalid_token")
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.user_id) == ("token", "client_credentials", None)
    assert event.client == f"app:{machine.pk}"


def test_a_trusted_client_names_the_address_of_its_user(
    machine: AbstractApplication, settings: Any
) -> None:
    """S-26: by it go the trail and the limit on requests. Nobody else names one."""
    settings.OPTIN_REQUESTS_PER_NETWORK = (Rate(1, 60),)

    def ask(ip: str, secret: str = SECRET) -> int:
        named = {"HTTP_X_FAPI_CUSTOMER_IP_ADDRESS": ip}
        body = {"grant_type": "client_credentials"}
        return post("token", body, "machine", secret, **named).status_code

    assert [ask("203.0.113.1"), ask("203.0.113.2")] == [200, 429]
    tenants.trust_application(machine, trusted=True, reason="its login form", origin=ORIGIN)
    assert [ask("203.0.113.1"), ask("203.0.113.2"), ask("203.0.113.2")] == [200, 200, 429]
    assert [ask("203.0.113.3", "wrong"), ask("x")] == [429, 400]
    trail = AuditEvent.objects.filter(kind="token").order_by("pk").values_list("ip", flat=True)
    assert list(trail) == ["127.0.0.1", "203.0.113.1", "203.0.113.2"]


@pytest.mark.parametrize("scope", ["full admin", "fileid:0", "introspection", "full ".rjust(1025)])
def test_scope_that_cannot_be_granted(machine: AbstractApplication, scope: str) -> None:
    """S-20: a word that is unknown, or more than 1024 characters."""
    body = {"grant_type": "client_credentials", "scope": scope}

    assert error(post("token", body, "machine")) == (400, "invalid_scope")
    body["scope"] = "full ".rjust(1024)
    assert post("token", body, "machine").status_code == 200


@pytest.mark.parametrize("resource", ["http://[", "<meta>", "https://\u2100.example.com"])
def test_bad_resource(machine: AbstractApplication, resource: str) -> None:
    """RFC 8707: several are allowed, and each must be an address."""
    fields = [("resource", "https://a.example.com"), ("resource", resource)]
    body = urlencode([("grant_type", "client_credentials"), *fields])

    assert error(post("token", body, "machine")) == (400, "invalid_target")
    assert post("token", body.rpartition("&")[0], "machine").status_code == 200


def test_introspection(
    machine: AbstractApplication, user: User, clock: time_machine.Traveller
) -> None:
    token = bearer(user, "2fa fileid:777")
    found = data(post("introspect", {"token": token}, "machine"))

    assert found["active"] is True
    assert found["scope"] == "2fa fileid:777"
    assert found["username"] == "ann"
    assert data(post("introspect", {"token": "unknown"}, "machine")) == {"active": False}

    # What works nowhere: of a deactivated person, or ended.
    User.objects.update(is_active=False)
    assert data(post("introspect", {"token": token}, "machine")) == {"active": False}
    User.objects.update(is_active=True)
    clock.shift(3600)
    assert data(post("introspect", {"token": token}, "machine")) == {"active": False}


def test_introspection_is_for_clients(machine: AbstractApplication, user: User) -> None:
    """Not for anybody who has a token."""
    token = bearer(user, "full introspection")
    response = cast(
        HttpResponse,
        Client().post("/o/introspect/", {"token": token, "access_token": bearer(user)}),
    )
    assert error(response) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revocation(user: User, client_app: AbstractApplication, kind: str) -> None:
    """Either token takes the other with it."""
    tokens = exchange(grant(user, client_app))

    assert post("revoke_token", {"token": data(tokens)[kind]}).status_code == 200
    assert not works(tokens)
    assert error(refresh(tokens)) == (400, "invalid_grant")


def test_revocation_of_somebody_elses_token(
    user: User, client_app: AbstractApplication, machine: AbstractApplication
) -> None:
    tokens = exchange(grant(user, client_app))
    body = {"token": data(tokens)["access_token"]}

    assert post("revoke_token", body, "machine").status_code == 200
    assert post("revoke_token", body, secret="wrong").status_code == 401
    assert works(tokens)


# -- authorization code ------------------------------------------------------------


def test_code(user: User, client_app: AbstractApplication) -> None:
    response = exchange(grant(user, client_app))

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert data(response)["scope"] == "2fa fileid:777"
    assert works(response)
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.face) == ("token", "authorization_code", "token")
    assert (event.user_id, event.client) == (user.pk, f"app:{client_app.pk}")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"code_verifier": ""}, (400, "invalid_grant")),
        ({"code_verifier": "w" * 64}, (400, "invalid_grant")),
        ({"redirect_uri": f"{REDIRECT}/"}, (400, "invalid_request")),
        ({"client_id": "machine"}, (400, "unauthorized_client")),
        ({"client_id": "other"}, (400, "invalid_grant")),
        ({"secret": "wrong"}, (401, "invalid_client")),
    ],
    ids=str,
)
def test_code_is_bound(
    user: User,
    client_app: AbstractApplication,
    machine: AbstractApplication,
    how: dict[str, str],
    expected: tuple[int, str],
) -> None:
    """S-34, S-35: to its client, its address and the one who has the verifier."""
    make_client(Application.GRANT_AUTHORIZATION_CODE, "other")
    code = grant(user, client_app)

    assert error(exchange(**{"code": code, **how})) == expected
    assert not AccessToken.objects.exists()
    assert works(exchange(code))


@pytest.mark.parametrize("verifier", ["", VERIFIER])
def test_code_without_a_challenge(
    user: User, client_app: AbstractApplication, verifier: str
) -> None:
    """S-35: PKCE is required, whatever let such a code come to be."""
    code = grant(user, client_app, code_challenge="", code_challenge_method="")

    assert error(exchange(code, code_verifier=verifier)) == (400, "invalid_grant")


def test_code_works_for_a_minute(
    user: User, client_app: AbstractApplication, clock: time_machine.Traveller
) -> None:
    code = grant(user, client_app)
    clock.shift(60)

    assert error(exchange(code)) == (400, "invalid_grant")


@pytest.mark.parametrize("end", ENDINGS)
def test_what_was_granted_before(
    user: User,
    file: File,
    phone: Phone,
    client_app: AbstractApplication,
    end: Callable[[User, File, Phone], None],
) -> None:
    """S-30, S-34: a code or a refresh token from before the second factor is worth nothing.

    Nor is one that was just replaced, which could be sent again.
    """
    tokens, replaced = (exchange(grant(user, client_app, code)) for code in ("first", "second"))
    refresh(replaced)
    code = grant(user, client_app, "third")
    end(user, file, phone)

    assert error(exchange(code)) == (400, "invalid_grant")
    assert error(refresh(tokens)) == error(refresh(replaced)) == (400, "invalid_grant")
    assert AccessToken.objects.count() <= 2


# -- refresh -----------------------------------------------------------------------


@pytest.mark.parametrize("generations", [1, 2])
def test_it_rotates_and_reuse_ends_the_family(
    user: User, client_app: AbstractApplication, generations: int, clock: time_machine.Traveller
) -> None:
    """S-34, S-52: access tokens too. An unknown token is nobody's, and leaves no event."""
    old = newest = exchange(grant(user, client_app))
    other = exchange(grant(user, client_app, "another"))
    for _ in range(generations):
        newest = refresh(newest)
    assert data(newest)["scope"] == "2fa fileid:777"
    assert [works(tokens) for tokens in (old, newest)] == [False, True]
    assert AuditEvent.objects.latest("pk").outcome == "refresh_token"

    clock.shift(10)
    assert error(refresh(old)) == (400, "invalid_grant")
    event = AuditEvent.objects.latest("pk")
    assert (event.outcome, event.user_id) == ("invalid_refresh", user.pk)
    assert not works(newest)
    assert error(refresh(newest)) == (400, "invalid_grant")
    assert works(other)
    events = AuditEvent.objects.count()
    post("token", {"grant_type": "refresh_token", "refresh_token": "unknown"})
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("client_type", [Application.CLIENT_CONFIDENTIAL, "public"])
def test_a_refresh_is_repeated_within_ten_seconds(
    user: User, client_app: AbstractApplication, client_type: str, clock: time_machine.Traveller
) -> None:
    """Its answer was lost, or another thread has it: both serve, until one of them goes on."""
    Application.objects.update(client_type=client_type)
    secret = "" if client_type == "public" else SECRET

    def ask(response: HttpResponse) -> HttpResponse:
        body = {"grant_type": "refresh_token", "refresh_token": data(response)["refresh_token"]}
        return post("token", body, secret=secret)

    old = exchange(grant(user, client_app), secret=secret)
    other = ask(old)
    clock.shift(9.9)
    again = ask(old)
    assert data(again)["scope"] == data(other)["scope"]
    assert [works(tokens) for tokens in (old, other, again)] == [False, True, True]

    newest = ask(again)
    assert [works(tokens) for tokens in (other, again, newest)] == [False, False, True]
    clock.shift(10)
    assert error(ask(other)) == (400, "invalid_grant")
    assert not works(newest)


def test_another_client_repeats_no_refresh(user: User, client_app: AbstractApplication) -> None:
    make_client(Application.GRANT_AUTHORIZATION_CODE, "another")
    old = exchange(grant(user, client_app))
    new = refresh(old)
    body = {"grant_type": "refresh_token", "refresh_token": data(old)["refresh_token"]}
    assert error(post("token", body, "another")) == (400, "invalid_grant")
    assert not works(new)


@pytest.mark.parametrize("generations", [0, 2])
def test_a_code_that_is_used_again_ends_its_tokens(
    user: User, client_app: AbstractApplication, generations: int
) -> None:
    """RFC 6749 4.1.2, RFC 9700 4.5; one event, however often it comes."""
    code = grant(user, client_app)
    newest = exchange(code)
    other = exchange(grant(user, client_app, "another"))
    for _ in range(generations):
        newest = refresh(newest)

    for _ in range(3):
        assert error(exchange(code)) == (400, "invalid_grant")

    assert not works(newest)
    assert error(refresh(newest)) == (400, "invalid_grant")
    assert works(other)
    events = AuditEvent.objects.filter(outcome="code_reused")
    assert [(event.user_id, event.client) for event in events] == [
        (user.pk, f"app:{client_app.pk}")
    ]


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        pytest.param({"secret": "wrong"}, (401, "invalid_client"), id="no client"),
        pytest.param({"client_id": "another"}, (400, "invalid_grant"), id="another client"),
        pytest.param({"code_verifier": "w" * 64}, (400, "invalid_grant"), id="no verifier"),
    ],
)
def test_a_stranger_ends_nothing_with_a_used_code(
    user: User, client_app: AbstractApplication, how: dict[str, str], answer: tuple[int, str]
) -> None:
    make_client(Application.GRANT_AUTHORIZATION_CODE, "another")
    code = grant(user, client_app)
    tokens = exchange(code)

    assert error(exchange(**{"code": code, **how})) == answer

    assert works(tokens)
    assert refresh(tokens).status_code == 200
    assert not AuditEvent.objects.filter(outcome="code_reused").exists()


def test_refresh_tokens_live_for_thirty_days(
    user: User, client_app: AbstractApplication, clock: time_machine.Traveller
) -> None:
    tokens = exchange(grant(user, client_app))
    clock.shift(30 * DAY - 1)
    tokens = refresh(tokens)
    assert tokens.status_code == 200
    clock.shift(30 * DAY)
    assert error(refresh(tokens)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("2fa", "2fa fileid:777 fileid:888"),
        ("fileid:888", "2fa fileid:888"),
        ("full", None),
        ("2fa fileid:999", None),
    ],
)
def test_scope_is_narrowed_and_never_widened(
    user: User, other_file: File, client_app: AbstractApplication, asked: str, granted: str | None
) -> None:
    """A token that named no file would work for all of them."""
    Membership.objects.create(user=user, file=other_file)
    tokens = exchange(grant(user, client_app, scope="2fa fileid:777 fileid:888"))
    response = refresh(tokens, scope=asked)

    if granted is None:
        assert error(response) == (400, "invalid_scope")
        assert works(tokens)
    else:
        assert data(response)["scope"] == granted
        kept = AccessToken.objects.get()
        assert kept.scope == granted


def test_secrets_are_kept_as_digests(
    user: User, client_app: AbstractApplication, password_clients: None, access_key: str
) -> None:
    """S-34: no table holds a token, an access key, a client's secret or a password."""
    first = exchange(grant(user, client_app))
    by_password = Tokens().sign_in().data
    later = Tokens().refresh(by_password["refresh_token"]).data
    given = [data(first), data(refresh(first)), by_password, later]
    kept = ""
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")  # noqa: S608
            kept += repr(cursor.fetchall())

    assert "2fa fileid:777" in kept
    for tokens in given:
        assert tokens["access_token"] not in kept
        assert tokens["refresh_token"] not in kept
    for secret in (access_key, SECRET, PASSWORD):
        assert secret not in kept
