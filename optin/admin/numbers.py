"""The numbers of accounts, and the codes that were sent to them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone

from optin.admin.actions import Action, Done, told
from optin.admin.rows import Choice, ReadOnlyAdmin, account, by_id, file, when
from optin.admin.site import site
from optin.models import PendingOtp, ProviderUser
from optin.operations import staff
from optin.origin import Origin
from optin.outcomes import StaffOutcome


def _reveal(row: ProviderUser, data: dict[str, Any], origin: Origin) -> Done:
    result = staff.reveal(row, reason=data["reason"], origin=origin)
    if result.outcome is not StaffOutcome.OK:
        unreadable = "The number cannot be read: its key is no longer in the key ring."
        return told(result.outcome, {StaffOutcome.UNREADABLE: unreadable})
    return Done("This is the full number. It is shown only once.", secret=result.number)


REVEAL = Action(
    "reveal",
    "Show the number in full",
    staff.REVEAL,
    "The number is shown once. The audit trail keeps who looked at it and why.",
    _reveal,
)


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
    )

    @admin.display(description="number")
    def number(self, row: ProviderUser) -> str:
        return row.masked_number

    @admin.display(description="state")
    def state(self, row: ProviderUser) -> str:
        if row.confirmed:
            return "suspended" if row.suspended_at else "active"
        return "released" if row.released_at else "not verified"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        tools = []
        if request.user.has_perm(REVEAL.permission):
            address = reverse("admin:optin_provideruser_reveal", args=[object_id])
            tools.append((address, REVEAL.title))
        context = {"tools": tools, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def own_urls(self) -> list[URLPattern]:
        def find(pk: int) -> ProviderUser | None:
            return ProviderUser.objects.select_related("user").filter(pk=pk).first()

        def home(row: ProviderUser) -> str:
            return reverse("admin:optin_provideruser_change", args=[row.pk])

        return [REVEAL.urls("optin_provideruser", find, home, one=True)]


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
