"""The standard OAuth 2 endpoints: django-oauth-toolkit's, on the terms of this service."""

import re
from typing import Any

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import transaction
from django.urls import include, path
from django.utils import timezone
from oauth2_provider import views
from oauth2_provider.models import get_grant_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import SettingsScopes
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError

from optin.models import AuditEvent, User
from optin.origin import Face, Origin, client_ip

_FILE_SCOPE = re.compile(r"fileid:[1-9][0-9]{0,9}")


class RandomSecretHasher(PBKDF2PasswordHasher):
    """For secrets of 128 random characters: a slow hash would protect nothing."""

    algorithm = "random_secret"
    iterations = 1


class Scopes(SettingsScopes):
    """The words of the settings; ``fileid:N`` only ever narrows, so any may be asked for."""

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        asked = getattr(request, "scopes", None) or []
        files = [word for word in asked if _FILE_SCOPE.fullmatch(word)]
        return [*super().get_available_scopes(application, request, *args, **kwargs), *files]


class Validator(OAuth2Validator):
    """Tokens are made with the user locked, from a grant that still stands.

    Activating a factor revokes what was granted before it. Without the lock, a
    refresh that began earlier could finish after that and keep its token.
    """

    def save_bearer_token(
        self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        with transaction.atomic():
            user_id = None
            if request.grant_type != "client_credentials":
                user_id = request.user.pk
                self._check_grant(User.objects.locked(user_id), request)
            answer = super().save_bearer_token(token, request, *args, **kwargs)
            AuditEvent.objects.record(
                AuditEvent.Kind.TOKEN,
                request.grant_type,
                now=timezone.now(),
                origin=_origin(request),
                user_id=user_id,
            )
        return answer

    def _check_grant(self, user: User, request: Any) -> None:
        if request.grant_type == "refresh_token":
            stands = (
                get_refresh_token_model()
                .objects.filter(pk=request.refresh_token_instance.pk, revoked=None)
                .exists()
            )
        else:
            stands = get_grant_model().objects.filter(code=request.code).exists()
        if not (stands and user.is_active):
            raise InvalidGrantError(request=request)


def _origin(request: Any) -> Origin:
    headers = request.headers
    return Origin(
        Face.TOKEN,
        actor_id=request.user.pk if request.user else None,
        client=f"app:{request.client.pk}",
        ip=client_ip(headers.get("REMOTE_ADDR", ""), headers.get("HTTP_X_FORWARDED_FOR", "")),
        user_agent=headers.get("HTTP_USER_AGENT", ""),
    )


# Named one by one: the toolkit's own list also mounts the device flow, dynamic
# registration and a page on which anybody registers a client. The authorization
# endpoint is not among them yet: it needs pages on which people sign in.
_ENDPOINTS = [
    path("token/", views.TokenView.as_view(), name="token"),
    path("revoke_token/", views.RevokeTokenView.as_view(), name="revoke-token"),
    path("introspect/", views.IntrospectTokenView.as_view(), name="introspect"),
]

urlpatterns = [
    path("o/", include((_ENDPOINTS, "oauth2_provider"))),
    path(
        ".well-known/oauth-authorization-server",
        views.OAuthServerMetadataView.as_view(),
        name="oauth-server-metadata",
    ),
]
