"""The table for people, and JUnit's XML for machines."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from conformance.session import Deviation, Result

_SHOWN = 2  # deviations of one check, each of another cause
_LISTED = 9  # checks with one cause
_DOCUMENT = "docs/contract.md"


def show(results: Sequence[Result]) -> None:
    """Print the table by section, then what failed and what was not checked, by cause."""
    print(f"{'Section':<34}{'Passed':>8}{'Failed':>8}{'Not checked':>13}")
    for section, group in groupby(results, lambda result: result.check.section):
        print(_row(section, list(group)))
    print(_row("All", results))
    for first, *others in _by_cause(results, "failed", lambda r: r.deviations[0].cause):
        print(f"\nFAILED  {_title(first)} ({_DOCUMENT}, {first.check.contract})")
        print("\n".join(_lines(first.deviations)))
        if others:
            print("  Other checks that failed in the same way:")
            print("\n".join(_listed(others)))
    for left in _by_cause(results, "not checked", lambda r: r.reason):
        print(f"\nNOT CHECKED  {left[0].reason}")
        print("\n".join(_listed(left)))


def _by_cause(
    results: Sequence[Result], state: str, cause: Callable[[Result], str]
) -> Iterator[list[Result]]:
    """Yield the results in this state: those with the same cause together."""
    found: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.state == state:
            found[cause(result)].append(result)
    yield from found.values()


def _listed(results: Sequence[Result]) -> Iterator[str]:
    yield from (f"    {_title(result)} ({result.check.contract})" for result in results[:_LISTED])
    if len(results) > _LISTED:
        yield f"    and {len(results) - _LISTED} other checks"


def _row(title: str, results: Sequence[Result]) -> str:
    count = Counter(result.state for result in results)
    return f"{title:<34}{count['passed']:>8}{count['failed']:>8}{count['not checked']:>13}"


def _title(result: Result) -> str:
    return f"{result.check.section}: {result.check.name}"


def _lines(deviations: Sequence[Deviation]) -> Iterator[str]:
    """Yield one deviation of each cause, as far as they are shown."""
    of_cause = {deviation.cause: deviation for deviation in reversed(deviations)}
    shown = [each for each in deviations if each is of_cause[each.cause]][:_SHOWN]
    for deviation in shown:
        for label in ("sent", "expected", "got"):
            first, *rest = getattr(deviation, label).splitlines() or [""]
            yield f"  {label:<10}{first}"
            yield from (f"  {'':<10}{line}" for line in rest)
        yield ""
    if len(deviations) > len(shown):
        yield f"  and {len(deviations) - len(shown)} other requests"


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


def end(written: Sequence[Case], junit: Path | None) -> int:
    """Write cases to *junit*, if it is given; return 1 if one failed, 2 if none came, else 0."""
    if junit:
        _write_junit(written, junit)
    return 1 if any(case.failure for case in written) else 0 if written else 2


def _write_junit(written: Sequence[Case], path: Path) -> None:
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
