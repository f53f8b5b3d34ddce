"""The vendor-compatible token calls: a password grant without a client id.

New clients should use ``/o/``; see ``oauth``.
"""

from collections.abc import Mapping
from typing import Any

from oauth2_provider.models import AbstractApplication
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from optin.api import parsers
from optin.api.answers import ApiError, Body, TokenError, oauth_error
from optin.api.credentials import Caller, credential, find_client, take_address
from optin.api.serializers import (
    Model,
    OAuthPasswordCredentialsGrantRequest,
    OAuthRefreshAccessTokenRequest,
)
from optin.api.views import Call
from optin.operations import sign_in
from optin.origin import Face
from optin.outcomes import TokenOutcome
from optin.runtime import throttle

# Both are ``invalid_grant`` on the wire, as in RFC 6749.
_MESSAGE = {
    TokenOutcome.INVALID_CODE: "The code is not right, or not valid any more.",
    TokenOutcome.INVALID_REFRESH: "The refresh token is not valid any more. Sign in again.",
}


class TokenCall(Call):
    parser_classes: list[type[BaseParser]] = [*Call.parser_classes, parsers.Form]
    face = Face.TOKEN
    grant_type = "password"

    def identify(
        self, meta: Mapping[str, str], access_key: str, file_id: int | None
    ) -> Caller | None:
        """Check the id and the secret of the client, if it sends them. None has to.

        :raises ApiError: 401 for wrong ones; 400 for a malformed address of the client's user.
        """
        text = credential(meta, "basic")
        if text is not None:
            client = find_client(text)
            if client is None:
                self.count_request(has_password=False)
                raise TokenError("invalid_client")
            take_address(self.request.META, client)
            self.client = f"app:{client.pk}"
        return None

    def read(self, shape: type[Model]) -> dict[str, Any]:
        """``Call.read``, and the limit on requests, which comes before any fault of the body.

        It is counted once the body tells whether there is a password.
        """
        try:
            body = super().read(shape)
        except ApiError:
            self.count_request(has_password=False)
            raise
        self.count_request(has_password="password" in body)
        return body

    def count_request(self, *, has_password: bool) -> None:
        """Count the request for its address.

        :raises TokenError: 429, if it is one too many.
        """
        if wait := throttle.hit_network(self.origin.ip, has_password=has_password):
            raise TokenError("temporarily_unavailable", retry_after=wait)

    def parse(self, shape: type[Model]) -> dict[str, Any]:
        data = super().parse(shape)
        # Before the fields are asked for: another grant has others.
        asked = data.get("grant_type")
        if isinstance(asked, str) and asked not in {"", self.grant_type}:
            raise TokenError("unsupported_grant_type")
        return data

    def application(self) -> AbstractApplication:
        """Return the application that serves clients without an id."""
        application = sign_in.application()
        if application is None:
            raise TokenError("unauthorized_client")
        return application

    def answer(self, result: sign_in.TokenAnswer) -> Response:
        if result.tokens is None:
            message = _MESSAGE.get(result.outcome, "")
            code = "invalid_grant" if message else str(result.outcome)
            raise TokenError(code, message, retry_after=result.retry_after, why=result.why)
        tokens = {
            "access_token": result.tokens.access_token,
            "token_type": "Bearer",
            "expires_in": result.tokens.expires_in,
            "refresh_token": result.tokens.refresh_token,
            "scope": result.tokens.scope,
        }
        return Response(Body("OAuthAccessTokenGrant", tokens))

    def refusal(self, error: ApiError) -> Body:
        return oauth_error(error)


class TokenView(TokenCall):
    """``token`` and ``token-2fa``: a password, and a code where 2FA is active."""

    def post(self, request: Request) -> Response:
        body = self.read(OAuthPasswordCredentialsGrantRequest)
        result = sign_in.password_grant(
            body["username"],
            body["password"],
            scope=body["scope"] or "",
            verification_code=body["verification_code"] or "",
            client=self.application(),
            origin=self.origin,
        )
        return self.answer(result)


class RefreshView(TokenCall):
    grant_type = "refresh_token"

    def post(self, request: Request) -> Response:
        body = self.read(OAuthRefreshAccessTokenRequest)
        result = sign_in.refresh_grant(
            body["refresh_token"],
            scope=body["scope"] or "",
            client=self.application(),
            origin=self.origin,
        )
        return self.answer(result)
