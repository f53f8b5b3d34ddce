"""The standard OAuth 2 endpoints: django-oauth-toolkit's, on the terms of this service."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import DatabaseError, DataError, InterfaceError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider import views
from oauth2_provider.models import (
    AbstractApplication,
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import SettingsScopes
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError
from oauthlib.oauth2.rfc6749.grant_types.authorization_code import code_challenge_method_s256
from oauthlib.openid.connect.core.exceptions import InvalidTokenError

from optin import keys
from optin.api.answers import CLIENT_REALM, RETRY_UNAVAILABLE, ApiError
from optin.api.credentials import CUSTOMER_ADDRESS, credential, find_client, take_address
from optin.models import AuditEvent, ScimClient, UsedCode, User
from optin.operations import openid, sign_in
from optin.operations.tenants import SCIM_SCOPE
from optin.origin import Face, Origin, ip_of
from optin.outcomes import TokenOutcome, whole_seconds
from optin.runtime import throttle

logger = logging.getLogger("optin.api")

MAX_SCOPE = 1024
"""Characters of a scope."""

_UNREADABLE = (
    BadRequest,
    MultiPartParserError,
    SuspiciousOperation,
    UnreadablePostError,
    # PostgreSQL keeps no NUL: a text with one is nobody's id, code or token.
    DataError,
)
_FILE_SCOPE = re.compile(r"fileid:[1-9][0-9]{0,9}")


class RandomSecretHasher(PBKDF2PasswordHasher):
    """For secrets of 128 random characters: a slow hash would protect nothing."""

    algorithm = "random_secret"
    iterations = 1


class Scopes(SettingsScopes):
    """The words of the settings; ``fileid:N`` only ever narrows, so any may be asked for.

    ``scim`` is for applications that may use it, and never for a person.
    """

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        asked = getattr(request, "scopes", None) or []
        files = [word for word in asked if _FILE_SCOPE.fullmatch(word)]
        words = list(super().get_available_scopes(application, request, *args, **kwargs))
        by_itself = getattr(request, "grant_type", None) == "client_credentials"
        if by_itself:
            words = [word for word in words if word not in openid.IDENTITY]  # of no person
        if application is not None and not (by_itself and _may_provision(application)):
            words.remove(SCIM_SCOPE)
        return [*words, *files]


def _may_provision(application: Any) -> bool:
    return ScimClient.objects.filter(application=application).exists()


class IdTokens(OAuth2Validator):
    """ID tokens say what the session had proved when the person decided.

    None is stored: an ID token opens nothing here, so nothing has to end it.
    """

    def finalize_id_token(
        self, id_token: dict[str, Any], token: Any, token_handler: Any, request: Any
    ) -> str:
        """Sign by RS256, whatever the row of the client says."""
        request.client.algorithm = AbstractApplication.RS256_ALGORITHM
        signed: str = super().finalize_id_token(id_token, token, token_handler, request)
        return signed

    def get_id_token_dictionary(
        self, token: Any, token_handler: Any, request: Any
    ) -> tuple[dict[str, Any], datetime]:
        claims, expires = super().get_id_token_dictionary(token, token_handler, request)
        return {**claims, **request.claims}, expires

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        return openid.about(request.user)

    def get_userinfo_claims(self, request: Any) -> dict[str, Any]:
        if request.user is None or not request.user.is_active:
            raise InvalidTokenError
        claims: dict[str, Any] = super().get_userinfo_claims(request)
        return claims

    def refresh_id_token(self, request: Any) -> bool:
        """Give none for a refresh token, for which nobody signed in."""
        return False

    def _save_id_token(self, jti: str, request: Any, expires: datetime, *args: Any) -> None:
        pass

    def _load_id_token(self, token: str) -> None:
        pass


class Validator(IdTokens):
    """Tokens are made with the user locked, from a grant that still stands.

    Activating a factor revokes what was granted before it. Without the lock, a
    refresh that began earlier could finish after that and keep its token.
    """

    def save_bearer_token(
        self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        save = super().save_bearer_token
        try:
            with transaction.atomic():
                user_id = None
                if request.grant_type != "client_credentials":
                    user_id = request.user.pk
                    self._use_grant(request)
                answer = save(token, request, *args, **kwargs)
                if request.grant_type == "authorization_code":
                    _remember_code(token, request)
                _record(request.grant_type, user_id, request)
        except InvalidGrantError:
            # This was the second of two uses at once.
            _end_reused(request.code, request)
            raise
        return answer

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Refuse the application of the token calls, as which anybody may come.

        A refresh token from there would begin a new life here with each refresh, and be lost to the
        client that keeps it.
        """
        if client.client_id == sign_in.PASSWORD_CLIENTS:
            return False
        valid: bool = super().validate_grant_type(
            client_id, grant_type, client, request, *args, **kwargs
        )
        return valid

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        request.nonce = None  # of the form: it is set to that of the grant, if there is one
        valid: bool = super().validate_code(client_id, code, client, request, *args, **kwargs)
        if not valid:
            _end_reused(code, request)
        return valid

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Judge the token by the rules of the token calls, in place of the toolkit's.

        The toolkit would answer a repeated refresh with the same tokens, of which only the digests
        are stored.
        """
        tokens = get_refresh_token_model().objects.all()
        known = tokens.filter(token_checksum=keys.sha256(refresh_token)).first()
        stands = None
        if known:
            with transaction.atomic():
                stands = _to_refresh(known, request)
                if not stands:
                    family = str(known.token_family)
                    _record(TokenOutcome.INVALID_REFRESH, known.user_id, request, family)
        if stands:
            request.granted = stands.granted
        if stands and request.scope:
            # A scope that asks for more is left as it is, for oauthlib to refuse.
            request.scope = sign_in.narrowed(request.scope, stands.granted) or request.scope
        return bool(stands)

    def get_original_scopes(
        self, refresh_token: str, request: Any, *args: Any, **kwargs: Any
    ) -> str:
        granted: str = request.granted
        return granted

    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """End a token, and all that came from the same refresh token (RFC 7009, 2.1)."""
        with transaction.atomic():
            for refresh_token in _refresh_tokens_of(token, request.client):
                # A refresh that runs at the same time must not leave a token behind.
                User.objects.locked(refresh_token.user_id)
                sign_in.end_family(refresh_token)
            super().revoke_token(token, token_type_hint, request, *args, **kwargs)

    def save_authorization_code(
        self, client_id: str, code: dict[str, Any], request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the code together with the event of the consent, or neither (S-52)."""
        if "openid" not in request.scopes:
            request.nonce = None  # of an ID token that is not given; nobody looked at its length
        save = super().save_authorization_code
        sign_in.consent(
            request.user,
            client_id=client_id,
            standing=request.standing,
            origin=request.origin,
            give=lambda: save(client_id, code, request, *args, **kwargs),
            acts=bool(set(request.scopes) & set(sign_in.RIGHTS)),
            file_ids=[int(name[7:]) for name in request.scopes if _FILE_SCOPE.fullmatch(name)],
        )

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing is left to do: ``save_bearer_token`` has used the code up."""

    def _use_grant(self, request: Any) -> None:
        if request.grant_type == "refresh_token":
            stands = _to_refresh(request.refresh_token_instance, request)
            if stands and stands is request.refresh_token_instance:
                sign_in.end_family(stands)
        else:
            user = User.objects.locked(request.user.pk)
            codes = get_grant_model().objects.filter(code=request.code, application=request.client)
            found = codes.filter(expires__gt=timezone.now()).first()
            request.code_challenge = found.code_challenge if found else ""
            used = codes.filter(pk=found.pk).delete()[0] == 1 if found else False
            stands = used and user.is_active
        if not stands:
            raise InvalidGrantError(request=request)

    def _create_access_token(
        self, expires: datetime, request: Any, token: Any, source_refresh_token: Any = None
    ) -> Any:
        """Leave the replaced refresh token out: the toolkit lets it give one access token only."""
        return super()._create_access_token(expires, request, token)


def _to_refresh(found: Any, request: Any) -> Any:
    """Return ``sign_in.to_refresh`` for *request*, and keep in it what the toolkit reads."""
    locked = sign_in.lock_refresh_token(found)
    if not locked:
        return None
    user, token = locked
    now, client = timezone.now(), request.client
    stands = sign_in.to_refresh(token, user, now, client=client, rotates=True)
    if stands:
        request.user, request.refresh_token_instance = user, token
    return stands


def _refresh_tokens_of(token: str, client: Any) -> QuerySet[Any]:
    """Return *token* if it is a refresh token of *client*, else the one that gave it, if any.

    Also a revoked one: its access tokens may still be valid.
    """
    digest = keys.sha256(token)
    own: QuerySet[Any] = get_refresh_token_model().objects.filter(application=client)
    return own.filter(token_checksum=digest).union(
        own.filter(access_token__token_checksum=digest),
        own.filter(renewals__access_token__token_checksum=digest),
    )


# -- an authorization code that is used again --------------------------------------


def _remember_code(token: dict[str, Any], request: Any) -> None:
    """Store what shows a second use of the code for which *token* is given now."""
    tokens = get_refresh_token_model().objects.all()
    given = tokens.get(token_checksum=keys.sha256(token["refresh_token"]), revoked=None)
    UsedCode.objects.create(
        digest=keys.sha256(request.code),
        code_challenge=request.code_challenge,
        token_family=given.token_family,
        used_at=timezone.now(),
    )


def _end_reused(code: str | None, request: Any) -> None:
    """End the tokens of *code* if it was used before (RFC 6749 4.1.2, RFC 9700 4.5).

    Only if its own client is authenticated and sends the PKCE verifier: a stranger who found the
    code cannot end anything.
    """
    tokens = get_refresh_token_model()
    used = UsedCode.objects.filter(digest=keys.sha256(code or "")).first()
    if used is None or not _is_verified(request.code_verifier, used.code_challenge):
        return
    own = tokens.objects.filter(token_family=used.token_family, application=request.client)
    given = own.first()
    if given is None:
        return
    with transaction.atomic():
        User.objects.locked(given.user_id)
        # If there are many uses at once, one of them ends the tokens and writes one event.
        if UsedCode.objects.filter(pk=used.pk).delete()[0]:
            sign_in.end_family(given)
            _record("code_reused", given.user_id, request)


def _is_verified(verifier: str | None, challenge: str) -> bool:
    return bool(verifier) and code_challenge_method_s256(verifier, challenge)


def _record(outcome: str, user_id: int | None, request: Any, subject: str = "") -> None:
    AuditEvent.objects.record(
        AuditEvent.Kind.TOKEN, outcome, origin=_origin(request), user_id=user_id, subject=subject
    )


def _origin(request: Any) -> Origin:
    return Origin.of(
        Face.TOKEN,
        request.headers,
        actor_id=request.user.pk if request.user else None,
        client=f"app:{request.client.pk}",
    )


@method_decorator(csrf_exempt, name="dispatch")
class Endpoint(View):
    """Check what holds for each endpoint: its methods, nothing in the address (S-35).

    The toolkit leaves both to its clients, and answers 500 to an address that is badly
    escaped.
    """

    methods = ["POST"]
    challenge = CLIENT_REALM

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in self.methods:
            return _refusal("invalid_request", 405, {"Allow": ", ".join(self.methods)})
        try:
            _take_address(request)
            if wait := throttle.hit_network(ip_of(request.META)):
                return _later(429, wait)
            if not _is_plain(request):
                raise BadRequest
            response = cast(HttpResponse, super().dispatch(request, *args, **kwargs))
        except (*_UNREADABLE, ApiError):
            return _refusal("invalid_request", 400)
        except (DatabaseError, InterfaceError):
            logger.exception("unavailable")
            return _later(503, RETRY_UNAVAILABLE)
        if response.status_code >= 400:
            # The rest of it may repeat what was sent, and be called HTML.
            error = json.loads(response.content)["error"]
            headers = {"WWW-Authenticate": self.challenge} if response.status_code == 401 else {}
            return _refusal(error, response.status_code, headers)
        response["Cache-Control"] = "no-store"
        return response


class TokenView(Endpoint, views.TokenView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Serve the grants of the settings; the toolkit would also serve devices here."""
        if request.POST.get("grant_type") not in oauth2_settings.OAUTH2_GRANT_TYPES_SUPPORTED:
            return _refusal("unsupported_grant_type", 400)
        if len(request.POST.get("scope", "")) > MAX_SCOPE:
            return _refusal("invalid_scope", 400)
        if not all(map(_is_address, request.POST.getlist("resource"))):
            return _refusal("invalid_target", 400)
        try:
            response: HttpResponseBase = self.authorization_flow_token_response(request)
        except get_grant_model().DoesNotExist:
            # Another request used the code between two reads of the toolkit. Now it counts as used.
            response = self.authorization_flow_token_response(request)
        return response


