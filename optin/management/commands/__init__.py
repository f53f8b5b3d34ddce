"""Commands for operators: parse, call one operation, print."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import base
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model
from django.db.models.signals import post_save

from optin.conf import CHECKS, Conf, conf
from optin.errors import Refusal
from optin.models import File, User
from optin.operations.send_controls import Target
from optin.origin import Face, Origin
from optin.outcomes import StaffOutcome

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


def target_of(number: str, *, prefix: bool) -> Target:
    """Return the number that was given, or all that share its prefix.

    :raises InvalidMobileNumber: if it is none.
    """
    return Target.prefix(number) if prefix else Target.number(number)


@contextmanager
def recording(model: type[Model], record: Callable[[Any], None]) -> Iterator[None]:
    """Call *record* with each row of *model* that a command of a package saves meanwhile.

    In the transaction of the save, so that there is no row without its event.
    """

    def saved(instance: Model, **signal: Any) -> None:
        record(instance)

    post_save.connect(saved, sender=model)
    try:
        yield
    finally:
        post_save.disconnect(saved, sender=model)


class Tells(base.BaseCommand):
    """Says why an operation was refused. With ``--verbosity 2`` it prints its lines of the ledger,
    too."""

    def execute(self, *args: Any, **options: Any) -> Any:
        if options["verbosity"] > 1:
            logging.getLogger("optin.audit").setLevel(logging.DEBUG)
        try:
            return super().execute(*args, **options)
        except Refusal as exc:
            raise CommandError(exc.message) from None


class BaseCommand(Tells):
    """A command that starts fast: it runs only the service's own checks."""

    requires_system_checks = [CHECKS]


class StaffCommand(BaseCommand):
    """A staff action on one user, with a reason for the audit trail."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")

    def handle(self, *args: Any, user: str, reason: str, **options: Any) -> None:
        self.act(find_user(user), reason)

    def act(self, user: User, reason: str) -> None:
        """Do it, and print what became of it."""
        raise NotImplementedError


class ActivityCommand(StaffCommand):
    """Deactivate a person, or let them in again."""

    action: Callable[..., StaffOutcome]
    done: str

    def act(self, user: User, reason: str) -> None:
        outcome = type(self).action(user, reason=reason, origin=ORIGIN)
        was = " already" if outcome is StaffOutcome.UNCHANGED else ""
        self.stdout.write(f"{user.get_username()} is {self.done}{was}.")
