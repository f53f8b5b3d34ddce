"""``/schema/`` (P-14): valid, complete, and in step with the addresses and the tables."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from defusedxml.ElementTree import fromstring
from django.conf import LazySettings
from django.test import Client
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from optin.api import schema, serializers
from optin.api.answers import TOKEN_ERRORS, ApiError, TokenError
from optin.api.help import CALLS, Call
from optin.api.serializers import Model
from optin.models.files import MAX_FILE_ID

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = schema.document()
SCHEMAS = DOCUMENT["components"]["schemas"]
FOUR = {"application/json", "text/json", "application/xml", "text/xml"}
FORM = "application/x-www-form-urlencoded"
WAIT = timedelta(seconds=1)

each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.slug)


def operation(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/{call.path}"][call.method.lower()]
    return found


def names(schema: dict[str, Any]) -> str:
    """The model that a media type refers to."""
    reference: str = schema["schema"]["$ref"]
    assert reference.startswith("#/components/schemas/")
    return reference.rpartition("/")[2]


# -- as a whole --------------------------------------------------------------------


def test_it_is_valid_openapi_3_1() -> None:
    """P-14. Against the meta-schema, with each default and each reference looked at."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_is_about_this_version_of_this_service() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert DOCUMENT["info"]["version"] == project["version"]
    assert DOCUMENT["servers"] == [{"url": "https://2fa.example.com"}]


def test_its_operations_are_the_calls() -> None:
    described = [
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    ]
    operations = [DOCUMENT["paths"][path][method.lower()] for method, path in described]

    assert described == [(call.method, f"/{call.path}") for call in CALLS]
    assert len({each["operationId"] for each in operations}) == len(CALLS)


# -- the calls ---------------------------------------------------------------------


@each_call
def test_a_request_has_its_model_in_every_media_type(call: Call) -> None:
    """The body of opt-out-from-2fa may be empty, and that of a new secret."""
    body: Any = operation(call).get("requestBody")
    if call.request_model is None:
        assert body is None
        return

    assert set(body["content"]) == (FOUR | {FORM} if call.is_token_call else FOUR)
    assert {names(kind) for kind in body["content"].values()} == {call.request_model.model_name()}
    assert body.get("required", False) == (
        call.path not in {"User/opt-out-from-2fa", "endpoints/{EndpointId}/secret"}
    )
    assert all(kind["examples"] for kind in body["content"].values())


@each_call
def test_every_status_has_its_model_in_four_media_types(call: Call) -> None:
    responses = operation(call)["responses"]

    assert set(responses) == {"200", *(str(error.row.status) for error in call.errors)}
    for status, response in responses.items():
        model = call.response_model if status == "200" else call.refusal_model
        assert set(response["content"]) == FOUR
        assert {names(kind) for kind in response["content"].values()} == {model.__name__}
    assert all(kind["examples"] for kind in responses["200"]["content"].values())


@each_call
def test_every_error_is_told_under_its_status_and_nowhere_else(call: Call) -> None:
    told = {
        (int(status), code, meaning)
        for status, response in operation(call)["responses"].items()
        for code, meaning in re.findall(r"^- `(\w+)`: (.+)$", response["description"], re.M)
    }

    assert told == {(error.row.status, error.code, error.row.meaning) for error in call.errors}


@each_call
def test_a_call_takes_its_parameters_and_headers(call: Call) -> None:
    described = {p["name"]: p for p in operation(call).get("parameters", [])}

    own = {} if call.is_token_call else {"FileId": ("query", call.needs_file)}
    more = {
        "endpoints/{EndpointId}": {"EndpointId": ("path", True)},
        "endpoints/{EndpointId}/secret": {"EndpointId": ("path", True)},
        "events": {"after": ("query", False), "limit": ("query", False)},
        "User/opt-in-to-2fa": {
            "Client-Reference": ("header", False),
            "Idempotency-Key": ("header", False),
        },
        "User/opt-out-from-2fa": {"Idempotency-Key": ("header", False)},
    }
    assert {name: (p["in"], p.get("required", False)) for name, p in described.items()} == {
        **own,
        **more.get(call.path, {}),
    }
    for name in own:
        schema = described[name]["schema"]
        assert schema == {"type": "integer", "minimum": 1, "maximum": MAX_FILE_ID}


