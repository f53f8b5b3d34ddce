"""Whatever ``/schema/`` allows, and what it does not, sent to the service as it runs.

Schemathesis makes the requests and looks at the answers: no 5xx, the statuses, media
types, headers and bodies that are described, and no others. What XML says is looked at
here.
"""

import copy
import json
import re
from collections import Counter
from collections.abc import Collection
from functools import partial
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

import pytest
import requests
import schemathesis
from defusedxml.ElementTree import fromstring
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from optin.api.schema import document
from tests.schema.served import Served

CONFIG = schemathesis.Config.from_dict(
    {
        # A refusal of any kind will do: what is too long may be a body that is too large.
        "checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}},
        # Nothing takes a NUL, and a pattern in each text that says so would be hard to read.
        "generation": {"allow-x00": False},
    }
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
DOCUMENT = document()
PATHS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
JSON = ("application/json", "text/json")
XML = ("application/xml", "text/xml")
FORM = ("application/x-www-form-urlencoded",)
# Without Accept, requests says */*, and the answer has the type of the body.
ACCEPT = st.sampled_from([None, *JSON, *XML])


def bodies_of(path: str, method: str) -> dict[str, Any]:
    """Return what is said of the request's body, by media type."""
    content: dict[str, Any] = (
        DOCUMENT["paths"][path][method].get("requestBody", {}).get("content", {})
    )
    return content


def only(path: str, method: str, media_types: Collection[str]) -> Any:
    """Return the operation as Schemathesis has it, with bodies of these media types."""
    described = copy.deepcopy(DOCUMENT)
    operation = described["paths"][path][method]
    described["paths"] = {path: {method: operation}}
    content = operation.get("requestBody", {}).get("content", {})
    for media_type in list(content):
        content[media_type].pop("examples")  # those of XML are written out already
        if media_type not in media_types:
            del content[media_type]
    return schemathesis.openapi.from_dict(described, config=CONFIG)[path][method]


def known(served: Served, path: str) -> Any:
    """A strategy for bodies with values that lead further than random ones."""
    code = st.just(served.code) | st.sampled_from(["", "0000000", " 123-4567", "12345678", "A1"])
    own = st.just(served.provider_user_id) | st.sampled_from(["1", 2147483647])
    ann = served.people["ann"]
    account = {
        "grant_type": st.just("password"),
        "username": st.just(ann["username"]),
        "password": st.just(ann["password"]),
    }
    scope = {"scope": st.sampled_from(["", "full", "2fa fileid:777", "fileid:888"])}
    numbers = ["0491 570 156", "+61 491 570 157", "+1 202 555 0123", "0491"]
    bodies: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "/User/opt-in-to-2fa": ({"MobileNumber": st.sampled_from(numbers)}, {}),
        "/User/verify-2fa-opt-in": ({"ProviderUserId": own, "Otp": code}, {}),
        "/User/opt-out-from-2fa": ({}, {"Otp": code}),
        "/authorisation/token": (account, scope),
        "/authorisation/token-2fa": (account, {**scope, "verification_code": code}),
        "/authorisation/refresh": (
            {
                "grant_type": st.just("refresh_token"),
                "refresh_token": st.sampled_from(served.refresh_tokens),
            },
            scope,
        ),
    }
    required, optional = bodies.get(path, ({}, {}))
    return st.fixed_dictionaries(required, optional=optional)


def plain(path: str, method: str, case: Case[Any]) -> Case[Any]:
    """Keep what the description names; JSON Schema takes 1.0 for an integer, the service does not.

    Among other properties are names that differ only in case. What an address may be, no short
    pattern says.
    """
    if isinstance(case.body, dict):
        (model,) = {kind["schema"]["$ref"] for kind in bodies_of(path, method).values()}
        names = DOCUMENT["components"]["schemas"][model.rpartition("/")[2]]["properties"]
        case.body = {
            name: int(value) if isinstance(value, float) else value
            for name, value in case.body.items()
            if name in names
        }
        if "Url" in case.body:
            case.body["Url"] = "https://hooks.example.com/"
    return case


def requests_to(served: Served, path: str, method: str, operation: Any) -> Any:
    """A strategy for requests: as described or not, by somebody or by anybody.

    With each comes whether it is as described.
    """
    bearer = {"Authorization": f"Bearer {served.token}"}

    def by_key(case: Case[Any]) -> Case[Any]:
        case.headers.pop("Authorization", None)
        case.query = {**case.query, **served.query}
        return case

    def by_token(case: Case[Any]) -> Case[Any]:
        case.headers.update(bearer)
        case.query = {"FileId": 777}
        return case

    def with_body(request: tuple[Case[Any], dict[str, Any]]) -> Case[Any]:
        case, body = request
        if operation.body:
            case.body = body
        return case

    described = operation.as_strategy().map(partial(plain, path, method))
    strange = operation.as_strategy(GenerationMode.NEGATIVE, query=served.query)
    identified = described.map(by_key) | described.map(by_token)
    further = st.tuples(identified, known(served, path)).map(with_body)
    as_described = st.one_of(described, identified)
    others = st.one_of(
        operation.as_strategy(GenerationMode.NEGATIVE), strange.map(by_key), further, further
    )
    return st.tuples(as_described, st.just(True)) | st.tuples(others, st.just(False))


