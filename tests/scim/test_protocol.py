"""SCIM as RFC 7644 has it: pages, attributes, errors; nothing gives a 500."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from pytest_django import Settings

from optin.conf import Rate
from optin.models import File, User
from tests.kit.people import make_user
from tests.kit.scim import Provider, make_provider, patch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def every(db: None) -> Provider:
    return make_provider()


def test_pages(file: File, every: Provider) -> None:
    for n in range(5):
        make_user(f"p{n}", file)

    def page(query: str) -> tuple[Any, ...]:
        found = every.send("GET", f"/Users?{query}").json
        names = [each["userName"] for each in found["Resources"]]
        return found["totalResults"], found["startIndex"], found["itemsPerPage"], names

    assert page("startIndex=2&count=2") == (5, 2, 2, ["p1", "p2"])
    assert page("startIndex=-3&count=1&sortBy=userName") == (5, 1, 1, ["p0"])
    assert page("count=0") == (5, 1, 0, [])
    assert page("startIndex=99999999999999999999")[2:] == (0, [])
    assert page("count=99999999999999999999")[2] == 5
    urn = "urn:ietf:params:scim:schemas:core:2.0:User"
    assert page("filter=" + quote(f'{urn}:userName eq "p3"'))[3] == ["p3"]
    text = quote('userName co "3" or userName sw "P4"')
    assert page(f"filter={text}")[3] == ["p3", "p4"]


def test_attributes(user: User, every: Provider) -> None:
    path = f"/Users/{user.pk}"
    assert every.send("GET", f"{path}?attributes=userName").json.keys() == {
        *("schemas", "id", "userName")
    }
    assert "emails" not in every.send("GET", f"{path}?excludedAttributes=emails,active").json
    listed = every.send("GET", "/Groups?excludedAttributes=members").json
    assert "members" not in listed["Resources"][0]
    assert every.send("GET", f"{path}?attributes=id&excludedAttributes=id").status == 400


def test_what_the_service_is(every: Provider) -> None:
    config = every.send("GET", "/ServiceProviderConfig").json
    supported = {name: each["supported"] for name, each in config.items() if "supported" in each}
    assert supported == {
        **dict.fromkeys(("patch", "filter"), True),
        **dict.fromkeys(("bulk", "changePassword", "sort", "etag"), False),
    }
    assert every.send("GET", "/ResourceTypes/User").json["endpoint"] == "/Users"
    schema = "urn:ietf:params:scim:schemas:core:2.0:User"
    assert every.send("GET", f"/Schemas/{schema}").json["id"] == schema
    assert every.send("GET", "/Schemas?filter=id%20pr").status == 403


def test_too_many_requests(every: Provider, settings: Settings) -> None:
    settings.OPTIN_REQUESTS_PER_NETWORK = (Rate(1, 60),)
    assert every.send("GET", "/Users").status == 200
    refused = every.send("GET", "/Users")
    assert (refused.status, refused.json["status"]) == (429, "429")
    assert int(refused.headers["Retry-After"]) <= 60


Refusal = tuple[tuple[Any, ...], int, str | None]


def unfit(*call: Any) -> Refusal:
    return call, 400, "invalidValue"


def unfit_patch(kind: str, **operation: Any) -> Refusal:
    return ("PATCH", "/Users/{id}", patch(operation)), 400, kind


REFUSED: dict[str, Refusal] = {
    "no address": (("GET", "/Nothing"), 404, None),
    "the address that a provider asks for": (("GET", "/"), 404, None),
    "no id": (("GET", "/Users/" + "9" * 40), 404, None),
    "an odd id": (("GET", "/Users/%00"), 404, None),
    "an id in other digits": (("GET", "/Users/%D9%A1"), 404, None),
    "no method": (("DELETE", "/Users"), 405, None),
    "searches": (("POST", "/.search", {}), 501, None),
    "bulk": (("POST", "/Bulk", {}), 404, None),
    "no JSON": (("POST", "/Users", "{"), 400, None),
    "a list": (("POST", "/Users", "[]"), 400, None),
    "null": unfit("POST", "/Users", "null"),
    "two of a name": (("POST", "/Users", '{"userName":"a","username":"b"}'), 400, None),
    "deep": (("POST", "/Users", "[" * 9000), 400, None),
    "deep inside": (("POST", "/Users", '{"a":' * 99 + "1" + "}" * 99), 400, None),
    "a NUL": (("POST", "/Users", {"userName": "a\0b"}), 400, None),
    "a surrogate": (("POST", "/Users", '{"userName":"a\\ud800"}'), 400, None),
    "too large": (("POST", "/Users", {"userName": "a" * 20_000}), 413, None),
    "another type": (("POST", "/Users", "<a/>", "text/xml"), 415, None),
    "no name": unfit("POST", "/Users", {}),
    "an empty name": unfit("POST", "/Users", {"userName": ""}),
    "a long name": unfit("POST", "/Users", {"userName": "a" * 200}),
    "the name of an erased person": unfit(
        "PUT", "/Users/{id}", {"userName": "erased-{id}-ann", "active": False}
    ),
    "a name that is no text": unfit("POST", "/Users", {"userName": {"a": 1}}),
    "a long external id": unfit("POST", "/Users", {"userName": "zoe", "externalId": "a" * 300}),
    "an external id of two lines": unfit(
        "POST", "/Users", {"userName": "zoe", "externalId": "a\nb"}
    ),
    "a blank external id": unfit("POST", "/Users", {"userName": "zoe", "externalId": " "}),
    "a group without a name": unfit("POST", "/Groups", {"displayName": ""}),
    "a group that reads as another": unfit("POST", "/Groups", {"displayName": "a\u202eb"}),
    "a long group": unfit("POST", "/Groups", {"displayName": "a" * 300}),
    "nobody in a group": unfit(
        "POST", "/Groups", {"displayName": "a", "members": [{"value": "x"}]}
    ),
    "no operations": (("PATCH", "/Users/{id}", {}), 400, "invalidValue"),
    "no operation": unfit_patch("invalidValue", op="move"),
    "operations that are none": (("PATCH", "/Users/{id}", patch(1, None)), 400, "invalidValue"),
    "a path that is none": unfit_patch("invalidPath", op="add", path="[[", value=1),
    "the id": unfit_patch("mutability", op="replace", path="id", value="1"),
    "without a name": unfit_patch("mutability", op="remove", path="userName"),
    "without a target": unfit_patch("noTarget", op="remove"),
    "an active that is none": unfit_patch(
        "invalidValue", op="replace", path="active", value="maybe"
    ),
    "a count that is none": unfit("GET", "/Users?count=x"),
    "a cursor": unfit("GET", "/Users?count=1&cursor=a"),
    "an empty cursor": unfit("GET", "/Groups?cursor="),
    "an address in the network of the service": unfit(
        "POST", "/Users", {"userName": "zoe", "emails": [{"value": "zoe@[127.0.0.1]"}]}
    ),
    "a parameter twice": (("GET", "/Users?count=1&count=2"), 400, None),
}
FILTERS = [
    *('userName eq "a', "userName", "eq", 'userName xx "a"', 'password eq "a"', "active eq 1"),
    *('userName gt "a"', "userName pr", 'not (userName eq "a")', 'userName ne "a"', "id gt 1"),
    *('emails[type eq "work"', 'emails[foo eq "a"]', 'externalId co "a"', 'userName eq "\\u0000"'),
    *('userName eq "\\ud800"', 'emails co "\\udfff"', 'externalId eq "\\ud800"'),
    *('active co "t"', "userName eq null", 'meta.created eq "x"', 'members eq "1"'),
    *("(" * 1500, "not (" * 700 + 'userName eq "a"' + ")" * 700),
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_an_error_of_scim(name: str, user: User, every: Provider) -> None:
    (method, path, *rest), status, kind = REFUSED[name]
    rest = json.loads(json.dumps(rest).replace("{id}", str(user.pk)))
    answer = every.send(method, path.replace("{id}", str(user.pk)), *rest)
    assert (answer.status, answer.json.get("scimType")) == (status, kind), answer.text
    assert answer.json["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert answer.json["status"] == str(status)
    assert "pydantic" not in answer.text
    if path in {"/", "/Nothing"}:
        assert "Users, Groups, ServiceProviderConfig" in answer.json["detail"]
    assert answer.headers["Content-Type"] == "application/scim+json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    if status == 405:
        assert answer.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_that_is_none_or_too_dear(text: str, user: User, every: Provider) -> None:
    answer = every.send("GET", f"/Users?filter={quote(text)}")
    assert (answer.status, answer.json["scimType"]) == (400, "invalidFilter")
    assert "eq of id, userName" in answer.json["detail"]


def test_a_foreign_host_is_told_in_the_same_words(every: Provider) -> None:
    answer = every.send("GET", "/Users", Host="evil.example")
    assert (answer.status, answer.json["status"]) == (400, "400")


def test_json_of_any_kind_is_taken(every: Provider) -> None:
    for name, kind in (("a", "application/json"), ("b", "application/scim+json; charset=utf-8")):
        assert every.send("POST", "/Users", {"userName": name}, kind).status == 201
