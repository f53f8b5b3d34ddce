"""What SCIM calls users and groups (RFC 7643): shapes, and filters as queries."""

import re
from dataclasses import replace
from functools import reduce
from operator import and_, or_
from typing import Annotated, Any

from django.db.models import Q, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    Context,
    ETag,
    ExtensibleStringEnum,
    External,
    Filter,
    InvalidFilterException,
    InvalidValueException,
    Mutability,
    Patch,
    PatchOp,
    Reference,
    Required,
    Resource,
    ResourceType,
    Returned,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    ValuePath,
)

from optin.api.parsers import fold
from optin.conf import conf
from optin.operations.provisioning import Group as GroupState
from optin.operations.provisioning import Profile

MAX_RESULTS = 200
"""Resources in one page, at most."""

ROOT = "/scim/v2"


class Email(ComplexAttribute):
    """The one address that a person has."""

    class Type(ExtensibleStringEnum):
        work = "work"

    value: Annotated[str | None, Required.true] = None
    type: Type | None = None


class Phone(ComplexAttribute):
    """A mobile number is proposed to the person on their opt-in page. Others are not kept."""

    class Type(ExtensibleStringEnum):
        mobile = "mobile"

    value: str | None = None
    type: Type | None = None


class User(Resource[Any]):
    """A person."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    active: Annotated[bool | None, Required.true] = None
    emails: list[Email] | None = None
    phone_numbers: Annotated[list[Phone] | None, Mutability.write_only, Returned.never] = None


class Member(ComplexAttribute):
    """A person in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference["User"] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )


class Group(Resource[Any]):
    """A file and its members."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    members: list[Member] | None = None


SERVICE = ScimProvider(
    [User, Group],
    [ResourceType.from_resource(User), ResourceType.from_resource(Group)],
    policy=ScimPolicy(
        # What is not kept is dropped: providers send names, titles and departments by default.
        unknown=ScimPolicy.Unknown.ignore,
        # As Entra ID does it.
        remove_value_as_filter=ScimPolicy.RemoveValue.apply,
        unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
    ),
)


def config() -> ServiceProviderConfig:
    return ServiceProviderConfig(
        documentation_uri=None,
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="OAuth Bearer Token",
                description="A token of the application, with the scope scim.",
                spec_uri=Reference[External]("https://www.rfc-editor.org/info/rfc6750"),
                primary=True,
            )
        ],
    )


def address(kind: str, pk: Any = "") -> str:
    return f"{conf.base_url}{ROOT}/{kind}" + (f"/{pk}" if pk else "")


# -- a person or a file, and its resource ------------------------------------------


def user(pk: int, profile: Profile) -> User:
    emails = [Email(value=profile.email, type=Email.Type.work)]
    return User(
        id=str(pk),
        external_id=profile.external_id or None,
        user_name=profile.username,
        active=profile.active,
        emails=emails if profile.email else None,
    )


def profile(sent: User) -> Profile:
    emails = [each for each in sent.emails or [] if each.value]
    # Only one is kept: that for work, else the first.
    chosen = next((each for each in emails if each.type == "work"), emails[0] if emails else None)
    return Profile(
        username=sent.user_name or "",
        email=(chosen.value or "") if chosen else "",
        external_id=sent.external_id or "",
        active=sent.active is not False,
        mobile=_mobile(sent),
    )


UNSAID = Phone()
"""Stands for what was proposed, which no provider is told, until a patch removes it."""


def _mobile(sent: User) -> str | None:
    if "phone_numbers" not in sent.model_fields_set:
        return None
    sent_ones = sent.phone_numbers or []
    mobiles = [each.value for each in sent_ones if each.type == "mobile" and each.value]
    return mobiles[0] if mobiles else None if UNSAID in sent_ones else ""


def patched_user(pk: int, state: Profile, data: dict[str, Any]) -> Profile:
    """:raises SCIMException: if *data* is no patch."""
    found = user(pk, state)
    found.phone_numbers = [UNSAID]
    patch = {**data, "Operations": [one for each in _operations(data) for one in _plain(each)]}
    sent = PatchOp[User].model_validate(patch, scim_ctx=Context.RESOURCE_PATCH_REQUEST)
    sent.patch(found)
    return profile(found)


def _operations(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of a patch, and take them out of *data*."""
    name = next((each for each in data if fold(each) == "operations"), "")
    found = data.pop(name, None)
    if not (isinstance(found, list) and found and all(isinstance(one, dict) for one in found)):
        raise InvalidValueException(detail="Operations must be a list of operations.")
    return [{fold(key): value for key, value in one.items()} for one in found]


