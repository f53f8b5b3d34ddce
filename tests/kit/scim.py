"""An identity provider that speaks SCIM."""

import json
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpResponse
from django.test import Client
from oauth2_provider.models import AbstractApplication

from optin.models import File
from optin.operations import tenants
from optin.origin import Face, Origin
from tests.kit.oauth import Application, make_client

OPERATOR = Origin(Face.COMMAND)
KIND = "application/scim+json"


@dataclass(frozen=True)
class ScimAnswer:
    response: HttpResponse

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return self.response.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def headers(self) -> Any:
        return self.response.headers


@dataclass(frozen=True)
class Provider:
    """An application and its token."""

    application: AbstractApplication
    token: str

    def send(
        self, method: str, path: str, body: Any = None, kind: str = KIND, **headers: str
    ) -> ScimAnswer:
        if self.token:
            headers = {"Authorization": f"Bearer {self.token}", **headers}
        data = (
            body if isinstance(body, str | bytes) else json.dumps(body) if body is not None else ""
        )
        response = Client(raise_request_exception=False).generic(
            method,
            f"/scim/v2{path}",
            data,
            kind,
            headers=headers,
        )
        return ScimAnswer(cast(HttpResponse, response))


def patch(*operations: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": list(operations),
    }


def make_provider(file: File | None = None, name: str = "provider") -> Provider:
    made = make_client(Application.GRANT_CLIENT_CREDENTIALS, name)
    tenants.let_provision(made, file, reason="Contract 17", origin=OPERATOR)
    return Provider(made, tenants.make_scim_token(made, days=30, origin=OPERATOR))
