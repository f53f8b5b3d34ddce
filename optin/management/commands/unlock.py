from django.core.management.base import CommandError

from optin.errors import UnfitReason
from optin.management.commands import ORIGIN, StaffCommand
from optin.models import User
from optin.operations import staff_actions
from optin.outcomes import StaffOutcome


class Command(StaffCommand):
    help = "End a lock or a disabling, and start the count of wrong codes again."

    def act(self, user: User, reason: str) -> None:
        try:
            outcome = staff_actions.unlock(user, reason=reason, origin=ORIGIN)
        except UnfitReason as exc:
            raise CommandError(exc.message) from None
        if outcome is StaffOutcome.UNCHANGED:
            self.stdout.write(f"{user.get_username()} has no wrong codes to forget.")
        else:
            self.stdout.write(f"Unlocked {user.get_username()}.")
