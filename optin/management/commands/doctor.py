import json
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management import base
from django.core.management.base import CommandParser

from optin.conf import CHECKS
from optin.doctor import running, send_test
from optin.doctor.findings import Check, Finding, Level
from optin.management.commands import ORIGIN
from optin.support.wording import some

_WIDTH = 100
_NAME = 11
_INDENT = " " * 21

FAULT = 1
"""Its exit status if there is a fault."""


class Command(base.BaseCommand):
    help = (
        "Check the running installation: database, keys, seals, workers, mail, gateways, proxy. "
        "Run it as the service, with its environment. Exit status: 1 if there is a fault."
    )
    # It reports what they find, and goes on.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument(
            "--send-test",
            metavar="NUMBER",
            help="Check nothing, but send a text to this number of yours through each gateway that "
            "serves it, and wait for the receipts.",
        )
        parser.add_argument(
            "--wait",
            type=int,
            default=60,
            help="Seconds to wait for the receipts (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        checks: Sequence[Check] = running.CHECKS
        if options["send_test"] is not None:
            if not options.get("skip_checks"):  # as Django does for other commands
                self.check(tags=[CHECKS])
            checks = [_test(options["send_test"], options["wait"])]
        every: list[tuple[Check, Finding]] = []
        for check, findings in running.examine(checks):
            every += [(check, finding) for finding in findings]
            for finding in () if options["json"] else findings:
                self._print(check, finding)
        faults = sum(finding.level is Level.FAULT for _, finding in every)
        if options["json"]:
            self._print_json(every, faults)
        else:
            self._print_sum(every, faults)
        if faults:
            sys.exit(FAULT)

    def _print(self, check: Check, finding: Finding) -> None:
        head = f"{finding.level:<8} {check.name:<{_NAME}} "
        self.stdout.write(_wrapped(finding.text, head), self._style(finding.level))
        if finding.seen:
            self.stdout.write(_wrapped(f"Seen: {finding.seen}"))
        if finding.do:
            self.stdout.write(_wrapped(f"Do: {finding.do}"))
        self.stdout.flush()

    def _style(self, level: Level) -> Any:
        styles = {Level.FAULT: self.style.ERROR, Level.WARNING: self.style.WARNING}
        return styles.get(level, lambda text: text)

    def _print_sum(self, every: list[tuple[Check, Finding]], faults: int) -> None:
        count = {level: sum(one.level is level for _, one in every) for level in Level}
        ill = dict.fromkeys(check.name for check, one in every if one.level is Level.FAULT)
        where = f" ({', '.join(ill)})" if ill else ""
        self.stdout.write(
            f"\n{some(faults, 'fault')}{where}, {some(count[Level.WARNING], 'warning')}, "
            f"{count[Level.OK]} ok, {count[Level.SKIPPED]} skipped."
        )

    def _print_json(self, every: list[tuple[Check, Finding]], faults: int) -> None:
        lines = [
            {
                "check": check.name,
                "level": finding.level,
                "text": finding.text,
                "seen": finding.seen,
                "do": finding.do,
            }
            for check, finding in every
        ]
        self.stdout.write(json.dumps({"faults": faults, "findings": lines}, indent=2))


def _test(number: str, wait: int) -> Check:
    look = partial(send_test.send, number, wait=wait, origin=ORIGIN)
    return Check("send-test", look)


def _wrapped(text: str, head: str = _INDENT) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
