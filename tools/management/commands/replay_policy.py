import json
import re
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from optin.conf import every_setting
from optin.management.commands import BaseCommand
from tools import replay
from tools.replay import REPLAYED, Report

SHOWN = 10
"""Accounts of the table. JSON has all."""

_UNITS = {"d": "days", "h": "hours"}

_LINE = re.compile(r"""(?:export )?\s*([A-Z][A-Z0-9_]*)=(?:'([^']*)'|"([^"]*)"|(.*))""")


class Command(BaseCommand):
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
        others = sorted(changed - set(numbers))
        with replay.under(numbers):
            report = replay.replay(begin, until)
        if options["json"]:
            self.stdout.write(_plain(report, sorted(changed & set(numbers)), others))
        else:
            self.stdout.write(_table(report, sorted(changed & set(numbers)), others))


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([dh])", text)
    if not found:
        raise CommandError("--since must be a number of days or hours, such as 30d or 12h.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _read(path: Path) -> dict[str, Any]:
    """Return the value of each setting of the service that the file has.

    No error quotes a value: the file may hold secrets.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{path} cannot be read: {type(exc).__name__}.") from None
    known = {setting.name: setting for setting in every_setting()}
    found: dict[str, Any] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise CommandError(f"{path}, line {n}: must be NAME=value.")
        name, *values = match.groups()
        setting = known.get(name)
        if setting is None:
            _refuse_near(f"{path}, line {n}", name)
            continue
        try:
            value = setting.parse(next(text for text in values if text is not None).strip())
        except ValueError as exc:
            raise CommandError(f"{path}, line {n}: {name} {exc}.") from None
        if setting in REPLAYED and (fault := setting.fault(value)):
            raise CommandError(f"{path}, line {n}: {name} {fault}.")
        found[name] = value
    return found


def _refuse_near(where: str, name: str) -> None:
    """Refuse a name with a typing error: the replay would use the limits in force."""
    if near := get_close_matches(name, [setting.name for setting in REPLAYED], 1):
        raise CommandError(f"{where}: there is no setting {name}. Did you mean {near[0]}?")


def _money(report: Report) -> str:
    if report.cost is None or report.price is None:
        return "not known: no cost of texts is recorded for this period"
    return f"{report.cost:,.2f} at {report.price:.4f} a text, on average"


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100 % is all of them."""
    return f"{part * 1000 // whole / 10:.1f} %" if whole else "-"


def _table(report: Report, numbers: list[str], others: list[str]) -> str:
    lines = [
        f"Requests for texts from {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} "
        f"UTC, with {', '.join(numbers) or 'the limits in force'}",
        "",
        f"Decided again     {report.decided:,} requests, {report.equal:,} of them with the same "
        f"result ({_percent(report.equal, report.decided)})",
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
    if others:
        names = ", ".join(others)
        lines += ["", f"The file also changes these settings, which a replay does not use: {names}"]
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


def _plain(report: Report, numbers: list[str], others: list[str]) -> str:
    plain = {
        "since": report.since.isoformat(timespec="seconds"),
        "until": report.until.isoformat(timespec="seconds"),
        "numbers": numbers,
        "not_replayed": others,
        "decided": report.decided,
        "equal": report.equal,
        "as_recorded": {"fixed": report.fixed, "counted": report.counted},
        "refused": {
            "requests": report.saved,
            "accounts": len(report.accounts),
            "verified": report.verified,
            "rules": dict(report.rules.most_common()),
        },
        "let_through": report.more,
        "texts_saved": report.saved - report.more,
        "money_saved": None if report.cost is None else f"{report.cost:.4f}",
        "accounts": [
            {
                "account": hurt.user,
                "refused": hurt.refused,
                "verified": hurt.verified,
                "first_at": hurt.first_at.isoformat(timespec="seconds"),
            }
            for hurt in report.most_hurt
        ],
    }
    return json.dumps(plain, indent=2)
