"""Which second factors a user has, as values to decide by and to tell of."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from optin.models.authenticators import AuthenticatorApp, RecoveryCode
from optin.models.factors import ProviderUser
from optin.models.passkeys import Passkey
from optin.models.sim_answers import SimAnswer
from optin.models.users import User

Factor = ProviderUser | AuthenticatorApp | Passkey


@dataclass(frozen=True, slots=True)
class SecondFactors:
    """The active second factors of a user. A recovery code is none: it stands in for one.

    Disabled and suspended ones count: nothing fails open.
    """

    user: User
    number: ProviderUser | None
    app: AuthenticatorApp | None
    passkeys: list[Passkey]  # the oldest first

    @property
    def all(self) -> list[Factor]:
        return [one for one in (self.number, self.app, *self.passkeys) if one]

    @property
    def is_on(self) -> bool:
        """Whether signing in needs a second factor."""
        return bool(self.all)

    @property
    def usable_passkeys(self) -> list[Passkey]:
        """Those made for the present host."""
        return [one for one in self.passkeys if one.is_usable]

    @property
    def usable(self) -> list[Factor]:
        """Those that let the person in."""
        return [one for one in (self.number, self.app, *self.usable_passkeys) if one]

    @property
    def works_without_texts(self) -> bool:
        """Whether there is a usable factor that needs no text."""
        return bool(self.app or self.usable_passkeys)

    def lets_in_without(self, gone: Collection[object]) -> bool:
        """Whether something usable is left if *gone* are removed."""
        return any(one not in gone for one in self.usable)

    @property
    def takes_no_texts(self) -> bool:
        """Whether no texted code counts, by what staff or wrong codes did (S-07a)."""
        return bool(self.user.otp_disabled_at or (self.number and self.number.suspended_at))

    @property
    def added_at(self) -> list[datetime | None]:
        """When each of them was added."""
        return [one.verified_at for one in self.all]

    @property
    def has_several(self) -> bool:
        """Whether there is more than one factor, usable or not."""
        return len(self.all) > 1


@dataclass(frozen=True, slots=True)
class Overview(SecondFactors):
    """The second factors of a user, and what else bears on signing in with them."""

    recovery_codes: int  # unused
    sim: SimAnswer | None  # if its SIM is new: no text goes to the number

    @property
    def has_codes(self) -> bool:
        """Whether a code can be asked for, of a text or of an app."""
        return bool(self.number or self.app)


def overview(user: User) -> Overview:
    numbers = ProviderUser.objects.filter(user=user, confirmed=True)
    return overview_of(user, numbers.select_related("sim_answer").first())


def overview_of(user: User, number: ProviderUser | None) -> Overview:
    """``overview`` for a caller that has read the active number."""
    return Overview(
        user,
        number,
        *ProviderUser.objects.others_of(user),
        RecoveryCode.objects.left(user),
        SimAnswer.against(number, timezone.now()) if number else None,
    )
