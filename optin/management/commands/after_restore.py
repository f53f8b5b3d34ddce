import os
import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from optin.audit import ledger
from optin.conf import conf
from optin.management.commands import ORIGIN, refuse_faulty_keys
from optin.operations import restore
from optin.operations.restore import Restored


class Command(BaseCommand):
    help = (
        "After a restore, while the service is stopped: end codes, sessions, tokens and links, and "
        "carry out again what was revoked, removed, erased or refused since the backup."
    )
    # A check refuses every other command until this one has run.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ledgers",
            nargs="*",
            metavar="FILE",
            help="Ledgers or logs of other machines, beside OPTIN_LEDGER; - is stdin.",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="Also if no ledger tells of anything that the database has lost.",
        )

    def handle(self, *args: Any, ledgers: list[str], force: bool, **options: Any) -> None:
        refuse_faulty_keys()
        try:
            lines = list(ledger.read(_lines(ledgers)))
        except OSError as exc:
            raise CommandError(f"{exc.filename}: {exc.strerror}.") from None
        if not (force or ledger.lost(lines)):
            raise CommandError(
                f"Nothing was done: the database has every event that {len(lines)} lines tell of. "
                "To end all sessions, tokens and codes all the same, say --force."
            )
        self._tell(restore.after_restore(lines, origin=ORIGIN))

    def _tell(self, done: Restored) -> None:
        for what, count in sorted(done.ended.items()):
            self.stdout.write(f"Ended {what}: {count}")
        for kind, count in sorted((+done.again).items()):
            self.stdout.write(f"Carried out again, {kind}: {count}")
        if done.gone:
            self.stdout.write(f"About accounts, keys or files that the backup lacks: {done.gone}")
        if done.set_up:
            ids = ", ".join(map(str, sorted(done.set_up)))
            self.stdout.write(f"These users have set up a second factor that is lost: {ids}")
        self.stdout.write("The service may start.")


def _lines(names: list[str]) -> Iterator[str]:
    own = [conf.ledger] if os.path.exists(conf.ledger) else []
    for name in [*own, *names]:
        if name == "-":
            yield from sys.stdin
        else:
            with open(name, encoding="utf-8", errors="replace") as file:
                yield from file