@each_call
def test_the_credentials_are_alternatives(call: Call) -> None:
    """A token or a key (docs/contract.md, section 3). A key manages no endpoints."""
    security = operation(call).get("security", [])
    taken = ["bearer", *([] if call.path.startswith("endpoints") else ["WsAccessKey"])]

    assert security == ([] if call.is_token_call else [{name: []} for name in taken])


def test_without_access_keys_a_token_is_the_only_way(settings: LazySettings) -> None:
    settings.LEGACY_ACCESS_KEYS = False

    found = schema.document()

    assert DOCUMENT["components"]["securitySchemes"].keys() == {"bearer", "WsAccessKey"}
    assert found["components"]["securitySchemes"].keys() == {"bearer"}
    assert found["paths"]["/User/opt-in-to-2fa"]["post"]["security"] == [{"bearer": []}]


def refusals(call: Call, status: str) -> list[ApiError]:
    """The refusals of *call* with *status*, as the views raise them."""
    found = [
        (TokenError if call.is_token_call and code in TOKEN_ERRORS else ApiError)(code)
        for code in call.codes
    ]
    for error in found:
        error.allow = call.method if error.status == 405 else ""
        error.retry_after = WAIT if error.status in {429, 503} else None
    return [error for error in found if str(error.status) == status]


@each_call
def test_the_headers_are_those_of_the_answers(call: Call) -> None:
    """S-61; one is required where every refusal of that status has it."""
    for status, response in operation(call)["responses"].items():
        headers = dict(response["headers"])
        assert headers.pop("X-Request-Id")["required"]
        if refusals(call, status):
            assert headers.pop("Link")["required"]
        sent = [set(error.headers) for error in refusals(call, status)] or [set()]
        required = {name for name, header in headers.items() if header.get("required")}

        assert required == set.intersection(*sent), status
        assert set(headers) >= set.union(*sent), status


# -- the models --------------------------------------------------------------------


PARTS = {"Link", "Event", "EventData", "SandboxText"}
"""Models inside of others."""
OBJECTS = [name for name in SCHEMAS if name != "Boolean"]


def model(name: str) -> type[Model]:
    found: type[Model] = getattr(serializers, name)
    return found


def test_every_model_of_the_calls_is_described() -> None:
    used = {
        kind
        for call in CALLS
        for kind in (call.request_model, call.response_model, call.refusal_model)
        if kind
    }

    assert set(SCHEMAS) == {kind.__name__ for kind in used} | PARTS
    assert SCHEMAS["Boolean"] == {"type": "boolean", "xml": {"name": "boolean"}}  # of ping
    # <_links><Link>...</Link></_links>: the items by the name of their model.
    links = SCHEMAS["BaseResponseModel"]["properties"]["_links"]
    assert links["xml"] == {"wrapped": True}
    assert links["items"] == {"$ref": "#/components/schemas/Link"}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_model_has_its_properties_and_its_name_in_xml(name: str) -> None:
    described, fields = SCHEMAS[name], model(name)().fields

    assert described["xml"] == {"name": name}
    assert set(described["properties"]) == set(fields)
    assert set(described.get("required", [])) == {n for n, f in fields.items() if f.required}
    for field, shown in described["properties"].items():
        assert shown["description"] == str(fields[field].help_text)


