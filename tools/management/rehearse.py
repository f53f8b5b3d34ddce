import json
import signal
import subprocess
import sys
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from optin import gateways
from optin.conf import conf
from optin.gateways import every_setting
from optin.management.commands import BaseCommand
from tools.rehearsals import kept, playing, report
from tools.rehearsals.attacks import ATTACKS

SETTINGS = "tools.rehearsals.settings"


class Rehearse(BaseCommand):
    help = (
        "Play an attack against the settings in force, with honest people beside it: what it "
        "costs, when it is stopped, which alarms come, and which honest people it hits. It sends "
        "nothing. It uses a temporary database. It writes to your database only with --keep."
    )
    # Those of the database would touch it. Settings are checked below.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "attacks",
            nargs="+",
            choices=[*ATTACKS, "all"],
            metavar="attack",
            help=f"One or more of {', '.join(ATTACKS)}, or all.",
        )
        parser.add_argument("--short", action="store_true", help="Play one hour instead of six.")
        parser.add_argument(
            "--seed",
            type=int,
            default=1,
            help="Of the random numbers. The same seed gives the same figures.",
        )
        parser.add_argument(
            "--region", help="Of the numbers to attack. Default: the one where a text costs most."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")
        parser.add_argument(
            "--keep",
            action="store_true",
            help="Store the result. Staff see the last result of each attack on the page Promises.",
        )

    def handle(self, *args: Any, attacks: list[str], **options: Any) -> None:
        names = list(ATTACKS) if "all" in attacks else list(dict.fromkeys(attacks))
        if settings.SETTINGS_MODULE == SETTINGS:
            self._play(names, options)
            return
        prices = _prices()
        region = options["region"] or max(prices, key=lambda name: prices[name])
        if region not in prices:
            raise CommandError(f"{region} is none of OPTIN_SMS_REGIONS.")
        found = _played(names, region, options)
        reports = [report.priced(one, prices[region]) for one in found]
        shown = json.dumps(reports, indent=2) if options["json"] else report.text(reports)
        self.stdout.write(shown)
        if options["keep"]:
            kept.keep(reports, timezone.now())
        if not all(one["is_kept"] for one in reports):
            raise CommandError("The promise is broken.")

    def _play(self, names: list[str], options: dict[str, Any]) -> None:
        """Be the process that plays: print a line of JSON for each attack."""
        # So that the folder of its database goes then too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        for one in playing.play(
            names, seed=options["seed"], is_short=options["short"], region=options["region"]
        ):
            self.stdout.write(json.dumps(one))


def _prices() -> dict[str, Decimal]:
    """What a text costs in each region, by the gateway that is tried first."""
    for setting in every_setting():
        if fault := setting.fault(setting.value):
            raise CommandError(f"{setting.name} {fault} ({setting.check_id}).")
    try:
        found = {region: gateways.for_region(region) for region in conf.sms_regions}
    except ValueError as exc:
        raise CommandError(f"A gateway of OPTIN_GATEWAYS: {exc}") from None
    return {region: Decimal(usable[0].price if usable else 0) for region, usable in found.items()}


def _played(names: list[str], region: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Play in another process, which has no way to the live database or a gateway."""
    command = [sys.executable, "-m", "django", "limits", "rehearse", *names, "--settings", SETTINGS]
    command += ["--region", region, "--seed", str(options["seed"])]
    command += ["--short"] if options["short"] else []
    # No shell, and nothing in it but names of ours, a region and a number.
    done = subprocess.run(  # noqa: S603
        command, cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise CommandError("The rehearsal ended early; the lines above say why.")
    return [json.loads(line) for line in done.stdout.splitlines()]
