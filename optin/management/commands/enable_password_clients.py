from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import tenants


class Command(BaseCommand):
    help = (
        "Let clients without a client id get tokens for a user name and a password at "
        "/authorisation/token. Off until you run this; new clients should use /o/ instead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--off", action="store_true", help="Switch it off again, and end all its tokens."
        )

    def handle(self, *args: Any, off: bool, **options: Any) -> None:
        tenants.switch_password_clients(on=not off, origin=ORIGIN)
        self.stdout.write(f"Sign-in by password at /authorisation/ is {'off' if off else 'on'}.")