def data_of(element: Element, schema: dict[str, Any]) -> Any:
    """Return what *element* says, read by the names for XML that *schema* has."""
    xml = schema.get("xml", {})
    (schema,) = schema.get("allOf", [schema])
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema["type"] == "object":
        assert element.tag == (xml or schema["xml"])["name"]
        assert len({child.tag for child in element}) == len(element)
        return {child.tag: data_of(child, schema["properties"][child.tag]) for child in element}
    if schema["type"] == "array":
        assert schema["xml"]["wrapped"]
        return [data_of(child, schema["items"]) for child in element]
    assert len(element) == 0
    text = element.text or ""
    kinds = {schema["type"]} if isinstance(schema["type"], str) else {*schema["type"]}
    return json.loads(text) if kinds & {"integer", "boolean"} else text


def check_xml(path: str, method: str, answer: Response) -> None:
    responses = DOCUMENT["paths"][path][method]["responses"]
    media_type = answer.headers["content-type"][0].partition(";")[0]
    schema = responses[str(answer.status_code)]["content"][media_type]["schema"]
    body = data_of(fromstring(answer.content), schema)
    Draft202012Validator({**DOCUMENT, **schema}).validate(body)


def explore(served: Served, path: str, method: str, media_types: Collection[str], n: int) -> Any:
    """Send *n* requests, and return how often each status was the answer."""
    operation = only(path, method, media_types)
    statuses: Counter[int] = Counter()
    keys = set()

    @settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        # As found: each step of making it smaller would be another request.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests_to(served, path, method, operation), accept=ACCEPT)
    def run(request: tuple[Case[Any], bool], accept: str | None) -> None:
        case, is_as_described = request
        key = case.headers.get("Idempotency-Key")
        if is_as_described and key and key in keys:
            del case.headers["Idempotency-Key"]  # with another body it would be refused
        keys.add(key)
        response = case.call(
            base_url=served.base_url, headers={"Accept": accept} if accept else None, timeout=30
        )
        if response.status_code == 414:
            return  # of gunicorn: the line is too long, and no call saw it
        case.validate_response(response, checks=CHECKS)
        # The check of Schemathesis looks at the status only, and a wrong code is a 400 too. In XML
        # it writes "null", and in forms a list, as nobody would.
        is_taken = not is_as_described or media_types != JSON
        assert is_taken or "invalid_request" not in response.text, case.as_curl_command()
        answered = response.headers["content-type"][0].partition(";")[0]
        assert answered == accept or accept is None
        if answered.endswith("xml"):
            check_xml(path, method, response)
        statuses[response.status_code] += 1

    run()
    print(path, media_types, dict(statuses))
    return statuses


@pytest.mark.slow
def test_what_is_served_is_what_is_looked_at_here(served: Served) -> None:
    answer = requests.get(f"{served.base_url}/schema/?format=json", timeout=30)

    assert answer.headers["Content-Type"] == "application/json"
    here = json.dumps(DOCUMENT).replace(DOCUMENT["servers"][0]["url"], served.base_url)
    assert answer.json() == json.loads(here)


REACHED = {
    "/User/opt-in-to-2fa": {200, 400, 401},
    "/User/verify-2fa-opt-in": {200, 400, 401, 409},
    "/User/opt-out-from-2fa": {400, 401, 409},
    "/authorisation/token": {200, 400},
    "/authorisation/token-2fa": {200, 400},
    "/authorisation/refresh": {200, 400},
    "/authorisation/ping": {200, 401},
    "/events": {200, 400, 401},
    "/sandbox/texts": {401, 404},
    "/endpoints": {401, 403},
    "/endpoints/{EndpointId}": {401, 403, 404},
    "/endpoints/{EndpointId}/secret": {401, 403, 404},
}
"""What the requests get as an answer, at least: they do not all end at the door."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, method in PATHS if bodies_of(path, method)]
)
def test_the_service_takes_the_examples(served: Served, path: str, method: str) -> None:
    served.reset()
    refused = {"invalid_request", "mobile_number_invalid", "region_not_allowed", "invalid_scope"}
    refused |= {"unsupported_grant_type", "unsupported_media_type"}
    for media_type, content in bodies_of(path, method).items():
        for example in content["examples"].values():
            value = example["value"]
            if media_type in FORM:
                value = urlencode(value)
            elif media_type in JSON:
                value = json.dumps(value)
            answer = requests.request(
                method,
                f"{served.base_url}{path}",
                data=value,
                params={} if path.startswith("/authorisation/") else served.query,
                headers={"Content-Type": media_type, "Accept": "application/json"},
                timeout=30,
            )
            assert not {*re.findall(r"\w+", answer.text)} & refused, answer.text


MEDIA_TYPES = {"JSON": JSON, "XML": XML, "form": FORM}
EXPLORATIONS = [
    pytest.param(path, method, media_types, id=f"{path} {name}")
    for path, method in PATHS
    for name, media_types in MEDIA_TYPES.items()
    if set(media_types) <= set(bodies_of(path, method) or JSON)
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method", "media_types"), EXPLORATIONS)
def test_many_requests_to_each_call(
    served: Served, path: str, method: str, media_types: Collection[str]
) -> None:
    served.reset()
    served.lead_up_to(path)

    statuses = explore(served, path, method, media_types, 200)

    assert set(statuses) >= REACHED[path]
