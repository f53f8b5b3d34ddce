"""The pages for staff in groups, by the work that they are for (P-27).

From here come the navigation beside each page, the lists on the home page and the way back above
each page. A list has the name of its rows.
"""

from dataclasses import dataclass
from typing import Any

from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from oauth2_provider.models import get_application_model

from optin.admin import figures
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayHealth,
    Guard,
    Membership,
    Notice,
    ProviderUser,
    SmsMessage,
    User,
    WebhookEndpoint,
)
from optin.operations import staff


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a group."""

    words: str
    name: str
    """The name of its address."""
    permission: str

    @property
    def address(self) -> str:
        return reverse(f"admin:{self.name}")

    def is_above(self, url_name: str) -> bool:
        """Whether the page with this name is this one, or stands below its list."""
        return url_name.startswith(self.name.removesuffix("changelist"))


def _rows(model: type[models.Model]) -> Page:
    """Return the list of *model*."""
    opts = model._meta
    name = f"{opts.app_label}_{opts.model_name}_changelist"
    return Page(capfirst(str(opts.verbose_name_plural)), name, staff.sees(model))


GROUPS: dict[str, tuple[Page, ...]] = {
    "Support": (_rows(User), _rows(ProviderUser)),
    "Delivery": (
        _rows(SmsMessage),
        _rows(Notice),
        _rows(GatewayHealth),
        _rows(Guard),
    ),
    "Organisations": (
        _rows(File),
        _rows(Membership),
        _rows(AccessKey),
        _rows(get_application_model()),
        _rows(WebhookEndpoint),
    ),
    "Log": (_rows(AuditEvent),),
    "Figures": (Page("Figures", "figures", figures.MAY_SEE),),
}
"""All that stands in the navigation. The search is above it."""


def groups(request: HttpRequest) -> list[tuple[str, list[Page]]]:
    """Return the groups, and the pages of each, that whoever asks may see."""
    user: Any = request.user
    found = [
        (title, [page for page in pages if user.has_perm(page.permission)])
        for title, pages in GROUPS.items()
    ]
    return [(title, pages) for title, pages in found if pages]


def above(request: HttpRequest) -> tuple[str, Page] | None:
    """Return the group and the page of it to which the page that was asked for belongs."""
    here = (request.resolver_match and request.resolver_match.url_name) or ""
    if here.endswith("_make") and "file_id" in request.GET:
        here = "optin_file_change"  # from which they came
    found = ((title, page) for title, pages in GROUPS.items() for page in pages)
    return next((each for each in found if each[1].is_above(here)), None)
