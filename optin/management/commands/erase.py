import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.management.commands import ORIGIN, BaseCommand, find_user
from optin.models import User
from optin.operations import erasure
from optin.outcomes import StaffOutcome


class Command(BaseCommand):
    help = "Delete all that is known of a person, for good. The audit trail keeps the id."

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("user", nargs="?", help="User name or e-mail address.")
        who.add_argument("--id", type=int, help="The id of the user, as the audit trail has it.")
        parser.add_argument(
            "--reason", required=True, help="Kept in the audit trail: write no name into it."
        )
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(
        self,
        *args: Any,
        user: str | None,
        id: int | None,
        reason: str,
        yes: bool,
        **options: Any,
    ) -> None:
        person = find_user(user) if user is not None else _find_id(id)
        name = person.get_username()
        if not (yes or _confirmed(f"Erase {name!r}, user {person.pk}, for good? Type yes: ")):
            raise CommandError("Nothing was erased. Without a terminal, say --yes.")
        outcome = erasure.erase(person, reason=reason, origin=ORIGIN)
        again = " again" if outcome is StaffOutcome.UNCHANGED else ""
        self.stdout.write(f"Erased user {person.pk}{again}.")


def _find_id(pk: int | None) -> User:
    person: User | None = User.objects.filter(pk=pk).first()
    if person is None:
        raise CommandError(f"There is no user with the id {pk}.")
    return person


def _confirmed(question: str) -> bool:
    return sys.stdin.isatty() and input(question) == "yes"
