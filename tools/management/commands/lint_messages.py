import sys
import textwrap
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.core.management import base

from optin.conf import conf
from optin.messaging.segments import size
from optin.support.wording import some
from tools import lint
from tools.lint import Finding, Linted

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

    def handle(self, *args: Any, **options: Any) -> None:
        report = lint.report()
        self._tables(report)
        self._findings(report.findings)
        warnings = len(report.findings) - report.errors
        self.stdout.write(f"{some(report.errors, 'error')}, {some(warnings, 'warning')}.")
        if report.errors:
            sys.exit(FAULT)

    def _tables(self, report: Linted) -> None:
        self._table(
            ("Text", "Language", "Characters", "Segments"),
            (
                (one.kind, one.language, f"{long.places} of {long.room}", str(long.segments))
                for one, long in ((one, size(one.body)) for one in report.samples)
            ),
        )
        self._table(
            ("Region", "Gateway", "Sender", "Price of a text"),
            (
                (
                    route.region,
                    route.gateway,
                    route.sender or "(the gateway chooses)",
                    _money(None if route.price is None else route.price * report.segments),
                )
                for route in report.plan.routes
            ),
        )
        served = {route.region for route in report.plan.routes}
        if lacking := [region for region in conf.sms_regions if region not in served]:
            self._wrapped(f"No gateway serves {', '.join(lacking)}: see manage check.")
            self.stdout.write()
        self._table(
            ("Setting", "Texts a day", "Price a day"),
            (
                (
                    one.setting,
                    "any number" if one.texts is None else f"{one.texts:,}",
                    _money(one.price),
                )
                for one in report.budgets
            ),
        )
        self._wrapped(
            "The price of a day is for the most expensive gateway. Beyond OPTIN_OWN_SENDS_TOTAL, "
            f"each person still gets {some(conf.own_sends_reserve, 'text')}. Neither setting "
            "limits the farewell to a former number or the warning of a removal."
        )
        self.stdout.write()

    def _findings(self, findings: list[Finding]) -> None:
        # Several texts may need the same.
        for (_fault, do), found in groupby(findings, lambda one: (one.fault, one.do)):
            for one in found:
                level, style = ("error", self.style.ERROR)
                if not one.is_error:
                    level, style = ("warning", self.style.WARNING)
                self._wrapped(f"{level} optin.{one.check_id}: {one.text}", style)
            self._wrapped(f"Do: {do}", indent="  ")
            self.stdout.write()

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


def _money(price: Decimal | None) -> str:
    if price is None:
        return "not known"
    exact = price.normalize()
    decimals = max(2, -int(exact.as_tuple().exponent))
    return f"{exact:,.{decimals}f}"
