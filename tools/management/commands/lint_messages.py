import json
import sys
import textwrap
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.core.management import base
from django.core.management.base import CommandParser

from optin.conf import conf
from optin.messaging.segments import size
from optin.support.wording import some
from tools import lint
from tools.lint import Linted

_WIDTH = 100

FAULT = 1
"""Its exit status if there is an error."""


class Command(base.BaseCommand):
    help = (
        "Show each text in each language: its length, its segments, its sender and its price, and "
        "what is wrong with it. Sends nothing. Exit status: 1 if there is an error."
    )
    # It reports what they find of texts, and goes on.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        facts = _facts(lint.report())
        if options["json"]:
            self.stdout.write(json.dumps(facts, indent=2))
        else:
            self._print(facts)
        if facts["errors"]:
            sys.exit(FAULT)

    def _print(self, facts: dict[str, Any]) -> None:
        texts, routes, budgets = facts["texts"], facts["routes"], facts["budgets"]
        self._table(
            ("Text", "Language", "Characters", "Segments"),
            (
                (t["kind"], t["language"], f"{t['characters']} of {t['room']}", str(t["segments"]))
                for t in texts
            ),
        )
        self._table(
            ("Region", "Gateway", "Sender", "Price of a text"),
            (
                (
                    route["region"],
                    route["gateway"],
                    route["sender"] or "(the gateway chooses)",
                    _money(route["price_of_a_text"]),
                )
                for route in routes
            ),
        )
        served = {route["region"] for route in routes}
        if lacking := [region for region in conf.sms_regions if region not in served]:
            self._wrapped(f"No gateway serves {', '.join(lacking)}: see manage check.")
            self.stdout.write()
        self._table(
            ("Setting", "Texts a day", "Price a day"),
            (
                (
                    one["setting"],
                    "any number" if one["texts_a_day"] is None else f"{one['texts_a_day']:,}",
                    _money(one["price_a_day"]),
                )
                for one in budgets
            ),
        )
        self._wrapped(
            "The price of a day is for the most expensive gateway. Beyond OPTIN_OWN_SENDS_TOTAL, "
            f"each person still gets {some(conf.own_sends_reserve, 'text')}. Neither setting "
            "limits the farewell to a former number or the warning of a removal."
        )
        self.stdout.write()
        # Several texts may need the same.
        for (_code, do), found in groupby(facts["findings"], lambda one: (one["code"], one["do"])):
            for one in found:
                style = self.style.ERROR if one["level"] == "error" else self.style.WARNING
                self._wrapped(f"{one['level']} {one['check']}: {one['text']}", style)
            self._wrapped(f"Do: {do}", indent="  ")
            self.stdout.write()
        warnings = len(facts["findings"]) - facts["errors"]
        self.stdout.write(f"{some(facts['errors'], 'error')}, {some(warnings, 'warning')}.")

    def _table(self, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        lines = [head, *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            self.stdout.write("  ".join(cells).rstrip())
        self.stdout.write()

    def _wrapped(self, text: str, style: Any = None, indent: str = "") -> None:
        filled = textwrap.fill(
            text,
            _WIDTH,
            initial_indent=indent,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.stdout.write(filled, style)


def _money(price: str | None) -> str:
    if price is None:
        return "not known"
    exact = Decimal(price).normalize()
    decimals = max(2, -int(exact.as_tuple().exponent))
    return f"{exact:,.{decimals}f}"


def _facts(report: Linted) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "errors": report.errors,
        "texts": [
            {
                "kind": one.kind,
                "language": one.language,
                "characters": long.places,
                "room": long.room,
                "segments": long.segments,
            }
            for one, long in ((one, size(one.body)) for one in report.samples)
        ],
        "routes": [
            {
                "region": route.region,
                "gateway": route.gateway,
                "sender": route.sender,
                "price_of_a_text": _plain(route.price, report.segments),
            }
            for route in report.plan.routes
        ],
        "budgets": [
            {"setting": one.setting, "texts_a_day": one.texts, "price_a_day": _plain(one.price)}
            for one in report.budgets
        ],
        "findings": [
            {
                "level": "error" if finding.is_error else "warning",
                "check": f"optin.{finding.check_id}",
                "code": finding.fault,
                "kind": finding.kind,
                "language": finding.language,
                "text": finding.text,
                "do": finding.do,
            }
            for finding in report.findings
        ],
    }


def _plain(price: Decimal | None, times: int = 1) -> str | None:
    return None if price is None else format(price * times, "f")