class RevokeTokenView(Endpoint, views.RevokeTokenView):
    pass


class IntrospectTokenView(Endpoint, views.IntrospectTokenView):
    @staticmethod
    def get_token_response(token_value: str | None = None) -> HttpResponseBase:
        """Tell about a token; that of a deactivated user works nowhere."""
        tokens = get_access_token_model().objects.filter(user__is_active=False)
        if token_value and tokens.filter(token_checksum=keys.sha256(token_value)).exists():
            return JsonResponse({"active": False})
        response: HttpResponseBase = views.IntrospectTokenView.get_token_response(token_value)
        return response

    def unauthenticated_response(
        self, request: HttpRequest, oauthlib_request: Any = None
    ) -> HttpResponseBase:
        """Answer 401 (RFC 7662, 2.3), where the toolkit has a bare 403."""
        return _refusal("invalid_client", 401)


class UserInfoView(Endpoint, views.UserInfoView):
    methods = ["GET", "POST"]
    challenge = 'Bearer error="invalid_token"'


class DiscoveryView(views.ConnectDiscoveryInfoView):
    """The toolkit's, which says too much of some things, and not enough of others."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        told = {
            **json.loads(response.content),
            "id_token_signing_alg_values_supported": ["RS256"],
            "grant_types_supported": oauth2_settings.OAUTH2_GRANT_TYPES_SUPPORTED,
            "response_modes_supported": ["query"],
            "prompt_values_supported": ["none", "login", "consent"],
            "acr_values_supported": [openid.MULTI_FACTOR],
            "claims_supported": [
                *("sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr"),
                *("preferred_username", "name", "email", "email_verified"),
            ],
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }
        response.content = json.dumps(told)
        return response


def _take_address(request: HttpRequest) -> None:
    """Let a trusted client name the address of its user. The toolkit refuses wrong credentials.

    :raises ApiError: if what it names is not one address.
    """
    text = credential(request.META, "basic")
    if text and CUSTOMER_ADDRESS in request.META and (client := find_client(text)):
        take_address(request.META, client)


def _is_plain(request: HttpRequest) -> bool:
    """Return whether all of *request* came, and there is one way to read it.

    RFC 8707 lets ``resource`` come several times.
    """
    return (
        not request.META.get("QUERY_STRING")
        and request.META.get("HTTP_AUTHORIZATION", "").isascii()
        and len(request.body) == int(request.META.get("CONTENT_LENGTH") or 0)
        and all(len(values) == 1 for name, values in request.POST.lists() if name != "resource")
    )


def _is_address(text: str) -> bool:
    """Return whether *text* can be taken apart; the toolkit fails on what cannot."""
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _later(status: int, wait: timedelta) -> JsonResponse:
    headers = {"Retry-After": str(whole_seconds(wait))}
    return _refusal("temporarily_unavailable", status, headers)


def _refusal(error: str, status: int, headers: Mapping[str, str] = {}) -> JsonResponse:
    challenge = {"WWW-Authenticate": CLIENT_REALM} if status == 401 else {}
    headers = {"Cache-Control": "no-store", **challenge, **headers}
    return JsonResponse({"error": error}, status=status, headers=headers)


# Named one by one: the toolkit's own list also mounts the device flow, dynamic
# registration and a page on which anybody registers a client. The authorization
# endpoint is a page for people: optin.web.consent.
ENDPOINTS = [
    path("token/", TokenView.as_view(), name="token"),
    path("revoke_token/", RevokeTokenView.as_view(), name="revoke-token"),
    path("introspect/", IntrospectTokenView.as_view(), name="introspect"),
]
OPENID_ENDPOINTS = [
    path("userinfo/", UserInfoView.as_view(), name="user-info"),
    path("jwks/", views.JwksInfoView.as_view(), name="jwks-info"),
]

urlpatterns = [
    path(
        ".well-known/oauth-authorization-server",
        views.OAuthServerMetadataView.as_view(),
        name="oauth-server-metadata",
    )
]
openid_urlpatterns = [
    path(".well-known/openid-configuration", DiscoveryView.as_view(), name="openid-configuration")
]
