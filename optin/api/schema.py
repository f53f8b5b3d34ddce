"""``/schema/``: the calls and webhooks in OpenAPI 3.1, for programs that write clients and tests.

drf-spectacular looks at the addresses and the views: which methods there are, which
media types go in and out, what the serializers say. ``CALLS`` and the tables of
``answers`` and ``webhooks`` say the rest, as they do for ``/Help``. Nothing is written down twice.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from itertools import groupby
from typing import Any, Literal

from django.http import HttpResponse
from django.urls import re_path
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from optin import codes
from optin.api import webhooks
from optin.api.answers import Body, base_response, help_link
from optin.api.events import LATEST, MAX_LIMIT
from optin.api.help import CALLS, ENDPOINT_ID, Call, Error
from optin.api.samples import as_xml, request_body, sample_body
from optin.api.serializers import (
    AnyCodeField,
    Boolean,
    IdField,
    OtpField,
    SequenceField,
    TextField,
    WordsField,
)
from optin.api.urls import any_case
from optin.conf import conf
from optin.events import News, reasons_of
from optin.models.factors import MAX_REFERENCE
from optin.models.files import MAX_FILE_ID
from optin.models.webhooks import MAX_SEQUENCE

Schema = dict[str, Any]
Direction = Literal["request", "response"]
# An address with its pattern, a method, and the view.
Endpoint = tuple[str, str, str, Callable[..., Any]]

_ID: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_FILE_ID}
_SEQUENCE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE}
_TEXT: Schema = {"type": "string"}
_VISIBLE = _TEXT | {"minLength": 1, "maxLength": MAX_REFERENCE, "pattern": "^[!-~]+$"}
_PARAMETERS: dict[str, Schema] = {
    "FileId": _ID,
    "EndpointId": _ID,
    "after": {"anyOf": [_SEQUENCE, {"const": LATEST}], "default": 0},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": MAX_LIMIT},
    "Client-Reference": _VISIBLE,
    "Idempotency-Key": _VISIBLE,
}
"""Parameters of addresses, and headers. A ``WsAccessKey`` is a credential."""


def calls_only(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Give the calls among *endpoints* the addresses that ``CALLS`` has; drop the rest.

    What is derived from the patterns is hard to read: these match letters in any case.
    """
    return [
        (f"/{call.path}", pattern, method, view)
        for call in CALLS
        for _, pattern, method, view in endpoints
        if method == call.method and re.fullmatch(pattern, call.path)
    ]


