import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import BufferedIOBase
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from optin.management import people_files
from optin.management.commands import ORIGIN, BaseCommand
from optin.models.reasons import fit_reason
from optin.operations import imports
from optin.operations.imports import Fault, Person, Run, Tally

BATCH = 100
"""Rows that are looked up and written together."""

SHOWN = 20
"""Refused rows that are printed, if there is no file for them."""

SOME, NONE = 3, 4
"""Exit statuses: some rows were refused, or all. Python ends with 1 and 2 by itself."""


class Command(BaseCommand):
    help = (
        "Bring people over from another system: one row each, in JSON Lines or CSV. Rows that are "
        "wrong are refused, the others go in. Run it again as often as you like. "
        f"Exit status: 0 no row was refused, {SOME} some were, {NONE} all were."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="The file; - is standard input.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")
        parser.add_argument(
            "--format", choices=("jsonl", "csv"), help="By default, csv if FILE ends like that."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Write nothing; say what is wrong."
        )
        parser.add_argument(
            "--update", action="store_true", help="Change people who are there already."
        )
        parser.add_argument(
            "--trust-numbers",
            action="store_true",
            help="Make a number a second factor at once, if its row says when and how the old "
            "system verified it. Otherwise it is proposed to the person.",
        )
        parser.add_argument(
            "--rejects", metavar="OUT", help="Write each refused row here: line, field, reason."
        )
        parser.add_argument("--json", action="store_true", help="Print the summary as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        form = people_files.form_of(options["file"], options["format"])
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(people_files.opened(options["file"]))
                if options["file"] != "-" and _is_same(options["file"], options["rejects"]):
                    raise CommandError("--rejects names the file of people itself.")
                rejects = self._rejects(options["rejects"], stack)
            except OSError as exc:
                raise CommandError(people_files.why_not(exc)) from None
            run = Run(
                hashlib.file_digest(stream, "sha256").hexdigest(),
                fit_reason(options["reason"]),
                people_files.whoever_asks(),
                ORIGIN,
                update=options["update"],
                trust_numbers=options["trust_numbers"],
                dry_run=options["dry_run"],
            )
            total = Tally()
            stack.callback(imports.end, run, total)  # also if it is stopped
            try:
                self._import(stream, form, run, total, rejects)
            except ValidationError as exc:
                raise CommandError(" ".join(exc.messages)) from None
            except KeyboardInterrupt:
                sys.exit("Stopped. Run it again to go on.")  # with status 1
        self._tell(total, run, as_json=options["json"])

    def _rejects(self, name: str | None, stack: ExitStack) -> IO[str] | None:
        return stack.enter_context(people_files.made(name)) if name else None

    def _import(
        self, stream: BufferedIOBase, form: str, run: Run, total: Tally, rejects: IO[str] | None
    ) -> None:
        stream.seek(0)
        for batch in _with_progress(stream, _batches(people_files.read(stream, form))):
            parsed = [people_files.parse(line, row) for line, row in batch]
            done = imports.bring_in([row for row in parsed if isinstance(row, Person)], run)
            wrong = [faults for faults in parsed if isinstance(faults, list)]
            faults = [*itertools.chain(*wrong), *done.faults]
            total.made += done.made
            total.changed += done.changed
            total.unchanged += done.unchanged
            total.second_factors += done.second_factors
            total.proposed += done.proposed
            for _line, own in itertools.groupby(sorted(faults), lambda fault: fault.line):
                self._refuse(own, total.refused, rejects)
                total.refused += 1

    def _refuse(self, faults: Iterable[Fault], before: int, rejects: IO[str] | None) -> None:
        """Tell the *faults* of one row."""
        for fault in faults:
            if rejects:
                rejects.write(json.dumps(fault._asdict()) + "\n")
            elif before < SHOWN:
                what = f"{fault.field} {fault.reason}".strip()
                self.stderr.write(f"line {fault.line}: {what}")
        if before == SHOWN and not rejects:
            self.stderr.write("and more: --rejects writes all of them to a file")

    def _tell(self, total: Tally, run: Run, *, as_json: bool) -> None:
        counts = {
            "made": total.made,
            "changed": total.changed,
            "unchanged": total.unchanged,
            "refused": total.refused,
        }
        numbers = {"second_factors": total.second_factors, "proposed": total.proposed}
        if as_json:
            facts = {**counts, "numbers": numbers, "dry_run": run.dry_run, "sha256": run.sha256}
            self.stdout.write(json.dumps(facts))
        else:
            said = ", ".join(f"{count} {name}" for name, count in counts.items())
            if any(numbers.values()):
                said += (
                    f"; numbers: {total.second_factors} second factors at once, "
                    f"{total.proposed} proposed"
                )
            self.stdout.write(f"{said}{'; nothing was written' if run.dry_run else ''}")
        if total.refused:
            sys.exit(SOME if total.made + total.changed + total.unchanged else NONE)


def _is_same(one: str, other: str | None) -> bool:
    return other is not None and os.path.exists(other) and os.path.samefile(one, other)


def _with_progress(stream: BufferedIOBase, batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Show on a terminal how much of the file is done."""
    size = os.fstat(stream.fileno()).st_size
    with tqdm(total=size, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:
        for batch in batches:
            yield batch
            bar.update(stream.tell() - bar.n)


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    return iter(lambda: [*itertools.islice(rows, BATCH)], [])
