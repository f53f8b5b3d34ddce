"""Every address that yields a session or a token, and that 2FA stands before each.

A new address must be named here: in ``WAYS_IN``, with a proof, or in ``NO_WAYS_IN``.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
import time_machine
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from oauth2_provider.models import AccessToken, Grant, RefreshToken
from pytest_django.fixtures import Settings

from optin.api import scim
from optin.models import File, Purpose, User
from optin.operations import challenges, staff_actions
from optin.outcomes import By
from optin.web.session_store import SessionStore
from tests.kit.authenticator import Authenticator, Key
from tests.kit.browser import Page
from tests.kit.clients import Tokens
from tests.kit.oauth import (
    ASKED,
    REDIRECT,
    Application,
    activate,
    data,
    exchange,
    grant,
    make_client,
    post,
)
from tests.kit.people import ORIGIN, PASSWORD
from tests.kit.phone import Phone, wrong
from tests.kit.staff import MAY
from tests.kit.world import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("password_clients")]


@dataclass
class Scene:
    """A user who had tokens and a code before 2FA became active."""

    user: User
    phone: Phone
    refresh_token: str
    refresh_token_of_client: str
    code: str
    remembered: Client  # was signed in on the pages
    forger: Authenticator  # its key claims to be the user's

    def text(self) -> str:
        """The code of the newest text, or a guess if there is none."""
        return self.phone.code() if self.phone.messages else "1234567"


def at_o_token(**body: str) -> None:
    post("token", body)


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    user: User,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
    settings: Settings,
) -> Scene:
    settings.OPTIN_PASSKEY_SIGN_IN = True
    client = make_client(Application.GRANT_AUTHORIZATION_CODE)
    for code in ("first", "second"):
        grant(user, client, code, scope="full")
    forged = Key("2fa.example.com", user.handle.encode())
    scene = Scene(user, phone, "", "", "second", Client(), Authenticator(keys=[forged]))
    scene.remembered.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert scene.remembered.get("/account/").status_code == 200
    scene.refresh_token = Tokens().sign_in().data["refresh_token"]
    scene.refresh_token_of_client = data(exchange("first"))["refresh_token"]
    if getattr(request, "param", By.TEXT) is By.PASSKEY:
        person = Person(user, file, phone, clock)
        person.add_passkey()
        forged.id = person.keys.keys[0].id
    else:
        activate(user, file, phone)
    clock.shift(1)  # a challenge of the same moment as the last one would be refused for that
    return scene


# Each tries its way in with all that somebody without the phone can have.


def by_password(call: str) -> Callable[[Scene], None]:
    def attempt(scene: Scene) -> None:
        tokens = Tokens(call=call)
        for name in ("ann", "ANN", "ann@example.com"):
            tokens.sign_in(name)
            tokens.sign_in(name, verification_code="")
        tokens.sign_in(verification_code=wrong(scene.text()))
        tokens.sign_in(scope="2fa")
        staff_actions.suspend(scene.user, reason="test", origin=ORIGIN)
        tokens.sign_in()

    return attempt


def by_refresh(scene: Scene) -> None:
    Tokens().refresh(scene.refresh_token)
    Tokens().refresh(scene.refresh_token_of_client)


def by_o_token(scene: Scene) -> None:
    exchange(scene.code)
    at_o_token(grant_type="refresh_token", refresh_token=scene.refresh_token_of_client)
    at_o_token(grant_type="refresh_token", refresh_token=scene.refresh_token)
    for grant_type in ("password", "implicit", "urn:ietf:params:oauth:grant-type:device_code"):
        at_o_token(grant_type=grant_type, username="ann", password=PASSWORD)
    at_o_token(grant_type="client_credentials", username="ann", password=PASSWORD)


def half(scene: Scene) -> Client:
    """Past the password, before the code."""
    client = Client()
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    return client


def by_page(scene: Scene) -> None:
    for client in (Client(), scene.remembered, half(scene)):
        for name in ("ann", "ANN", "ann@example.com"):
            client.post("/sign-in/", {"username": name, "password": PASSWORD})
            client.post("/sign-in/?next=/account/", {"username": name, "password": PASSWORD})
        by_forged_passkey(scene, client, "/sign-in/")
    staff_actions.suspend(scene.user, reason="test", origin=ORIGIN)
    half(scene).get("/account/")


def by_forged_passkey(scene: Scene, client: Client, address: str) -> None:
    page = Page(address, 200, client.get(address).content.decode())
    if page.options:
        challenge = page.passkey_form.fields["challenge"]
        client.post(address, {"passkey": scene.forger.get(page.options), "challenge": challenge})


def by_page_code(scene: Scene) -> None:
    used = scene.text()  # of the opt-in
    client = half(scene)
    for sent in ({"code": used}, {"code": wrong(scene.text())}, {"code": ""}, {}):
        client.post("/sign-in/code/", sent)
        client.post("/sign-in/code/send/", sent)
        Client().post("/sign-in/code/", sent)
    by_forged_passkey(scene, client, "/sign-in/code/")
    # The code of another purpose, and one that comes too late.
    challenges.challenge(scene.user, Purpose.OPT_OUT, origin=ORIGIN)
    client.post("/sign-in/code/", {"code": scene.text()})


def by_page_recovery(scene: Scene) -> None:
    client = half(scene)
    for text in ("", "0" * 16, "AAAA-BBBB-CCCC-DDDD"):
        client.post("/sign-in/recovery/", {"recovery": text})
        client.post("/sign-in/recovery/", {"code": text})


def by_password_reset(scene: Scene) -> None:
    client = Client()
    client.post("/password-reset/", {"email": "ann@example.com"})
    link = re.search(r"/password-reset/\S+/\S+/", str(mail.outbox[-1].body))
    assert link
    new = "staple horse correct"
    response = client.post(link[0], {"new_password1": new, "new_password2": new})
    assert response.status_code == 303
    client.get("/account/")
    client.post("/sign-in/", {"username": "ann", "password": new})


def by_o_authorize(scene: Scene) -> None:
    for client in (Client(), scene.remembered, half(scene)):
        for method in (client.get, client.post):
            response = method("/o/authorize/", ASKED | {"allow": "Allow"})
            assert not response.get("Location", "").startswith(REDIRECT)
        response = client.post("/o/authorize/", {"allow": "Allow"}, query_params=ASKED)
        assert not response.get("Location", "").startswith(REDIRECT)
    assert not Grant.objects.exists()


WAYS_IN: dict[str, Callable[[Scene], None]] = {
    "token": by_password("token"),
    "token-2fa": by_password("token-2fa"),
    "refresh": by_refresh,
    "oauth2_provider:token": by_o_token,
    "sign-in": by_page,
    "sign-in-code": by_page_code,
    "sign-in-recovery": by_page_recovery,
    "password-new": by_password_reset,
    "oauth2_provider:authorize": by_o_authorize,
}
"""By the name of the address."""

STEPS = ("", "-send", "-help")
NO_WAYS_IN = {
    # need a token or a key
    *(
        "verify",
        "opt-in",
        "opt-out",
        "ping",
        "sandbox-texts",
        "events",
        *("endpoints", "endpoint", "endpoint-secret"),
        "oauth2_provider:user-info",
    ),
    # need the token of an identity provider, and sign nobody in
    *("scim-config", "scim-resource-types", "scim-schemas"),
    *("scim-users", "scim-user", "scim-groups", "scim-group"),
    # beside the code of a sign-in: a text, and words
    *("sign-in-code-send", "sign-in-code-help"),
    # the same for everybody, and end a session at most
    *(
        "sign-out",
        "oauth2_provider:rp-initiated-logout",
        "language",
        "password-reset",
        "password-reset-sent",
        "not-me",
        "not-me-done",
    ),
    # cancel what would change the account
    *("revocation", "revocation-texted", "email-stop"),
    # asks for a removal of the second factors, after the password: tests.web.flows
    "sign-in-lost",
    # need somebody who is signed in, past the code: tests.web.flows
    *("account", "activity", "confirm", "password", "two-factor", "success", "number", "app"),
    *("passkey-add", "passkey-rename", "texts-end"),
    *(f"{page}{step}" for page in ("number-code", "prove", "off") for step in STEPS),
    *("recovery-codes", "cancel-revocation", "texts", "first", "access", "sandbox"),
    *("revoke-key", "revoke-application"),
    *("integrations", "integration-add", "integration"),
    *("email", "email-confirm", "cancel-email"),
    # need a client, and give nothing
    *("oauth2_provider:revoke-token", "oauth2_provider:introspect"),
    # tell the same to everybody
    *("openid-configuration", "oauth2_provider:jwks-info"),
    *("oauth-server-metadata", "home", "help", "help-auth", "help-errors", "help-call", "schema"),
    "help-events",
    # needs a token of its own
    "metrics",
    # for gateways, under a secret
    "receipt",
    # for what watches the processes, and for the doctor
    *("livez", "readyz", "seen"),
    # development only
    *("simulator", "optin.web.views.simulator"),
    # need staff past a second factor, and sign nobody in: tests.admin
    *(f"admin:{name}" for name in (*MAY, "login", "logout")),
    # answer 404
    *("optin.api.views.NotFound", "optin.api.scim.NotFound", "twofa_site.urls.not_found"),
}


def addresses(patterns: Iterable[URLPattern | URLResolver], namespace: str = "") -> Iterator[str]:
    """Name every address; one without a name by the view behind it."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from addresses(pattern.url_patterns, inner)
        elif pattern.name:
            yield f"{namespace}{pattern.name}"
        else:
            view = getattr(pattern.callback, "view_class", pattern.callback)
            yield f"{view.__module__}.{view.__qualname__}"


