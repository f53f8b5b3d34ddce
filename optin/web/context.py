"""Variables for every template."""

import re
from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from optin.conf import conf
from optin.gateways import Simulator
from optin.models import File
from optin.web import sessions


def service(request: HttpRequest) -> dict[str, Any]:
    # A request that was refused early has no session.
    has_session = hasattr(request, "session")
    flash = sessions.take_flash(request) if has_session else {}
    return {
        "service_name": conf.service_name,
        "support": conf.support,
        "support_link": link_to(conf.support),
        "support_is_due": partial(next, iter([True]), False),
        "manages": partial(_manages, request),
        "has_simulator": has_simulator(),
        # Without a session there is no CSRF token to choose one with.
        "languages": settings.LANGUAGES if has_session else [],
        **flash,
        # Of the refused request.
        "request_id": flash.get("refused_request_id") or request.META.get("REQUEST_ID", ""),
    }


def _manages(request: HttpRequest) -> bool:
    """Whether who is signed in manages the integrations of an organisation."""
    return File.objects.managed_by(sessions.user_of(request)).exists()


def link_to(contact: str) -> str:
    """Return the address that a link to *contact* has; "" for a text that is none of the three.

    It may be a link, an email address or a phone number.
    """
    if re.fullmatch(r"(?i)https?://\S+", contact):
        return contact
    if re.fullmatch(r"[^\s@/?#&:]+@[^\s@/?#&]+", contact):
        return f"mailto:{contact}"
    if re.fullmatch(r"[+(]?[0-9][0-9 ().\-]+", contact):
        return "tel:" + re.sub(r"[^+0-9]", "", contact)
    return ""


def has_simulator() -> bool:
    """Whether this start has the page of the simulated phone."""
    return settings.DEBUG and Simulator.name in conf.gateways
