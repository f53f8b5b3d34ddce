"""SCIM 2.0 (RFC 7644): identity providers keep people and memberships up to date.

``scim_resources`` has the shapes, ``operations.provisioning`` decides what an application may do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest
from django.urls import re_path
from pydantic import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from scim2_models import (
    Context,
    Error,
    InvalidValueException,
    ListResponse,
    Meta,
    NotImplementedException,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)

from optin import errors
from optin.api import parsers, scim_resources
from optin.api.answers import ApiError, scim_error
from optin.api.credentials import find_provider
from optin.api.renderers import Scim, media_type
from optin.api.scim_resources import COLUMNS, MAX_RESULTS, SERVICE, Group, User
from optin.api.views import Call, error_of, once, query_of
from optin.operations import provisioning
from optin.operations.provisioning import Provider
from optin.runtime import logs, throttle

DEFAULT_COUNT = 100
"""Resources in one page, if the client does not say."""

FILTERS = (
    "Filters can be: eq of id, userName, externalId, emails, active and displayName; co and sw of "
    'userName, emails and displayName; and, or. Put texts in quotes: userName eq "nora".'
)
NOTHING = (
    "There is nothing here. Users, Groups, ServiceProviderConfig, ResourceTypes and Schemas are "
    "below /scim/v2/."
)

_MOST = 10**9
_KEY = "(?:/(?P<key>[^/]+))?"

_REFUSED: dict[type[errors.Refusal], tuple[int, str | None]] = {
    errors.NotThere: (404, None),
    errors.Taken: (409, "uniqueness"),
    errors.Unfit: (400, "invalidValue"),
    errors.UnfitAddress: (400, "invalidValue"),
    errors.Barred: (403, None),
    errors.FileIdTaken: (409, "uniqueness"),
}


class ScimCall(Call):
    """One address of SCIM, for an application by a token of its own."""

    renderer_classes = [Scim]
    # Set by initial, before any handler runs.
    provider: Provider
    query: dict[str, str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer, request.accepted_media_type = Scim(), Scim.media_type
        self.body = parsers.read_body(request._request)
        client = find_provider(request.META)
        self.client = f"app:{client.pk}"
        logs.add(client=self.client)
        self.provider = Provider(client, self.origin)
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
        if media_type(content_type) not in {Scim.media_type, "application/json"}:
            raise ApiError("unsupported_media_type", "Send application/scim+json.")
        if self.body is None:
            raise ApiError("invalid_request", "The body could not be read.")
        try:
            return parsers.read_json(self.body, content_type)
        except parsers.MalformedBody as exc:
            raise ApiError("invalid_request", str(exc)) from None

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, errors.TooMany):
            exc = ApiError(exc.code, exc.message, retry_after=exc.retry_after)
        if isinstance(exc.__cause__, ValidationError):  # the library's words for it have many lines
            exc = exc.__cause__
        if isinstance(exc, ValidationError):
            [found, *_] = Error.from_validation_errors(exc)
            status, kind, detail = found.status or 400, found.scim_type, found.detail
        elif isinstance(exc, SCIMException):
            status, kind, detail = exc.status, exc.scim_type or None, str(exc)
        elif isinstance(exc, errors.Refusal) and type(exc) in _REFUSED:
            (status, kind), detail = _REFUSED[type(exc)], str(exc)
        else:
            answer = super().handle_exception(exc)
            told = error_of(exc)
            body = scim_error(told.status, None, told.message)
            return Response(body, answer.status_code, headers=answer.headers)
        if kind == "invalidFilter":
            detail = FILTERS
        logs.add(code=kind or str(status))
        return Response(scim_error(status, kind, detail), status)


class NotFound(ScimCall):
    """Any address below ``/scim/`` that is none of SCIM."""

    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise ApiError("not_found", NOTHING)

    head = put = patch = delete = get

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if request.path_info.rstrip("/").endswith("/.search"):
            raise NotImplementedException
        raise ApiError("not_found", NOTHING)


# -- what the service is -----------------------------------------------------------


class ConfigView(ScimCall):
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> Response:
        return Response(_dump(_placed(scim_resources.config(), "ServiceProviderConfig")))


class Described(ScimCall):
    """Resource types, or schemas. They are not filtered (RFC 7644, section 4)."""

    http_method_names = ["get", "head"]
    kind = ""

    def get(self, request: Request, key: str = "") -> Response:
        if "filter" in self.query:
            raise errors.Barred("These cannot be filtered.")
        every = SERVICE.schemas if self.kind == "Schemas" else SERVICE.resource_types
        found = [_placed(each, self.kind) for each in every if key in {"", each.id}]
        if key and not found:
            raise errors.NotThere
        return Response(_dump(found[0]) if key else _dump_list(found, len(found), 1))


def _placed(found: Any, kind: str) -> Any:
    place = scim_resources.address(kind, found.id or "")
    meta = Meta(resource_type=kind.removesuffix("s"), location=place)
    return found.model_copy(update={"meta": meta})


# -- people and groups -------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What people and groups do in their own way. A state is a ``Profile`` or a ``Group``."""

    model: Any
    path: str
    rows: Callable[[Provider], Any]
    """Returns what the application sees."""
    state_of: Callable[[Provider, Any], Any]
    """Returns the state of a row."""
    shown: Callable[[int, Any], Any]
    """Returns the resource of a state, under its id."""
    wanted: Callable[[Any], Any]
    """Returns the state that a resource asks for."""
    patched: Callable[[int, Any, dict[str, Any]], Any]
    """Returns the state after a patch."""
    create: Callable[[Provider, Any], int]
    change: Callable[[Provider, int, Callable[[Any], Any]], None]
    delete: Callable[[Provider, int], None]


