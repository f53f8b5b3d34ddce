"""The state of an account that the actions could change."""

from dataclasses import dataclass

from django.utils import timezone

from optin.models import Revocation, User
from optin.models.second_factors import Overview
from optin.operations import revocations, staff
from optin.support.diagnosis import Known


@dataclass(frozen=True, slots=True)
class AccountState:
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
        return bool(self.removal and self.removal.is_about(self.factors.added_at))

    @property
    def may_be_told(self) -> bool:
        """Whether support may plan a removal: only of factors of somebody who hears of it."""
        return bool(self.user.is_active and self.user.email and revocations.mails_leave())


def state_of(known: Known) -> AccountState:
    user = known.user
    role = staff.role_of(user) or ("staff without a role" if user.is_staff else "none")
    return AccountState(user, known.factors, known.revocation, known.code_waits, role)
