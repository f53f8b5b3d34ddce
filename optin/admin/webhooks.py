"""Webhook endpoints of files, each with the log of its attempts (P-24)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from optin.actions.base import Action, Done, FileField, NoForm, calls, tick
from optin.admin.rows import ReadOnlyAdmin, at, by_id, file, masked, tagged, text, when
from optin.admin.site import site
from optin.admin.times import times
from optin.models import WebhookEndpoint, WebhookTry
from optin.models.webhooks import MAX_DESCRIPTION, MAX_SEQUENCE
from optin.operations import staff, webhooks
from optin.origin import Origin
from optin.runtime import outside
from optin.support.wording import plain

SHOWN_TRIES = 50
"""Attempts on the page of an endpoint, the newest."""


class EndpointForm(NoForm):
    url = forms.CharField(max_length=outside.MAX_URL, label="Address (https)")
    description = forms.CharField(max_length=MAX_DESCRIPTION, required=False, label="Description")
    kinds = forms.MultipleChoiceField(
        choices=[(kind.value, f"{kind}: {kind.label}") for kind in webhooks.KINDS],
        required=False,
        label="Events (tick none for all, including kinds that are added later)",
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, data: Any, row: WebhookEndpoint | None) -> None:
        super().__init__(data, row)
        if row:
            now = {"url": row.url, "description": row.description, "kinds": row.wanted}
            for name, value in now.items():
                self.fields[name].initial = value

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if fault := outside.fault(url):
            raise forms.ValidationError(fault)
        return url


class NewEndpointForm(EndpointForm):
    file_id = FileField()
    field_order = ("file_id", "url", "description", "kinds")


class SampleForm(NoForm):
    kind = forms.ChoiceField(
        choices=[(kind.value, f"{kind}: {kind.label}") for kind in webhooks.TESTS],
        label="Event",
    )


class SequenceForm(NoForm):
    sequence = forms.IntegerField(min_value=1, max_value=MAX_SEQUENCE, label="Sequence")


class SkipForm(SequenceForm):
    def __init__(self, data: Any, row: WebhookEndpoint) -> None:
        super().__init__(data, row)
        self.fields["sequence"].initial = row.failed and row.failed.sequence


class SecretForm(NoForm):
    def __init__(self, data: Any, row: WebhookEndpoint) -> None:
        super().__init__(data, row)
        if row.has_old_secret(timezone.now()):
            self.fields["ends_old"] = tick("The old secret may stop at once: no server needs it.")


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


def _failed(row: WebhookEndpoint) -> str:
    if row.failed is None:
        return ""
    last = _cells(row.failed)
    return f"{last['kind']} ({last['sequence']}): {last['status']}, {last['said']}"


def _make(row: None, data: dict[str, Any], origin: Origin) -> Done:
    _endpoint, secret = webhooks.make(data.pop("file_id"), **data, origin=origin)
    return Done("This is the secret of the new endpoint. It is shown only once.", secret=secret)


def _old_secret(row: WebhookEndpoint) -> str:
    ends, now = row.old_secret_ends_at, timezone.now()
    return f"The old secret signs too, until {at(ends)}." if row.has_old_secret(now) else ""


def _replace_secret(row: WebhookEndpoint, data: dict[str, Any], origin: Origin) -> Done:
    secret = webhooks.replace_secret(row, **data, origin=origin)
    words = "This is the new secret. It is shown only once. The old one signs too for 24 hours."
    return Done(words, secret=secret)


MAKE = Action(
    "make",
    "Make a webhook endpoint",
    staff.TENANTS,
    "What happens to the second factors in the file is sent to this address, signed. The secret "
    "is shown once.",
    _make,
    NewEndpointForm,
)
OF_ONE = (
    Action(
        "test",
        "Send a test",
        staff.TENANTS,
        "Sends a sample once, also to an endpoint that is off, but not to one that is paused. It "
        "is about nobody, and has no Sequence.",
        calls(
            webhooks.send_test,
            "The test is on its way. Load this page again to see what became of it.",
        ),
        SampleForm,
        changes=lambda it: not it.paused,
    ),
    Action(
        "skip",
        "Skip the failing event",
        staff.TENANTS,
        "Leaves this event out and goes on with the next one. The page lists what was skipped.",
        calls(
            webhooks.skip, "The event was skipped.", "The endpoint does not wait there any more."
        ),
        SkipForm,
        hits=_failed,
        changes=lambda it: it.failed,
    ),
    Action(
        "again",
        "Send events again",
        staff.TENANTS,
        "Sends the event with this Sequence again, and all after it, up to 30 days old. Each has "
        "the same webhook-id as before.",
        calls(
            webhooks.send_again,
            "The events will be sent again.",
            "The endpoint was not sent this event yet.",
        ),
        SequenceForm,
    ),
    Action(
        "edit",
        "Change the endpoint",
        staff.TENANTS,
        "Events that wait go to the new address. A kind that is added is sent from now on.",
        calls(webhooks.change, "The endpoint was changed."),
        EndpointForm,
    ),
    Action(
        "secret",
        "Replace the secret",
        staff.TENANTS,
        "Makes a new secret. For 24 hours, each event is signed with both.",
        _replace_secret,
        SecretForm,
        hits=_old_secret,
    ),
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
    Action(
        "remove",
        "Remove the endpoint",
        staff.TENANTS,
        "Sends nothing to the endpoint any more, and deletes its log.",
        calls(webhooks.remove, "The endpoint was removed."),
        NoForm,
        is_destructive=True,
    ),
)


@admin.register(WebhookEndpoint, site=site)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    nothing = "No endpoint yet. An endpoint is sent what happens to second factors in its file."
    of_list = (MAKE,)
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
