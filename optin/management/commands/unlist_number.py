from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand, target_of
from optin.operations import send_controls
from optin.outcomes import StaffOutcome


class Command(BaseCommand):
    help = "Take a number or a prefix off the deny or safe list."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="A mobile number.")
        parser.add_argument(
            "--prefix", action="store_true", help="The entry for all numbers that begin so."
        )
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, number: str, prefix: bool, reason: str, **options: Any) -> None:
        target = target_of(number, prefix=prefix)
        outcome = send_controls.unlist(target, reason=reason, origin=ORIGIN)
        if outcome is StaffOutcome.UNCHANGED:
            self.stdout.write("It is on no list.")
        else:
            self.stdout.write("Taken off the list.")
