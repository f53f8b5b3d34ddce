from django.core.management.base import CommandError

from optin.management.commands import ORIGIN, StaffCommand
from optin.models import User
from optin.operations import staff_actions
from optin.outcomes import StaffOutcome


class Command(StaffCommand):
    help = "Remove a user's second factors (break-glass). The count of wrong codes stays."

    def act(self, user: User, reason: str) -> None:
        outcome = staff_actions.revoke(user, reason=reason, origin=ORIGIN)
        if outcome is not StaffOutcome.OK:
            raise CommandError(f"{user.get_username()} has no second factor.")
        self.stdout.write(f"Removed the second factor of {user.get_username()}.")