def _plain(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Make an operation of each key in a value without a path that has a filter, or is members.

    Entra ID sends such keys, which the library leaves out.
    """
    value = one.get("value")
    if one.get("path") or not isinstance(value, dict):
        return [one]
    apart = [key for key in value if "[" in key or fold(key) == "members"]
    made = [{**one, "path": key, "value": value.pop(key)} for key in apart]
    return [*made, one] if value or not made else made


def group(pk: int, state: GroupState) -> Group:
    members = [
        Member(value=str(one), ref=Reference["User"](address("Users", one)))
        for one in sorted(state.members)
    ]
    return Group(
        id=str(pk),
        external_id=state.external_id or None,
        display_name=state.name,
        members=members or None,
    )


def group_state(sent: Group) -> GroupState:
    ids = frozenset(parse_id(each.value or "") for each in sent.members or [])
    return GroupState(sent.display_name or "", sent.external_id or "", ids)


_MEMBERS = re.compile(r'(?:urn:\S+:)?members(?:\[value eq "([^"]*)"\])?', re.ASCII | re.IGNORECASE)


def patched_group(pk: int, state: GroupState, data: dict[str, Any]) -> GroupState:
    """Apply what is about members here: in the library, that takes minutes for large groups.

    :raises SCIMException: if *data* is no patch.
    """
    members, others = set(state.members), []
    for one in [each for whole in _operations(data) for each in _plain(whole)]:
        found = _MEMBERS.fullmatch(str(one.get("path")))
        if found is None:
            others.append(one)
        else:
            members = _with_members(members, str(one.get("op")).lower(), found[1], one)
    left = group(pk, replace(state, members=frozenset()))
    if others:
        patch = {**data, "Operations": others}
        sent = PatchOp[Group].model_validate(patch, scim_ctx=Context.RESOURCE_PATCH_REQUEST)
        sent.patch(left)
    return replace(group_state(left), members=frozenset(members))


def _with_members(
    members: set[int], op: str, selected: str | None, one: dict[str, Any]
) -> set[int]:
    value = one.get("value")
    named = [value] if isinstance(value, dict) else value or []
    if not (isinstance(named, list) and all(isinstance(each, dict) for each in named)):
        raise InvalidValueException(detail="members must be a list of members.")
    ids = {parse_id(str(each.get("value"))) for each in named}
    if op == "remove":  # Entra ID has the members as the value
        gone = members if value is None else ids
        return members - (gone if selected is None else {parse_id(selected)})
    if selected is not None or op not in {"add", "replace"}:
        raise InvalidValueException(detail="Members can be added, replaced as a whole and removed.")
    return members | ids if op == "add" else ids


def parse_id(text: str) -> int:
    """Return the number that *text* is; 0, which nobody has, if it is none."""
    is_id = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_id else 0


# -- filters -----------------------------------------------------------------------

COLUMNS: dict[type[Resource[Any]], dict[str, str]] = {
    User: {
        "id": "pk",
        "username": "username",
        "externalid": "external__text",
        "emails": "email",
        "emails.value": "email",
        "active": "is_let_in",
    },
    Group: {"id": "pk", "displayname": "name", "externalid": "external_id"},
}


def condition(node: FilterNode, columns: dict[str, str]) -> Q:
    """Return the condition on rows that a filter is.

    :raises InvalidFilterException: for what is not cheap to look up.
    """
    if isinstance(node, LogicalExpr):
        join = and_ if node.op == LogicalOperator.and_ else or_
        return reduce(join, [condition(each, columns) for each in node.terms])
    if isinstance(node, ValuePath) and node.attr_path.attr.lower() == "emails":
        return condition(node.val_filter, {"value": "email", "type": "type"})
    if isinstance(node, Comparison):
        name = ".".join(filter(None, (node.attr_path.attr, node.attr_path.sub_attr)))
        if column := columns.get(name.lower()):
            return _compare(column, node.op, node.value)
    raise InvalidFilterException


def _compare(column: str, op: CompareOperator, value: Any) -> Q:
    if column == "type" and op == CompareOperator.eq:  # the one address is for work
        return ~Q(email="") if value == "work" else Q(pk=0)
    if isinstance(value, bool) and column == "is_let_in" and op == CompareOperator.eq:
        return Q(is_let_in=value)
    if isinstance(value, str) and column != "is_let_in" and value.isprintable():
        if op == CompareOperator.eq:
            return _equals(column, value)
        if op in _LOOKUPS and column in {"username", "email", "name"}:
            return Q(**{f"{column}__{_LOOKUPS[op]}": value})
    raise InvalidFilterException


_LOOKUPS = {CompareOperator.co: "icontains", CompareOperator.sw: "istartswith"}


def _equals(column: str, value: str) -> Q:
    if column == "pk":
        return Q(pk=parse_id(value))
    if column in {"external__text", "external_id"}:
        return Q(**{column: value})
    # As the unique indexes have it.
    return Q(Exact(Lower(column), Lower(Value(value))))
