"""What is done to files, who belongs to them, and what acts for people (P-24)."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.urls import reverse
from django.utils.html import format_html
from oauth2_provider.models import get_application_model
from oauth2_provider.validators import AllowedURIValidator

from optin.actions.base import (
    Action,
    Done,
    FileField,
    NoForm,
    PersonForm,
    ReasonForm,
    calls,
)
from optin.models import AccessKey, File, Membership
from optin.models.files import MAX_FILE_ID, MAX_KEY_NAME
from optin.operations import invitations, staff, tenants, texts_end
from optin.origin import Origin
from optin.outcomes import InviteOutcome
from optin.support.wording import plain, some


def _is_seen(name: str) -> None:
    """Refuse a name that people would read as another one: see ``plain``."""
    if plain(name) != name:
        raise forms.ValidationError("The name contains invisible characters.")


class NewFileForm(NoForm):
    id = forms.IntegerField(
        min_value=1,
        max_value=MAX_FILE_ID,
        required=False,
        label="File id (leave empty for the next one)",
    )
    name = forms.CharField(max_length=200, label="Name", validators=[_is_seen])
    sandbox = forms.BooleanField(
        required=False,
        label="Sandbox: for test accounts, whose texts go to a page. This cannot be changed later",
    )


class FileForm(NoForm):
    """Names the file that an action of a command is about."""

    file_id = FileField()

    def found(self) -> Any:
        return self.cleaned_data["file_id"]


class TextsEndForm(ReasonForm):
    day = forms.DateField(
        label="The first day, such as 2027-03-01",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": "Write the day like 2027-03-01."},
    )
    field_order = ("day", "reason")


class MemberForm(PersonForm):
    """A person and a file."""

    file_id = FileField()


class MembershipForm(MemberForm):
    def found(self) -> Membership:
        return Membership(user=self.cleaned_data["who"], file=self.cleaned_data["file_id"])


class NewKeyForm(MemberForm):
    name = forms.CharField(
        required=False,
        max_length=MAX_KEY_NAME,
        label="Name, such as the program that will use it",
        validators=[_is_seen],
    )


class KeyForm(PersonForm):
    beginning = forms.CharField(label="The first characters of the key, at most 6 count")

    def found(self) -> AccessKey:
        owner, beginning = self.cleaned_data["who"], self.cleaned_data["beginning"][:6]
        keys = AccessKey.objects.filter(user=owner, prefix__startswith=beginning, revoked_at=None)
        if len(keys) != 1:
            raise forms.ValidationError(f"{owner} has {len(keys)} such keys in use.")
        return keys[0]


class ClientForm(NoForm):
    client_id = forms.CharField(max_length=100, label="Client id of the application")

    def found(self) -> Any:
        """Return the application."""
        found = get_application_model().objects.filter(client_id=self.cleaned_data["client_id"])
        if not found:
            raise forms.ValidationError("There is no such application.")
        return found[0]


class ProvisionForm(ReasonForm):
    file_id = FileField()
    all_files = forms.BooleanField(required=False, label="For the people of all files")

    def __init__(self, data: Any, row: Any = None) -> None:
        super().__init__(data, row)
        self.fields["file_id"].required = False
        self.fields["file_id"].label = "Only for the people of this file id"

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if not self.has_error("file_id") and bool(data["file_id"]) is data["all_files"]:
            self.add_error("file_id", "Name one file, or choose all files.")
        return data


class TokenForm(NoForm):
    days = forms.IntegerField(min_value=1, max_value=730, initial=365, label="Days until it ends")


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
    post_logout_redirect_uris = forms.CharField(
        required=False,
        max_length=2000,
        label="Addresses to return to after signing out (https, one a line)",
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    by_code = forms.BooleanField(
        required=False, initial=True, label="People sign in to it (authorization code)"
    )

    def clean(self) -> dict[str, Any]:
        for field in ("redirect_uris", "post_logout_redirect_uris"):
            addresses = self.cleaned_data.get(field, "").split()
            if not all(_is_for_redirects(each) for each in addresses):
                words = (
                    "Each address must begin with https:// and a host, without a user name or #."
                )
                self.add_error(field, words)
            self.cleaned_data[field] = " ".join(addresses)
        if self.cleaned_data.get("by_code") and not self.cleaned_data["redirect_uris"]:
            self.add_error("redirect_uris", "Enter at least one redirect address.")
        return self.cleaned_data


def _make_file(row: None, data: dict[str, Any], origin: Origin) -> Done:
    file_id = data["id"] or File.objects.next_id()
    file = tenants.create_file(file_id, data["name"], is_sandbox=data["sandbox"], origin=origin)
    return Done(f"File {file.pk} was made.", answer=str(file.pk), row=file)


def _add_member(row: None, data: dict[str, Any], origin: Origin) -> Done:
    tenants.add_member(data["who"], data["file_id"], origin=origin)
    return Done("Added.")


def _make_key(row: None, data: dict[str, Any], origin: Origin) -> Done:
    text = tenants.make_access_key(data["who"], data["file_id"], name=data["name"], origin=origin)
    words = "This is the new WsAccessKey. It is shown only once: only its digest is kept."
    return Done(words, secret=text)


def _let_provision(row: Any, data: dict[str, Any], origin: Origin) -> Done:
    tenants.let_provision(row, data["file_id"], reason=data["reason"], origin=origin)
    whom = f"the people of file {data['file_id'].pk}" if data["file_id"] else "everybody"
    return Done(f"It may keep {whom} up to date by SCIM.")


def _make_scim_token(row: Any, data: dict[str, Any], origin: Origin) -> Done:
    token = tenants.make_scim_token(row, days=data["days"], origin=origin)
    words = "This is the token for SCIM. It is shown only once: only its digest is kept."
    return Done(words, secret=token)


def _make_application(row: None, data: dict[str, Any], origin: Origin) -> Done:
    client_id, secret = tenants.make_application(**data, origin=origin)
    words = f"Client id: {client_id}. Its secret is shown only once: only its digest is kept."
    return Done(words, secret=secret)


def _is_confidential(application: Any) -> bool:
    return bool(application.client_type == application.CLIENT_CONFIDENTIAL)


AT_ONCE = 100
"""Members whom staff invite at once."""


def _invite(file: File, data: dict[str, Any], origin: Origin) -> Done:
    due = invitations.plan(file).due
    run = invitations.Run(data["reason"], origin, waits=False)
    became = [*invitations.invite_members(file, due[:AT_ONCE], run)]
    left = len(due) - len(became)
    words = f"Invited by email: {became.count(InviteOutcome.OK)}."
    return Done(f"{words} {left} are left: do it again for them." if left else words)


def _mails(file: File) -> str:
    """Say how many mails the next press of the button sends."""
    return f"{some(min(len(invitations.plan(file).due), AT_ONCE), 'email')} will be sent."


ABOUT_FILES = "A file is one organisation: its members, access keys and webhooks."
INVITE = Action(
    "invite",
    "Invite the members",
    staff.TENANTS,
    "Mails an invitation to each member who was not invited before and has no two-factor sign-in: "
    f"to {AT_ONCE} at once. For more, operators have the command invite_people.",
    _invite,
    hits=_mails,
    changes=lambda it: not it.is_sandbox and it.memberships.filter(active=True).exists(),
)


def _texts_only(file: File) -> str:
    """Say how many members the day is about, with the list of them."""
    found = invitations.progress(file)
    words = f"{some(found['texts_only'], 'member')} with text messages as the only second factor"
    address = reverse("admin:optin_membership_changelist")
    return format_html(
        '<a href="{}?file_id={}&amp;how_far=texts_only">{}</a>, {} of them without a password.',
        *(address, file.pk, words, found["stranded"]),
    )


OF_FILE = (
    Action(
        "texts-end",
        "Set the day on which texts end",
        staff.TENANTS,
        "From that day, the file takes a new mobile number only from people who have an "
        "authenticator app or a passkey. Numbers from before keep working. From 4 weeks before, "
        "people with text messages only are asked after each sign-in to add another factor.",
        calls(texts_end.set_day, "The day was set.", "It is that day already."),
        TextsEndForm,
        hits=_texts_only,
        is_destructive=True,
        command="file texts-end",
        by=FileForm,
    ),
    Action(
        "texts-stay",
        "Take back the day on which texts end",
        staff.TENANTS,
        "The file takes new mobile numbers from everybody again.",
        calls(texts_end.set_day, "The day was taken back.", "No day is set.", day=None),
        command="file texts-stay",
        by=FileForm,
        changes=lambda it: it.texts_end_on is not None,
    ),
)
MAKE_FILE = Action(
    "make",
    "Make a file",
    staff.TENANTS,
    ABOUT_FILES,
    _make_file,
    NewFileForm,
    command="file create",
)
ADD_MEMBER = Action(
    "make",
    "Add a member",
    staff.TENANTS,
    "A member may act in the file, also by access key.",
    _add_member,
    MemberForm,
    command="file add-member",
)
OF_MEMBERSHIP = (
    Action(
        "manager",
        "Let the member manage the integrations",
        staff.TENANTS,
        "The person may keep the webhook endpoints of the file on their account page.",
        calls(tenants.let_manage, "Changed.", manages=True),
        NoForm,
    ),
    Action(
        "no-manager",
        "End the right to manage integrations",
        staff.TENANTS,
        "The webhook endpoints of the file stay as they are.",
        calls(tenants.let_manage, "Changed.", manages=False),
        NoForm,
        is_destructive=True,
    ),
    Action(
        "end",
        "End the membership",
        staff.TENANTS,
        "The person's access keys to the file stop working at once.",
        calls(tenants.end_membership, "The membership was ended."),
        NoForm,
        is_destructive=True,
        command="file end-membership",
        by=MembershipForm,
    ),
)
MAKE_KEY = Action(
    "make",
    "Make an access key",
    staff.TENANTS,
    "A WsAccessKey acts for the person in the file, without a password. It is shown once.",
    _make_key,
    NewKeyForm,
    command="access_key create",
)
OF_KEY = (
    Action(
        "revoke",
        "Revoke the key",
        staff.TENANTS,
        "The key stops working for good.",
        calls(tenants.revoke_access_key, "The key was revoked."),
        NoForm,
        is_destructive=True,
        command="access_key revoke",
        by=KeyForm,
    ),
)
MAKE_APPLICATION = Action(
    "make",
    "Make an application",
    staff.TENANTS,
    "Its secret is shown once.",
    _make_application,
    ApplicationForm,
)
OF_APPLICATION = (
    Action(
        "trust",
        "Let it name its users' addresses",
        staff.TENANTS,
        "For a server that signs people in. Limits and the audit log then go by the address "
        "that it names: it can name any. Its operator must know how each address was found.",
        calls(tenants.trust_application, "Changed.", trusted=True),
        changes=lambda it: _is_confidential(it) and not hasattr(it, "trust"),
    ),
    Action(
        "no-trust",
        "Let it name no addresses any more",
        staff.TENANTS,
        "All its users count as the address of its server from now on.",
        calls(tenants.trust_application, "Changed.", trusted=False),
        is_destructive=True,
        changes=lambda it: hasattr(it, "trust"),
    ),
    Action(
        "scim",
        "Let it keep people up to date",
        staff.TENANTS,
        "By SCIM, as an identity provider does. It can make people, change their user name and "
        "address, and end their access. It cannot reach staff or second factors. Its tokens for "
        "other files end.",
        _let_provision,
        ProvisionForm,
        command="scim allow",
        by=ClientForm,
        changes=_is_confidential,
    ),
    Action(
        "scim-token",
        "Make a token for SCIM",
        staff.TENANTS,
        "For the settings of the identity provider. It is shown once. Earlier tokens still work.",
        _make_scim_token,
        TokenForm,
        command="scim token",
        by=ClientForm,
        changes=lambda it: hasattr(it, "scim"),
    ),
    Action(
        "no-scim-tokens",
        "End its tokens for SCIM",
        staff.TENANTS,
        "All of them stop working at once. It may get new ones.",
        calls(tenants.end_scim_tokens, "The tokens were ended.", "There were none."),
        NoForm,
        is_destructive=True,
        command="scim end-tokens",
        by=ClientForm,
        changes=lambda it: tenants.scim_tokens(it).exists(),
    ),
    Action(
        "no-scim",
        "End its right to keep people up to date",
        staff.TENANTS,
        "It cannot use SCIM any more. People stay as they are.",
        calls(tenants.end_provisioning, "Changed."),
        is_destructive=True,
        command="scim end",
        by=ClientForm,
        changes=lambda it: hasattr(it, "scim"),
    ),
    Action(
        "remove",
        "Remove the application",
        staff.TENANTS,
        "All tokens of the application stop working.",
        calls(tenants.remove_application, "The application was removed."),
        NoForm,
        is_destructive=True,
    ),
)
EVERY = (
    *(MAKE_FILE, INVITE, ADD_MEMBER, MAKE_KEY, MAKE_APPLICATION),
    *(*OF_FILE, *OF_MEMBERSHIP, *OF_KEY, *OF_APPLICATION),
    Action(
        "on",
        "Allow sign-in by password",
        "",
        "Lets clients without a client id get tokens for a user name and a password at "
        "/authorisation/token. Off until you run this; new clients should use /o/ instead.",
        calls(
            tenants.switch_password_clients,
            "Sign-in by password at /authorisation/ is on.",
            on=True,
        ),
        NoForm,
        command="password_clients on",
    ),
    Action(
        "off",
        "End sign-in by password",
        "",
        "Ends it, and all tokens that it gave.",
        calls(
            tenants.switch_password_clients,
            "Sign-in by password at /authorisation/ is off.",
            on=False,
        ),
        NoForm,
        command="password_clients off",
    ),
)
