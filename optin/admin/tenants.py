"""Files, who belongs to them, and what acts for people (P-24)."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from oauth2_provider.models import get_application_model
from oauth2_provider.validators import AllowedURIValidator

from optin.admin.actions import Action, Done, told
from optin.admin.rows import ReadOnlyAdmin, account, by_id, clock, file, flag, plain, text, when
from optin.admin.site import site
from optin.admin.texts import tools_for
from optin.models import AccessKey, File, Membership, TrustedClient, User
from optin.models.files import MAX_FILE_ID
from optin.operations import sandbox, staff, tenants
from optin.origin import Origin
from optin.outcomes import StaffOutcome


class NoForm(forms.Form):
    """A form without fields: the page asks whether you mean it."""

    def __init__(self, data: Any, row: Any) -> None:
        super().__init__(data)
        self.row = row


def _is_seen(name: str) -> None:
    """Refuse a name that people would read as another one: see ``plain``."""
    if plain(name) != name:
        raise forms.ValidationError("The name contains invisible characters.")


class FileForm(NoForm):
    file_id = forms.IntegerField(
        min_value=1,
        max_value=MAX_FILE_ID,
        required=False,
        label="File id (leave empty for the next one)",
    )
    name = forms.CharField(max_length=200, label="Name", validators=[_is_seen])
    is_sandbox = forms.BooleanField(
        required=False,
        label="Sandbox: for test accounts, whose texts go to a page. This cannot be changed later",
    )


class MemberForm(NoForm):
    """A person, by user name or e-mail address, and a file."""

    who = forms.CharField(max_length=254, label="User name or e-mail address")
    file_id = forms.IntegerField(min_value=1, max_value=MAX_FILE_ID, label="File id")

    def clean_who(self) -> User:
        user: User | None = User.objects.by_login(self.cleaned_data["who"].strip())
        if user is None:
            raise forms.ValidationError("There is no such account.")
        return user

    def clean_file_id(self) -> File:
        file = File.objects.filter(pk=self.cleaned_data["file_id"]).first()
        if file is None:
            raise forms.ValidationError("There is no such file.")
        return file


_redirect = AllowedURIValidator(["https"], name="address", allow_path=True, allow_query=True)


def _is_for_redirects(address: str) -> bool:
    """Whether codes may be handed out to *address*: as the toolkit sees it, and more strictly.

    What stands before an ``@`` looks like the host and is none; what is not ASCII is no URI.
    """
    try:
        _redirect(address)
    except forms.ValidationError:
        return False
    return "@" not in urlsplit(address).netloc and address.isascii()


class ApplicationForm(NoForm):
    name = forms.CharField(max_length=200, label="Name", validators=[_is_seen])
    redirect_uris = forms.CharField(
        required=False,
        max_length=2000,
        label="Redirect addresses (https, one a line)",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    by_code = forms.BooleanField(
        required=False, initial=True, label="People sign in to it (authorization code)"
    )

    def clean(self) -> dict[str, Any]:
        addresses = self.cleaned_data.get("redirect_uris", "").split()
        if not all(_is_for_redirects(each) for each in addresses):
            words = "Each address must begin with https:// and a host, without a user name or #."
            self.add_error("redirect_uris", words)
        if self.cleaned_data.get("by_code") and not addresses:
            self.add_error("redirect_uris", "Enter at least one redirect address.")
        self.cleaned_data["redirect_uris"] = " ".join(addresses)
        return self.cleaned_data


def _make_file(row: None, data: dict[str, Any], origin: Origin) -> Done:
    file_id = data["file_id"] or File.objects.next_id()
    file = tenants.create_file(file_id, data["name"], is_sandbox=data["is_sandbox"], origin=origin)
    return Done(f"File {file.pk} was made.")


def _add_member(row: None, data: dict[str, Any], origin: Origin) -> Done:
    tenants.add_member(data["who"], data["file_id"], origin=origin)
    return Done("Added.")


def _end_membership(row: Membership, data: dict[str, Any], origin: Origin) -> Done:
    tenants.end_membership(row.user, row.file, origin=origin)
    return Done("The membership was ended.")


def _manage(manages: bool) -> Any:
    def do(row: Membership, data: dict[str, Any], origin: Origin) -> Done:
        outcome = tenants.let_manage(row.user, row.file, manages=manages, origin=origin)
        return told(outcome, {StaffOutcome.OK: "Changed.", StaffOutcome.UNCHANGED: "Already set."})

    return do


def _make_key(row: None, data: dict[str, Any], origin: Origin) -> Done:
    text = tenants.make_access_key(data["who"], data["file_id"], origin=origin)
    words = "This is the new WsAccessKey. It is shown only once: only its digest is kept."
    return Done(words, secret=text)


def _revoke_key(row: AccessKey, data: dict[str, Any], origin: Origin) -> Done:
    tenants.revoke_access_key(row, origin=origin)
    return Done("The key was revoked.")


def _make_application(row: None, data: dict[str, Any], origin: Origin) -> Done:
    client_id, secret = tenants.make_application(**data, origin=origin)
    words = f"Client id: {client_id}. Its secret is shown only once: only its digest is kept."
    return Done(words, secret=secret)


def _trust(trusted: bool) -> Any:
    def do(row: Any, data: dict[str, Any], origin: Origin) -> Done:
        outcome = tenants.trust_application(row, trusted=trusted, **data, origin=origin)
        return told(outcome, {StaffOutcome.OK: "Changed.", StaffOutcome.UNCHANGED: "Already set."})

    return do


@admin.display(description="names its users' addresses")
def _is_trusted(row: Any) -> str:
    return "yes" if TrustedClient.objects.filter(application=row).exists() else "no"


def _remove_application(row: Any, data: dict[str, Any], origin: Origin) -> Done:
    tenants.remove_application(row, origin=origin)
    return Done("The application was removed.")


class _Tenants(ReadOnlyAdmin):
    """A list with a way to make such a row, and ways to change or end it."""

    change_list_template = "admin/actions_list.html"
    make: Action
    of_one: tuple[Action, ...] = ()

    @property
    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, tools_for(request, self._name, [self.make]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        tools = [
            (reverse(f"admin:{self._name}_{each.name}", args=[object_id]), each.title)
            for each in self.of_one
            if request.user.has_perm(each.permission)
        ]
        return super().change_view(
            request, object_id, form_url, {"tools": tools, **(extra_context or {})}
        )

    def own_urls(self) -> list[URLPattern]:
        def find(pk: int) -> Any:
            return self.model._default_manager.filter(pk=pk).first()

        def home(row: Any) -> str:
            return reverse(f"admin:{self._name}_changelist")

        acts = (each.urls(self._name, find, home, one=True) for each in self.of_one)
        return [self.make.urls(self._name, find, home, one=False), *acts]


@admin.register(File, site=site)
class FileAdmin(_Tenants):
    nothing = "No file yet. A file is a tenant: people and access keys belong to one."
    list_display = (
        "id",
        text("name"),
        flag("active", "state", yes="active", no="not active"),
        flag("is_sandbox", "sandbox", yes="sandbox"),
    )
    shown = list_display
    change_form_template = "admin/file.html"
    make = Action("make", "Make a file", staff.TENANTS, "A file is a tenant.", _make_file, FileForm)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        file = File.objects.filter(pk=object_id, is_sandbox=True).first()
        texts = sandbox.texts_of(file) if file else []
        shown = {"is_sandbox": bool(file), "texts": [(clock(each.at), each) for each in texts]}
        return super().change_view(request, object_id, form_url, shown)


@admin.register(Membership, site=site)
class MembershipAdmin(_Tenants):
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
    make = Action(
        "make",
        "Add a member",
        staff.TENANTS,
        "A member may act in the file, also by access key.",
        _add_member,
        MemberForm,
    )
    of_one = (
        Action(
            "manager",
            "Let the member manage the integrations",
            staff.TENANTS,
            "The person may keep the webhook endpoints of the file on their account page.",
            _manage(True),
            NoForm,
        ),
        Action(
            "no-manager",
            "End the right to manage integrations",
            staff.TENANTS,
            "The webhook endpoints of the file stay as they are.",
            _manage(False),
            NoForm,
            is_destructive=True,
        ),
        Action(
            "end",
            "End the membership",
            staff.TENANTS,
            "The person's access keys to the file stop working at once.",
            _end_membership,
            NoForm,
            is_destructive=True,
        ),
    )


@admin.register(AccessKey, site=site)
class AccessKeyAdmin(_Tenants):
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
    make = Action(
        "make",
        "Make an access key",
        staff.TENANTS,
        "A WsAccessKey acts for the person in the file, without a password. It is shown once.",
        _make_key,
        MemberForm,
    )
    of_one = (
        Action(
            "revoke",
            "Revoke the key",
            staff.TENANTS,
            "The key stops working for good.",
            _revoke_key,
            NoForm,
            is_destructive=True,
        ),
    )


@admin.register(get_application_model(), site=site)
class ApplicationAdmin(_Tenants):
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
        flag("skip_authorization", "skip authorization", yes="yes", no="no"),
        _is_trusted,
    )
    make = Action(
        "make",
        "Make an application",
        staff.TENANTS,
        "Its secret is shown once.",
        _make_application,
        ApplicationForm,
    )
    of_one = (
        Action(
            "trust",
            "Let it name its users' addresses",
            staff.TENANTS,
            "For a server that signs people in. Limits and the audit trail then go by the address "
            "that it names: it can name any. Its operator must know how each address was found.",
            _trust(True),
        ),
        Action(
            "no-trust",
            "Let it name no addresses any more",
            staff.TENANTS,
            "All its users count as the address of its server from now on.",
            _trust(False),
            is_destructive=True,
        ),
        Action(
            "remove",
            "Remove the application",
            staff.TENANTS,
            "All tokens of the application stop working.",
            _remove_application,
            NoForm,
            is_destructive=True,
        ),
    )
