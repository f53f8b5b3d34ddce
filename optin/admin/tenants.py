"""Files, who belongs to them, and what acts for people (P-24)."""

from collections.abc import Sequence
from itertools import compress
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import label_for_field, lookup_field
from django.db.models import Count, Max, Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from oauth2_provider.models import get_application_model

from optin.actions.tenants import (
    ABOUT_FILES,
    ADD_MEMBER,
    INVITE,
    MAKE_APPLICATION,
    MAKE_FILE,
    MAKE_KEY,
    OF_APPLICATION,
    OF_FILE,
    OF_KEY,
    OF_MEMBERSHIP,
)
from optin.admin.actions import links, name_of
from optin.admin.rows import (
    Choice,
    ReadOnlyAdmin,
    account,
    by_id,
    clock,
    file,
    flag,
    note_factors,
    text,
    when,
)
from optin.admin.site import site
from optin.limits import Rule
from optin.models import AccessKey, AuditEvent, File, Membership, ScimClient, WebhookEndpoint
from optin.operations import invitations, sandbox, staff, tenants
from optin.support import budgets
from optin.support.wording import moment, plain

SHOWN_ROWS = 10
"""Members, keys and endpoints on the page of a file: the newest of each."""


@admin.display(description="names its users' addresses")
def _is_trusted(row: Any) -> str:
    return "yes" if hasattr(row, "trust") else "no"


@admin.display(description="SCIM")
def _provisions(row: Any) -> str:
    client: ScimClient | None = getattr(row, "scim", None)
    if client is None:
        return "no"
    return f"people of file {client.file_id}" if client.file_id else "people of all files"


@admin.display(description="tokens for SCIM")
def _scim_tokens(row: Any) -> str:
    tokens = tenants.scim_tokens(row).filter(expires__gt=timezone.now())
    found = tokens.aggregate(count=Count("pk"), last=Max("expires"))
    if not found["count"]:
        return "none that works"
    return format_html("{}; the last one ends {}", found["count"], clock(found["last"]))


@admin.register(File, site=site)
class FileAdmin(ReadOnlyAdmin):
    of_list = (MAKE_FILE,)
    of_one = (INVITE, *OF_FILE)
    leads_to = "change"
    says = ABOUT_FILES
    nothing = "No file yet."
    list_display = (
        "id",
        text("name"),
        flag("active", "state", yes="active", no="not active", is_bad=True),
        flag("is_sandbox", "sandbox", yes="sandbox"),
    )
    shown = list_display
    change_form_template = "admin/file.html"

    def beside(self, row: File, request: HttpRequest) -> dict[str, Any]:
        return _hub(row, request)


# -- the page of a file ------------------------------------------------------------


def _hub(file: File, request: HttpRequest) -> dict[str, Any]:
    """Return what the page of *file* shows, of that which whoever asks may see."""
    texts = sandbox.texts_of(file) if file.is_sandbox else []
    return {
        "title": plain(file),
        "is_sandbox": file.is_sandbox,
        "facts": [
            ("File id", file.pk),
            ("State", "active" if file.active else "not active"),
            *([("Sandbox", "yes")] if file.is_sandbox else _used(file)),
            *([("Texts end", f"on {file.texts_end_on:%-d %B %Y}")] if file.texts_end_on else []),
        ],
        "texts": [(clock(each.at), each) for each in texts],
        "members": [] if file.is_sandbox else _counts(file),
        "parts": [
            _part(request, model, file, only)
            for model, only in _PARTS.items()
            if site.get_model_admin(model).has_view_permission(request)
        ],
        "events": _list_of(AuditEvent, file)
        if request.user.has_perm(staff.sees(AuditEvent))
        else "",
    }


_PARTS: dict[type[Model], dict[str, Any]] = {
    Membership: {"active": True},
    AccessKey: {},
    WebhookEndpoint: {},
}
"""The rows on the page of a file, each with what is left out there."""


def _part(request: HttpRequest, model: type[Model], file: File, only: Any) -> dict[str, Any]:
    """Return the newest rows of *model* in *file*, and what can be done there."""
    listed: Any = site.get_model_admin(model)
    found = listed.get_queryset(request).filter(file=file, **only)
    rows = found.select_related(*listed.list_select_related).order_by("-pk")[:SHOWN_ROWS]
    listed.look_up(rows)
    name = name_of(listed)
    make = links(listed, listed.of_list, request)
    cells = [[lookup_field(each, row, listed)[2] for each in listed.in_file] for row in rows]
    kept = [any(row[n] != "-" for row in cells) for n in range(len(listed.in_file))]
    columns = [*compress((label_for_field(each, model, listed) for each in listed.in_file), kept)]
    return {
        "name": model._meta.model_name,
        "title": capfirst(str(model._meta.verbose_name_plural)),
        "whole": _list_of(model, file),
        "make": [(_with(address, file_id=file.pk), *rest) for address, *rest in make],
        "columns": columns,
        "rows": [
            {
                "row": row,
                "address": reverse(f"admin:{name}_change", args=[row.pk]),
                "cells": [*zip(columns, compress(said, kept), strict=True)],
                "key": _key_of(request, row) if model is Membership else "",
            }
            for row, said in zip(rows, cells, strict=True)
        ],
    }


