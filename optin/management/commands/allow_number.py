from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand, target_of
from optin.operations import send_controls
from optin.outcomes import StaffOutcome


class Command(BaseCommand):
    help = "Let texts go again to a number from which somebody answered STOP."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="A mobile number.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, number: str, reason: str, **options: Any) -> None:
        target = target_of(number, prefix=False)
        outcome = send_controls.allow_number(target, reason=reason, origin=ORIGIN)
        if outcome is StaffOutcome.UNCHANGED:
            self.stdout.write("Nobody answered STOP from it.")
        else:
            self.stdout.write("Texts go to it again.")
