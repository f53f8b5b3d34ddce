from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.errors import FileIdTaken
from optin.management.commands import ORIGIN, BaseCommand
from optin.models import File
from optin.models.files import MAX_FILE_ID
from optin.operations import tenants

MAX_NAME = File._meta.get_field("name").max_length or 0


class Command(BaseCommand):
    help = "Make a file (a tenant). Prints its FileId alone on the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="What people and staff see.")
        parser.add_argument("--id", type=int, help="Its FileId; without it, the next free one.")

        parser.add_argument(
            "--sandbox",
            action="store_true",
            help="Make a sandbox: for test accounts, whose texts are shown on a page.",
        )

    def handle(self, *args: Any, name: str, id: int | None, sandbox: bool, **options: Any) -> None:
        file_id = File.objects.next_id() if id is None else id
        if not 1 <= file_id <= MAX_FILE_ID:
            raise CommandError(f"A FileId is from 1 to {MAX_FILE_ID}.")
        name = name.strip()
        if not 0 < len(name) <= MAX_NAME:
            raise CommandError(f"A name has 1 to {MAX_NAME} characters.")
        try:
            file = tenants.create_file(file_id, name, is_sandbox=sandbox, origin=ORIGIN)
        except FileIdTaken:
            raise CommandError(f"There is a file {file_id} already.") from None
        self.stdout.write(str(file.pk))
