from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import people


class Command(BaseCommand):
    help = "Make a person, without a password: give one with changepassword."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="User name.")
        parser.add_argument(
            "--email", default="", help="Where warnings and links for a new password go."
        )

        parser.add_argument(
            "--test",
            action="store_true",
            help="Make a test account: it can be a member of sandboxes only.",
        )

    def handle(self, *args: Any, name: str, email: str, test: bool, **options: Any) -> None:
        try:
            person = people.create(name, email, is_test=test, origin=ORIGIN)
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        self.stdout.write(f"Made {person.get_username()}, user {person.pk}.")
