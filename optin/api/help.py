"""``/Help``: the reference of the API, in the manner of the vendor's own pages.

``CALLS`` says what the calls are. Fields, their help and samples come from the
serializers, errors from the tables of ``answers``, and samples are written by the
renderers of the API: what is shown here is what is served.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import re_path
from django.views.decorators.http import require_safe

from optin.api import webhooks
from optin.api.answers import (
    ERRORS,
    TOKEN_ERRORS,
    ApiError,
    Row,
    base_response,
    causes_of,
    help_link,
)
from optin.api.samples import as_json, as_xml, is_collection, model_in, sample, sample_body
from optin.api.serializers import (
    BaseResponseModel,
    Boolean,
    Endpoint,
    EndpointChangeRequest,
    EndpointList,
    EndpointRequest,
    EndpointSecret,
    EndpointSecretRequest,
    Event,
    EventList,
    IdField,
    Model,
    OAuthAccessTokenGrant,
    OAuthGrantRequestError,
    OAuthPasswordCredentialsGrantRequest,
    OAuthRefreshAccessTokenRequest,
    OptInTo2FARequest,
    OptInTo2FAResult,
    OptOutFrom2FARequest,
    SandboxTexts,
    Verify2FAOptInRequest,
)
from optin.api.urls import any_case
from optin.conf import conf
from optin.events import News, reasons_of


@dataclass(frozen=True, slots=True)
class Property:
    """One line of a table: a field of a model, or a parameter of the address."""

    name: str
    description: str
    type: str
    information: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A body as it looks in the formats named by *media_types*."""

    media_types: str
    text: str


@dataclass(frozen=True, slots=True)
class Error:
    """One refusal of one call: its code on the wire, and its row in the table."""

    code: str
    row: Row


