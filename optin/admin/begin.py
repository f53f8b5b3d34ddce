"""The first steps of somebody who is new here: their role, their second factor, where to begin."""

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.http import require_safe

from optin.admin.actions import OFFERED
from optin.admin.site import site
from optin.operations import staff
from optin.operations.authenticators import overview


def begin(request: HttpRequest) -> TemplateResponse:
    """Say what is done and what is missing. New staff come here from setting up their factor."""
    user: Any = request.user
    site.get_urls()  # which has every operation offered
    may = dict.fromkeys(
        action.title for action in OFFERED.values() if user.has_perm(action.permission)
    )
    factors = overview(user)
    context = {
        **site.each_context(request),
        "title": "First steps",
        "role": staff.role_of(user),
        "may": list(may),
        "ways": [
            words
            for words, row in (
                ("codes by text message", factors.number),
                ("an authenticator app", factors.app),
            )
            if row
        ],
        "recovery_codes": factors.recovery_codes,
    }
    return TemplateResponse(request, "admin/begin.html", context)


site.pages.append(path("begin/", site.admin_view(require_safe(begin)), name="begin"))
