from optin.management.commands import ORIGIN, StaffCommand
from optin.models import User
from optin.operations import staff_actions
from optin.outcomes import StaffOutcome


class Command(StaffCommand):
    help = "End a lock or a disabling, and start the count of wrong codes again."

    def act(self, user: User, reason: str) -> None:
        outcome = staff_actions.unlock(user, reason=reason, origin=ORIGIN)
        if outcome is StaffOutcome.UNCHANGED:
            self.stdout.write(f"{user.get_username()} has no wrong codes to forget.")
        else:
            self.stdout.write(f"Unlocked {user.get_username()}.")