@dataclass(frozen=True, slots=True)
class Resource:
    """A model of the contract, described and shown by sample."""

    model: type[Model]
    is_request: bool = False
    takes_forms: bool = False

    @property
    def name(self) -> str:
        return self.model.model_name()

    @property
    def properties(self) -> list[Property]:
        return [
            Property(name, str(field.help_text), _type(field), self._information(field))
            for name, field in self.model().fields.items()
        ]

    @property
    def parts(self) -> list["Resource"]:
        """The models that its properties hold, each followed by those that it holds itself."""
        fields: Iterable[Any] = self.model().fields.values()
        held = [Resource(model) for model in map(model_in, fields) if model]
        return [part for one in held for part in (one, *one.parts)]

    @property
    def samples(self) -> list[Sample]:
        body = sample_body(self.model)
        samples = [
            Sample("application/json, text/json", as_json(body)),
            Sample("application/xml, text/xml", as_xml(body)),
        ]
        if self.takes_forms:
            form = urlencode(sample(self.model))
            samples.append(Sample("application/x-www-form-urlencoded", form))
        return samples

    def _information(self, field: Any) -> str:
        if not self.is_request:
            return "None."
        return "Required" if field.required else "Optional"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the contract, as its page tells it."""

    method: str
    path: str
    summary: str
    request_model: type[Model] | None
    response_model: type[Model]
    codes: tuple[str, ...]
    """Its refusals, by their names in the tables of ``answers``."""

    refusal_model: type[Model] = BaseResponseModel
    more_parameters: tuple[Property, ...] = ()
    """Parameters of its address, besides the credential and the file."""

    headers: tuple[Property, ...] = ()
    """Headers of its own that it reads."""

    operation: str = ""
    """Its name in the schema, where it is not made from the path."""

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.title).strip("-")

    @property
    def needs_file(self) -> bool:
        return not self.path.startswith("authorisation/")

    @property
    def takes_keys(self) -> bool:
        return not self.path.startswith("endpoints")

    @property
    def is_token_call(self) -> bool:
        return self.refusal_model is OAuthGrantRequestError

    @property
    def uri_parameters(self) -> tuple[Property, ...]:
        if self.is_token_call:
            return ()
        file_id = _FILE_ID if self.needs_file else _FILE_ID_OF_PING
        credential = (_ACCESS_KEY,) if self.takes_keys else ()
        return (*credential, file_id, *self.more_parameters)

    @property
    def request(self) -> Resource | None:
        if self.request_model is None:
            return None
        return Resource(self.request_model, is_request=True, takes_forms=self.is_token_call)

    @property
    def response(self) -> Resource:
        return Resource(self.response_model)

    @property
    def refusal(self) -> Resource:
        return Resource(self.refusal_model)

    @property
    def errors(self) -> list[Error]:
        """Its refusals, by status."""
        errors = [self._error(code) for code in self.codes]
        return sorted(errors, key=lambda error: error.row.status)

    def _error(self, code: str) -> Error:
        if not self.is_token_call:
            return Error(code, ERRORS[code])
        if code in TOKEN_ERRORS:
            return Error(code, TOKEN_ERRORS[code])
        return Error(ApiError(code).oauth_code, ERRORS[code])


# -- what the calls are ------------------------------------------------------------

_ACCESS_KEY = Property(
    "WsAccessKey",
    "The Web Service access key for this user and file which allows access to the API for "
    "the associated file (found in File - Settings). Using OAuth authentication mechanism is "
    "the preferred method to allow API access.",
    "string",
    "Optional. Legacy authentication method and only required if not using OAuth. OAuth is "
    "preferred.",
)
_FILE_ID = Property(
    "FileId",
    "Specifies the file id of the file to perform the operation upon.",
    "integer",
    "Required",
)
_FILE_ID_OF_PING = Property(
    "FileId",
    "With it, the answer is true only if the credentials may use this file. Without it, a "
    "WsAccessKey is checked for its own file.",
    "integer",
    "Optional",
)

_AFTER = Property(
    "after",
    "The Sequence of the last event that you have; 0 for the oldest that is kept; latest for no "
    "events, and the next of whoever begins now.",
    "integer",
    "Optional. 0 if left out.",
)
ENDPOINT_ID = Property("EndpointId", "The id of the endpoint.", "integer", "Required")

_LIMIT = Property(
    "limit",
    "How many events to send at most, from 1 to 100.",
    "integer",
    "Optional. 100 if left out.",
)

_CLIENT_REFERENCE = Property(
    "Client-Reference",
    "What you call this opt-in: 1 to 64 visible ASCII characters. Events about the number have it.",
    "string",
    "Optional",
)

_IDEMPOTENCY_KEY = Property(
    "Idempotency-Key",
    "Send the same request with the same key again if its answer is lost: within 24 hours, it gets "
    "the first answer, and no text is sent. 1 to 64 visible ASCII characters; new each time.",
    "string",
    "Optional",
)

_EVERY_CALL = (
    "invalid_request",
    "method_not_allowed",
    "too_large",
    "internal_error",
    "unavailable",
)
_READS = (*_EVERY_CALL, "not_authenticated", "invalid_token", "file_access_denied", "throttled")
_READS_A_FILE = (*_READS, "insufficient_scope")
_WITH_BODY = (*_EVERY_CALL, "unsupported_media_type")
_USER_CALL = (*_READS_A_FILE, "unsupported_media_type", "not_found", "factor_disabled", "locked")
_CHECKS_A_CODE = ("otp_incorrect", "otp_expired", "otp_exhausted")
_TOKEN_CALL = (
    *_WITH_BODY,
    "invalid_grant",
    "invalid_scope",
    "unsupported_grant_type",
    "unauthorized_client",
    "invalid_client",
    "temporarily_unavailable",
)
_PASSWORD_CALL = (*_TOKEN_CALL, "2fa_code_required")

CALLS = (
    Call(
        "POST",
        "User/opt-in-to-2fa",
        "Request to opt-in to 2FA by passing in a mobile number, to which an OTP is then sms-ed.",
        OptInTo2FARequest,
        OptInTo2FAResult,
        (
            *_USER_CALL,
            "mobile_number_invalid",
            "region_not_allowed",
            "already_opted_in",
            "send_limit",
        ),
        headers=(_CLIENT_REFERENCE, _IDEMPOTENCY_KEY),
    ),
    Call(
        "POST",
        "User/verify-2fa-opt-in",
        "Verify the 2FA opt-in request by passing in the OTP and ProviderUserId.",
        Verify2FAOptInRequest,
        BaseResponseModel,
        (*_USER_CALL, *_CHECKS_A_CODE, "already_verified", "mobile_number_in_use"),
    ),
    Call(
        "POST",
        "User/opt-out-from-2fa",
        "Opt-out from 2FA: without an OTP one is sms-ed, with it the mobile number is released.",
        OptOutFrom2FARequest,
        BaseResponseModel,
        (*_USER_CALL, *_CHECKS_A_CODE, "2fa_code_required", "not_opted_in", "send_limit"),
        headers=(_IDEMPOTENCY_KEY,),
    ),
    Call(
        "POST",
        "authorisation/token",
        "Get an access token for a user name and a password, and a code where 2FA is on.",
        OAuthPasswordCredentialsGrantRequest,
        OAuthAccessTokenGrant,
        _PASSWORD_CALL,
        OAuthGrantRequestError,
    ),
    Call(
        "POST",
        "authorisation/token-2fa",
        "Get an access token by passing in the code that authorisation/token asked for.",
        OAuthPasswordCredentialsGrantRequest,
        OAuthAccessTokenGrant,
        _PASSWORD_CALL,
        OAuthGrantRequestError,
    ),
    Call(
        "POST",
        "authorisation/refresh",
        "Get a new access token for a refresh token.",
        OAuthRefreshAccessTokenRequest,
        OAuthAccessTokenGrant,
        _TOKEN_CALL,
        OAuthGrantRequestError,
    ),
    Call(
        "GET",
        "authorisation/ping",
        "Find out whether an access token or a WsAccessKey is valid, and may use a file.",
        None,
        Boolean,
        _READS,
    ),
    Call(
        "GET",
        "events",
        "Read what happened to the second factors in a file.",
        None,
        EventList,
        (*_READS_A_FILE, "cursor_gone"),
        more_parameters=(_AFTER, _LIMIT),
    ),
    Call(
        "GET",
        "endpoints",
        "List the webhook endpoints of a file.",
        None,
        EndpointList,
        _READS_A_FILE,
        operation="list_endpoints",
    ),
    Call(
        "POST",
        "endpoints",
        "Add a webhook endpoint. The answer has its secret, once.",
        EndpointRequest,
        EndpointSecret,
        (*_READS_A_FILE, "unsupported_media_type", "endpoint_limit"),
        operation="add_endpoint",
    ),
    Call(
        "PUT",
        "endpoints/{EndpointId}",
        "Change a webhook endpoint. Send all its properties: what you leave out becomes empty.",
        EndpointChangeRequest,
        Endpoint,
        (*_READS_A_FILE, "unsupported_media_type", "not_found"),
        more_parameters=(ENDPOINT_ID,),
        operation="change_endpoint",
    ),
    Call(
        "DELETE",
        "endpoints/{EndpointId}",
        "Remove a webhook endpoint.",
        None,
        BaseResponseModel,
        (*_READS_A_FILE, "not_found"),
        more_parameters=(ENDPOINT_ID,),
        operation="remove_endpoint",
    ),
    Call(
        "POST",
        "endpoints/{EndpointId}/secret",
        "Replace the secret of a webhook endpoint. The old one signs too, for 24 hours.",
        EndpointSecretRequest,
        EndpointSecret,
        (*_READS_A_FILE, "unsupported_media_type", "not_found", "old_secret_signs"),
        more_parameters=(ENDPOINT_ID,),
        operation="replace_endpoint_secret",
    ),
    Call(
        "GET",
        "sandbox/texts",
        "Read the texts of a sandbox of the last day, at most 100.",
        None,
        SandboxTexts,
        (*_READS_A_FILE, "not_found"),
    ),
)


# -- pages -------------------------------------------------------------------------


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "help/index.html", {"calls": CALLS, "base_url": conf.base_url})


@require_safe
def call_page(request: HttpRequest, slug: str) -> HttpResponse:
    call = next(call for call in CALLS if call.slug.lower() == slug.lower())
    return render(request, "help/call.html", {"call": call})


@require_safe
def authentication(request: HttpRequest) -> HttpResponse:
    context = {
        "base_url": conf.base_url,
        "takes_access_keys": conf.legacy_access_keys,
        "access_token_seconds": conf.access_token_lifetime,
        "refresh_token_seconds": conf.refresh_token_lifetime,
        "rotates": conf.password_clients_rotate,
    }
    return render(request, "help/authentication.html", context)


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    code = "otp_incorrect"
    context = {
        "entries": [(code, rows, causes_of(code)) for code, rows in entries().items()],
        "example": as_json(base_response(ERRORS[code].message, [help_link(code)])),
    }
    return render(request, "help/errors.html", context)


@require_safe
def events(request: HttpRequest) -> HttpResponse:
    headers, body = webhooks.sample()
    event = Resource(Event)
    context = {
        "kinds": [(kind, reasons_of(kind)) for kind in News],
        "header_fields": [
            Property(name, text, "string", "None.") for name, text in webhooks.HEADERS.items()
        ],
        "models": [event, *event.parts],
        "headers": headers,
        "body": body,
        "secret": webhooks.SAMPLE_SECRET,
        **webhooks.promises(),
    }
    return render(request, "help/events.html", context)


def entries() -> dict[str, dict[Row, list[Call]]]:
    """Every code on the wire: its rows, and which calls answer with each."""
    found: dict[str, dict[Row, list[Call]]] = {}
    for call in CALLS:
        for error in call.errors:
            found.setdefault(error.code, {}).setdefault(error.row, []).append(call)
    return dict(sorted(found.items(), key=lambda entry: min(row.status for row in entry[1])))


def _type(field: Any) -> str:
    if model := model_in(field):
        return f"Collection of {model.model_name()}" if is_collection(field) else model.model_name()
    return "integer" if isinstance(field, IdField) else "string"


# -- addresses: like those of the calls --------------------------------------------

_HELP = any_case("Help")
_SLUGS = "|".join(any_case(call.slug) for call in CALLS)

urlpatterns = [
    re_path(rf"^{_HELP}/?$", index, name="help"),
    re_path(rf"^{_HELP}/{any_case('Authentication')}/?$", authentication, name="help-auth"),
    re_path(rf"^{_HELP}/{any_case('Errors')}/?$", errors, name="help-errors"),
    re_path(rf"^{_HELP}/{any_case('Events')}/?$", events, name="help-events"),
    re_path(rf"^{_HELP}/{any_case('Api')}/({_SLUGS})/?$", call_page, name="help-call"),
]
