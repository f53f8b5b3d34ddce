import json
import re
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from dotenv import dotenv_values

from optin.gateways import every_setting
from optin.management.commands import BaseCommand
from tools import replay
from tools.replay import REPLAYED, Replay

SHOWN = 10
"""Accounts of the table. JSON has all."""


class ReplayPolicy(BaseCommand):
    help = (
        "Decide the recorded requests for texts again with other limits. Show who would have been "
        "refused, who of them entered the code, and how many texts and how much money would have "
        "been saved. It changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--env",
            type=Path,
            metavar="FILE",
            help="Lines of NAME=value with the other limits, such as OPTIN_SENDS_PER_USER=3/600. A "
            "setting that FILE does not name keeps its value. Without --env, every setting does.",
        )
        parser.add_argument(
            "--since", default="30d", help="How far back: days or hours (default: %(default)s)."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON, with all accounts.")

    def handle(self, *args: Any, env: Path | None, since: str, **options: Any) -> None:
        until = timezone.now()
        begin = until - _span(since)
        given = _read(env) if env else {}
        numbers = {s.name: given[s.name] for s in REPLAYED if s.name in given}
        if env and not numbers:
            names = ", ".join(setting.name for setting in REPLAYED)
            raise CommandError(f"{env} sets none of the settings that can be replayed: {names}.")
        changed = {name for name, value in given.items() if value != getattr(settings, name)}
        with replay.under(numbers):
            report = replay.replay(begin, until)
        plain = {
            **report.plain(),
            "numbers": sorted(changed & set(numbers)),
            "not_replayed": sorted(changed - set(numbers)),
        }
        self.stdout.write(json.dumps(plain, indent=2) if options["json"] else _table(report, plain))


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([dh])", text)
    if not found:
        raise CommandError("--since must be a number of days or hours, such as 30d or 12h.")
    return timedelta(**{{"d": "days", "h": "hours"}[found[2]]: int(found[1])})


def _read(path: Path) -> dict[str, Any]:
    """Return the value of each setting of the service that the file has.

    No error quotes a value: the file may hold secrets.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            values = dotenv_values(stream=lines, interpolate=False)
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{path} cannot be read: {type(exc).__name__}.") from None
    known = {setting.name: setting for setting in every_setting()}
    found: dict[str, Any] = {}
    for name, text in values.items():
        setting = known.get(name)
        if setting is None:
            _refuse_near(path, name)
            continue
        try:
            found[name] = setting.parse(text or "")
        except ValueError as exc:
            raise CommandError(f"{path}: {name} {exc}.") from None
        if setting in REPLAYED and (fault := setting.fault(found[name])):
            raise CommandError(f"{path}: {name} {fault}.")
    return found


def _refuse_near(path: Path, name: str) -> None:
    """Refuse a name with a typing error: the replay would use the limits in force."""
    if near := get_close_matches(name, [setting.name for setting in REPLAYED], 1):
        raise CommandError(f"{path}: there is no setting {name}. Did you mean {near[0]}?")


def _money(report: Replay) -> str:
    if report.cost is None or report.price is None:
        return "not known: no cost of texts is recorded for this period"
    return f"{report.cost:,.2f} at {report.price:.4f} a text, on average"


def _table(report: Replay, plain: dict[str, Any]) -> str:
    # Rounded down: 100 % is all of them.
    equal = f"{report.equal * 1000 // report.decided / 10} %" if report.decided else "-"
    lines = [
        f"Requests for texts from {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} "
        f"UTC, with {', '.join(plain['numbers']) or 'the limits in force'}",
        "",
        f"Decided again     {report.decided:,} requests, {report.equal:,} of them with the same "
        f"result ({equal})",
        f"As recorded       {report.fixed:,} refused by lists, stops or the breaker; "
        f"{report.counted:,} repeated refusals, recorded only as a count",
        f"Refused           {report.saved:,} requests that in fact got a text, of "
        f"{len(report.accounts):,} accounts",
        f"  later verified  {report.verified:,} of these accounts entered the code of such a text "
        "in time",
        f"Let through       {report.more:,} requests that in fact got no text",
        f"Texts saved       {report.saved - report.more:,}",
        f"Money saved       {_money(report)}",
    ]
    if others := ", ".join(plain["not_replayed"]):
        lines += [
            "",
            f"The file also changes these settings, which a replay does not use: {others}",
        ]
    if report.rules:
        lines += ["", f"{'Rule':<24}{'Refused':>10}"]
        lines += [f"{rule:<24}{times:>10,}" for rule, times in report.rules.most_common()]
    if report.accounts:
        lines += ["", f"{'Most hurt':<24}{'Refused':>10}{'Verified':>10}  First"]
        lines += [
            f"{f'account {hurt.user}':<24}{hurt.refused:>10,}{hurt.verified:>10,}"
            f"  {hurt.first_at:%Y-%m-%d %H:%M}"
            for hurt in report.most_hurt[:SHOWN]
        ]
    return "\n".join(lines)
