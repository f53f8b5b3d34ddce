"""SCIM 2.0 (RFC 7644): identity providers keep people and memberships up to date.

``scim_resources`` has the shapes, ``operations.provisioning`` decides what an application may do.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import re_path
from pydantic import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from scim2_models import (
    Context,
    Error,
    ListResponse,
    Meta,
    NotImplementedException,
    PatchOp,
    PreconditionFailedException,
    Resource,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)

from optin import errors
from optin.api import parsers, scim_resources
from optin.api.answers import ApiError, Body
from optin.api.credentials import find_provider
from optin.api.renderers import media_type
from optin.api.scim_resources import COLUMNS, MAX_RESULTS, SERVICE, Group, User
from optin.api.views import Call, error_of, once, query_of
from optin.operations import provisioning
from optin.operations.provisioning import Provider
from optin.origin import Origin
from optin.runtime import logs, throttle

MEDIA_TYPE = "application/scim+json"

DEFAULT_COUNT = 100
"""Resources in one page, if the client does not say."""

_MOST = 10**9

_REFUSED: dict[type[errors.Refusal], tuple[int, str | None]] = {
    errors.NotThere: (404, None),
    errors.Taken: (409, "uniqueness"),
    errors.Unfit: (400, "invalidValue"),
    errors.Barred: (403, None),
    errors.FileIdTaken: (409, "uniqueness"),
}


class Renderer(BaseRenderer):
    media_type = MEDIA_TYPE
    format = "scim"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else json.dumps(data).encode()


def error_body(error: ApiError) -> Body:
    return _body(error.status, None, error.message)


def _body(status: int, scim_type: str | None, detail: str | None) -> Body:
    return Body("Error", Error(status=status, scim_type=scim_type, detail=detail).model_dump())


class ScimCall(Call):
    """One address of SCIM, for an application by a token of its own."""

    renderer_classes = [Renderer]
    # Set by initial, before any handler runs.
    provider: Provider
    query: dict[str, str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer, request.accepted_media_type = Renderer(), MEDIA_TYPE
        self.body = parsers.read_body(request._request)
        client = find_provider(request.META)
        name = f"app:{client.pk}"
        logs.add(client=name)
        self.provider = Provider(client, Origin.of(self.face, request.META, client=name))
        if wait := throttle.hit_client(client.pk):
            raise ApiError("throttled", retry_after=wait)
        if str(request.method).lower() not in self.http_method_names:
            raise ApiError("method_not_allowed", allow=", ".join(self.allowed_methods))
        query = query_of(request.META)
        self.query = {name: once(query, name) for name in query}

    def payload(self) -> dict[str, Any]:
        """Return the body.

        :raises ApiError: 415 or 400.
        """
        content_type = self.request.META.get("CONTENT_TYPE", "")
        if media_type(content_type) not in {MEDIA_TYPE, "application/json"}:
            raise ApiError("unsupported_media_type", "Send application/scim+json.")
        if self.body is None:
            raise ApiError("invalid_request", "The body could not be read.")
        try:
            return parsers.read_json(self.body, content_type)
        except parsers.MalformedBody as exc:
            raise ApiError("invalid_request", str(exc)) from None

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ValidationError):
            [found, *_] = Error.from_validation_errors(exc)
            status, kind, detail = found.status or 400, found.scim_type, found.detail
        elif isinstance(exc, SCIMException):
            status, kind, detail = exc.status, exc.scim_type or None, str(exc)
        elif isinstance(exc, errors.Refusal) and type(exc) in _REFUSED:
            (status, kind), detail = _REFUSED[type(exc)], str(exc)
        else:
            answer = super().handle_exception(exc)
            return Response(error_body(error_of(exc)), answer.status_code, headers=answer.headers)
        logs.add(code=kind or str(status))
        return Response(_body(status, kind, detail), status)


class NotFound(ScimCall):
    """Any address below ``/scim/`` that is none of SCIM."""

    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise ApiError("not_found")

    head = put = patch = delete = get

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if request.path_info.rstrip("/").endswith("/.search"):
            raise NotImplementedException
        raise ApiError("not_found")


# -- what the service is -----------------------------------------------------------


class Discovery(ScimCall):
    """Not filtered (RFC 7644, section 4)."""

    http_method_names = ["get", "head"]

    def get(self, request: Request, key: str = "") -> Response:
        if "filter" in self.query:
            raise ApiError("file_access_denied", "These cannot be filtered.")
        found = self.resources()
        if key:
            found = [each for each in found if each.id == key]
            if not found:
                raise errors.NotThere
            return Response(_dump(found[0]))
        return Response(_dump_list(found, len(found), 1))

    def resources(self) -> list[Resource[Any]]:
        raise NotImplementedError


class ConfigView(Discovery):
    def get(self, request: Request, key: str = "") -> Response:
        found = scim_resources.config()
        found.meta = Meta(
            resource_type="ServiceProviderConfig",
            location=scim_resources.address("ServiceProviderConfig"),
        )
        return Response(_dump(found))


class ResourceTypes(Discovery):
    def resources(self) -> list[Resource[Any]]:
        return [_placed(each, "ResourceTypes") for each in SERVICE.resource_types]


class Schemas(Discovery):
    def resources(self) -> list[Resource[Any]]:
        return [_placed(each, "Schemas") for each in SERVICE.schemas]


def _placed(found: Resource[Any], kind: str) -> Resource[Any]:
    meta = Meta(
        resource_type=kind.removesuffix("s"), location=scim_resources.address(kind, found.id)
    )
    return found.model_copy(update={"meta": meta})


# -- people and groups -------------------------------------------------------------


class Kept(ScimCall):
    """People or groups: all of them, or one."""

    model: type[Resource[Any]]
    kind: str

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with SERVICE:
            return super().dispatch(request, *args, **kwargs)

    # What people and groups do in their own way.

    def rows(self) -> Any:
        """Return the rows that the application sees."""
        raise NotImplementedError

    def state_of(self, row: Any) -> Any:
        raise NotImplementedError

    def shown(self, pk: int, state: Any) -> Any:
        """Return the resource of a state."""
        raise NotImplementedError

    def state(self, sent: Any) -> Any:
        """Return the state that a resource asks for."""
        raise NotImplementedError

    # What they have in common.

    def parameters(self, shape: Any) -> Any:
        return shape[self.model].model_validate(self.query)

    def resource(self, row: Any) -> Any:
        found = self.shown(row.pk, self.state_of(row))
        found.meta = Meta(
            resource_type=self.model.__name__,
            location=scim_resources.address(self.kind, row.pk),
            version=_version(found),
        )
        return found

    def read(self, current: Any = None) -> Any:
        """Return the resource in the body.

        What it leaves out stays as it is in *current*, or is the default of a new one.
        """
        context = Context.RESOURCE_CREATION_REQUEST
        data, filled = self.payload(), {}
        if self.model is User:
            filled["active"] = True
        if current:
            context = Context.RESOURCE_REPLACEMENT_REQUEST
            filled = {
                name: value for name, value in current.model_dump().items() if value is not None
            }
        given = {parsers.fold(name) for name in data}
        data |= {name: value for name, value in filled.items() if parsers.fold(name) not in given}
        return self.model.model_validate(data, scim_ctx=context)

    def answer(self, pk: int, status: int = 200) -> Response:
        parameters = self.parameters(ResponseParameters)
        row = self.rows().filter(pk=pk).first()
        if row is None:
            raise errors.NotThere
        found = self.resource(row)
        headers = {"ETag": found.meta.version}
        if status == 201:
            headers["Location"] = found.meta.location
        if self.request.method in {"GET", "HEAD"} and self.matches("HTTP_IF_NONE_MATCH", found):
            return Response(None, 304, headers=headers)
        return Response(_dump(found, parameters), status, headers=headers)

    def matches(self, header: str, found: Any) -> bool:
        """Whether *header* names the version of *found*, or any."""
        named = {each.strip() for each in self.request.META.get(header, "").split(",")}
        return bool(named & {"*", _version(found)})

    def check(self, pk: int, state: Any) -> Any:
        """Return the resource of *state*, if it is the one that ``If-Match`` names."""
        found = self.shown(pk, state)
        if "HTTP_IF_MATCH" in self.request.META and not self.matches("HTTP_IF_MATCH", found):
            raise PreconditionFailedException
        return found

    def replaced(self, pk: int, state: Any) -> Any:
        return self.state(self.read(self.check(pk, state)))

    def patched(self, pk: int, state: Any) -> Any:
        found = self.check(pk, state)
        if self.model is User:
            found.phone_numbers = [scim_resources.UNSAID]
        patch: Any = PatchOp.__class_getitem__(self.model)
        sent = patch.model_validate(_plain(self.payload()), scim_ctx=Context.RESOURCE_PATCH_REQUEST)
        sent.patch(found)
        return self.state(found)


class All(Kept):
    http_method_names = ["get", "head", "post"]

    def get(self, request: Request) -> Response:
        asked = self.parameters(SearchRequest)
        rows = self.rows().order_by("pk")
        if asked.filter:
            rows = rows.filter(scim_resources.condition(asked.filter.ast, COLUMNS[self.model]))
        start = min(asked.start_index_0, _MOST)
        count = DEFAULT_COUNT if asked.count is None else min(asked.count, MAX_RESULTS)
        found = [self.resource(row) for row in rows[start : start + count]]
        return Response(_dump_list(found, rows.count(), start + 1, asked))

    def post(self, request: Request) -> Response:
        return self.answer(self.create(self.state(self.read())), 201)

    def create(self, wanted: Any) -> int:
        raise NotImplementedError


class One(Kept):
    http_method_names = ["get", "head", "put", "patch", "delete"]

    def get(self, request: Request, key: str) -> Response:
        return self.answer(scim_resources.parse_id(key))

    def put(self, request: Request, key: str) -> Response:
        return self._change(key, self.replaced)

    def patch(self, request: Request, key: str) -> Response:
        return self._change(key, self.patched)

    def delete(self, request: Request, key: str) -> Response:
        pk = scim_resources.parse_id(key)
        self.remove(pk, partial(self.check, pk))
        return Response(None, 204)

    def _change(self, key: str, edit: Callable[[int, Any], Any]) -> Response:
        pk = scim_resources.parse_id(key)
        self.change(pk, partial(edit, pk))
        return self.answer(pk)

    def change(self, pk: int, edit: Callable[[Any], Any]) -> None:
        raise NotImplementedError

    def remove(self, pk: int, check: Callable[[Any], object]) -> None:
        raise NotImplementedError


class OfPeople(Kept):
    model = User
    kind = "Users"

    def rows(self) -> Any:
        return self.provider.people()

    def state_of(self, row: Any) -> Any:
        return provisioning.profile_of(row)

    def shown(self, pk: int, state: Any) -> Any:
        return scim_resources.user(pk, state)

    def state(self, sent: Any) -> Any:
        return scim_resources.profile(sent)


class Users(OfPeople, All):
    def create(self, wanted: Any) -> int:
        return provisioning.create(self.provider, wanted)


class UserView(OfPeople, One):
    def change(self, pk: int, edit: Callable[[Any], Any]) -> None:
        provisioning.change(self.provider, pk, edit)

    def remove(self, pk: int, check: Callable[[Any], object]) -> None:
        provisioning.delete(self.provider, pk, check)


class OfGroups(Kept):
    model = Group
    kind = "Groups"

    def rows(self) -> Any:
        return self.provider.files()

    def state_of(self, row: Any) -> Any:
        return provisioning.group_of(self.provider, row)

    def shown(self, pk: int, state: Any) -> Any:
        return scim_resources.group(pk, state)

    def state(self, sent: Any) -> Any:
        return scim_resources.group_state(sent)


class Groups(OfGroups, All):
    def create(self, wanted: Any) -> int:
        return provisioning.create_group(self.provider, wanted)


class GroupView(OfGroups, One):
    def change(self, pk: int, edit: Callable[[Any], Any]) -> None:
        provisioning.change_group(self.provider, pk, edit)

    def remove(self, pk: int, check: Callable[[Any], object]) -> None:
        provisioning.delete_group(self.provider, pk, check)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Write a patch of Entra ID as others do.

    It has keys with a filter in a value without a path: each gets an operation. It names a member
    to remove with a ``$ref`` that is null.
    """
    name = next((each for each in data if parsers.fold(each) == "operations"), "")
    operations = data.get(name)
    if not isinstance(operations, list):
        return data
    made = []
    for one in operations:
        value = one.get("value") if isinstance(one, dict) else None
        if isinstance(value, dict) and not one.get("path"):
            with_filter = [key for key in value if "[" in key]
            made += [{**one, "path": key, "value": value.pop(key)} for key in with_filter]
            if with_filter and not value:
                continue
        for each in value if isinstance(value, list) else []:
            if isinstance(each, dict) and each.get("$ref", "") is None:
                del each["$ref"]
        made.append(one)
    return {**data, name: made}


