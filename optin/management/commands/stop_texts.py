from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import send_controls
from optin.outcomes import StaffOutcome


class Command(BaseCommand):
    help = "Let no text leave at all, those for sign-ins included; --end allows them again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--end", action="store_true", help="End the stop.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, end: bool, reason: str, **options: Any) -> None:
        change = send_controls.allow_texts if end else send_controls.stop_texts
        outcome = change(reason=reason, origin=ORIGIN)
        if outcome is StaffOutcome.UNCHANGED:
            self.stdout.write("Texts were not stopped." if end else "Texts were stopped already.")
        else:
            self.stdout.write("Texts leave again." if end else "No text leaves any more.")
