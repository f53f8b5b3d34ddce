"""The table for people, and JUnit's XML for machines."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from conformance.session import Deviation, Result

_SHOWN = 2  # deviations of one check; often all have one cause
_DOCUMENT = "docs/contract.md"


def show(results: Sequence[Result]) -> None:
    """Print the table by section, then what failed and what nobody looked at."""
    print(f"{'Section':<34}{'Passed':>8}{'Failed':>8}{'Not checked':>13}")
    for section, group in groupby(results, lambda result: result.check.section):
        print(_row(section, list(group)))
    print(_row("All", results))
    for result in results:
        if result.state == "failed":
            print(f"\nFAILED  {_title(result)}")
            print("\n".join(_lines(result.deviations)))
    for result in results:
        if result.state == "not checked":
            print(f"\nNOT CHECKED  {_title(result)}\n  {result.reason}")


def _row(title: str, results: Sequence[Result]) -> str:
    count = Counter(result.state for result in results)
    return f"{title:<34}{count['passed']:>8}{count['failed']:>8}{count['not checked']:>13}"


def _title(result: Result) -> str:
    check = result.check
    return f"{check.section}: {check.name} ({_DOCUMENT}, {check.contract})"


def _lines(deviations: Sequence[Deviation]) -> Iterator[str]:
    for deviation in deviations[:_SHOWN]:
        for label, text in (
            ("sent", deviation.sent),
            ("expected", deviation.expected),
            ("got", deviation.got),
        ):
            first, *rest = text.splitlines() or [""]
            yield f"  {label:<10}{first}"
            yield from (f"  {'':<10}{line}" for line in rest)
        yield ""
    if len(deviations) > _SHOWN:
        yield f"  and {len(deviations) - _SHOWN} more like these"


@dataclass(frozen=True)
class Case:
    """A ``testcase`` of JUnit's XML: passed where nothing says otherwise."""

    group: str
    name: str
    seconds: float = 0.0
    failure: str = ""
    skipped: str = ""


def cases(results: Sequence[Result]) -> list[Case]:
    """Return one case for each check."""
    return [
        Case(
            result.check.section,
            f"{result.check.name} ({result.check.contract})",
            result.seconds,
            "\n".join(_lines(result.deviations)),
            result.reason if result.state == "not checked" else "",
        )
        for result in results
    ]


def write_junit(written: Sequence[Case], path: Path) -> None:
    """Write cases to *path*."""
    suite = Element(
        "testsuite",
        name="conformance",
        tests=str(len(written)),
        failures=str(sum(bool(case.failure) for case in written)),
        skipped=str(sum(bool(case.skipped) for case in written)),
        errors="0",
    )
    for case in written:
        element = SubElement(
            suite, "testcase", classname=case.group, name=case.name, time=f"{case.seconds:.3f}"
        )
        if case.failure:
            told = _printable(case.failure)
            SubElement(element, "failure", message=told.partition("\n")[0]).text = told
        elif case.skipped:
            SubElement(element, "skipped", message=case.skipped)
    ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Leave out the control characters that XML cannot have."""
    return "".join(char for char in text if char.isprintable() or char == "\n")
