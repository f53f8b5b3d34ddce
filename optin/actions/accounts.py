"""What is done to one account."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from optin.actions.base import Action, Done, NoForm, PersonForm, ReasonForm, calls, told
from optin.conf import STAFF_REVOKE_DELAY
from optin.models import Passkey, ProviderUser, Purpose, User
from optin.operations import erasure, invitations, people, revocations, staff, staff_actions
from optin.operations.sending import Sending
from optin.origin import Origin
from optin.outcomes import InviteOutcome, RevocationOutcome, SendOutcome, StaffOutcome
from optin.support.diagnosis import Known
from optin.support.diagnosis.barriers import FIRST, sources
from optin.support.wording import exact, moment_by, quoted


def _revoke_later(user: User, data: dict[str, Any], origin: Origin) -> Done:
    result = revocations.plan(user, reason=data["reason"], origin=origin)
    due = exact(result.due_at) if result.due_at else ""
    words = {
        RevocationOutcome.PLANNED: f"It takes effect at {due}, unless it is cancelled. The person "
        "gets an email.",
        RevocationOutcome.UNCHANGED: f"Nothing was done: the removal is already planned for {due}.",
        RevocationOutcome.NOT_OPTED_IN: "Nothing was done: there is no active second factor.",
        RevocationOutcome.DEACTIVATED: "Nothing was done: the account is deactivated.",
        RevocationOutcome.REVOCATION_LIMIT: "Nothing was done: you reached the limit of removals "
        "in a day. Ask an administrator.",
        RevocationOutcome.UNTOLD: "Nothing was done: the person cannot be notified, because they "
        "have no email address or email is not set up here. Ask an administrator.",
    }
    return told(result.outcome, words)


def _withdraw(user: User, data: dict[str, Any], origin: Origin) -> Done:
    outcome = revocations.withdraw(user, reason=data["reason"], origin=origin)
    words = {
        RevocationOutcome.WITHDRAWN: "The removal was withdrawn. The person gets an email. "
        "Ask the person to choose a new password.",
        RevocationOutcome.UNCHANGED: "Nothing was done: no removal is planned.",
    }
    return told(outcome, words)


def _unlock(user: User, data: dict[str, Any], origin: Origin) -> Done:
    outcome = staff_actions.unlock(user, reason=data["reason"], origin=origin)
    known = Known(user, timezone.now())
    used_up = known.code_used_up and not known.code_waits
    more = " The last code has no tries left: they must ask for a new code." if used_up else ""
    words = {
        StaffOutcome.OK: f"Unlocked.{more}",
        StaffOutcome.UNCHANGED: "There was nothing to unlock.",
    }
    return told(outcome, words)


def _from_where(user: User) -> str:
    """Say what tells whether the wrong codes were the person's own."""
    said, is_foreign = sources(Known(user, timezone.now()))
    return f"{FIRST}{said}" if is_foreign else said


def _may_be_told(known: Known) -> bool:
    return bool(known.user.is_active and known.user.email and revocations.mails_leave())


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
    return f"{said} You can send it again from {moment_by(timezone.now() + result.retry_after)}."


def _invite(user: User, data: dict[str, Any], origin: Origin) -> Done:
    words = {
        InviteOutcome.OK: "The invitation is on its way by email.",
        InviteOutcome.INVITED_BEFORE: "Nothing was sent: this person was invited a moment ago.",
        InviteOutcome.INVITATION_LIMIT: "Nothing was sent: this person was invited "
        f"{invitations.A_DAY} times in 24 hours.",
    }
    return told(invitations.invite(user, reason=data["reason"], origin=origin), words)


def _create(row: None, data: dict[str, Any], origin: Origin) -> Done:
    try:
        person = people.create(data["name"], data["email"], is_test=data["test"], origin=origin)
    except ValidationError as exc:
        return Done(" ".join(exc.messages), StaffOutcome.UNREADABLE)
    return Done(f"Made {person.get_username()}, user {person.pk}.")


