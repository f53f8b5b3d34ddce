import gzip
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from glob import escape, glob
from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin import keys
from optin.audit import homes, ledger, restores
from optin.audit.ledger import Line
from optin.conf import conf
from optin.management.commands import ORIGIN, MendingCommand
from optin.models import AuditEvent
from optin.models.audit import REDIGESTED
from optin.operations import restore
from optin.operations.restore import Restored


class Command(MendingCommand):
    """A restored database is refused by a check (optin.E303)."""

    help = (
        "After a restore, while the service is stopped: end codes, sessions, tokens and links, and "
        "carry out again what was revoked, removed, erased or refused since the backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ledgers",
            nargs="*",
            metavar="FILE",
            help="Ledgers or logs of other machines, beside OPTIN_LEDGER; .gz too; - is stdin.",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="Also if no ledger tells of anything that the database has lost.",
        )

        parser.add_argument(
            "--moved",
            action="store_true",
            help="The database was moved, or PostgreSQL upgraded, and nothing is lost.",
        )

    def handle(
        self, *args: Any, ledgers: list[str], force: bool, moved: bool, **options: Any
    ) -> None:
        try:
            lines = [line for name in _own() + ledgers for line in self._read(name)]
            if force or restores.unfinished() or self._has_work(lines):
                self._tell(restore.after_restore(lines, origin=ORIGIN, force=force))
            elif moved:
                homes.settle()
            else:
                raise CommandError(f"Nothing was done: {self._why()}")
            if restores.is_behind():
                raise CommandError("The database still lacks events. Run it again.")
        except OSError as exc:
            raise CommandError(f"{exc.filename}: {exc.strerror}.") from None
        self.stdout.write("The service may start.")

    def _read(self, name: str) -> list[Line]:
        """Read one ledger or log; keep the lines that tell of a decision, and the newest one."""
        count = foreign = 0
        kept: list[Line] = []
        newest: Line | None = None
        with _open(name) as file:
            for text in file:
                foreign += ledger.has_foreign_key(text)
                if line := Line.read(text):
                    count += 1
                    kept += [line] if line.kind else []
                    newest = line if newest is None or line.event_id > newest.event_id else newest
        self.stdout.write(f"{name}: {count} lines")
        if foreign and not _has_new_digest_key():
            raise CommandError(f"{foreign} lines of {name} are under another OPTIN_DIGEST_KEY.")
        return [*kept, newest] if newest else kept

    def _has_work(self, lines: list[Line]) -> bool:
        return bool(restores.not_carried_out(lines) or restores.lost(lines))

    def _why(self) -> str:
        text = "the database has every event that these lines tell of. "
        if homes.is_elsewhere():
            return (
                f"{text}But it is on another server or timeline than before. If it was restored, "
                "name the newest ledgers of all machines; if there are none, say --force. If it "
                "was moved while everything was stopped, say --moved."
            )
        return f"{text}To end all sessions, tokens and codes all the same, say --force."

    def _tell(self, done: Restored) -> None:
        for what, count in sorted(done.ended.items()):
            self.stdout.write(f"Ended {what}: {count}")
        for kind, count in sorted((+done.again).items()):
            self.stdout.write(f"Carried out again, {kind}: {count}")
        if done.gone:
            self.stdout.write(f"About accounts, keys or files that the backup lacks: {done.gone}")
        if done.unknown:
            self.stdout.write(f"Decisions that this release does not know: {done.unknown}")
        for line in done.imports:
            self.stdout.write(
                "Import again: {made} people made and {changed} changed, from the file with the "
                "SHA-256 {sha256}".format(**line.data)
            )
        if done.set_up:
            ids = ", ".join(map(str, done.set_up))
            self.stdout.write(f"These users have set up a second factor that is lost: {ids}")


def _has_new_digest_key() -> bool:
    """Whether the backup is from after ``redigest``: lines under the former key are older."""
    redigested = AuditEvent.objects.filter(kind=AuditEvent.Kind.KEYS, outcome=REDIGESTED)
    return redigested.filter(key_id=keys.digest_key_id()).exists()


def _own() -> list[str]:
    """Return the ledger of this machine, and those from before it was rotated."""
    return sorted(glob(f"{escape(conf.ledger)}*")) if conf.ledger else []


def _open(name: str) -> AbstractContextManager[Iterable[str]]:
    if name == "-":
        return nullcontext(sys.stdin)
    if name.endswith(".gz"):
        return gzip.open(name, "rt", encoding="utf-8", errors="replace")
    return open(name, encoding="utf-8", errors="replace")
