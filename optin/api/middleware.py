"""What happens to every request before it is routed."""

import logging
import time
from collections.abc import Callable
from functools import cache, lru_cache

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import ResolverMatch, resolve
from django.utils import translation
from django.utils.module_loading import import_string

from optin.api.answers import (
    ApiError,
    base_response,
    help_headers,
    help_link,
    oauth_error,
    scim_error,
)
from optin.api.renderers import Scim, renderer_for
from optin.origin import Face
from optin.runtime import logs, metrics, request_ids

_TOKEN_CALLS = ("/authorisation/token", "/authorisation/token-2fa", "/authorisation/refresh")
_FACES = {
    "user": Face.API,
    "events": Face.API,
    "scim": Face.API,
    "authorisation": Face.TOKEN,
    "o": Face.TOKEN,
    "admin": Face.ADMIN,
}
"""By the first part of the path; all else are pages."""

_CALLS = ("/user/", "/authorisation/", "/events/", "/scim/")
"""How the paths of calls begin."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

logger = logging.getLogger("optin.request")


def _join_leading_slashes(request: HttpRequest) -> None:
    """Treat "//User/..." as "/User/...": some clients have a base URL that ends in a slash."""
    given = request.path_info
    request.path_info = f"/{given.lstrip('/')}"
    request.path = request.path.removesuffix(given) + request.path_info


class ApiEdge:
    """Give each request an id and a log line, and refuse a foreign ``Host`` in the API's own words.

    The line names the address that the path led to, not the path: a client may write
    anything there, its key included.

    Django checks ``Host`` only where something asks for it, and the calls never do.

    A call goes straight to its view: sessions, languages, forms and messages are for pages. It has
    the headers that the middlewares in ``SETS_HEADERS`` add, which are the same for every answer.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        # Among the WSGI variables, which reach oauthlib's requests too. A client cannot
        # name it: its headers begin with HTTP_.
        request_id = request.META["REQUEST_ID"] = request_ids.new()
        _join_leading_slashes(request)
        path = request.path_info.lower()
        face = _FACES.get(path[1:].partition("/")[0], Face.WEB)
        response: HttpResponseBase
        logs.begin(request_id=request_id, face=face.value)
        if path == "/events" or path.startswith(_CALLS):
            # The calls ignore cookies altogether; what comes after would read and renew them.
            request.META.pop("HTTP_COOKIE", None)
            # Their sentences are English (docs/contract.md, section 5), those of validators too.
            request.META.pop("HTTP_ACCEPT_LANGUAGE", None)
            error = _wrong_host(request)
            answer = _refusal(request, path, error) if error else _answer(request, path)
            response = _complete(answer, is_secure=request.is_secure())
        else:
            response = self.get_response(request)
        response["X-Request-Id"] = request_id
        self._tell(request, response.status_code, time.perf_counter() - begun)
        return response

    def _tell(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Log and count a request that was answered."""
        match = request.resolver_match
        route = match.view_name if match else "none"
        method = request.method if request.method in _METHODS else "other"
        is_of_sandbox = "SANDBOX_REFUSAL" in request.META
        metrics.observe(route, status, seconds, is_of_sandbox=is_of_sandbox)
        ms = round(seconds * 1000, 1)
        facts = {"method": method, "route": route, "status": status, "ms": ms}
        logger.info("request", extra={"facts": facts})
        logs.end()


@lru_cache(maxsize=256)  # a client can write a call in many ways
def _resolve(path: str) -> ResolverMatch:
    """Return the view of *path*.

    SCIM has a URLconf of its own. Its packages take a third of the time to load all, so only the
    first call of SCIM loads them.
    """
    return resolve(path, "optin.api.scim" if path.startswith("/scim/") else None)


def _answer(request: HttpRequest, path: str) -> HttpResponse:
    """Return what the view of a call answers."""
    translation.activate(settings.LANGUAGE_CODE)
    try:
        match = request.resolver_match = _resolve(request.path_info)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs).render()
    except Exception:
        # The view answers every error that it knows.
        logging.getLogger("optin.api").exception("a call failed")
        response = _refusal(request, path, ApiError("internal_error"))
    return response


def _complete(response: HttpResponse, *, is_secure: bool) -> HttpResponse:
    """Add the headers that the middlewares of pages add."""
    for name, value in _headers(is_secure=is_secure):
        response.headers[name] = value
    response.headers["Vary"] = "Accept, Accept-Language"
    response.headers["Content-Language"] = settings.LANGUAGE_CODE
    if response.status_code not in {204, 304}:
        response.headers["Content-Length"] = str(len(response.content))
    return response


@cache
def _headers(*, is_secure: bool) -> list[tuple[str, str]]:
    """Return the headers that the middlewares in ``SETS_HEADERS`` add."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        return HttpResponse()

    for name in reversed(settings.SETS_HEADERS):
        answer = import_string(name)(answer)
    request = HttpRequest()
    request._get_scheme = lambda: "https" if is_secure else "http"  # type: ignore[attr-defined]
    response = answer(request)
    return [(name, value) for name, value in response.headers.items() if name != "Content-Type"]


def _wrong_host(request: HttpRequest) -> ApiError | None:
    try:
        request.get_host()
    except DisallowedHost:
        return ApiError(
            "invalid_request",
            "The Host header is not the one of this service.",
        )
    return None


def _refusal(request: HttpRequest, path: str, error: ApiError) -> HttpResponse:
    is_token_call = path.removesuffix("/") in _TOKEN_CALLS
    body = (
        oauth_error(error)
        if is_token_call
        else base_response(error.message, [help_link(error.code)])
    )
    renderer = renderer_for(request.META)
    if path.startswith("/scim/"):
        body, renderer = scim_error(error.status, None, error.message), Scim()
    return HttpResponse(
        renderer.render(body),
        status=error.status,
        content_type=f"{renderer.media_type}; charset=utf-8",
        headers={
            "Cache-Control": "no-store",
            **error.headers,
            **help_headers(error),
        },
    )
