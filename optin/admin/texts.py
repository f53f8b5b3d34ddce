"""What leaves the service, and what stops it."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse

from optin import phones
from optin.admin.actions import Action, Done, ReasonForm, told
from optin.admin.rows import ReadOnlyAdmin, account, by_id, choice, masked, reason, text, when
from optin.admin.site import site
from optin.errors import InvalidMobileNumber
from optin.models import GatewayHealth, Guard, Notice, SmsMessage
from optin.models.messages import State
from optin.operations import send_controls, staff
from optin.operations.send_controls import Target
from optin.origin import Origin
from optin.outcomes import StaffOutcome

# Several values of one kind of row stand beside each other, as staff compare them.


@admin.register(SmsMessage, site=site)
class TextAdmin(ReadOnlyAdmin):
    """Text messages: how far each came, and who carried it. Not their words."""

    nothing = "No text messages. This list shows each one and its state until it is deleted."
    list_display = (
        "id",
        when("created_at"),
        "owner",
        "number",
        "about",
        "state",
        text("gateway"),
        reason(),
        "tries",
    )
    list_filter = (choice("state", State.choices), by_id("pending_otp_id", "code id"))
    list_select_related = ("pending_otp__provider_user__user", "news_to__user")
    shown = (
        *list_display,
        when("claimed_at"),
        when("sent_at"),
        when("delivered_at"),
        text("gateway_message_id", "gateway's own id"),
        "segments",
        "cost",
        "unknown_attempts",
        "gateways",
    )

    @admin.display(description="account")
    def owner(self, message: SmsMessage) -> str:
        return account(message.provider_user)

    @admin.display(description="number")
    def number(self, message: SmsMessage) -> str:
        return message.provider_user.masked_number

    @admin.display(description="about")
    def about(self, message: SmsMessage) -> str:
        code = message.pending_otp
        if message.is_warning:
            return "second factors will be removed"
        return f"code to {code.get_purpose_display()}" if code else "the number was replaced"

    @admin.display(description="handed to")
    def gateways(self, message: SmsMessage) -> str:
        tries = message.gateway_tries.order_by("pk")
        return "; ".join(
            f"{made.gateway}: {made.fate} {masked(made.reason)}".strip() for made in tries
        )


@admin.register(Notice, site=site)
class MailAdmin(ReadOnlyAdmin):
    """E-mails to people about their account: how far each came. Not their links."""

    nothing = "No mails. This list shows each mail about a change until it is deleted."
    list_display = ("id", when("created_at"), account, "kind", "state", reason(), "tries")
    list_filter = (choice("state", State.choices), by_id("user_id", "account id"))
    list_select_related = ("user",)
    shown = (*list_display, when("sent_at"), when("disowned_at", "taken back"))


@admin.register(GatewayHealth, site=site)
class GatewayAdmin(ReadOnlyAdmin):
    nothing = "No gateway has failed. This list shows each one that fails, and how often."
    list_display = ("gateway", "failures", when("tripped_until", "not used until"))
    shown = list_display


# -- what stops texts --------------------------------------------------------------


class NumberForm(ReasonForm):
    """A number, or all that share its first digits."""

    number = forms.CharField(
        max_length=phones.MAX_LENGTH,
        label="Mobile number",
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
    )
    covers = forms.ChoiceField(
        choices=[("number", "this number"), ("prefix", "its whole prefix")], label="Covers"
    )

    field_order = ("number", "covers", "days", "reason")

    def target(self) -> Target:
        make = Target.prefix if self.cleaned_data["covers"] == "prefix" else Target.number
        return make(self.cleaned_data["number"])

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                self.cleaned_data["target"] = self.target()
            except InvalidMobileNumber as exc:
                self.add_error("number", exc.message)
        return self.cleaned_data


class ListForm(NumberForm):
    days = forms.IntegerField(min_value=1, max_value=366, initial=30, label="Days")


class PrefixForm(ListForm):
    covers = None  # type: ignore[assignment]

    def target(self) -> Target:
        return Target.prefix(self.cleaned_data["number"])


class OneNumberForm(NumberForm):
    covers = None  # type: ignore[assignment]

    def target(self) -> Target:
        return Target.number(self.cleaned_data["number"])


def _switch(operation: Any, done: str) -> Any:
    def do(row: Any, data: dict[str, Any], origin: Origin) -> Done:
        outcome = operation(reason=data["reason"], origin=origin)
        return told(outcome, {StaffOutcome.OK: done, StaffOutcome.UNCHANGED: "Already set."})

    return do


def _put(operation: Any, done: str) -> Any:
    def do(row: Any, data: dict[str, Any], origin: Origin) -> Done:
        lasts = timedelta(days=data["days"])
        operation(data["target"], lasts, reason=data["reason"], origin=origin)
        return Done(done)

    return do


def _take(operation: Any, done: str) -> Any:
    def do(row: Any, data: dict[str, Any], origin: Origin) -> Done:
        outcome = operation(data["target"], reason=data["reason"], origin=origin)
        words = {StaffOutcome.OK: done, StaffOutcome.UNCHANGED: "It was not on a list."}
        return told(outcome, words)

    return do


SEND_CONTROL_ACTIONS = (
    Action(
        "stop",
        "Stop all texts",
        staff.SEND_CONTROLS,
        "Stops all texts of every kind. Waiting texts expire.",
        _switch(send_controls.stop_texts, "All texts are stopped."),
        is_destructive=True,
    ),
    Action(
        "allow",
        "Allow texts again",
        staff.SEND_CONTROLS,
        "Ends the stop of all texts.",
        _switch(send_controls.allow_texts, "Texts leave again."),
    ),
    Action(
        "deny",
        "Deny opt-ins",
        staff.SEND_CONTROLS,
        "Refuses opt-ins of a number, or of all numbers with its prefix. Active numbers keep "
        "working.",
        _put(send_controls.deny, "On the deny list."),
        ListForm,
    ),
    Action(
        "safe",
        "Keep safe",
        staff.SEND_CONTROLS,
        "No breaker refuses opt-ins of this number or prefix. The other limits still apply.",
        _put(send_controls.keep_safe, "On the safe list."),
        ListForm,
    ),
    Action(
        "lift",
        "Open a prefix",
        staff.SEND_CONTROLS,
        "Opens a prefix that a breaker closed.",
        _put(send_controls.lift_breaker, "The prefix is open."),
        PrefixForm,
    ),
    Action(
        "unlist",
        "Take off the lists",
        staff.SEND_CONTROLS,
        "Takes a number or prefix off the deny or safe list.",
        _take(send_controls.unlist, "Taken off the lists."),
        NumberForm,
    ),
    Action(
        "texts-again",
        "Allow texts to a number",
        staff.SEND_CONTROLS,
        "For somebody who answered STOP and wants texts again. The gateway must allow it too.",
        _take(send_controls.allow_number, "Texts may go to it again."),
        OneNumberForm,
    ),
)


@admin.register(Guard, site=site)
class SendControlAdmin(ReadOnlyAdmin):
    change_list_template = "admin/actions_list.html"
    nothing = "No stop and no list entry. Numbers that are denied, kept safe or closed stand here."
    list_display = ("kind", "covers", "number", "region", reason(), when("made_at"), "ends")
    list_filter = (choice("kind", Guard.Kind.choices),)
    shown = (*list_display, "unverified")

    @admin.display(description="number")
    def number(self, control: Guard) -> str:
        return phones.mask(control.last_three) or "-"

    ends = staticmethod(when("until"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(
            request, tools_for(request, "optin_guard", SEND_CONTROL_ACTIONS)
        )

    def own_urls(self) -> list[URLPattern]:
        def home(row: Any) -> str:
            return reverse("admin:optin_guard_changelist")

        return [
            each.urls("optin_guard", lambda pk: None, home, one=False)
            for each in SEND_CONTROL_ACTIONS
        ]


def tools_for(request: HttpRequest, model: str, actions: Any) -> dict[str, Any]:
    """Return, for a list, the operations that whoever asks may ask for."""
    tools = [
        (reverse(f"admin:{model}_{each.name}"), each.title)
        for each in actions
        if request.user.has_perm(each.permission)
    ]
    return {"tools": tools}
