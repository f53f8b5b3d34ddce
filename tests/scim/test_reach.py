"""Whom an application reaches by SCIM: credentials x addresses, and people x calls (S-33, S-67)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin.api import scim
from optin.api.scim import NotFound
from optin.models import ExternalId, File, Membership, ScimClient, User
from optin.operations import erasure, tenants
from tests.kit.clients import Api, bearer
from tests.kit.people import make_user
from tests.kit.scim import OPERATOR, Provider, make_provider, patch

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = {
    "scim-config": "/ServiceProviderConfig",
    "scim-resource-types": "/ResourceTypes",
    "scim-schemas": "/Schemas",
    "scim-users": "/Users",
    "scim-user": "/Users/1",
    "scim-groups": "/Groups",
    "scim-group": "/Groups/777",
}


def test_every_address_was_decided_about() -> None:
    """S-33."""
    views = [each for each in scim.urlpatterns if getattr(each.callback, "cls", None) != NotFound]
    assert {str(each.name) for each in views} == ADDRESSES.keys()


# -- credentials -------------------------------------------------------------------


def token(scope: str, provider: Provider, **fields: Any) -> str:
    now = timezone.now()
    AccessToken.objects.create(
        **{
            "application": provider.application,
            "token": f"a token {scope}",
            "scope": scope,
            "expires": now + timedelta(hours=1),
            **fields,
        }
    )
    return f"a token {scope}"


Credential = Callable[[Provider, User], str]

REFUSED: dict[str, Credential] = {
    "nothing": lambda p, u: "",
    "no token": lambda p, u: "x",
    "a token of a person": lambda p, u: bearer(u, "full"),
    "a token of a person, with the scope": lambda p, u: token("scim", p, user=u),
    "a token of the application, for calls": lambda p, u: token("2fa", p),
    "one narrowed to a file": lambda p, u: token("scim fileid:777", p),
    "one with more scopes": lambda p, u: token("scim full", p),
    "an expired one": lambda p, u: token("scim", p, expires=timezone.now()),
    "one for another server": lambda p, u: token("scim", p, resource=["https://o.example"]),
    "one of an application that may not": lambda p, u: ended(p),
    "one whose file is closed": lambda p, u: closed(p),
}


def ended(provider: Provider) -> str:
    ScimClient.objects.all().delete()
    return provider.token


def closed(provider: Provider) -> str:
    File.objects.update(active=False)
    return provider.token


@pytest.mark.parametrize("name", REFUSED)
def test_only_a_token_of_an_application_for_scim_is_let_in(
    name: str, user: User, file: File
) -> None:
    """S-67."""
    provider = make_provider(file)
    other = Provider(provider.application, REFUSED[name](provider, user))
    for path in [*ADDRESSES.values(), "/Nothing"]:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = other.send(method, path, {})
            assert answer.status == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="api"')
            assert answer.json["status"] == "401"
            assert answer.headers["Content-Type"].startswith("application/scim+json")


def test_its_token_works_nowhere_else(user: User, file: File) -> None:
    """S-67."""
    api = Api(token=make_provider(file).token)
    assert api.ping().status == 401
    assert api.opt_in("+61491570156").status == 401
    assert api.send("GET", "/events", query="FileId=777").status == 401


def test_a_revoked_token_is_let_in_no_more(file: File) -> None:
    provider = make_provider(file)
    assert provider.send("GET", "/Users").status == 200
    tenants.end_scim_tokens(provider.application, origin=OPERATOR)
    assert provider.send("GET", "/Users").status == 401


# -- people ------------------------------------------------------------------------


@pytest.fixture
def people(file: File, other_file: File) -> dict[str, User]:
    """One of each kind: the first two are of ``file``."""
    sandbox = File.objects.create(id=900, name="Sandbox", is_sandbox=True)
    found = {
        "own": make_user("own", file),
        "shared": make_user("shared", file, other_file),
        "foreign": make_user("foreign", other_file),
        "in no file": make_user("none"),
        "left": make_user("left", file, other_file),
        "staff": make_user("staff", file, other_file),
        "superuser": make_user("superuser", file, other_file),
        "test account": make_user("tester", sandbox),
        "erased": make_user("erased", file, other_file),
    }
    User.objects.filter(username="tester").update(is_test=True)
    User.objects.filter(username="staff").update(is_staff=True)
    User.objects.filter(username="superuser").update(is_superuser=True)
    Membership.objects.filter(user=found["left"], file=file).update(active=False)
    erasure.erase(found["erased"], reason="asked", origin=OPERATOR)
    for name, each in found.items():
        ExternalId.objects.create(user=each, text=f"id of {name}")
        each.refresh_from_db()
    return found


SEEN = {
    "one file": {"own", "shared"},
    "all files": {"own", "shared", "foreign", "in no file", "left"},
}


def rows() -> list[Any]:
    names = ("username", "email", "is_active", "is_staff", "password", "session_epoch")
    return [
        *User.objects.order_by("pk").values_list(*names),
        *Membership.objects.order_by("pk").values_list("user", "file", "active"),
        *ExternalId.objects.order_by("pk").values_list("user", "text"),
        *File.objects.order_by("pk").values_list("name", "active"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("reach", SEEN)
def test_it_sees_and_changes_only_its_people(
    reach: str, people: dict[str, User], file: File
) -> None:
    """S-67: the same in each call, filter, count and member."""
    provider = make_provider(file if reach == "one file" else None)
    before = rows()
    for name, person in people.items():
        is_seen, path = name in SEEN[reach], f"/Users/{person.pk}"
        assert provider.send("GET", path).status == (200 if is_seen else 404), name
        asked = [f'id eq "{person.pk}"', f'userName eq "{person.username}"']
        asked += [f'externalId eq "id of {name}"', f'active eq true and id eq "{person.pk}"']
        asked += [f'emails.value sw "{person.email}"'] * bool(person.email)
        for text in asked:
            answer = provider.send("GET", f"/Users?filter={quote(text)}")
            assert answer.json["totalResults"] == is_seen, (name, text)
        if is_seen:
            continue
        changes = patch({"op": "replace", "value": {"active": False}})
        for method, body in (("PUT", {"userName": "x"}), ("PATCH", changes), ("DELETE", None)):
            answer = provider.send(method, path, body)
            assert answer.status == 404, (name, method)
            assert answer.json["detail"] == "There is nothing here."
        for op in ("add", "replace"):
            add = patch({"op": op, "path": "members", "value": [{"value": str(person.pk)}]})
            answer = provider.send("PATCH", f"/Groups/{file.pk}", add)
            assert answer.status == 400, name
    listed = provider.send("GET", "/Users").json
    ids = {str(people[name].pk) for name in SEEN[reach]}
    assert {each["id"] for each in listed["Resources"]} == ids
    assert listed["totalResults"] == len(ids)
    group = provider.send("GET", f"/Groups/{file.pk}").json
    assert {each["value"] for each in group["members"]} == {
        str(people[name].pk) for name in ("own", "shared")
    }
    assert rows() == before


def test_it_sees_and_changes_only_its_file(file: File, other_file: File) -> None:
    """S-67."""
    closed = File.objects.create(id=555, name="Closed", active=False)
    sandbox = File.objects.create(id=900, name="Sandbox", is_sandbox=True)
    one, every = make_provider(file), make_provider(None, "every")
    changes = patch({"op": "replace", "path": "displayName", "value": "x"})
    before = rows()
    for provider, hidden in ((one, [other_file, closed, sandbox]), (every, [closed, sandbox])):
        for each in hidden:
            path = f"/Groups/{each.pk}"
            assert provider.send("GET", path).status == 404
            assert provider.send("PATCH", path, changes).status == 404
            assert provider.send("PUT", path, {"displayName": "x"}).status == 404
            assert provider.send("DELETE", path).status == (403 if provider == one else 404)
            found = provider.send("GET", f"/Groups?filter=displayName%20eq%20%22{each.name}%22")
            assert found.json["totalResults"] == 0
    assert [each["id"] for each in one.send("GET", "/Groups").json["Resources"]] == ["777"]
    assert one.send("PATCH", "/Groups/777", changes).status == 403
    assert one.send("POST", "/Groups", {"displayName": "x"}).status == 403
    assert one.send("DELETE", "/Groups/777").status == 403
    assert rows() == before
