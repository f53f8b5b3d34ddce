from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from optin.management.commands import find_file, find_user
from optin.models import AccessKey, File


class Command(BaseCommand):
    help = "Make a WsAccessKey for a user and a file. The key stands alone on the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("file_id", type=int)

    def handle(self, *args: Any, user: str, file_id: int, **options: Any) -> None:
        member, file = find_user(user), find_file(file_id)
        if not member.is_active:
            raise CommandError(f"{member.get_username()} is not active.")
        if not File.objects.open_to(member).filter(pk=file.pk).exists():
            raise CommandError(f"{member.get_username()} may not act in file {file.pk}.")
        _, text = AccessKey.objects.make(member, file, timezone.now())
        self.stderr.write("This key is shown once. Only its digest is kept.")
        self.stdout.write(text)
