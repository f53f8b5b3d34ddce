"""Which actions for an account would change anything now (P-23)."""

from collections.abc import Container
from dataclasses import dataclass

from optin.actions.accounts import ACTIONS
from optin.actions.base import Action
from optin.models import User
from optin.operations import staff
from optin.origin import Origin
from optin.support.diagnosis import Known

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


def offer_of(it: Known, actor: User, origin: Origin) -> Offer:
    """Return what *actor*, who asks by *origin*, can do now for the account that stands so."""
    may = [each for each in ACTIONS if actor.has_perm(each.permission)]
    beyond = bool(may) and staff.is_out_of_reach(origin, it.user)
    if beyond:
        # Who asked for a removal may think better of it.
        own = it.revocation is not None and it.revocation.actor_id == actor.pk
        may = [each for each in may if own and each.name == "withdraw"]
    useful = [each for each in may if each.changes(it)]
    helping = tuple(each for each in useful if each.helps(it))
    return Offer(helping, tuple(each for each in useful if each not in helping), beyond)
