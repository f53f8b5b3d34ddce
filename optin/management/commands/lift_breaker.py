from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand, target_of
from optin.operations import send_controls


class Command(BaseCommand):
    help = "Open a prefix to opt-ins for a time, though few of them are verified."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="Any mobile number with the prefix.")
        parser.add_argument("--minutes", type=int, required=True, help="For how long.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, number: str, minutes: int, reason: str, **options: Any) -> None:
        prefix = target_of(number, prefix=True)
        lasts = timedelta(minutes=max(0, min(minutes, 1_000_000)))
        control = send_controls.lift_breaker(prefix, lasts, reason=reason, origin=ORIGIN)
        self.stdout.write(f"The prefix is open until {control.until:%Y-%m-%d %H:%M} UTC.")
