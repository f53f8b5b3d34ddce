"""The page on which a person lets an application act for them (RFC 6749, 4.1; PKCE).

The toolkit's own page is left aside: it lets a GET give a code where a token was given
before, and takes from hidden fields what the address asked for. Here the address alone
says what is asked, on the way to the page and back, and a person is always asked.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views import View
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views.mixins import OAuthLibMixin
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidRequestError,
    InvalidRequestFatalError,
    InvalidScopeError,
    OAuth2Error,
)
from oauthlib.openid.connect.core.exceptions import ConsentRequired, LoginRequired

from optin.errors import PasswordNeeded
from optin.models import File, User
from optin.models.second_factors import overview
from optin.operations import openid, sign_in
from optin.web import sessions
from optin.web.openid import ASKED, UnmetAuthenticationRequirements, Wanted, policy, unreadable
from optin.web.pages import form_page, page, signed_in
from optin.web.sessions import user_of, who_asks

RIGHTS = {
    "full": _("act for you in every way the API allows"),
    "2fa": _("turn your two-factor sign-in on and off, with the codes that you give it"),
    "modify": _("turn your two-factor sign-in on and off, with the codes that you give it"),
    "view": _("check that its access still works"),
    "events": _(
        "read events about the two-factor sign-in of all people in an organisation, and decide "
        "where they are sent, if you manage it"
    ),
    "openid": _("recognise your account, and see when and how you signed in"),
    "profile": _("see your user name and your name"),
    "email": _("see your email address"),
}
"""The scopes of the settings, in words for a person."""


def rights_of(scope: str) -> list[Any]:
    """Return what the words of a *scope* allow, in words for a person."""
    return list(dict.fromkeys(RIGHTS[word] for word in scope.split() if word in RIGHTS))


def files_of(scope: str) -> QuerySet[File]:
    """Return the files that a *scope* names."""
    names = [word for word in scope.split() if word.startswith("fileid:")]
    ids = [int(name.removeprefix("fileid:")) for name in names]
    return File.objects.filter(pk__in=ids).order_by("name")


_REQUIRED = ("client_id", "redirect_uri")
_PARAMETERS = (
    *_REQUIRED,
    *("response_type", "scope", "state", "code_challenge", "code_challenge_method", "nonce"),
)
_MAX_QUERY = 2048  # escaped once more, for ``next=``, it still fits a request line
_S256 = re.compile("[A-Za-z0-9_-]{43}")  # RFC 7636, 4.2


class Core(OAuthLibCore):
    """Reads what is asked from the address: no field of a form adds to it."""

    def _extract_params(self, request: HttpRequest) -> tuple[str, str, str, dict[str, str]]:
        asked = {name: request.GET[name] for name in _PARAMETERS if request.GET.get(name)}
        return f"{request.path}?{urlencode(asked)}", "GET", "", {}


@dataclass(frozen=True, slots=True)
class Asked:
    """The request of an application, once nothing is wrong with it."""

    application: Any
    scope: str  # with each file by name
    credentials: dict[str, Any]  # for the toolkit
    wanted: Wanted

    @property
    def redirect_uri(self) -> str:
        uri: str = self.credentials["redirect_uri"]
        return uri


class Authorize(OAuthLibMixin, View):
    """For somebody who proved the password and, where one is on, a factor lately: at sign-in too.

    A session whose place another took opens nothing here: what it would allow outlives it.
    """

    oauthlib_backend_class = Core
    asked: Asked

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            _demand_sound(request)
            wanted = Wanted.of(request)
            if "none" in wanted.prompt:
                raise self._silent_refusal(request)
            if not request.user.is_authenticated:
                # Not after a sign-in: browsers follow no form from that page to the client.
                self._sound(request)
            return self._ask(request)
        except FatalClientError as error:
            # The client or its address is unknown: the browser must not be sent there.
            return page(request, "consent.html", status=400, error=error.oauthlib_error)
        except OAuthToolkitError as error:
            return _back(self.error_response(error)[1]["url"])

    @method_decorator(signed_in)
    def _ask(self, request: HttpRequest) -> HttpResponseBase:
        if sessions.has_ended(request):
            raise PasswordNeeded  # the page for it leads to what took its place
        self.asked = self._read(request)
        return super().dispatch(request)

    def get(self, request: HttpRequest) -> HttpResponse:
        response = page(
            request,
            "consent.html",
            needs_factor=self._demand(request),
            acts=bool(set(self.asked.scope.split()) & set(sign_in.RIGHTS)),
            onwards=urlencode({"next": request.get_full_path()}),
            application=self.asked.application,
            scope=self.asked.scope,
            rights=rights_of(self.asked.scope),
            files=files_of(self.asked.scope),
            client_host=urlsplit(self.asked.redirect_uri).netloc,
        )
        response["Content-Security-Policy"] = policy(self.asked.redirect_uri)
        return response

    def post(self, request: HttpRequest) -> HttpResponse:
        asked, user, who = self.asked, user_of(request), who_asks(request)
        if request.POST.get("allow") != "Allow":
            sign_in.consent(user, client_id=asked.application.client_id, give=None, **who)
            unmet = asked.wanted.factor and not overview(user).is_on
            raise _error(
                UnmetAuthenticationRequirements if unmet else AccessDeniedError, asked.credentials
            )
        if self._demand(request) or request.POST.get("scope") != asked.scope:
            return self.get(request)  # a file or the second factor came or went meanwhile
        is_on = overview(user).is_on
        credentials = {
            **asked.credentials,
            **who,
            # The toolkit keeps them with the code.
            "claims": openid.proof(who["standing"], is_on=is_on),
        }
        # Leads to Validator.save_authorization_code, which keeps code and event together.
        uri, *_rest = self.create_authorization_response(request, asked.scope, credentials, True)
        return _back(uri)

    def _demand(self, request: HttpRequest) -> bool:
        """Return whether the person must turn two-factor sign-in on first.

        :raises PasswordNeeded: and
        :raises FactorNeeded: if they have not proved lately who they are.
        """
        wanted, standing = self.asked.wanted, sessions.standing(request)
        factors = overview(user_of(request))
        standing.demand(timezone.now(), factors, since=wanted.since(request))
        return wanted.factor and not factors.is_on

    def _silent_refusal(self, request: HttpRequest) -> OAuthToolkitError:
        """Return the error for ``prompt=none``: nobody is let in without being asked."""
        credentials = self._sound(request)[2]
        return _error(
            ConsentRequired if request.user.is_authenticated else LoginRequired, credentials
        )

    def _sound(self, request: HttpRequest) -> tuple[Any, list[str], dict[str, Any]]:
        """Return the application, the scope and the toolkit's credentials of a request.

        More strictly than the toolkit, which lets be.

        :raises OAuthToolkitError: if something is wrong with it, whoever the person is.
        """
        words, credentials = self.validate_authorization_request(request)
        application = credentials.pop("request").client
        if credentials["code_challenge_method"] != "S256":
            raise _error(InvalidRequestError, credentials, "code_challenge_method must be S256.")
        if not _S256.fullmatch(credentials["code_challenge"]):
            raise _error(InvalidRequestError, credentials, "Malformed code_challenge.")
        if fault := Wanted.of(request).fault():
            raise _error(fault[0], credentials, fault[1])
        return application, words, credentials

    def _read(self, request: HttpRequest) -> Asked:
        """Return what is asked for.

        :raises OAuthToolkitError: if it cannot be given.
        """
        application, words, credentials = self._sound(request)
        wanted = Wanted.of(request)
        if wanted.asked and user_of(request).is_test:
            # Its codes are shown on a page: it must be nobody elsewhere.
            raise _error(AccessDeniedError, credentials, "A test account signs in here only.")
        if wanted.is_about_another(user_of(request)):
            raise _error(LoginRequired, credentials, "Another person is signed in.")
        scope = _grantable(words, user_of(request))
        if scope is None:
            raise _error(InvalidScopeError, credentials)
        return Asked(application, scope, credentials, wanted)


def _grantable(words: list[str], user: User) -> str | None:
    """Return the scope to grant for the *words* asked for, or nothing if it is invalid.

    To know who somebody is takes no right to act, and no file.
    """
    identity = [word for word in openid.IDENTITY if word in words]
    others = [word for word in words if word not in identity]
    if identity and "openid" not in identity:
        return None
    acts = bool(set(others) & set(sign_in.RIGHTS))
    if identity and not acts:
        return None if others else " ".join(identity)
    if not acts:
        others = [*oauth2_settings.DEFAULT_SCOPES, *others]
    scope = sign_in.grantable(" ".join(others), user)
    return scope and " ".join([*identity, scope])


def _demand_sound(request: HttpRequest) -> None:
    """Refuse what cannot be read, or does not say who asks.

    :raises FatalClientError: if so.
    """
    fault = unreadable(request, (*_PARAMETERS, *ASKED), _MAX_QUERY)
    missing = [f"Missing {name}." for name in _REQUIRED if not request.GET.get(name)]
    for text in [fault, *missing]:
        if text:
            raise FatalClientError(InvalidRequestFatalError(text))


def _error(
    kind: type[OAuth2Error], credentials: dict[str, Any], description: str | None = None
) -> OAuthToolkitError:
    """Return an error for the client, which gets it at its redirect URI."""
    error = kind(description=description, state=credentials["state"])
    return OAuthToolkitError(error, redirect_uri=credentials["redirect_uri"])


def _back(uri: str) -> HttpResponse:
    """Lead back to the client, with ``iss`` in errors too (RFC 9207, 2)."""
    if "iss" not in parse_qs(urlsplit(uri).query):
        uri = add_params_to_uri(uri, [("iss", oauth2_settings.OIDC_ISS_ENDPOINT)])
    response: HttpResponse = OAuth2ResponseRedirect(
        uri, oauth2_settings.ALLOWED_REDIRECT_URI_SCHEMES
    )
    response.status_code = 303
    return response


ENDPOINTS = [path("authorize/", form_page(Authorize.as_view()), name="authorize")]
