"""Accounts, and what staff do for them (P-23)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from optin.admin.actions import Action, Done, ReasonForm, told
from optin.admin.rows import Choice, ReadOnlyAdmin, at, plain, text, when
from optin.admin.site import origin_of, site
from optin.models import AuthenticatorApp, ProviderUser, RecoveryCode, User
from optin.operations import revocations, staff, staff_actions
from optin.operations.sending import Sending
from optin.origin import Origin
from optin.outcomes import RevocationOutcome, SendOutcome, StaffOutcome
from optin.runtime.redirects import SeeOther
from optin.support.diagnosis import diagnose
from optin.support.entries import Position
from optin.support.timeline import timeline

Operation = Callable[..., Any]


def _revoke_later(user: User, data: dict[str, Any], origin: Origin) -> Done:
    result = revocations.plan(user, reason=data["reason"], origin=origin)
    due = at(result.due_at) if result.due_at else ""
    words = {
        RevocationOutcome.PLANNED: f"It takes effect at {due}, unless it is cancelled. The person "
        "gets an e-mail.",
        RevocationOutcome.UNCHANGED: f"Nothing was done: the removal is already planned for {due}.",
        RevocationOutcome.NOT_OPTED_IN: "Nothing was done: there is no active second factor.",
        RevocationOutcome.DEACTIVATED: "Nothing was done: the account is deactivated.",
        RevocationOutcome.REVOCATION_LIMIT: "Nothing was done: you reached the limit of removals "
        "in a day. Ask an administrator.",
        RevocationOutcome.UNTOLD: "Nothing was done: the person cannot be notified, because they "
        "have no e-mail address or e-mail is not set up here. Ask an administrator.",
    }
    return told(result.outcome, words)


def _withdraw(user: User, data: dict[str, Any], origin: Origin) -> Done:
    outcome = revocations.withdraw(user, reason=data["reason"], origin=origin)
    words = {
        RevocationOutcome.WITHDRAWN: "The removal was withdrawn. The person gets an e-mail.",
        RevocationOutcome.UNCHANGED: "Nothing was done: no removal is planned.",
    }
    return told(outcome, words)


def _act(operation: Operation, done: str, *, unchanged: str = "") -> Any:
    """Return what calls *operation* of ``staff_actions`` for an account."""
    words = {
        StaffOutcome.OK: done,
        StaffOutcome.UNCHANGED: unchanged,
        StaffOutcome.NOT_OPTED_IN: "Nothing was done: there is no active second factor for it.",
    }

    def do(user: User, data: dict[str, Any], origin: Origin) -> Done:
        return told(operation(user, reason=data["reason"], origin=origin), words)

    return do


def _resend(user: User, data: dict[str, Any], origin: Origin) -> Done:
    result = staff_actions.resend(user, reason=data["reason"], origin=origin)
    if not isinstance(result, Sending):
        nothing = "Nothing was sent: there is no code to send again."
        return told(result, {StaffOutcome.NOTHING_WAITING: nothing})
    words = {
        SendOutcome.SENT: "A text is on its way.",
        SendOutcome.RESENT: "A text is on its way.",
        SendOutcome.SEND_LIMIT: _limited(result),
        SendOutcome.UNREADABLE: "Nothing was sent: the number cannot be read, because its key is "
        "no longer in the key ring.",
    }
    return told(result.outcome, words)


def _limited(result: Sending) -> str:
    """Say that no text left, and when one would; the rule is named on the page of the account."""
    said = "Nothing was sent: a limit refused it. See “What may be wrong” for which."
    if result.retry_after is None:
        return said
    return f"{said} You can send it again from {at(timezone.now() + result.retry_after)}."


class RoleForm(ReasonForm):
    role = forms.ChoiceField(
        choices=[("", "none: not a member of staff"), *((role, role) for role in staff.ROLES)],
        required=False,
        label="Role",
    )
    field_order = ("role", "reason")


def _give_role(user: User, data: dict[str, Any], origin: Origin) -> Done:
    outcome = staff.give_role(user, data["role"], reason=data["reason"], origin=origin)
    words = {StaffOutcome.OK: "The role was changed.", StaffOutcome.UNCHANGED: "Already set."}
    return told(outcome, words)


ACTIONS = (
    Action(
        "suspend",
        "Suspend",
        staff.ACT,
        "Stops codes by text message at once. The second factor stays required: the person "
        "can sign in only with an authenticator app or a recovery code. The person gets an "
        "e-mail.",
        _act(staff_actions.suspend, "Suspended.", unchanged="It was already suspended."),
    ),
    Action(
        "resume",
        "End the suspension",
        staff.ACT,
        "Sends codes by text message again. The person gets an e-mail.",
        _act(staff_actions.resume, "The suspension was ended.", unchanged="It was not suspended."),
    ),
    Action(
        "unlock",
        "Unlock",
        staff.ACT,
        "Unlocks the account, allows codes by text message again and resets the count of "
        "wrong codes. The person gets an e-mail.",
        _act(staff_actions.unlock, "Unlocked.", unchanged="There was nothing to unlock."),
    ),
    Action(
        "revoke",
        "Remove all second factors",
        staff.REVOKE,
        "Removes the number, the app and the recovery codes. Then the password alone is "
        "enough to sign in. Make sure that you know who is asking. The person gets an e-mail.",
        _act(staff_actions.revoke, "All second factors were removed."),
    ),
    Action(
        "revoke-later",
        "Remove all second factors later",
        staff.ACT,
        "Removes the number, the app and the recovery codes after a day (or the time that was "
        "set). Then the password alone is enough to sign in. Make sure that you know who is "
        "asking. The person gets an e-mail at once and can cancel the removal.",
        _revoke_later,
    ),
    Action(
        "withdraw",
        "Withdraw the removal",
        staff.ACT,
        "Cancels the planned removal of all second factors. The person gets an e-mail.",
        _withdraw,
    ),
    Action(
        "resend",
        "Send the code again",
        staff.ACT,
        "Texts the open code to the person again. The usual limits apply. Staff cannot see "
        "the code.",
        _resend,
    ),
    Action(
        "role",
        "Change the role",
        staff.ROLES_OF_OTHERS,
        "Sets what this person may do here. You cannot give more rights than you have.",
        _give_role,
        RoleForm,
    ),
)


class IsStaff(Choice):
    title, parameter_name = "staff", "is_staff"
    choices_of = [("1", "staff")]


@admin.register(User, site=site)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts; the page of one says why no text came, and what happened (P-21)."""

    change_list_template = "admin/accounts.html"
    change_form_template = "admin/account.html"
    list_display = (text("username", "user name"), text("email"), "is_on", "state", "is_staff")
    list_display_links = (list_display[0],)
    list_filter = (IsStaff,)
    shown = (
        text("username", "user name"),
        text("email"),
        "is_on",
        "factors",
        "state",
        "removal",
        "wrong_codes",
        "role",
        when("date_joined", "since"),
        when("last_login"),
        when("sign_ins_ended_at", "sessions ended"),
    )

    @admin.display(description="two-factor sign-in", boolean=True)
    def is_on(self, user: Any) -> bool:
        if not hasattr(user, "is_on"):
            self.look_up([user])
        return bool(user.is_on)

    def look_up(self, rows: Sequence[Any]) -> None:
        # Asked for with the accounts, the factors of everybody would be read.
        for user in rows:
            user.is_on = False
        users = {user.pk: user for user in rows}
        for model in (ProviderUser, AuthenticatorApp):
            theirs = model.objects.filter(user__in=users, confirmed=True)
            for pk in theirs.values_list("user_id", flat=True):
                users[pk].is_on = True

    @admin.display(description="state")
    def state(self, user: User) -> str:
        if not user.is_active:
            return "deactivated"
        if user.otp_disabled_at:
            return f"texted codes disabled since {at(user.otp_disabled_at)}"
        if user.locked_for(timezone.now()):
            return f"locked until {at(user.otp_locked_until)}"
        return "active"

    @admin.display(description="removal of second factors")
    def removal(self, user: User) -> str:
        waits = revocations.waiting_for(user)
        return f"asked for, takes effect at {at(waits.due_at)}" if waits else "none planned"

    @admin.display(description="wrong codes in a row")
    def wrong_codes(self, user: User) -> int:
        return user.otp_failures

    @admin.display(description="second factors")
    def factors(self, user: User) -> str:
        numbers = [
            f"number {row.masked_number}" + (", suspended" if row.suspended_at else "")
            for row in ProviderUser.objects.filter(user=user, confirmed=True)
        ]
        apps = [
            "authenticator app" for _ in AuthenticatorApp.objects.filter(user=user, confirmed=1)
        ]
        left = RecoveryCode.objects.left(user)
        return "; ".join([*numbers, *apps, f"{left} recovery codes left"])

    @admin.display(description="role")
    def role(self, user: User) -> str:
        return staff.role_of(user) or ("staff without a role" if user.is_staff else "none")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        tools = [
            (reverse(f"admin:optin_user_{each.name}", args=[object_id]), each.title)
            for each in ACTIONS
            if request.user.has_perm(each.permission)
        ]
        events = reverse("admin:optin_auditevent_changelist")
        numbers = reverse("admin:optin_provideruser_changelist")
        tools += [
            (f"{numbers}?user_id={object_id}", "Numbers"),
            (f"{events}?user_id={object_id}", "Audit events"),
        ]
        context = {"tools": tools, **self._story(request, object_id), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def _story(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        """What happened to the account, page by page, and what follows from it."""
        user = User.objects.filter(pk=object_id).first()
        if user is None or not self.has_view_permission(request):
            return {}
        before = Position.parse(request.GET.get("before", ""))
        story = timeline(user, before=before, limit=self.list_per_page)
        return {
            "title": f"Account {plain(user.get_username())}",
            "subtitle": "",
            "causes": [] if before else diagnose(user, timezone.now()),
            "entries": story.entries,
            "older": f"?before={story.older}" if story.older else "",
            "is_older": before is not None,
        }

    def own_urls(self) -> list[URLPattern]:
        def find(pk: int) -> User | None:
            return User.objects.filter(pk=pk).first()  # type: ignore[no-any-return]

        def home(user: User) -> str:
            return reverse("admin:optin_user_change", args=[user.pk])

        return [each.urls("optin_user", find, home, one=True) for each in ACTIONS]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"may_find": True, **(extra_context or {})})


@sensitive_post_parameters("who")
def find_page(request: HttpRequest) -> HttpResponse:
    """Lead to the account that was asked for, by a POST: no number in any address (S-51)."""
    if not request.user.has_perm("optin.view_user"):
        raise PermissionDenied
    result = staff.find(request.POST.get("who", "")[:254], origin=origin_of(request))
    if len(result.users) == 1:
        return SeeOther(reverse("admin:optin_user_change", args=[result.users[0].pk]))
    found = [
        (user.pk, plain(user.get_username()), plain(user.email or "no e-mail address"))
        for user in result.users
    ]
    context = {**site.each_context(request), "title": "Accounts found", "found": found}
    response = TemplateResponse(request, "admin/found.html", context)
    if result.retry_after is not None:
        context["wait"] = True
        response.status_code = 429
        response["Retry-After"] = str(math.ceil(result.retry_after.total_seconds()))
    return response


site.pages.append(path("find/", site.admin_view(require_POST(find_page)), name="find"))
