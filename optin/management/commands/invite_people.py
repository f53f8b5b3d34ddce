import argparse
import json
import re
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from optin.errors import MailsFail
from optin.management.commands import ORIGIN, BaseCommand
from optin.management.people_files import whoever_asks
from optin.models import File
from optin.operations import invitations
from optin.operations.invitations import Run
from optin.operations.passwords import INVITED_FOR
from optin.outcomes import InviteOutcome

STOPPED = 3
"""Exit status: mails fail, so some were not invited. Python ends with 1 and 2 by itself."""


class Command(BaseCommand):
    help = (
        "Invite the members of a file by email: to choose a password, or to sign in with the one "
        "that they have, and then to turn on two-factor sign-in. Run it again as often as you "
        f"like: nobody is invited twice. Exit status: {STOPPED} mails fail, or it was stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--file", required=True, type=int, metavar="ID", help="The FileId.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail.")
        parser.add_argument(
            "--limit",
            type=_pace,
            default=timedelta(),
            metavar="200/h",
            help="Mails an hour (h), a minute (m) or a day (d), of all runs together. The command "
            "waits between them.",
        )
        parser.add_argument(
            "--again",
            action="store_true",
            help=f"Also people whose last invitation is {INVITED_FOR.days} days old.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Send nothing; count people.")
        parser.add_argument("--json", action="store_true", help="Print the summary as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        file = File.objects.filter(pk=options["file"]).first()
        if file is None:
            raise CommandError("There is no such file.")
        since = timezone.now() - INVITED_FOR if options["again"] else None
        plan = invitations.plan(file, since=since)
        if options["dry_run"]:
            self._tell(Counter({InviteOutcome.OK: len(plan.due)}) + plan.others, 0, options)
            return
        run = Run(options["reason"], ORIGIN, whoever_asks(), options["limit"])
        became, failed, stopped = Counter[InviteOutcome](), "", False
        with tqdm(total=len(plan.due), unit=" people", disable=None, file=sys.stderr) as bar:
            try:
                for outcome in invitations.invite_members(file, plan.due, run, since=since):
                    became[outcome] += 1
                    bar.update()
            except MailsFail as exc:
                failed = exc.message
            except KeyboardInterrupt:
                stopped = True
        self._tell(became + plan.others, len(plan.due) - became.total(), options)
        if failed:
            raise CommandError(failed, returncode=STOPPED)
        if stopped:
            self.stderr.write("Stopped. Run it again to go on.")
            sys.exit(STOPPED)

    def _tell(self, counts: Counter[InviteOutcome], left: int, options: dict[str, Any]) -> None:
        invited = counts.pop(InviteOutcome.OK, 0)
        if options["json"]:
            facts = {"invited": invited, "left": left, "not_invited": counts}
            self.stdout.write(json.dumps({**facts, "dry_run": options["dry_run"]}))
            return
        if options["dry_run"]:
            hours = (options["limit"] * invited).total_seconds() / 3600
            self.stdout.write(f"{invited} to invite" + (f", in {hours:.1f} hours" if hours else ""))
        else:
            self.stdout.write(f"{invited} invited, {left} left")
        for why, count in counts.most_common():
            self.stdout.write(f"{count} not invited: {why.replace('_', ' ')}")


def _pace(text: str) -> timedelta:
    """Read ``200/h`` as the time between two mails."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([mhd])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("must be a number and a time, as in 200/h")
    unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
    return unit[found[2]] / int(found[1])
