"""Which actions for an account would change anything now (P-23)."""

from collections.abc import Callable, Container
from dataclasses import dataclass

from django.utils import timezone

from optin.actions.accounts import ACTIONS
from optin.actions.base import Action
from optin.models import Revocation, User
from optin.operations import revocations, staff
from optin.operations.authenticators import Overview
from optin.origin import Origin
from optin.support.diagnosis import Known


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
