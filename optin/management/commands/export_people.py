from contextlib import ExitStack
from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.management import people_files
from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import imports


class Command(BaseCommand):
    help = "Write all people, without secrets, as import_people reads them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="The new file; - is standard output.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")
        parser.add_argument(
            "--format", choices=("jsonl", "csv"), help="By default, csv if FILE ends like that."
        )

        parser.add_argument(
            "--numbers", action="store_true", help="Write their mobile numbers too, in full."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        form = people_files.form_of(options["file"], options["format"])
        asker = people_files.whoever_asks()
        with ExitStack() as stack:
            stream: Any = self.stdout
            if options["file"] != "-":
                try:
                    stream = stack.enter_context(people_files.made(options["file"]))
                except OSError as exc:
                    raise CommandError(people_files.why_not(exc)) from None
            people = imports.export(
                reason=options["reason"], by=asker, origin=ORIGIN, numbers=options["numbers"]
            )
            count = people_files.write(people, stream, form, numbers=options["numbers"])
        self.stderr.write(f"{count} people were written.")
