"""A report as text for a terminal, and as a page that stands alone: no script, no other file."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.template.loader import render_to_string

from optin.conf import conf
from optin.support.charts import Chart, Part, Row, Table, columns
from tools.rehearsals.report import HONEST, Report, Tried


def moment(seconds: float | None) -> str:
    """Write how far into a rehearsal something was: ``0:12:02``."""
    if seconds is None:
        return "never"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def money(report: Report) -> str:
    """Write what the texts cost. The settings name no currency."""
    if not report.price:
        return "the price of a text is not set"
    return f"{report.cost.quantize(Decimal('0.01')):,} at {report.price} a text"


def hits(found: dict[str, int]) -> str:
    return ", ".join(f"{rule} {times:,}" for rule, times in found.items()) or "none"


def heading(report: Report) -> str:
    hours = "1 hour" if report.hours == 1 else f"{report.hours:g} hours"
    return f"{report.title}: {hours}, numbers of {report.region}, seed {report.seed}"


def facts(report: Report) -> list[tuple[str, str]]:
    """What an operator asks first. Times count from the first request of the attack."""
    found = [
        ("Requests of the attack", f"{report.asked:,}"),
        ("Texts that left for it", f"{report.texts:,}: {money(report)}"),
        ("First refused or withheld after", moment(report.first_refusal)),
        ("Last text left after", moment(report.last_text)),
        ("Refused or withheld, by rule", hits(report.refused)),
        ("Honest people", _visits(report.honest)),
    ]
    if report.attacked.visits:
        found.append(("The attacked people", _visits(report.attacked)))
    if report.note:
        found.append(("Odds", report.note))
    return found


def _visits(tried: Tried) -> str:
    said = f"{tried.succeeded:,} of {tried.visits:,} visits succeeded ({tried.percent} %)"
    return f"{said}; failed by: {hits(tried.hits)}" if tried.hits else said


def text(reports: Sequence[Report]) -> str:
    """Write what a terminal shows."""
    lines: list[str] = []
    for report in reports:
        lines += [heading(report), report.says, ""]
        lines += [f"  {name}: {value}" for name, value in facts(report)]
        lines += [f"  Alarm after {moment(a.at)}: {a.words} ({a.name})" for a in report.alarms]
        lines += [] if report.alarms else ["  Alarms: none"]
        lines.append("")
        for bound in report.bounds:
            word = "Kept" if bound.is_kept else "BROKEN"
            lines.append(f"  {word}: {bound.says}: {bound.measured:,} (at most {bound.at_most:,})")
        lines.append("")
    other = [f"{one.name}={one.value}" for one in reports[0].settings if not one.is_default]
    lines.append(f"Settings that differ from the defaults: {', '.join(other) or 'none'}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Shown:
    """One report, as the page has it."""

    report: Report
    heading: str
    facts: list[tuple[str, str]]
    alarms: list[tuple[str, str]]
    charts: list[Chart]


def html(reports: Sequence[Report]) -> str:
    """Return the page."""
    shown = [
        Shown(
            report,
            heading(report),
            facts(report),
            [(moment(alarm.at), f"{alarm.words} ({alarm.name})") for alarm in report.alarms],
            [_of_attack(report), _of_honest(report)],
        )
        for report in reports
    ]
    return render_to_string(
        "rehearsal.html",
        {
            "service_name": conf.service_name,
            "shown": shown,
            "settings": reports[0].settings,
            "is_kept": all(report.is_kept for report in reports),
            "honest": HONEST,
        },
    )


def _of_attack(report: Report) -> Chart:
    return _chart(
        report,
        "texts",
        "What the attack asked for",
        ("bad", "Texts that left", [step.texts for step in report.steps]),
        ("fair", "Refused or withheld", [step.refused for step in report.steps]),
    )


def _of_honest(report: Report) -> Chart:
    return _chart(
        report,
        "honest",
        "What honest people came for",
        ("good", "Visits that succeeded", [step.succeeded for step in report.steps]),
        ("bad", "Visits that failed", [step.failed for step in report.steps]),
    )


def _chart(report: Report, slug: str, title: str, *kinds: tuple[str, str, list[int]]) -> Chart:
    steps = [moment(step.begins)[:-3] for step in report.steps]
    rows = [
        Row(step, tuple(cells))
        for step, *cells in zip(steps, *(counts for _, _, counts in kinds), strict=True)
    ]
    names = ("From", *(name for _, name, _ in kinds))
    table = Table(f"{report.attack}-{slug}", title, names, rows)
    return columns(steps, table, [Part(*kind) for kind in kinds], now="h:mm")
