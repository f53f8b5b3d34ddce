"""``/endpoints``: the webhook endpoints of a file, for programs. Pages do the same: ``web``.

Tokens only: an access key stands in addresses, which are often logged, and an endpoint stays when
the key is revoked.
"""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from optin.api.answers import ApiError, Body, base_response
from optin.api.events import ManagerCall
from optin.api.serializers import (
    EndpointChangeRequest,
    EndpointRequest,
    EndpointSecretRequest,
    Model,
    parse_id,
)
from optin.errors import EndpointGone, NotAMember
from optin.models import WebhookEndpoint
from optin.operations import tenants, webhooks
from optin.runtime import outside


class EndpointCall(ManagerCall):
    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        super().admit_to_file(query)
        if self.caller.scopes is None:
            self.refuse_access("insufficient_scope", self.file.pk)

    def who(self) -> dict[str, Any]:
        """What each operation asks of a call."""
        return {"member": webhooks.Member(self.caller.user), "origin": self.origin}

    def wanted(self, shape: type[Model]) -> dict[str, Any]:
        """Return what the body asks for, under the names of the operations."""
        body = {name: value or "" for name, value in self.read(shape).items()}
        if fault := outside.fault(body["url"]):
            raise ApiError("invalid_request", fault)
        return {**body, "kinds": body["kinds"].split()}

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, NotAMember):  # not any more, since they were admitted
            tenants.refuse_access(self.caller.user, self.file.pk, exc.code, origin=self.origin)
        return super().handle_exception(exc)


class EndpointsView(EndpointCall):
    """All endpoints of a file."""

    http_method_names = ["get", "head", "post"]

    def get(self, request: Request) -> Response:
        rows = WebhookEndpoint.objects.filter(file=self.file).order_by("pk")
        return Response(Body("EndpointList", {"Endpoints": [_shown(row) for row in rows]}))

    def post(self, request: Request) -> Response:
        return Response(
            _secret(*webhooks.make(self.file, **self.wanted(EndpointRequest), **self.who()))
        )


class OneEndpoint(EndpointCall):
    # Set by admit, before any handler runs.
    endpoint: WebhookEndpoint

    def admit(self, query: Mapping[str, list[str]]) -> None:
        super().admit(query)
        self.endpoint = self.find()

    def find(self) -> WebhookEndpoint:
        pk = parse_id(self.kwargs["pk"]) or 0
        found = WebhookEndpoint.objects.filter(file=self.file, pk=pk).first()
        if found is None:
            raise EndpointGone
        return found


class EndpointView(OneEndpoint):
    http_method_names = ["put", "delete"]

    def put(self, request: Request, pk: str) -> Response:
        body = self.wanted(EndpointChangeRequest)
        state = body.pop("state")
        webhooks.change(self.endpoint, **body, **self.who())
        if state:
            webhooks.switch(self.endpoint, on=state == "on", **self.who())
        return Response(_shown(self.find()))

    def delete(self, request: Request, pk: str) -> Response:
        webhooks.remove(self.endpoint, **self.who())
        return Response(base_response("The endpoint was removed."))


class SecretView(OneEndpoint):
    def post(self, request: Request, pk: str) -> Response:
        ends_old = bool(self.read(EndpointSecretRequest)["ends_old"])
        secret = webhooks.replace_secret(self.endpoint, ends_old=ends_old, **self.who())
        return Response(_secret(self.endpoint, secret))


def _shown(endpoint: WebhookEndpoint) -> Body:
    pause = endpoint.paused
    return Body(
        "Endpoint",
        {
            "EndpointId": endpoint.pk,
            "Url": endpoint.url,
            "Types": endpoint.kinds,
            # XML cannot hold every character that a page takes.
            "Description": "".join(c for c in endpoint.description if c.isprintable()),
            "State": "off" if endpoint.off_at else "paused" if pause else "on",
            "Reason": endpoint.off_why or pause or "",
        },
    )


def _secret(endpoint: WebhookEndpoint, secret: str) -> Body:
    return Body("EndpointSecret", {"EndpointId": endpoint.pk, "Secret": secret})
