"""The table for people, and JUnit's XML for machines."""

from collections import Counter
from collections.abc import Iterator, Sequence
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


def write_junit(results: Sequence[Result], path: Path) -> None:
    """Write *results* to *path*: one ``testcase`` for each check."""
    count = Counter(result.state for result in results)
    suite = Element(
        "testsuite",
        name="conformance",
        tests=str(len(results)),
        failures=str(count["failed"]),
        skipped=str(count["not checked"]),
        errors="0",
    )
    for result in results:
        case = SubElement(
            suite,
            "testcase",
            classname=result.check.section,
            name=f"{result.check.name} ({result.check.contract})",
            time=f"{result.seconds:.3f}",
        )
        if result.state == "failed":
            first = result.deviations[0]
            failure = SubElement(case, "failure", message=_printable(first.expected))
            failure.text = _printable("\n".join(_lines(result.deviations)))
        elif result.state == "not checked":
            SubElement(case, "skipped", message=result.reason)
    ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Leave out the control characters that XML cannot have."""
    return "".join(char for char in text if char.isprintable() or char == "\n")