def _key_of(request: HttpRequest, member: Membership) -> str:
    """Return where a key is made for *member*; "" if whoever asks may not."""
    if not (member.user.is_active and request.user.has_perm(MAKE_KEY.permission)):
        return ""
    make = reverse(f"admin:optin_accesskey_{MAKE_KEY.name}")
    return _with(make, file_id=member.file_id, who=f"id:{member.user_id}")


def _list_of(model: type[Model], file: File) -> str:
    return _with(reverse(f"admin:optin_{model._meta.model_name}_changelist"), file_id=file.pk)


def _with(address: str, **facts: object) -> str:
    return f"{address}?{urlencode(facts)}"


def _used(file: File) -> list[tuple[str, str]]:
    """Say how many texts of each budget of *file* are used."""
    running = budgets.running(timezone.now(), [file.pk])
    return [
        ("Texts to opt in and out", f"{one.used:,} of {one.limit:,} until {moment(one.ends)}")
        for one in running
        if one.scope == Rule.FILE
    ]


class _HowFar(Choice):
    title, parameter_name = "state", "how_far"
    choices_of = (
        ("members", "with an active account"),
        ("invited", "invited"),
        ("not_invited", "not invited"),
        ("password", "with a password"),
        ("not_password", "without a password"),
        ("two_factor", "with two-factor sign-in"),
        ("not_two_factor", "without two-factor sign-in"),
        ("texts_only", "with text messages only"),
        ("stranded", "with text messages only, without a password"),
        ("deactivated", "with a deactivated account"),
    )

    def narrow(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        return queryset.filter(invitations.how_far()[value])


def _counts(file: File) -> list[tuple[int, str, str]]:
    """Count the members: how many, who, and the list of those."""
    address = _list_of(Membership, file)
    found = invitations.progress(file)
    shown = {
        "members": "member" if found["members"] == 1 else "members",
        "not_invited": "not invited",
        "not_two_factor": "without two-factor sign-in",
        "texts_only": "with text messages only",
        "stranded": "of these without a password",
    }
    return [
        (found[name], words, f"{address}&how_far={name}")
        for name, words in shown.items()
        if found[name]
    ]


@admin.register(Membership, site=site)
class MembershipAdmin(ReadOnlyAdmin):
    of_list = (ADD_MEMBER,)
    of_one = OF_MEMBERSHIP
    nothing = "No member yet."
    list_display = (
        account,
        file,
        flag("manages", "manages integrations", yes="yes"),
        flag("active", "state", yes="active", no="ended", is_bad=True),
        "invited",
        "password",
        "two_factor",
        "opens",
    )
    list_filter = (by_id("user_id", "account id"), by_id("file_id", "file id"), _HowFar)
    list_select_related = ("user", "file")
    list_display_links = ("opens",)
    shown = list_display[:4]
    in_file = (account, list_display[2], "two_factor")

    def look_up(self, rows: Sequence[Any]) -> None:
        note_factors([row.user for row in rows])

    @admin.display(description="invited")
    def invited(self, row: Any) -> str:
        return clock(row.user.invited_at)

    @admin.display(description="password")
    def password(self, row: Any) -> str:
        return "yes" if row.user.has_usable_password() else "-"

    @admin.display(description="two-factor sign-in")
    def two_factor(self, row: Any) -> str:
        return "on" if row.user.is_on else "off"

    @admin.display(description="member")
    def opens(self, row: Any) -> str:
        name = plain(row.user.get_username())
        return format_html('Open<span class="visually-hidden"> {}</span>', name)


@admin.register(AccessKey, site=site)
class AccessKeyAdmin(ReadOnlyAdmin):
    of_list = (MAKE_KEY,)
    of_one = OF_KEY
    nothing = "No access key yet. A key acts for a person in a file, without a password."
    list_display = (
        text("prefix", "begins with"),
        text("name"),
        account,
        file,
        when("created_at", "made"),
        when("last_used_at"),
        when("revoked_at"),
    )
    in_file = (*list_display[:3], *list_display[5:])
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
        _provisions,
        when("created"),
    )
    list_select_related = ("scim",)
    shown = (
        *list_display,
        text("redirect_uris"),
        text("post_logout_redirect_uris"),
        flag("skip_authorization", "skip authorization", yes="yes", no="no"),
        _is_trusted,
        _scim_tokens,
    )

    def beside(self, row: Any, request: HttpRequest) -> dict[str, Any]:
        return {"title": f"Application {plain(row.name) or row.pk}"}
