"""The home page: what needs attention (P-20). ``figures`` has the charts."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from optin.admin import figures
from optin.models import Figure, User
from optin.operations import staff
from optin.support import health
from optin.support.health import Need
from optin.support.wording import plain


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the home page shows to whoever asks."""
    user: Any = request.user
    if not user.has_perm(figures.MAY_SEE):
        return {}
    return {"needs": [_need(need, user) for need in health.needs(timezone.now(), *_LISTED)]}


_LISTED = [condition for condition in health.CONDITIONS if condition != health.stopped_texts]
"""The banner of each page tells of the stop of all texts."""


def _need(need: Need, user: Any) -> tuple[str, str]:
    """Return what *need* says, with the name of whom it is about, and where to look."""
    place = _place(need, user)
    about = User.objects.filter(pk=need.pk).first() if place and need.model is User else None
    words = need.words.removesuffix(".")
    return f"{words}: {plain(about.get_username())}." if about else need.words, place


def _place(need: Need, user: Any) -> str:
    """Return where to look at what *need* is about; "" if that is not for this member of staff."""
    if need.model is None:
        return ""
    if need.model is Figure:
        return reverse("admin:figures")
    opts = need.model._meta
    if not user.has_perm(staff.sees(need.model)):
        return ""
    name = f"admin:{opts.app_label}_{opts.model_name}"
    if need.pk is not None:
        return reverse(f"{name}_change", args=[need.pk])
    return f"{reverse(f'{name}_changelist')}?{urlencode(need.filters)}"
