"""What staff do for one account, and which of it would change anything now (P-23)."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils import timezone

from optin.admin.actions import Action, Done, ReasonForm, told
from optin.admin.rows import at
from optin.models import Revocation, User
from optin.operations import revocations, staff, staff_actions
from optin.operations.authenticators import Overview
from optin.operations.sending import Sending
from optin.origin import Origin
from optin.outcomes import RevocationOutcome, SendOutcome, StaffOutcome
from optin.support.diagnosis import Known, read_facts
from optin.support.wording import moment_by

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
        RevocationOutcome.WITHDRAWN: "The removal was withdrawn. The person gets an e-mail. "
        "Ask the person to choose a new password.",
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


def _unlock(user: User, data: dict[str, Any], origin: Origin) -> Done:
    outcome = staff_actions.unlock(user, reason=data["reason"], origin=origin)
    known = read_facts(user, timezone.now())
    used_up = known.code_used_up and not known.code_waits
    more = " The last code has no tries left: they must ask for a new code." if used_up else ""
    words = {
        StaffOutcome.OK: f"Unlocked.{more}",
        StaffOutcome.UNCHANGED: "There was nothing to unlock.",
    }
    return told(outcome, words)


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
        _unlock,
    ),
    Action(
        "revoke",
        "Remove all second factors",
        staff.REVOKE,
        "Removes the number, the app and the recovery codes. Then the password alone is "
        "enough to sign in. Make sure that you know who is asking. The person gets an e-mail.",
        _act(staff_actions.revoke, "All second factors were removed."),
        is_destructive=True,
    ),
    Action(
        "revoke-later",
        "Remove all second factors later",
        staff.ACT,
        "Removes the number, the app and the recovery codes after a day (or the time that was "
        "set). Then the password alone is enough to sign in. Make sure that you know who is "
        "asking. The person gets an e-mail at once and can cancel the removal.",
        _revoke_later,
        is_destructive=True,
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


# -- what would change anything now -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an account that the operations could change."""

    user: User
    factors: Overview
    removal: Revocation | None  # that waits, about factors that may be others by now
    code_waits: bool
    role: str

    @property
    def is_refused(self) -> bool:
        """Whether no code of a text is heard, because of wrong ones."""
        return self.user.own.bars(timezone.now())

    @property
    def is_suspended(self) -> bool:
        return bool(self.factors.number and self.factors.number.suspended_at)

    @property
    def removal_holds(self) -> bool:
        """Whether the removal that waits is still about the factors that there are."""
        return bool(self.removal and self.removal.is_about(self.factors.number, self.factors.app))


def standing_of(known: Known) -> Standing:
    user = known.user
    factors = Overview(known.active, known.app, known.recovery_codes)
    role = staff.role_of(user) or ("staff without a role" if user.is_staff else "none")
    return Standing(user, factors, known.revocation, known.code_waits, role)


def _may_be_told(it: Standing) -> bool:
    """Whether support may plan a removal: only of factors of somebody who hears of it."""
    return bool(it.user.is_active and it.user.email and revocations.mails_leave())


_CHANGES: dict[str, Callable[[Standing], object]] = {
    "suspend": lambda it: it.factors.number and not it.is_suspended,
    "resume": lambda it: it.is_suspended,
    "unlock": lambda it: it.user.can_unlock,
    "revoke": lambda it: it.factors.is_on,
    "revoke-later": lambda it: it.factors.is_on and not it.removal_holds and _may_be_told(it),
    "withdraw": lambda it: it.removal,
    "resend": lambda it: (
        it.code_waits and it.user.is_active and not (it.is_refused or it.is_suspended)
    ),
    "role": lambda it: True,
}
_HELPS: tuple[tuple[str, Callable[[Standing], object]], ...] = (
    ("unlock", lambda it: it.is_refused or it.user.programs.bars(timezone.now())),
    ("resume", lambda it: it.is_suspended),
    ("withdraw", lambda it: it.removal),
    # A number that nobody has verified may be a stranger's: who calls says it first.
    ("resend", lambda it: it.factors.number),
    ("suspend", lambda it: True),
)
"""The actions that staff most likely want in each state, the most likely first."""

BUTTONS = 2
"""How many actions are shown at once; the others are in a menu."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The actions that would change something: those that help now, and the others."""

    helping: tuple[Action, ...]  # the most likely first
    others: tuple[Action, ...]
    out_of_reach: bool = False  # whoever looks may act, but not on this person

    def without(self, names: Container[str]) -> tuple[list[Action], list[Action]]:
        """Return the buttons and the menu, without the actions that *names* name."""
        helping = [each for each in self.helping if each.name not in names]
        others = [each for each in self.others if each.name not in names]
        return helping[:BUTTONS], [*helping[BUTTONS:], *others]


def offer_of(it: Standing, actor: User, origin: Origin) -> Offer:
    """Return what *actor*, who asks by *origin*, can do now for the account that stands so."""
    may = [each for each in ACTIONS if actor.has_perm(each.permission)]
    beyond = bool(may) and staff.is_out_of_reach(origin, it.user)
    if beyond:
        # Who asked for a removal may think better of it.
        own = it.removal is not None and it.removal.actor_id == actor.pk
        may = [each for each in may if own and each.name == "withdraw"]
    useful = {each.name: each for each in may if _CHANGES[each.name](it)}
    helping = tuple(useful.pop(name) for name, helps in _HELPS if name in useful and helps(it))
    return Offer(helping, tuple(useful.values()), beyond)
