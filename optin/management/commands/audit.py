import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.audit import lines
from optin.audit.reading import chunks
from optin.audit.seals import PATIENCE, settled
from optin.management.commands import BaseCommand, GroupCommand


class Export(BaseCommand):
    help = "Print the audit events after an id, one line of JSON each, as the log has them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--after", type=int, default=0, metavar="ID", help="The last event that you have."
        )

    def handle(self, *args: Any, after: int, **options: Any) -> None:
        until = settled(PATIENCE)
        if until is None:
            raise CommandError("A transaction that adds events stays open. Try again.")
        for chunk in chunks(after + 1, until):
            for event in chunk:
                self.stdout.write(json.dumps(lines.object_of(event)))


class Command(GroupCommand):
    help = "Print audit events; verify_audit checks the trail."
    acts = {"export": Export}
