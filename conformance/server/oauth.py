"""The part of ``/o/`` that the kit checks: client credentials, and the metadata (3.6)."""

import json
from urllib.parse import parse_qsl

from conformance.server.answers import Reply, in_common
from conformance.server.people import Grant, People
from conformance.wire import Request

CLIENT = {"client_id": "kit", "client_secret": "kit-secret"}
_METADATA = "/.well-known/oauth-authorization-server"
_ENDPOINTS = {
    "authorization_endpoint": "authorize",
    "token_endpoint": "token",
    "revocation_endpoint": "revoke_token",
    "introspection_endpoint": "introspect",
}


def answer(request: Request, people: People, base_url: str) -> Reply | None:
    """Return the answer to a request for one of these addresses."""
    path, _, query = request.target.partition("?")
    if path == _METADATA and request.method == "GET":
        named = {name: f"{base_url}/o/{path}/" for name, path in _ENDPOINTS.items()}
        return _reply(200, {"issuer": base_url, **named})
    if path != "/o/token/" or request.method != "POST":
        return None
    form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    if query:
        return _reply(400, {"error": "invalid_request"})
    if {name: form.get(name) for name in CLIENT} != CLIENT:
        return _reply(401, {"error": "invalid_client"})
    if form.get("grant_type") != "client_credentials":
        return _reply(400, {"error": "unsupported_grant_type"})
    granted = people.issue("", Grant(None, ("2fa",), (), 0))
    del granted["refresh_token"]
    return _reply(200, granted)


def _reply(status: int, data: dict[str, object]) -> Reply:
    headers = {"Content-Type": "application/json"} | in_common()
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="oauth"'
    return Reply(status, str(data.get("error", "")), json.dumps(data).encode(), headers)