class CallSchema(AutoSchema):
    """How one call is described."""

    @property
    def call(self) -> Call:
        asked = (self.path, self.method)
        return next(call for call in CALLS if (f"/{call.path}", call.method) == asked)

    def get_operation_id(self) -> str:
        return self.call.operation or re.sub(r"\W", "_", self.call.path)

    def get_summary(self) -> str:
        return self.call.summary

    def get_description(self, *args: str) -> str:
        return ""  # the summary says it

    def get_external_docs(self) -> str:
        return f"{conf.base_url}/Help/Api/{self.call.slug}"

    def get_tags(self) -> list[str]:
        return [self.call.path.partition("/")[0]]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Name the credentials, of which any is enough."""
        schemes = {} if self.call.is_token_call else _security_schemes(self.call)
        for name, scheme in schemes.items():
            kind = ResolvedComponent.SECURITY_SCHEMA
            self.registry.register_on_missing(ResolvedComponent(name, kind, scheme, name))
        return [{name: []} for name in schemes]

    def get_override_parameters(self) -> list[Any]:
        return [
            *(
                OpenApiParameter(
                    parameter.name,
                    _PARAMETERS[parameter.name],
                    OpenApiParameter.PATH if parameter is ENDPOINT_ID else OpenApiParameter.QUERY,
                    required=parameter.information == "Required",
                    description=parameter.description,
                )
                for parameter in self.call.uri_parameters
                if parameter.name in _PARAMETERS
            ),
            *(
                OpenApiParameter(
                    header.name,
                    _PARAMETERS[header.name],
                    OpenApiParameter.HEADER,
                    description=header.description,
                )
                for header in self.call.headers
            ),
            *_response_headers([status for status, _ in _by_status(self.call)]),
        ]

    def _get_format_parameters(self) -> list[Schema]:
        return []  # the calls look at Accept only

    def get_request_serializer(self) -> Any:
        return self.call.request_model

    def get_response_serializers(self) -> Any:
        return {
            200: OpenApiResponse(self.call.response_model, "Done."),
            **{
                status: OpenApiResponse(self.call.refusal_model, _meaning(errors))
                for status, errors in _by_status(self.call)
            },
        }

    def get_examples(self) -> list[OpenApiExample]:
        return _examples(self.call)

    def _map_serializer(self, serializer: Any, direction: Direction, *args: Any) -> Schema:
        if isinstance(serializer, Boolean):
            return {"type": "boolean", "xml": {"name": serializer.model_name()}}
        schema: Schema = super()._map_serializer(  # type: ignore[no-untyped-call]
            serializer, direction, *args
        )
        schema.pop("description", None)  # that of the class is for us
        schema["xml"] = {"name": serializer.model_name()}
        for name, field in schema["properties"].items():
            field.pop("title", None)  # the name, in words
            if "allOf" in field:  # another model, whose element is called as the property
                field["xml"] = {"name": name}
            if "oneOf" in field:  # or an empty text, which the pattern takes too
                field |= field.pop("oneOf")[0]
            if field.get("type") == "array":
                field["xml"] = {"wrapped": True}
        if direction == "request" and "grant_type" in schema["properties"]:
            view: Any = self.view
            schema["properties"]["grant_type"]["enum"] = [view.grant_type]
        return schema


class _Id(OpenApiSerializerFieldExtension):
    target_class = IdField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> Schema:
        """Describe an id as a number: a client that is generated needs no second way."""
        return dict(_ID)


class _Sequence(OpenApiSerializerFieldExtension):
    target_class = SequenceField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> Schema:
        return dict(_SEQUENCE)


class _Text(OpenApiSerializerFieldExtension):
    target_class = TextField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> Schema:
        """Describe a text; the limits are those of what comes in."""
        if direction == "response":
            return dict(_TEXT)
        limits = {"maxLength": self.target.max_length}
        if not self.target.allow_blank:
            limits["minLength"] = 1
        if isinstance(self.target, WordsField):
            limits["pattern"] = self.target.pattern
        if isinstance(self.target, OtpField):
            limits["pattern"] = _code_pattern(self.target)
        return _TEXT | limits


def _code_pattern(field: OtpField) -> str:
    between = f"{codes.SEPARATORS.pattern}*"
    shapes = [f"(?:[0-9]{between}){{{conf.otp_digits}}}"]
    if isinstance(field, AnyCodeField):
        shapes = [f"(?:[0-9]{between}){{{n}}}" for n in codes.LENGTHS]
        shapes.append(f"(?:[0-9A-TV-Za-tv-z]{between}){{{codes.RECOVERY_LENGTH}}}")
    return f"^{between}(?:{'|'.join(shapes)}){'?' if field.allow_blank else ''}$"


def _security_schemes(call: Call) -> dict[str, Schema]:
    schemes: dict[str, Schema] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An OAuth 2 access token: for the User/ calls with the scope full, 2fa "
            "or modify, for events and endpoints with full or events, for ping with any.",
        }
    }
    for parameter in call.uri_parameters if conf.legacy_access_keys else ():
        if parameter.name == "WsAccessKey":
            schemes[parameter.name] = {
                "type": "apiKey",
                "in": "query",
                "name": parameter.name,
                "description": parameter.description,
            }
    return schemes


def _response_headers(refused: list[int]) -> Iterator[OpenApiParameter]:
    def header(name: str, schema: Schema, description: str, *, on: list[int], always: bool) -> Any:
        return OpenApiParameter(
            name,
            schema,
            OpenApiParameter.HEADER,
            required=always,
            description=description,
            response=on or True,
        )

    wait = {"type": "integer", "minimum": 1}
    yield header("X-Request-Id", _TEXT, "Name it to support.", on=[], always=True)
    yield header("Link", _TEXT, "The help.", on=refused, always=True)
    yield header("Allow", _TEXT, "The methods that are allowed.", on=[405], always=True)
    yield header("Retry-After", wait, "Seconds to wait.", on=[429, 503], always=True)
    for status, always in ((401, True), (403, False)):
        yield header(
            "WWW-Authenticate", _TEXT, "The scheme, and the error.", on=[status], always=always
        )


def _by_status(call: Call) -> Iterator[tuple[int, list[Error]]]:
    for status, errors in groupby(call.errors, key=lambda error: error.row.status):
        yield status, list(errors)


def _meaning(errors: list[Error]) -> str:
    return "\n".join(f"- `{error.code}`: {error.row.meaning}" for error in errors)


@cache
def _examples(call: Call) -> list[OpenApiExample]:
    """A body of each kind in each media type, and each refusal in JSON and XML."""
    found: list[OpenApiExample] = []

    def add(name: str, body: Body | bool, *media_types: str, **where: Any) -> None:
        data = dict(body) if isinstance(body, Body) else body
        for media_type in media_types:
            value = as_xml(body) if media_type.endswith("xml") else data
            found.append(OpenApiExample(name, value, media_type=media_type, **where))

    every = ("application/json", "text/json", "application/xml", "text/xml")
    if call.request:
        form = "application/x-www-form-urlencoded"
        add(call.request.name, request_body(call.request.model), *every, form, request_only=True)
    add(call.response.name, sample_body(call.response.model), *every, response_only=True)
    for error in call.errors:
        body = (
            Body(call.refusal.name, {"error": error.code, "error_description": error.row.example})
            if call.is_token_call
            else base_response(error.row.example, [help_link(error.code)])
        )
        status = [str(error.row.status)]
        add(error.code, body, *every[::2], response_only=True, status_codes=status)
    return found


def document() -> Schema:
    """Return the description of the calls, and of what the service sends by itself."""
    found: Schema = SchemaGenerator().get_schema(public=True)
    models = found["components"]["schemas"]
    told = {kind.value: {"post": _webhook(kind, models)} for kind in News}
    return {**found, "webhooks": told}


def _webhook(kind: News, models: Schema) -> Schema:
    # Written by hand: drf-spectacular describes no headers of webhooks.
    body = {"application/json": {"schema": _event(kind, models)}}
    return {
        "operationId": re.sub(r"\W", "_", kind),
        "summary": kind.label,
        "externalDocs": {"url": f"{conf.base_url}/Help/Events#{kind}"},
        "tags": ["webhooks"],
        "parameters": [
            {
                "in": "header",
                "name": name,
                "required": True,
                "schema": dict(_TEXT),
                "description": description,
            }
            for name, description in webhooks.HEADERS.items()
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            status: {"description": meaning} for status, meaning in webhooks.ANSWERS.items()
        },
    }


def _event(kind: News, models: Schema) -> Schema:
    """Describe what is sent, by the models of ``GET /events``."""
    event: Schema = deepcopy(models["Event"])
    data: Schema = deepcopy(models["EventData"])
    event["properties"]["type"]["const"] = kind.value
    event["properties"]["timestamp"]["format"] = "date-time"
    event["properties"]["data"] = data
    data["required"] = list(data["properties"])  # XML leaves one out, and is not sent
    if reasons := reasons_of(kind):
        # No ``enum``: clients must accept the reasons of later releases.
        data["properties"]["Reason"]["examples"] = reasons
    sequence = data["properties"]["Sequence"]
    sequence["type"] = "null" if kind is News.TEST else [sequence["type"], "null"]  # of a test
    return event


# -- how it is served --------------------------------------------------------------


class OpenApiJson(OpenApiJsonRenderer):
    format = "openapi"  # so that ?format=json gets plain JSON


RENDERERS: list[type[BaseRenderer]] = [
    OpenApiJson,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
]


class SchemaView(APIView):
    authentication_classes = []
    permission_classes = []
    renderer_classes = RENDERERS
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> HttpResponse:
        media_type = str(request.accepted_renderer.media_type)
        return HttpResponse(_written(media_type), content_type=media_type)


@cache
def _written(media_type: str) -> str | bytes:
    # Nothing in it changes while the process lives.
    renderer = next(renderer for renderer in RENDERERS if renderer.media_type == media_type)
    return renderer().render(document())


urlpatterns = [re_path(rf"^{any_case('schema')}/?$", SchemaView.as_view(), name="schema")]