PEOPLE = Kind(
    User,
    "Users",
    Provider.people,
    provisioning.profile_of,
    scim_resources.user,
    scim_resources.profile,
    scim_resources.patched_user,
    provisioning.create,
    provisioning.change,
    provisioning.delete,
)
GROUPS = Kind(
    Group,
    "Groups",
    Provider.files,
    provisioning.group_of,
    scim_resources.group,
    scim_resources.group_state,
    scim_resources.patched_group,
    provisioning.create_group,
    provisioning.change_group,
    provisioning.delete_group,
)


class Kept(ScimCall):
    """People or groups: all of them, or one."""

    kind = PEOPLE

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with SERVICE:
            return super().dispatch(request, *args, **kwargs)

    def parameters(self, shape: Any) -> Any:
        return shape[self.kind.model].model_validate(self.query)

    def resource(self, row: Any) -> Any:
        state = self.kind.state_of(self.provider, row)
        left_out = parsers.fold(self.query.get("excludedattributes", "")).split(",")
        if self.kind is GROUPS and "members" in left_out:  # there may be many
            state = replace(state, members=frozenset())
        found = self.kind.shown(row.pk, state)
        found.meta = Meta(
            resource_type=self.kind.model.__name__,
            location=scim_resources.address(self.kind.path, row.pk),
        )
        return found

    def asked(self, context: Context, known: dict[str, Any]) -> Any:
        """Return the state that the body asks for. What it leaves out is as *known*."""
        data = self.payload()
        given = {parsers.fold(name) for name in data}
        data |= {name: value for name, value in known.items() if parsers.fold(name) not in given}
        return self.kind.wanted(self.kind.model.model_validate(data, scim_ctx=context))

    def answer(self, pk: int, status: int = 200) -> Response:
        parameters = self.parameters(ResponseParameters)
        row = self.kind.rows(self.provider).filter(pk=pk).first()
        if row is None:
            raise errors.NotThere
        found = self.resource(row)
        headers = {"Location": found.meta.location} if status == 201 else None
        return Response(_dump(found, parameters), status, headers=headers)


class All(Kept):
    http_method_names = ["get", "head", "post"]

    def get(self, request: Request) -> Response:
        asked = self.parameters(SearchRequest)
        if "cursor" in self.query:
            raise InvalidValueException(detail="Ask for a page by startIndex, not by cursor.")
        rows = self.kind.rows(self.provider).order_by("pk")
        if asked.filter:
            columns = COLUMNS[self.kind.model]
            rows = rows.filter(scim_resources.condition(asked.filter.ast, columns))
        start = min(asked.start_index_0, _MOST)
        count = DEFAULT_COUNT if asked.count is None else min(asked.count, MAX_RESULTS)
        found = [self.resource(row) for row in rows[start : start + count]]
        return Response(_dump_list(found, rows.count(), start + 1, asked))

    def post(self, request: Request) -> Response:
        wanted = self.asked(Context.RESOURCE_CREATION_REQUEST, {"active": True})
        return self.answer(self.kind.create(self.provider, wanted), 201)


class One(Kept):
    http_method_names = ["get", "head", "put", "patch", "delete"]
    # Set by initial, before any handler runs.
    pk: int

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.pk = scim_resources.parse_id(kwargs["key"])

    def get(self, request: Request, key: str) -> Response:
        return self.answer(self.pk)

    def put(self, request: Request, key: str) -> Response:
        self.kind.change(self.provider, self.pk, self._replaced)
        return self.answer(self.pk)

    def patch(self, request: Request, key: str) -> Response:
        self.kind.change(self.provider, self.pk, self._patched)
        # A group may have many members, and a provider adds one after the other.
        return Response(None, 204) if self.kind is GROUPS else self.answer(self.pk)

    def delete(self, request: Request, key: str) -> Response:
        self.kind.delete(self.provider, self.pk)
        return Response(None, 204)

    def _replaced(self, state: Any) -> Any:
        known = self.kind.shown(self.pk, state).model_dump()
        return self.asked(Context.RESOURCE_REPLACEMENT_REQUEST, known)

    def _patched(self, state: Any) -> Any:
        return self.kind.patched(self.pk, state, self.payload())


def _dump(found: Any, parameters: Any = None) -> dict[str, Any]:
    data: dict[str, Any] = found.model_dump(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=parameters
    )
    return data


def _dump_list(
    found: Sequence[Any], total: int, start: int, parameters: Any = None
) -> dict[str, Any]:
    shape: Any = ListResponse.__class_getitem__(type(found[0]) if found else User)
    listed = shape(
        total_results=total, start_index=start, items_per_page=len(found), resources=list(found)
    )
    return {"Resources": [], **_dump(listed, parameters)}


urlpatterns = [
    # Some providers put a slash after an address that ends in one.
    re_path(rf"^scim/v2/+{path}/?$", view, name=f"scim-{name}")
    for path, view, name in [
        ("ServiceProviderConfig", ConfigView.as_view(), "config"),
        (f"ResourceTypes{_KEY}", Described.as_view(kind="ResourceTypes"), "resource-types"),
        (f"Schemas{_KEY}", Described.as_view(kind="Schemas"), "schemas"),
        ("Users", All.as_view(kind=PEOPLE), "users"),
        ("Users/(?P<key>[^/]+)", One.as_view(kind=PEOPLE), "user"),
        ("Groups", All.as_view(kind=GROUPS), "groups"),
        ("Groups/(?P<key>[^/]+)", One.as_view(kind=GROUPS), "group"),
    ]
]
urlpatterns += [re_path(r"^scim/", NotFound.as_view())]
