"""The addresses at which gateways report what became of a text."""

import logging

from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from optin import gateways
from optin.api.answers import RETRY_UNAVAILABLE, ApiError
from optin.api.parsers import read_body
from optin.conf import conf
from optin.gateways import Callback, Forged, Gateway, Malformed, Receipt
from optin.messaging import receipts
from optin.origin import Face, Origin, ip_of
from optin.outcomes import whole_seconds

logger = logging.getLogger("optin.api")


@csrf_exempt
@require_http_methods(["GET", "POST"])
def receipt(request: HttpRequest, name: str, secret: str) -> HttpResponse:
    """Take a receipt. A forged one gets the answer of an address that does not exist.

    One for a text that nobody knows is taken too: the gateway would send it again for days.
    """
    gateway = gateways.named(name)
    if gateway is None:
        raise Http404
    try:
        body = read_body(request)
    except ApiError as exc:
        return _plain("too large", exc.status)
    if body is None or any(len(values) > 1 for _name, values in request.GET.lists()):
        return _plain("malformed", 400)
    headers = {key.lower(): value for key, value in request.headers.items()}
    url = f"{conf.base_url}{request.get_full_path()}"
    try:
        found = _read(gateway, Callback(secret, request.GET.dict(), headers, body, url))
    except Forged:
        raise Http404 from None
    except Malformed:
        return _plain("malformed", 400)
    origin = Origin(Face.API, client=f"gateway:{name}", ip=ip_of(request.META))
    try:
        known = receipts.take(name, found, timezone.now(), origin)
    except receipts.TooEarly:
        return _later("not yet", 409)
    except (DatabaseError, InterfaceError):
        logger.exception("unavailable")
        return _later("unavailable", 503)
    if not known:
        logger.info("a receipt of %s is for no text of ours", name)
    return _plain("ok", 200)


def _read(gateway: Gateway, callback: Callback) -> Receipt:
    """Let *gateway* read what was sent in its name.

    :raises Forged: and
    :raises Malformed: otherwise.
    """
    try:
        return gateway.receipt(callback)
    except (Forged, Malformed):
        raise
    except Exception as exc:
        # A bug of that module, or what only a stranger would send.
        logger.error("a receipt of %s could not be read: %s", gateway.name, type(exc).__name__)
        raise Malformed from None


def _later(text: str, status: int) -> HttpResponse:
    response = _plain(text, status)
    response["Retry-After"] = str(whole_seconds(RETRY_UNAVAILABLE))
    return response


def _plain(text: str, status: int) -> HttpResponse:
    return HttpResponse(
        text,
        status=status,
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )


urlpatterns = [path("receipts/<slug:name>/<slug:secret>", receipt, name="receipt")]
