from django.core.management.base import CommandError

from optin import services
from optin.errors import UnfitReason
from optin.guesses import Outcome
from optin.management.commands import ORIGIN, StaffCommand
from optin.models import User


class Command(StaffCommand):
    help = "Release a user's active mobile number (break-glass). The count of wrong codes stays."

    def act(self, user: User, reason: str) -> None:
        try:
            outcome = services.revoke(user, reason=reason, origin=ORIGIN)
        except UnfitReason as exc:
            raise CommandError(exc.message) from None
        if outcome is not Outcome.OK:
            raise CommandError(f"{user.get_username()} has no active mobile number.")
        self.stdout.write(f"Released the mobile number of {user.get_username()}.")
