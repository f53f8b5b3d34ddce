"""What an OpenID Connect application asks for beyond OAuth 2, and signing out for it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.models import get_application_model
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from oauthlib.openid.connect.core.exceptions import (
    AccountSelectionRequired,
    OpenIDClientError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestURINotSupported,
)

from optin.models import User
from optin.operations import openid
from optin.runtime.redirects import SeeOther
from optin.web import sessions
from optin.web.pages import form_page, open_to_all, page

ASKED = ("prompt", "max_age", "acr_values", "id_token_hint", "nonce")
_UNSUPPORTED: dict[str, type[OAuth2Error]] = {
    "request": RequestNotSupported,
    "request_uri": RequestURINotSupported,
    "registration": RegistrationNotSupported,
}
_PROMPTS = {"none", "login", "consent", "select_account"}
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_MAX_NONCE = 255  # the toolkit's column


class UnmetAuthenticationRequirements(OpenIDClientError):
    """OpenID Connect Core Unmet Authentication Requirements 1.0."""

    error = "unmet_authentication_requirements"


def unreadable(request: HttpRequest, names: Iterable[str], longest: int) -> str:
    """Say what nobody can read in one way only (RFC 6749, 3.1 and appendix A), or "".

    :param names: of the parameters that matter.
    :param longest: characters of the query.
    """
    query = request.META.get("QUERY_STRING", "")
    if len(query) > longest or _BAD_ESCAPE.search(query):
        return "The address is too long or malformed."
    for name in names:
        values = request.GET.getlist(name)
        if len(values) > 1 or not all(v.isascii() and v.isprintable() for v in values):
            return f"Malformed or repeated {name}."
    return ""


# -- what is asked for at /o/authorize/ ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """How somebody is to sign in: nothing is asked for without the scope ``openid``."""

    asked: Mapping[str, Any]  # by parameter

    @classmethod
    def of(cls, request: HttpRequest) -> "Wanted":
        is_openid = "openid" in request.GET.get("scope", "").split()
        return cls({n: v for n, v in request.GET.dict().items() if v} if is_openid else {})

    def fault(self) -> tuple[type[OAuth2Error], str] | None:
        """Return the error for what cannot be done, if there is one, and what it is about."""
        for name, error in _UNSUPPORTED.items():
            if name in self.asked:
                return error, f"{name} is not supported."
        age = self.asked.get("max_age", "0")
        if not (age.isdigit() and len(age) < 10):
            return InvalidRequestError, "max_age must be a number of seconds."
        if len(self.asked.get("nonce", "")) > _MAX_NONCE:
            return InvalidRequestError, "nonce is too long."
        if not self.prompt <= _PROMPTS or ("none" in self.prompt and len(self.prompt) > 1):
            return InvalidRequestError, "This prompt is unknown, or none with another one."
        if "select_account" in self.prompt:
            return AccountSelectionRequired, "A browser has one account at a time."
        return None

    @property
    def prompt(self) -> set[str]:
        return set(self.asked.get("prompt", "").split())

    @property
    def factor(self) -> bool:
        """Whether they must have a second factor."""
        return openid.MULTI_FACTOR in self.asked.get("acr_values", "").split()

    def is_about_another(self, user: User) -> bool:
        """Whether the application expects another person than *user*."""
        hint = self.asked.get("id_token_hint")
        if hint is None:
            return False
        claims = openid.claims_of(hint) or {}
        # What was given to another application may not tell this one who is signed in.
        expected = user.handle, self.asked["client_id"]
        return (claims.get("sub"), claims.get("aud")) != expected

    def since(self, request: HttpRequest) -> datetime | None:
        """Since when they must have signed in; None if it does not matter.

        It counts from when the browser came: else nobody could prove anything in time.
        """
        if "login" in self.prompt:
            return sessions.arrived_at(request)
        if "max_age" in self.asked:
            return sessions.arrived_at(request) - timedelta(seconds=int(self.asked["max_age"]))
        return None


# -- signing out for an application -------------------------------------------------

_PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")
_MAX_QUERY = 4000
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


class _Unfit(Exception):
    """The request to sign out cannot be served. The text says why."""


@csrf_exempt
@form_page
def end_session(request: HttpRequest) -> HttpResponseBase:
    """Sign out because an application asks, if the person says so (RP-Initiated Logout 1.0).

    An application may also post: its form only leads to the page that asks.
    """
    if request.method == "POST" and "sign_out" not in request.POST:
        sent = [(name, request.POST[name]) for name in _PARAMETERS if name in request.POST]
        return SeeOther(f"{request.path}?{urlencode(sent)}")
    return csrf_protect(open_to_all(_end_session))(request)


def _end_session(request: HttpRequest) -> HttpResponse:
    try:
        application, address = _read(request)
    except _Unfit as error:
        return page(request, "end_session.html", status=400, error=str(error))
    is_in = request.user.is_authenticated or sessions.is_half(request)
    if is_in and request.method != "POST":
        response = page(request, "end_session.html", application=application)
        response["Content-Security-Policy"] = policy(address)
        return response
    if is_in:
        sessions.end(request)
    if not address:
        return SeeOther("sign-in", out=1)  # in the address, as a stranger has no session
    left: HttpResponse = OAuth2ResponseRedirect(address, ["https"], status=303)
    return left


def _read(request: HttpRequest) -> tuple[Any, str]:
    """Return the application that asks, if it says which, and where to go on to, or "".

    An address that comes with an ID token of nobody is not followed.

    :raises _Unfit: unless that is an address which the application has registered.
    """
    if fault := unreadable(request, _PARAMETERS, _MAX_QUERY):
        raise _Unfit(fault)
    hint, client_id, address, state = (request.GET.get(name, "") for name in _PARAMETERS)
    if hint:
        claims = openid.claims_of(hint)
        if claims is None:  # perhaps of a key that was removed: the person is asked all the same
            address = ""
        elif client_id not in {"", claims["aud"]}:
            raise _Unfit("The id_token_hint is not one of this application.")
        else:
            client_id = claims["aud"]
    found = get_application_model().objects.filter(client_id=client_id).first()
    if client_id and found is None:
        raise _Unfit("Unknown client_id.")
    if address and (found is None or address not in found.post_logout_redirect_uris.split()):
        raise _Unfit("The post_logout_redirect_uri is not one that the application registered.")
    if address and not address.startswith("https://"):
        raise _Unfit("The post_logout_redirect_uri must be https.")
    if address and state:
        address = add_params_to_uri(address, [("state", state)])
    return found, address


def policy(redirect_uri: str) -> str:
    """Let the form lead to the client: browsers hold its redirect against ``form-action`` too."""
    host = urlsplit(redirect_uri).netloc
    client = [f"https://{host}"] if _HOST.fullmatch(host) else []
    policy = {**settings.SECURE_CSP, "form-action": ["'self'", *client]}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())


ENDPOINTS = [path("logout/", end_session, name="rp-initiated-logout")]
