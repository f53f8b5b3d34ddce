"""The numbers of accounts, and the codes that were sent to them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils import timezone

from optin.actions.accounts import REVEAL
from optin.admin.rows import Choice, ReadOnlyAdmin, account, by_id, file, text, when
from optin.admin.site import site
from optin.models import PendingOtp, ProviderUser


class State(Choice):
    title, parameter_name = "state", "state"
    choices_of = [("active", "active"), ("suspended", "suspended"), ("released", "released")]
    filters = {
        "active": {"confirmed": True},
        "suspended": {"suspended_at__isnull": False},
        "released": {"released_at__isnull": False},
    }

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(**self.filters[value])


@admin.register(ProviderUser, site=site)
class NumberAdmin(ReadOnlyAdmin):
    of_one = (REVEAL,)
    leads_to = "change"
    nothing = "No numbers yet. This list shows the last three digits of each one that was entered."
    list_display = ("id", account, "number", file, "state", when("verified_at"))
    list_filter = (State, by_id("user_id", "account id"), by_id("file_id", "file id"))
    list_select_related = ("user", "file")
    shown = (
        "id",
        account,
        "number",
        file,
        "state",
        when("created_at"),
        when("verified_at"),
        when("released_at"),
        when("suspended_at"),
        when("taken_over_at", "verified in the old system"),
        text("taken_over_by", "how"),
    )

    @admin.display(description="number")
    def number(self, row: ProviderUser) -> str:
        return row.masked_number

    @admin.display(description="state")
    def state(self, row: ProviderUser) -> str:
        if row.confirmed:
            here = "" if row.is_proved else ", taken over, not yet proved here"
            return f"{'suspended' if row.suspended_at else 'active'}{here}"
        return "released" if row.released_at else "not verified"


@admin.register(PendingOtp, site=site)
class CodeAdmin(ReadOnlyAdmin):
    """Codes that wait, or were closed. The code itself is nowhere."""

    nothing = "No codes. This list shows each one, without its digits, until it is deleted."
    list_display = (
        "id",
        "owner",
        "number",
        "purpose",
        when("issued_at"),
        when("expires_at"),
        "end",
    )
    list_filter = (by_id("provider_user_id", "number id"),)
    list_select_related = ("provider_user__user",)
    shown = (*list_display, "tries", when("closed_at"))

    @admin.display(description="account")
    def owner(self, row: PendingOtp) -> str:
        return account(row.provider_user)

    @admin.display(description="number")
    def number(self, row: PendingOtp) -> str:
        return row.provider_user.masked_number

    @admin.display(description="closed as")
    def end(self, row: PendingOtp) -> str:
        is_over = row.expires_at <= timezone.now()
        return row.get_closed_as_display() or ("expired" if is_over else "open")
