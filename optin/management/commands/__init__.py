"""Commands for operators: parse, call one operation, print."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from optin.conf import Conf, conf
from optin.models import File, User
from optin.origin import Face, Origin

ORIGIN = Origin(Face.COMMAND)


def find_user(name: str) -> User:
    """Return the user called *name*.

    :raises CommandError: if there is none.
    """
    user: User | None = User.objects.by_login(name)
    if user is None:
        raise CommandError(f"There is no user {name!r}.")
    return user


def find_file(file_id: int) -> File:
    """Return the file with this id.

    :raises CommandError: if there is none.
    """
    file = File.objects.filter(pk=file_id).first()
    if file is None:
        raise CommandError(f"There is no file {file_id}.")
    return file


def refuse_faulty_keys() -> None:
    """For commands that run without the system checks: see that there are keys at all.

    :raises CommandError: if there are none.
    """
    for name, fault in (
        (Conf.keys.name, Conf.keys.fault(conf.keys)),
        (Conf.digest_key.name, Conf.digest_key.fault(conf.digest_key)),
    ):
        if fault:
            raise CommandError(f"{name} {fault}.")


class StaffCommand(BaseCommand):
    """A staff action on one user, with a reason for the audit trail."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, user: str, reason: str, **options: Any) -> None:
        self.act(find_user(user), reason)

    def act(self, user: User, reason: str) -> None:
        """Do it, and print what became of it.

        :raises CommandError: if it was refused.
        """
        raise NotImplementedError
