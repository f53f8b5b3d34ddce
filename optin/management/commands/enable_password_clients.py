from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from optin import sign_in


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
        if off:
            sign_in.disable_password_clients()
            self.stdout.write("Sign-in by password at /authorisation/ is off.")
        else:
            sign_in.enable_password_clients()
            self.stdout.write("Sign-in by password at /authorisation/ is on.")
