"""Webhook endpoints of files, each with the log of its attempts (P-24)."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone

from optin.admin.actions import Action, Done, told
from optin.admin.rows import ReadOnlyAdmin, at, by_id, file, masked, text, when
from optin.admin.site import site
from optin.admin.tenants import NoForm
from optin.admin.texts import tools_for
from optin.models import File, WebhookEndpoint
from optin.models.files import MAX_FILE_ID
from optin.operations import staff, webhooks
from optin.origin import Origin
from optin.outcomes import StaffOutcome
from optin.runtime import outside

SHOWN_TRIES = 50
"""Attempts on the page of an endpoint, the newest."""


class EndpointForm(NoForm):
    file_id = forms.IntegerField(min_value=1, max_value=MAX_FILE_ID, label="File id")
    url = forms.CharField(max_length=outside.MAX_URL, label="Address (https)")

    def clean_file_id(self) -> File:
        file = File.objects.filter(pk=self.cleaned_data["file_id"]).first()
        if file is None:
            raise forms.ValidationError("There is no such file.")
        return file

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if fault := outside.fault(url):
            raise forms.ValidationError(fault)
        return url


def _make(row: None, data: dict[str, Any], origin: Origin) -> Done:
    _endpoint, secret = webhooks.make(data["file_id"], data["url"], origin=origin)
    return Done("This is the secret of the new endpoint. It is shown only once.", secret=secret)


def _replace_secret(row: WebhookEndpoint, data: dict[str, Any], origin: Origin) -> Done:
    secret = webhooks.replace_secret(row, origin=origin)
    words = "This is the new secret. It is shown only once. The old one signs too for 24 hours."
    return Done(words, secret=secret)


def _switch(on: bool, done: str) -> Any:
    def do(row: WebhookEndpoint, data: dict[str, Any], origin: Origin) -> Done:
        outcome = webhooks.switch(row, on=on, origin=origin)
        return told(outcome, {StaffOutcome.OK: done, StaffOutcome.UNCHANGED: "Already set."})

    return do


def _remove(row: WebhookEndpoint, data: dict[str, Any], origin: Origin) -> Done:
    webhooks.remove(row, origin=origin)
    return Done("The endpoint was removed.")


def _test(row: WebhookEndpoint, data: dict[str, Any], origin: Origin) -> Done:
    webhooks.test(row, origin=origin)
    return Done("The test is on its way. Load this page again to see what became of it.")


MAKE = Action(
    "make",
    "Make a webhook endpoint",
    staff.TENANTS,
    "What happens to the second factors in the file is sent to this address, signed. The secret "
    "is shown once.",
    _make,
    EndpointForm,
)
OF_ONE = (
    Action(
        "test",
        "Send a test event",
        staff.TENANTS,
        "Sends endpoint.test once, also to an endpoint that is off.",
        _test,
        NoForm,
    ),
    Action(
        "secret",
        "Replace the secret of the endpoint",
        staff.TENANTS,
        "Makes a new secret. For 24 hours, each event is signed with both.",
        _replace_secret,
        NoForm,
    ),
    Action(
        "on",
        "Switch the endpoint on",
        staff.TENANTS,
        "Sends what the endpoint lacks, up to 30 days old, and all that happens from now on.",
        _switch(True, "The endpoint is on."),
        NoForm,
    ),
    Action(
        "off",
        "Switch the endpoint off",
        staff.TENANTS,
        "Sends nothing to the endpoint until it is switched on.",
        _switch(False, "The endpoint is off."),
        NoForm,
        is_destructive=True,
    ),
    Action(
        "remove",
        "Remove the endpoint",
        staff.TENANTS,
        "Sends nothing to the endpoint any more, and deletes its log.",
        _remove,
        NoForm,
        is_destructive=True,
    ),
)
_NAME = "optin_webhookendpoint"


@admin.register(WebhookEndpoint, site=site)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    nothing = "No endpoint yet. An endpoint is sent what happens to second factors in its file."
    change_list_template = "admin/actions_list.html"
    change_form_template = "admin/webhook.html"
    list_display = (text("url", "address"), file, "state", when("created_at", "made"))
    list_filter = (by_id("file_id", "file id"),)
    list_select_related = ("file",)
    shown: ClassVar[tuple[Any, ...]] = (*list_display, "waiting", "failures", "old_secret")

    @admin.display(description="state")
    def state(self, row: WebhookEndpoint) -> str:
        if row.off_at:
            return f"{row.get_off_why_display()} at {at(row.off_at)}"
        if row.failures:
            return f"failing: next attempt at {at(row.due_at)}"
        return "on"

    @admin.display(description="events that wait")
    def waiting(self, row: WebhookEndpoint) -> int:
        return row.file.webhook_sequence - row.cursor

    @admin.display(description="old secret")
    def old_secret(self, row: WebhookEndpoint) -> str:
        ends = row.old_secret_ends_at
        return f"signs until {at(ends)}" if ends and ends > timezone.now() else "-"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(staff.sees(self.model)))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, tools_for(request, _NAME, [MAKE]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self._find(int(object_id))
        hidden = "off" if row and row.off_at else "on"
        tools = [
            (reverse(f"admin:{_NAME}_{each.name}", args=[object_id]), each.title)
            for each in OF_ONE
            if each.name != hidden
        ]
        tries = row.tries.order_by("-pk")[:SHOWN_TRIES] if row else []
        shown = [
            {
                "at": at(each.at),
                "kind": each.kind,
                "sequence": each.sequence or "-",
                "status": each.status or "no answer",
                "ms": each.milliseconds,
                "said": masked(each.answer or each.reason) or "-",
            }
            for each in tries
        ]
        return super().change_view(request, object_id, form_url, {"tools": tools, "tries": shown})

    def own_urls(self) -> list[URLPattern]:
        def home(row: WebhookEndpoint) -> str:
            return reverse(f"admin:{_NAME}_change", args=[row.pk])

        def list_of(row: Any) -> str:
            return reverse(f"admin:{_NAME}_changelist")

        return [
            MAKE.urls(_NAME, self._find, list_of, one=False),
            *(
                each.urls(_NAME, self._find, list_of if each.name == "remove" else home, one=True)
                for each in OF_ONE
            ),
        ]

    @staticmethod
    def _find(pk: int) -> WebhookEndpoint | None:
        return WebhookEndpoint.objects.filter(pk=pk).first()
