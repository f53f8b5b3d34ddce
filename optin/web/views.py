"""The pages for people."""

from collections.abc import Callable
from functools import wraps
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from optin.gateways import Simulator
from optin.runtime import metrics
from optin.runtime.redirects import SeeOther, local
from optin.web import health
from optin.web.context import has_simulator

View = Callable[[HttpRequest], HttpResponse]

_TEXTS_SHOWN = 50


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the account, or to where one signs in."""
    return redirect("account" if request.user.is_authenticated else "sign-in")


def _page_of_ours(request: HttpRequest) -> str:
    """Return the path of the page that the request came from; "" if it is of another site."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return ""
    if (page.scheme, page.netloc) != (request.scheme, request.get_host()):
        return ""
    return local(f"{page.path}?{page.query}" if page.query else page.path)


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Keep the language that was chosen, in a cookie, and lead back to the page.

    The browser says which page that was: no page repeats its address, which may hold a secret.
    """
    response = SeeOther(_page_of_ours(request) or "home")
    language = request.POST.get("language", "")
    if language in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    return response


def _where(exists: Callable[[], bool]) -> Callable[[View], View]:
    """Serve a page only where it *exists*; elsewhere, each request of any method gets 404.

    Without a CSRF check, which would answer 403 to a form for a page that does not exist.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def page(request: HttpRequest) -> HttpResponse:
            return require_safe(view)(request) if exists() else not_found(request)

        return page

    return decorate


@_where(has_simulator)
def simulator(request: HttpRequest) -> HttpResponse:
    """The phone of a development start: the newest texts, newest first."""
    texts = [(text, "") for text in Simulator().latest(_TEXTS_SHOWN)]
    return render(request, "simulator.html", {"texts": texts})


@_where(lambda: bool(settings.METRICS_TOKEN))
def metrics_page(request: HttpRequest) -> HttpResponse:
    """The counts, for Prometheus: for whoever has ``METRICS_TOKEN``."""
    if not metrics.may_read(request.headers.get("Authorization", ""), settings.METRICS_TOKEN):
        return HttpResponse(
            "A token is needed.\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    text = metrics.exposition(settings.METRICS_DIR, list(health.measured()))
    return HttpResponse(text, content_type=metrics.CONTENT_TYPE)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Any address that is no other, or a page about something that is not there for who asks.

    A view, not only a template: in development Django would answer with a page that
    repeats the query, and with it a ``WsAccessKey``.
    """
    return render(request, "404.html", status=404)


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for staff, or for staff with another role."""
    return render(request, "403.html", status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that cannot be served.

    Or whose session was ended, in another tab, while it was on its way: then the person may
    sign in again.
    """
    if isinstance(exception, SessionInterrupted):
        return SeeOther("sign-in")
    return render(request, "400.html", status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """Any page that failed by a fault of ours. ``PageEdge`` has the faults of the database."""
    context = {"request_id": request.META["REQUEST_ID"]}
    return HttpResponse(render_to_string("500.html", context), status=500)
