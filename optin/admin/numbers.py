"""The numbers of accounts."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from optin.actions.accounts import REVEAL
from optin.admin.rows import Choice, ReadOnlyAdmin, account, by_id, file, number, tagged, text, when
from optin.admin.site import site
from optin.models import ProviderUser


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
    list_display = ("id", account, number, file, "state", when("verified_at"))
    list_filter = (State, by_id("user_id", "account id"), by_id("file_id", "file id"))
    list_select_related = ("user", "file")
    shown = (
        "id",
        account,
        number,
        file,
        "state",
        when("created_at"),
        when("verified_at"),
        when("released_at"),
        when("suspended_at"),
        when("taken_over_at", "verified in the old system"),
        text("taken_over_by", "how"),
    )

    @admin.display(description="state")
    def state(self, row: ProviderUser) -> str:
        if row.confirmed:
            here = "" if row.is_proved else ", taken over, not yet proved here"
            word = "suspended" if row.suspended_at else "active"
            return tagged(f"{word}{here}", is_bad=bool(row.suspended_at))
        return "released" if row.released_at else tagged("not verified", is_bad=True)
