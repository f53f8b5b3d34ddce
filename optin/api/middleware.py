"""What happens to every request before it is routed."""

import uuid
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from optin.api.answers import ApiError, base_response, help_link, oauth_error
from optin.api.renderers import renderer_for

_TOKEN_CALLS = ("/authorisation/token", "/authorisation/token-2fa", "/authorisation/refresh")


class ApiEdge:
    """Give each request an id, and refuse a foreign ``Host`` in the API's own words.

    Django checks ``Host`` only where something asks for it, and the calls never do.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Among the WSGI variables, which reach oauthlib's requests too. A client cannot
        # name it: its headers begin with HTTP_.
        request_id = request.META["REQUEST_ID"] = uuid.uuid4().hex
        path = request.path_info.lower()
        if path.startswith(("/user/", "/authorisation/")):
            response = self._refuse_host(request, path) or self.get_response(request)
        else:
            response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response

    def _refuse_host(self, request: HttpRequest, path: str) -> HttpResponse | None:
        try:
            request.get_host()
        except DisallowedHost:
            error = ApiError("invalid_request", "The Host header is not the one of this service.")
            is_token_call = path.removesuffix("/") in _TOKEN_CALLS
            body = (
                oauth_error(error)
                if is_token_call
                else base_response(error.message, [help_link(error.code)])
            )
            renderer = renderer_for(request.META)
            return HttpResponse(
                renderer.render(body),
                status=error.status,
                content_type=f"{renderer.media_type}; charset=utf-8",
                headers={"Cache-Control": "no-store"},
            )
        return None
