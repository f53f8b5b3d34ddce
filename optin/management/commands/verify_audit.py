import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import IO, Any

from django.core.management.base import CommandParser, SystemCheckError
from django.db import DatabaseError
from django.utils import timezone

from optin.audit import integrity, seals
from optin.audit.integrity import Finding, Tally
from optin.conf import conf
from optin.management.commands import BaseCommand

CLEAN, UNCHECKED, FOUND = 0, 2, 3
"""It is not 1, with which Python ends if a command cannot even start."""


class Command(BaseCommand):
    help = (
        "Check the whole audit trail: each event, and that none was removed or added. "
        "Exit status: 0 nothing found, 3 something found, 1 or 2 something could not be checked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seal", action="store_true", help="First seal what is due.")
        parser.add_argument(
            "--copies",
            metavar="FILE",
            help="Compare with the copies of seals in these lines of logs; - is stdin.",
        )
        parser.add_argument(
            "--kept",
            metavar="DAYS",
            type=int,
            default=conf.audit_retention,
            help="Older ranges may have been purged (default: %(default)s, as for purge).",
        )

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except SystemCheckError as exc:
            # Nothing was found; nothing was looked at.
            exc.returncode = UNCHECKED
            raise

    def handle(self, *args: Any, **options: Any) -> None:
        self.found = self.unchecked = 0
        tally = Tally(progress=self._progress)
        try:
            for finding in self._findings(timezone.now(), tally, options):
                self._report(finding)
        except (DatabaseError, OSError, ValueError) as exc:
            self._report(Finding(f"stopped after event {tally.last_id}: {exc}", unchecked=True))
        self._clear()
        self.stdout.write(self._summary(tally))
        if self.found or self.unchecked:
            sys.exit(FOUND if self.found else UNCHECKED)

    def _findings(self, now: datetime, tally: Tally, options: dict[str, Any]) -> Iterator[Finding]:
        with ExitStack() as stack:
            name = options["copies"]
            lines: Any = ()
            if name:
                lines = sys.stdin if name == "-" else stack.enter_context(_open(name))
            if options["seal"]:
                seals.seal(now)
            kept = timedelta(days=max(options["kept"], seals.SHORTEST_RETENTION.days))
            yield from integrity.verify(now, tally, kept=kept)
            yield from integrity.verify_copies(lines, tally)
            if name and not tally.copies:
                yield Finding(f"{name} holds no copy of a seal", unchecked=True)

    def _report(self, finding: Finding) -> None:
        if finding.unchecked:
            self.unchecked += 1
        else:
            self.found += 1
        self._clear()
        self.stdout.write(finding.text)

    def _progress(self, tally: Tally) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r{tally.events} events, at id {tally.last_id}", ending="")
            self.stderr.flush()

    def _clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\033[K", ending="")

    def _summary(self, tally: Tally) -> str:
        counts = [
            f"{tally.events} events checked",
            f"{tally.unsealed} of them not sealed yet",
            f"{tally.seals} seals",
            f"{tally.purged} events purged",
        ]
        if tally.copies:
            counts.append(f"{tally.copies} copies of seals")
        return f"{', '.join(counts)}: {self.found} findings, {self.unchecked} not to be checked."


def _open(name: str) -> IO[str]:
    return open(name, encoding="utf-8", errors="replace")