def _reveal(row: ProviderUser, data: dict[str, Any], origin: Origin) -> Done:
    result = staff.reveal(row, reason=data["reason"], origin=origin)
    if result.outcome is not StaffOutcome.OK:
        unreadable = "The number cannot be read: its key is no longer in the key ring."
        return told(result.outcome, {StaffOutcome.UNREADABLE: unreadable})
    return Done("This is the full number. It is shown only once.", secret=result.number)


_KNOWN = "I'm sure that it's the person themselves who asks."


class NewPersonForm(NoForm):
    name = forms.CharField(label="User name")
    email = forms.CharField(required=False, label="Where warnings and links for a new password go")
    test = forms.BooleanField(
        required=False, label="Make a test account: it can be a member of sandboxes only"
    )


class RoleForm(ReasonForm):
    role = forms.ChoiceField(
        choices=[("", "none: not a member of staff"), *((role, role) for role in staff.ROLES)],
        required=False,
        label="Role",
    )
    field_order = ("role", "reason")


class PasskeyForm(ReasonForm):
    passkey = forms.IntegerField(label="Id of the passkey, as the page of the account shows it")
    field_order = ("passkey", "reason")

    def __init__(self, data: Any, row: Any = None) -> None:
        super().__init__(data, row)
        if row:
            choices = [
                (one.pk, f"{quoted(one.name)}, added {exact(one.created_at)}")
                for one in Passkey.objects.of(row)
            ]
            self.fields["passkey"].widget = forms.Select(choices=choices)
            self.fields["passkey"].label = "Passkey"


