from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand, find_file, find_user
from optin.operations import tenants


class Command(BaseCommand):
    help = "Let a user act in a file; again for one who was put out of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("file_id", type=int, help="The FileId.")

    def handle(self, *args: Any, user: str, file_id: int, **options: Any) -> None:
        member, file = find_user(user), find_file(file_id)
        tenants.add_member(member, file, origin=ORIGIN)
        self.stdout.write(f"{member.get_username()} may act in file {file.pk}.")
