"""What every page has in common before and after its view."""

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import translation
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from optin.errors import Busy
from optin.outcomes import whole_seconds
from optin.runtime import throttle
from optin.web import session_store, sessions, words

_RETRY_AFTER = "5"
"""Seconds, as for the calls: long enough for a database to fail over."""

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ContentSecurityPolicy:
    """Send the policy of ``SECURE_CSP``: on Django 5.2, what Django 6 does itself."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.policy = "; ".join(
            f"{directive} {' '.join(sources)}" for directive, sources in settings.SECURE_CSP.items()
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response


class PageEdge:
    """Refuse a foreign ``Host``, say when the database is away, keep pages out of caches.

    Left to Django, a development start answers the first with a page that repeats the
    query, and with it a ``WsAccessKey``; and the second as a fault of ours (S-64).
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        got_request_exception.connect(_note_fault, dispatch_uid="optin.web.note_fault")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            # LocaleMiddleware is not reached: without this, in the language of the last request.
            with translation.override(translation.get_language_from_request(request)):
                response: HttpResponseBase = render(request, "400.html", status=400)
        else:
            response = self.get_response(request)
        if response.status_code == 500 and _FAULT in request.META:
            response = _unavailable(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        """Answer 503 to a password while too many others are checked: this is not an error."""
        return _unavailable(request) if isinstance(exc, Busy) else None


def _unavailable(request: HttpRequest) -> HttpResponse:
    html = _page(translation.get_language()).replace(_PLACE, request.META["REQUEST_ID"])
    response = HttpResponse(html, status=503)
    response["Retry-After"] = _RETRY_AFTER
    return response


_PLACE = "the-request-id"


@cache
def _page(language: str | None) -> str:
    """The page in *language*, which is active, with ``_PLACE`` in place of the request id.

    It is rendered once: it is needed under load.
    """
    return render_to_string("503.html", {"request_id": _PLACE})


class StaticFiles(WhiteNoiseMiddleware):
    """Send each file of the pages compressed. Pages are not: they hold secrets (BREACH)."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> WhiteNoiseFileResponse:
        response = WhiteNoiseMiddleware.serve(static_file, request)
        # It would name both codings, so that ranges of them could be mixed. The date is enough.
        del response.headers["ETag"]
        if response.status_code == 200:
            GZipMiddleware(lambda _: response).process_response(request, response)
        return response


class Throttle:
    """Answer 429 if one session asks for too many pages, or one network sends too many forms.

    The calls, receipts and token endpoints, which need no CSRF token, are not counted here. Static
    files do not come here.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        if getattr(view, "csrf_exempt", False) or (match and match.view_name in _WATCHED):
            return None
        wait = _count(request)
        if wait is None:
            return None
        response = render(request, "429.html", {"wait": words.in_words(wait)}, status=429)
        response["Retry-After"] = str(whole_seconds(wait))
        return response


_WATCHED = {"livez", "readyz"}
"""Addresses for monitoring."""


def _count(request: HttpRequest) -> timedelta | None:
    """Count the request; return how long to wait, if it must."""
    is_known = request.user.is_authenticated
    if not is_known and request.method != "POST":
        return None
    has_password = not is_known and bool(request.POST.get("password"))
    # Between the password and the code, others at the address must not stop a person either.
    if is_known or (sessions.is_half(request) and not has_password):
        return throttle.hit_page(session_store.row_of(request.session.session_key))
    ip = sessions.origin_of(request).ip
    return throttle.hit_network(ip, has_password=has_password)


def _note_fault(sender: Any, request: Any, **options: Any) -> None:
    """Keep with *request* that the database failed: the answer to it does not say."""
    if isinstance(sys.exc_info()[1], DatabaseError | InterfaceError):
        request.META[_FAULT] = True


_FAULT = "FAULT"  # among the WSGI variables: a client cannot name it