ACTIONS = (
    Action(
        "unlock",
        "Unlock",
        staff.ACT,
        "Ends every lock of codes and sets the count of wrong codes to zero. The person gets an "
        "email.",
        _unlock,
        hits=_from_where,
        command="person unlock",
        by=PersonForm,
        changes=lambda it: it.user.can_unlock,
        helps=lambda it: it.is_refused or it.user.programs.bars(it.now),
        needs="The wrong codes were the person's own, or they have changed the password since.",
    ),
    Action(
        "resume",
        "End the suspension",
        staff.ACT,
        "Sends codes by text message again. The person gets an email.",
        calls(staff_actions.resume, "The suspension was ended.", "It was not suspended."),
        changes=lambda it: it.is_suspended,
        helps=lambda it: True,
        needs=_KNOWN,
    ),
    Action(
        "let-through",
        "Let one sign-in through",
        staff.ACT,
        "Texts the code of one sign-in to the number although its SIM is new. It works once, "
        "within an hour. Then the person should add an authenticator app or a passkey. They "
        "get an email.",
        calls(
            staff_actions.let_through,
            "Tell them to sign in now. One texted code works within an hour.",
            "Nothing was done: no new SIM is known, or one sign-in is already allowed.",
        ),
        command="person let-through",
        by=PersonForm,
        changes=lambda it: (
            it.factors.sim
            and it.user.is_active
            and not it.factors.sim.lets_through(Purpose.SIGN_IN, it.now)
        ),
        helps=lambda it: True,
        needs="I'm sure, and not only by this number, that it's the person themselves who asks.",
    ),
    Action(
        "withdraw",
        "Withdraw the removal",
        staff.ACT,
        "Cancels the planned removal of all second factors. The person gets an email.",
        _withdraw,
        changes=lambda it: it.revocation,
        helps=lambda it: True,
    ),
    Action(
        "resend",
        "Send the code again",
        staff.ACT,
        "Texts the open code to the person again. The usual limits apply. Staff cannot see "
        "the code.",
        _resend,
        changes=lambda it: (
            it.code_waits
            and it.user.is_active
            and not (it.is_refused or it.is_suspended or it.factors.sim)
        ),
        # A number that nobody has verified may be a stranger's: who calls says it first.
        helps=lambda it: it.factors.number,
    ),
    Action(
        "suspend",
        "Suspend",
        staff.ACT,
        "Stops codes by text message at once. A second factor stays required: the person can "
        "sign in only with an authenticator app, a passkey or a recovery code. The person gets "
        "an email.",
        calls(staff_actions.suspend, "Suspended.", "It was already suspended."),
        changes=lambda it: it.factors.number and not it.is_suspended,
        helps=lambda it: it.user.is_active and not it.is_refused,
    ),
    Action(
        "remove-passkey",
        "Remove a passkey",
        staff.REVOKE,
        "Removes one passkey, such as one that is lost or stolen. If no other second factor works, "
        "the password alone is enough to sign in then. The person gets an email.",
        calls(staff_actions.remove_passkey, "The passkey was removed. The person gets an email."),
        PasskeyForm,
        is_destructive=True,
        command="person remove-passkey",
        by=PersonForm,
        changes=lambda it: it.factors.passkeys,
        needs=_KNOWN,
    ),
    Action(
        "revoke",
        "Remove all second factors",
        staff.REVOKE,
        "Removes the number, the app, the passkeys and the recovery codes. Then the password "
        "alone is enough to sign in. The person gets an email.",
        calls(staff_actions.revoke, "All second factors were removed."),
        hits=_from_where,
        is_destructive=True,
        command="person revoke-factor",
        by=PersonForm,
        changes=lambda it: it.factors.is_on,
        needs=_KNOWN,
    ),
    Action(
        "revoke-later",
        "Remove all second factors in 24 hours",
        staff.ACT,
        "Removes the number, the app, the passkeys and the recovery codes in 24 hours. Then the "
        "password alone is enough to sign in. The person gets an email at once and can cancel the "
        "removal.",
        _revoke_later,
        hits=lambda user: (
            f"{_from_where(user)} It happens at {moment_by(timezone.now() + STAFF_REVOKE_DELAY)}."
        ).strip(),
        is_destructive=True,
        changes=lambda it: it.factors.is_on and not it.revocation_holds and _may_be_told(it),
        needs=_KNOWN,
    ),
    Action(
        "invite",
        "Send an invitation",
        staff.ACT,
        "Mails a link to choose a password, which works once, for seven days. Somebody who has a "
        "password is asked to sign in instead. Both are led to two-factor sign-in. An earlier link "
        "ends.",
        _invite,
        command="person invite",
        by=PersonForm,
        changes=lambda it: (
            not (it.factors.is_on and it.user.has_usable_password())
            and not (it.user.is_staff or it.user.is_test)
            and _may_be_told(it)
        ),
        helps=lambda it: not it.user.has_usable_password(),
    ),
    Action(
        "activate",
        "Activate",
        staff.TENANTS,
        "Lets a person in again who was deactivated. Access keys work again, too: revoke those "
        "that must not.",
        calls(people.activate, "Active again.", "Active already."),
        command="person activate",
        by=PersonForm,
        changes=lambda it: not it.user.is_active and not erasure.is_erased(it.user),
        helps=lambda it: True,
    ),
    Action(
        "deactivate",
        "Deactivate",
        staff.TENANTS,
        "Ends a person's access: sessions, tokens and access keys stop at once. An identity "
        "provider cannot activate the person again.",
        calls(people.deactivate, "Deactivated.", "Deactivated already."),
        is_destructive=True,
        command="person deactivate",
        by=PersonForm,
        changes=lambda it: not people.is_off_for_good(it.user),
    ),
    Action(
        "role",
        "Change the role",
        staff.ROLES_OF_OTHERS,
        "Sets what this person may do here. You cannot give more rights than you have.",
        calls(staff.give_role, "The role was changed."),
        RoleForm,
    ),
)
"""What the page of an account offers, what helps most likely first."""

REVEAL = Action(
    "reveal",
    "Show the number in full",
    staff.REVEAL,
    "The number is shown once. The audit log keeps who looked at it and why.",
    _reveal,
)

EVERY = (
    *ACTIONS,
    REVEAL,
    Action(
        "create",
        "Make a person",
        "",
        "Makes a person, without a password: give one with changepassword.",
        _create,
        NewPersonForm,
        command="person create",
    ),
    Action(
        "erase",
        "Erase a person",
        "",
        "Deletes all that is known of a person, for good. The audit log keeps the id and the "
        "reason: write no name into it.",
        calls(erasure.erase, "Erased.", "Erased again."),
        command="person erase",
        by=PersonForm,
        is_final=True,
    ),
)
