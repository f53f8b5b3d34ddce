"""A client of the endpoints below /o/, and the page on which a person lets it act."""

import base64
import hashlib
import json
import re
from datetime import timedelta
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    AbstractApplication,
    Grant,
    get_application_model,
)

from optin.models import File, User
from optin.operations import opt_ins
from tests.kit.clients import FORM, Api
from tests.kit.people import NUMBER, ORIGIN, PASSWORD
from tests.kit.phone import Phone

Application = get_application_model()

ISSUER = "https://2fa.example.com"
SECRET = "s" * 128
REDIRECT = "https://client.example.com/callback"
VERIFIER = "v" * 64
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
)


def make_client(grant_type: str, client_id: str = "client", **fields: Any) -> AbstractApplication:
    return cast(
        AbstractApplication,
        Application.objects.create(
            client_id=client_id,
            client_secret=SECRET,
            name="Client",
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grant_type,
            **{"redirect_uris": REDIRECT, **fields},
        ),
    )


def basic(client_id: str = "client", secret: str = SECRET) -> str:
    """Return the ``Authorization`` header of a client."""
    return f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"


def post(
    endpoint: str,
    body: dict[str, str] | str,
    client_id: str = "client",
    secret: str = SECRET,
    **environ: Any,
) -> HttpResponse:
    """Call *endpoint* as a client; with no *secret* only the body names it."""
    form = body if isinstance(body, str) else urlencode(body)
    if secret:
        environ = {"HTTP_AUTHORIZATION": basic(client_id, secret), **environ}
    else:
        form += f"&client_id={client_id}"
    http = Client(raise_request_exception=False)
    return cast(HttpResponse, http.post(f"/o/{endpoint}/", form, content_type=FORM, **environ))


def data(response: HttpResponse) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(response.content)
    return answer


def error(response: HttpResponse) -> tuple[int, str]:
    """Return what *response* refuses with: one word, and nothing of the request."""
    answer = data(response)
    assert list(answer) == ["error"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    challenge = response.headers.get("WWW-Authenticate")
    assert challenge == ('Basic realm="oauth"' if response.status_code == 401 else None)
    return response.status_code, answer["error"]


def grant(user: User, application: AbstractApplication, code: str = "code", **fields: Any) -> str:
    """Make the authorization code that a person's consent would make."""
    Grant.objects.create(
        user=user,
        application=application,
        code=code,
        **{
            "expires": timezone.now() + timedelta(seconds=60),
            "redirect_uri": REDIRECT,
            "scope": "2fa fileid:777",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **fields,
        },
    )
    return code


def exchange(code: str, **how: str) -> HttpResponse:
    body = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    client = {name: how.pop(name) for name in ("client_id", "secret") if name in how}
    return post("token", {**body, "code": code, **how}, **client)


def refresh(response: HttpResponse, **body: str) -> HttpResponse:
    token = data(response)["refresh_token"]
    return post("token", {"grant_type": "refresh_token", "refresh_token": token, **body})


def works(response: HttpResponse) -> bool:
    return Api(token=data(response)["access_token"]).ping().status == 200


def activate(user: User, file: File, phone: Phone) -> None:
    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    opt_ins.verify_opt_in(user, file, sending.provider_user_id, phone.code(), origin=ORIGIN)


def change_password(user: User, file: File, phone: Phone) -> None:
    user.set_password("another password")
    user.save()


def deactivate(user: User, file: File, phone: Phone) -> None:
    user.is_active = False
    user.save()


def deactivate_by_sql(user: User, file: File, phone: Phone) -> None:
    User.objects.update(is_active=False)


ENDINGS = [activate, change_password, deactivate, deactivate_by_sql]


ASKED = {
    "response_type": "code",
    "client_id": "client",
    "redirect_uri": REDIRECT,
    "scope": "2fa",
    "state": "s&1=?",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def authorize(**changed: str | None) -> str:
    """Return the address with other parameters; ``None`` leaves one out."""
    asked = {name: value for name, value in {**ASKED, **changed}.items() if value is not None}
    return f"/o/authorize/?{urlencode(asked)}"


def anybody() -> Client:
    return Client(raise_request_exception=False)


def signed_in(username: str = "ann") -> Client:
    http = anybody()
    response = http.post("/sign-in/", {"username": username, "password": PASSWORD})
    assert response["Location"] == "/account/"
    return http


def decide(http: Client, url: str, **pressed: str) -> Any:
    """Open the page and press a button: "Allow", unless another one is given."""
    page: Any = http.get(url, secure=True)
    pressed = pressed or {"allow": "Allow", "scope": shown_scope(page)}
    sent = {"csrfmiddlewaretoken": str(page.context["csrf_token"]), **pressed}
    return http.post(url, sent, secure=True, headers={"origin": ISSUER})


def came_back(response: Any) -> dict[str, str]:
    """What the client gets at its address."""
    assert response.status_code == 303
    assert response["Location"].startswith(f"{REDIRECT}?"), response["Location"]
    return {name: value for name, [value] in parse_qs(urlsplit(response["Location"]).query).items()}


def shown_scope(response: Any) -> str:
    """Return what the form of the page would send for ``scope``."""
    found = re.search(r'name="scope" value="([^"]*)"', response.content.decode())
    assert found, response.content
    return found[1]
