"""Files, who belongs to them, and what acts for people (P-24)."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from oauth2_provider.models import get_application_model

from optin.actions.tenants import (
    ADD_MEMBER,
    MAKE_APPLICATION,
    MAKE_FILE,
    MAKE_KEY,
    OF_APPLICATION,
    OF_KEY,
    OF_MEMBERSHIP,
)
from optin.admin.rows import ReadOnlyAdmin, account, by_id, clock, file, flag, text, when
from optin.admin.site import site
from optin.models import AccessKey, File, Membership, TrustedClient
from optin.operations import sandbox


@admin.display(description="names its users' addresses")
def _is_trusted(row: Any) -> str:
    return "yes" if TrustedClient.objects.filter(application=row).exists() else "no"


@admin.register(File, site=site)
class FileAdmin(ReadOnlyAdmin):
    of_list = (MAKE_FILE,)
    nothing = "No file yet. A file is a tenant: people and access keys belong to one."
    list_display = (
        "id",
        text("name"),
        flag("active", "state", yes="active", no="not active"),
        flag("is_sandbox", "sandbox", yes="sandbox"),
    )
    shown = list_display
    change_form_template = "admin/file.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        file = File.objects.filter(pk=object_id, is_sandbox=True).first()
        texts = sandbox.texts_of(file) if file else []
        shown = {"is_sandbox": bool(file), "texts": [(clock(each.at), each) for each in texts]}
        return super().change_view(request, object_id, form_url, shown)


@admin.register(Membership, site=site)
class MembershipAdmin(ReadOnlyAdmin):
    of_list = (ADD_MEMBER,)
    of_one = OF_MEMBERSHIP
    nothing = "No member yet. A member may act in a file."
    list_display = (
        account,
        file,
        flag("manages", "integrations", yes="manages", no="-"),
        flag("active", "state", yes="active", no="ended"),
    )
    list_filter = (by_id("user_id", "account id"), by_id("file_id", "file id"))
    list_select_related = ("user", "file")
    list_display_links = (list_display[-1],)
    shown = list_display


@admin.register(AccessKey, site=site)
class AccessKeyAdmin(ReadOnlyAdmin):
    of_list = (MAKE_KEY,)
    of_one = OF_KEY
    nothing = "No access key yet. A key acts for a person in a file, without a password."
    list_display = (
        text("prefix", "begins with"),
        account,
        file,
        when("created_at", "made"),
        when("last_used_at"),
        when("revoked_at"),
    )
    list_filter = (by_id("user_id", "account id"), by_id("file_id", "file id"))
    list_select_related = ("user", "file")
    shown = list_display


@admin.register(get_application_model(), site=site)
class ApplicationAdmin(ReadOnlyAdmin):
    of_list = (MAKE_APPLICATION,)
    of_one = OF_APPLICATION
    nothing = "No application yet. An application signs people in, or acts for them."
    list_display = (
        text("name"),
        text("client_id"),
        "client_type",
        "authorization_grant_type",
        when("created"),
    )
    shown = (
        *list_display,
        text("redirect_uris"),
        text("post_logout_redirect_uris"),
        flag("skip_authorization", "skip authorization", yes="yes", no="no"),
        _is_trusted,
    )
