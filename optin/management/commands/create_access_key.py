from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.errors import NotAMember
from optin.management.commands import ORIGIN, BaseCommand, find_file, find_user
from optin.messaging import delivery
from optin.operations import tenants


class Command(BaseCommand):
    help = "Make a WsAccessKey for a user and a file. Prints the key alone on the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("file_id", type=int, help="The FileId.")

    def handle(self, *args: Any, user: str, file_id: int, **options: Any) -> None:
        member, file = find_user(user), find_file(file_id)
        try:
            text = tenants.make_access_key(member, file, origin=ORIGIN)
        except NotAMember:
            raise CommandError(
                f"{member.get_username()} is not active, or may not act in file {file.pk}."
            ) from None
        # A development start prints the mail about the key.
        delivery.postman.wait()
        self.stderr.write("This key is shown once. Only its digest is kept.")
        self.stdout.write(text)