@pytest.mark.parametrize(
    ("name", "body", "taken"),
    [
        ("Verify2FAOptInRequest", {"ProviderUserId": 1, "Otp": "0123456"}, True),
        ("Verify2FAOptInRequest", {"ProviderUserId": 1, "Otp": " 012-345\u20116"}, True),
        ("Verify2FAOptInRequest", {"ProviderUserId": 1, "Otp": 123456}, False),
        ("Verify2FAOptInRequest", {"ProviderUserId": 2**31, "Otp": "0123456"}, False),
        ("Verify2FAOptInRequest", {"ProviderUserId": "01", "Otp": "0123456"}, False),
        ("Verify2FAOptInRequest", {"ProviderUserId": 1, "Otp": "0123456", "other": []}, True),
        ("Verify2FAOptInRequest", {"ProviderUserId": 1}, False),
        ("OptOutFrom2FARequest", {}, True),
        ("OptOutFrom2FARequest", {"Otp": None}, True),
        ("OptOutFrom2FARequest", {"Otp": ""}, True),
        ("OptInTo2FARequest", {"MobileNumber": ""}, False),
        ("OAuthRefreshAccessTokenRequest", {"grant_type": "password", "refresh_token": "x"}, False),
    ],
    ids=str,
)
def test_a_description_takes_what_the_serializer_takes(
    name: str, body: dict[str, Any], taken: bool
) -> None:
    described = Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})

    assert described.is_valid(body) == taken
    if "grant_type" not in body:  # which the view looks at
        assert model(name)(data=body).is_valid() == taken


# -- the examples ------------------------------------------------------------------


def examples() -> Iterator[Any]:
    """Each example: the media type, the model, the value."""
    for path, methods in DOCUMENT["paths"].items():
        for described in methods.values():
            for where in (
                described.get("requestBody", {"content": {}}),
                *described["responses"].values(),
            ):
                for media_type, kind in where["content"].items():
                    for name, example in kind.get("examples", {}).items():
                        yield path, name, media_type, names(kind), example["value"]


def test_every_example_is_one_of_its_model() -> None:
    roots = set()
    for path, name, media_type, kind, value in examples():
        where = (path, name, media_type)
        if media_type.endswith("xml"):
            root = fromstring(value)
            known = SCHEMAS[kind].get("properties", {})
            assert root.tag == SCHEMAS[kind]["xml"]["name"], where
            assert {child.tag for child in root} <= set(known), where
            roots.add(kind)
        elif kind == "Boolean":
            assert value is True
        else:
            assert value.keys() <= SCHEMAS[kind]["properties"].keys(), where
            assert value.keys() >= set(SCHEMAS[kind].get("required", [])), where

    assert roots == set(SCHEMAS) - PARTS


@each_call
def test_every_error_has_an_example_in_json_and_xml(call: Call) -> None:
    for media_type in ("application/json", "application/xml"):
        shown = {
            example.get("summary", name)
            for status, response in operation(call)["responses"].items()
            if status != "200"
            for name, example in response["content"][media_type]["examples"].items()
        }
        assert {code.lower() for code in shown} == {error.code for error in call.errors}


# -- how it is served --------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "media_type"),
    [
        ("", "application/vnd.oai.openapi+json"),
        ("?format=json", "application/json"),
        ("?format=yaml", "application/vnd.oai.openapi"),
    ],
)
def test_it_is_json_or_yaml(client: Client, query: str, media_type: str) -> None:
    response = client.get(f"/schema/{query}")

    assert (response.status_code, response["Content-Type"]) == (200, media_type)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where it is
    is_json = media_type.endswith("json")
    text = response.content
    assert (json.loads(text) if is_json else yaml.load(text, loader)) == DOCUMENT  # noqa: S506


@pytest.mark.parametrize("address", ["/schema", "/Schema/"])
def test_its_address_is_matched_as_the_others_are(client: Client, address: str) -> None:
    assert client.get(address).status_code == 200
    assert client.head(address).status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "accept", "status"),
    [
        ("GET", "/schema/?format=nonsense", "*/*", 404),
        ("GET", "/schema/", "image/png", 406),
        ("POST", "/schema/", "*/*", 405),
        ("BREW", "/schema/", "*/*", 405),
    ],
)
def test_nothing_that_is_asked_of_it_is_a_500(
    client: Client, method: str, address: str, accept: str, status: int
) -> None:
    response = client.generic(method, address, headers={"Accept": accept})

    assert response.status_code == status