def test_every_address_is_named_here() -> None:
    """S-30: a new one fails until somebody has decided which it is."""
    there = {*addresses(get_resolver().url_patterns), *addresses(scim.urlpatterns)}

    assert there - WAYS_IN.keys() - NO_WAYS_IN == set()
    assert WAYS_IN.keys() <= there


def signed_in_sessions() -> list[str]:
    """The sessions that open an account: there are also half ones, and such that ended."""

    def opens(session: Session) -> bool:
        # Under an id that is known: the table holds only digests.
        client = Client()
        copy = SessionStore()
        copy.update(session.get_decoded())
        copy.save()
        client.cookies[settings.SESSION_COOKIE_NAME] = str(copy.session_key)
        opened = client.get("/account/").status_code == 200
        copy.delete()
        return opened

    return [session.pk for session in list(Session.objects.all()) if opens(session)]


@pytest.mark.parametrize("scene", [By.TEXT, By.PASSKEY], indirect=True)
@pytest.mark.parametrize("name", WAYS_IN)
def test_no_way_in_skips_the_second_factor(scene: Scene, name: str) -> None:
    """S-30: with the password and all that was given before, but no code: nothing new."""
    tokens = AccessToken.objects.filter(user=scene.user)
    before = set(tokens.values_list("pk", flat=True))
    live = RefreshToken.objects.filter(user=scene.user, revoked=None)
    assert not live.exists()

    WAYS_IN[name](scene)

    assert set(tokens.values_list("pk", flat=True)) <= before
    assert not live.exists()
    assert signed_in_sessions() == []


@pytest.mark.parametrize("call", ["token", "token-2fa"])
def test_with_the_code_the_same_ways_are_open(scene: Scene, call: str) -> None:
    """... so that what is refused above is refused for want of the code."""
    Tokens(call=call).sign_in()
    answer = Tokens(call=call).sign_in(verification_code=scene.phone.code())

    assert answer.status == 200
    assert Tokens().refresh(answer.data["refresh_token"]).status == 200


def test_with_the_code_the_pages_are_open(scene: Scene) -> None:
    client = half(scene)
    assert signed_in_sessions() == []

    client.post("/sign-in/code/", {"code": scene.phone.code()})

    assert len(signed_in_sessions()) == 1
