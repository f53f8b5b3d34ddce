"""Webhook endpoints of files, each with the log of its attempts (P-24).

Members who manage a file keep them. Staff look at them, and switch them off and on.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from optin.actions.base import Action, NoForm, calls
from optin.admin.rows import ReadOnlyAdmin, at, by_id, file, masked, tagged, text, when
from optin.admin.site import site
from optin.admin.times import times
from optin.models import WebhookEndpoint, WebhookTry
from optin.operations import staff, webhooks
from optin.support.wording import plain

SHOWN_TRIES = 50
"""Attempts on the page of an endpoint, the newest."""


def _cells(made: WebhookTry) -> dict[str, Any]:
    return {
        "at": at(made.at),
        "id": made.message_id,
        "kind": made.kind,
        "sequence": made.sequence or "-",
        "status": made.status or "no answer",
        "ms": made.milliseconds,
        "said": masked(made.answer or made.reason) or "-",
    }


def _old_secret(row: WebhookEndpoint) -> str:
    ends, now = row.old_secret_ends_at, timezone.now()
    return f"The old secret signs too, until {at(ends)}." if row.has_old_secret(now) else ""


OF_ONE = (
    Action(
        "on",
        "Switch on",
        staff.TENANTS,
        "Sends what the endpoint lacks, up to 30 days old, and all that happens from now on. Staff "
        "answer for it then: it goes on until the file is closed.",
        calls(webhooks.switch, "The endpoint is on.", on=True),
        NoForm,
        changes=lambda it: it.off_at or it.paused,
    ),
    Action(
        "off",
        "Switch off",
        staff.TENANTS,
        "Sends nothing to the endpoint until it is switched on.",
        calls(webhooks.switch, "The endpoint is off.", on=False),
        NoForm,
        is_destructive=True,
        changes=lambda it: not it.off_at,
    ),
)


@admin.register(WebhookEndpoint, site=site)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    nothing = "No endpoint yet. An endpoint is sent what happens to second factors in its file."
    of_one = OF_ONE
    leads_to = "change"
    change_form_template = "admin/webhook.html"
    list_display = (text("url", "address"), file, "state", when("created_at", "made"))
    list_filter = (by_id("file_id", "file id"),)
    list_select_related = ("file", "made_by")
    in_file = (list_display[0], "state")
    shown: ClassVar[tuple[Any, ...]] = (
        *list_display,
        text("description"),
        "wants",
        "maker",
        "waiting",
        "failures",
        "old_secret",
    )

    def look_up(self, rows: Sequence[Any]) -> None:
        paused = WebhookEndpoint.objects.paused()
        for row in rows:
            row.paused = paused.get(row.pk)

    @admin.display(description="state")
    def state(self, row: WebhookEndpoint) -> str:
        if row.off_at:
            words = f"{row.get_off_why_display()} at {at(row.off_at)}"
        elif row.paused:
            words = f"paused: {row.paused.label}"
        elif row.failures:
            words = f"failing: next attempt at {at(row.due_at)}"
        else:
            return "on"
        return tagged(times(words), is_bad=True)

    @admin.display(description="events that wait")
    def waiting(self, row: WebhookEndpoint) -> int:
        return row.events().filter(sequence__gt=row.cursor).count()

    @admin.display(description="kinds of events")
    def wants(self, row: WebhookEndpoint) -> str:
        return ", ".join(row.wanted) or "all"

    @admin.display(description="answers for it")
    def maker(self, row: WebhookEndpoint) -> str:
        return plain(row.made_by.username) if row.made_by else "staff"

    @admin.display(description="old secret")
    def old_secret(self, row: WebhookEndpoint) -> str:
        return times(_old_secret(row)) or "-"

    def beside(self, row: WebhookEndpoint, request: HttpRequest) -> dict[str, Any]:
        tries = row.tries.order_by("-pk")
        shown = {
            "Skipped events": tries.filter(skipped=True)[:SHOWN_TRIES],
            "Attempts": tries[:SHOWN_TRIES],
        }
        return {"tables": [(head, [*map(_cells, found)]) for head, found in shown.items()]}
