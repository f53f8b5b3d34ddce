"""Samples of bodies, for ``/Help`` and the schema: written by the renderers of the API."""

from typing import Any

from defusedxml.minidom import parseString
from rest_framework import serializers

from optin.api import renderers
from optin.api.answers import TOKEN_ERRORS, Body
from optin.api.serializers import (
    Boolean,
    EndpointChangeRequest,
    EndpointRequest,
    EndpointSecretRequest,
    IdField,
    Model,
    OAuthAccessTokenGrant,
    OAuthGrantRequestError,
    OAuthPasswordCredentialsGrantRequest,
    OAuthRefreshAccessTokenRequest,
    OptInTo2FARequest,
    OtpField,
)
from optin.conf import conf

_CODE = "0123456"[: conf.otp_digits]

_URL, _TYPE = "https://hooks.example.com/", "number.activated number.removed"

# Values of fields that take only certain texts.
_FIXED = {
    (OptInTo2FARequest, "MobileNumber"): "+61 491 570 006",
    (OAuthPasswordCredentialsGrantRequest, "grant_type"): "password",
    (OAuthPasswordCredentialsGrantRequest, "scope"): "full",
    (OAuthRefreshAccessTokenRequest, "grant_type"): "refresh_token",
    (OAuthRefreshAccessTokenRequest, "scope"): "full",
    (EndpointRequest, "Url"): _URL,
    (EndpointRequest, "Types"): _TYPE,
    (EndpointChangeRequest, "Url"): _URL,
    (EndpointChangeRequest, "Types"): _TYPE,
    (EndpointChangeRequest, "State"): "on",
    (EndpointSecretRequest, "OldSecret"): "end",
    (OAuthAccessTokenGrant, "token_type"): "Bearer",
    (OAuthAccessTokenGrant, "expires_in"): conf.access_token_lifetime,
    (OAuthAccessTokenGrant, "scope"): "full fileid:1",
    (OAuthGrantRequestError, "error"): "invalid_grant",
    (OAuthGrantRequestError, "error_description"): TOKEN_ERRORS["invalid_grant"].message,
}


def sample(model: type[Model]) -> dict[str, Any]:
    """Return a body of *model*, with the values of the vendor's samples."""
    return {
        name: _FIXED.get((model, name), _value(field, number))
        for number, (name, field) in enumerate(model().fields.items(), start=1)
    }


def sample_body(model: type[Model]) -> Body | bool:
    return True if model is Boolean else Body(model.model_name(), sample(model))


def request_body(model: type[Model]) -> Body:
    """Return a body of *model* that the service takes: the vendor's samples have no codes."""
    found = sample(model)
    codes = [name for name, field in model().fields.items() if isinstance(field, OtpField)]
    return Body(model.model_name(), found | dict.fromkeys(codes, _CODE))


def as_json(body: Body | bool) -> str:
    text: bytes = renderers.ApplicationJSON().render(body, renderer_context={"indent": 2})
    return text.decode()


def as_xml(body: Body | bool) -> str:
    document = parseString(renderers.ApplicationXML().render(body))
    text: str = document.documentElement.toprettyxml(indent="  ")
    return text.rstrip()


def _value(field: Any, number: int) -> Any:
    if model := model_in(field):
        body = Body(model.model_name(), sample(model))
        return [body] * 2 if is_collection(field) else body
    return number if isinstance(field, IdField) else f"sample string {number}"


def model_in(field: Any) -> type[Model] | None:
    """Return the model that a property holds, or holds a collection of."""
    held = field.child if is_collection(field) else field
    return type(held) if isinstance(held, Model) else None


def is_collection(field: Any) -> bool:
    return isinstance(field, serializers.ListSerializer)