def _version(found: Any) -> str:
    told = json.dumps(found.model_copy(update={"meta": None}).model_dump(), sort_keys=True)
    return f'W/"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _dump(found: Resource[Any], parameters: Any = None) -> dict[str, Any]:
    return found.model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=parameters
    )


def _dump_list(
    found: Sequence[Resource[Any]], total: int, start: int, parameters: Any = None
) -> dict[str, Any]:
    shape: Any = ListResponse.__class_getitem__(type(found[0]) if found else User)
    listed = shape(
        total_results=total, start_index=start, items_per_page=len(found), resources=list(found)
    )
    data: dict[str, Any] = listed.model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=parameters
    )
    return {"Resources": [], **data}


urlpatterns = [
    re_path(rf"^scim/v2/{path}/?$", view.as_view(), name=f"scim-{name}")
    for path, view, name in [
        ("ServiceProviderConfig", ConfigView, "config"),
        ("ResourceTypes(?:/(?P<key>[^/]+))?", ResourceTypes, "resource-types"),
        ("Schemas(?:/(?P<key>[^/]+))?", Schemas, "schemas"),
        ("Users", Users, "users"),
        ("Users/(?P<key>[^/]+)", UserView, "user"),
        ("Groups", Groups, "groups"),
        ("Groups/(?P<key>[^/]+)", GroupView, "group"),
    ]
]
urlpatterns += [re_path(r"^scim/", NotFound.as_view())]
