"""What leaves the service, and what stops it."""

from django.contrib import admin

from optin.actions.texts import EVERY
from optin.admin.rows import (
    ReadOnlyAdmin,
    account,
    by_id,
    choice,
    masked,
    number,
    reason,
    state,
    tagged,
    text,
    when,
)
from optin.admin.site import site
from optin.models import GatewayHealth, Guard, Notice, SmsMessage
from optin.models.messages import State

_STATE = state(State.FAILED, State.EXPIRED, State.WITHHELD)

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
        _STATE,
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
        return f"code {code.get_purpose_display()}" if code else "the number was replaced"

    @admin.display(description="handed to")
    def gateways(self, message: SmsMessage) -> str:
        tries = message.gateway_tries.order_by("pk")
        return "; ".join(
            f"{made.gateway}: {made.fate} {masked(made.reason)}".strip() for made in tries
        )


@admin.register(Notice, site=site)
class MailAdmin(ReadOnlyAdmin):
    """Emails to people about their account: how far each came. Not their links."""

    nothing = "No emails. This list shows each email about a change until it is deleted."
    list_display = (
        "id",
        when("created_at"),
        account,
        "kind",
        state(State.FAILED),
        reason(),
        "tries",
    )
    list_filter = (choice("state", State.choices), by_id("user_id", "account id"))
    list_select_related = ("user",)
    shown = (*list_display, when("sent_at"), when("disowned_at", "taken back"))


@admin.register(GatewayHealth, site=site)
class GatewayAdmin(ReadOnlyAdmin):
    says = "A gateway that has never failed may be missing here."
    nothing = "No gateway has failed."
    list_display = ("gateway", "works", "failures", when("tripped_until", "not used until"))
    shown = list_display

    @admin.display(description="state")
    def works(self, health: GatewayHealth) -> str:
        return tagged("fails", is_bad=True) if health.failures else "works"


@admin.register(Guard, site=site)
class SendControlAdmin(ReadOnlyAdmin):
    of_list = EVERY
    nothing = "No stop, no closed prefix and no number on a list."
    list_display = (
        "kind",
        "covers",
        number,
        "region",
        reason(),
        when("made_at"),
        when("until", "ends"),
    )
    list_filter = (choice("kind", Guard.Kind.choices),)
    shown = (*list_display, "unverified")
