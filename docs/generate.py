"""Write the tables that the documentation takes from the code.

``make reference`` runs it. Each generated part stands between two comments,
``<!-- generated: NAME -->`` and ``<!-- end -->``; the rest of the page is written by hand.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import phonenumbers

import optin
from optin import fiction, sandbox
from optin.conf import Rate, Setting, parse
from optin.events import EVENTS, OTHERS, News, reasons_of
from optin.gateways import SUBJECTS
from optin.models import AuditEvent
from optin.runtime import metrics

PAGES = [
    Path(__file__).parent / name
    for name in ("architecture.md", "reference.md", "audit-events.md", "sandbox.md", "events.md")
]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def code(text: str) -> str:
    return f"`{text}`" if text else ""


# -- settings ----------------------------------------------------------------------


def form(setting: Setting[Any]) -> str:
    """The range of a number, as its own check words it."""
    if setting.parse is not parse.integer:
        return ""
    words = setting.fault(-1).removeprefix("must be ").replace("from ", "").replace(" to ", "-")
    return f" ({words})"


def written(value: object) -> str:
    """Return *value* as the environment would give it."""
    if isinstance(value, tuple):
        return ",".join(written(part) for part in value)
    if isinstance(value, Rate):
        return f"{value.count}/{value.seconds}"
    return str(value) if value or isinstance(value, int) else ""


def settings() -> Iterator[str]:
    """One table for each subject."""
    head = ("Variable", "Default", "Meaning")
    for subject in SUBJECTS:
        yield f"#### {subject.__name__}"
        yield (inspect.getdoc(sys.modules[subject.__module__]) or "").split("\n\n")[0]
        found = [value for value in vars(subject).values() if isinstance(value, Setting)]
        yield table(
            head,
            [
                (
                    code(setting.name),
                    code(written(setting.default)) + form(setting),
                    str(setting.__doc__),
                )
                for setting in found
            ],
        )


# -- metrics -----------------------------------------------------------------------


def every_metric() -> Iterator[str]:
    yield table(
        ("Metric", "Meaning"),
        [
            (code(f"{name}{{{', '.join(labels)}}}" if labels else name), words)
            for name, labels, words in metrics.every_metric()
        ],
    )


# -- events ------------------------------------------------------------------------


def kinds() -> Iterator[str]:
    """What an event can be about, and its outcomes that have words of their own."""
    yield table(
        ("Kind", "What it is about", "Outcomes"),
        [
            (code(kind), kind.label, ", ".join(map(code, _with_words(kind))))
            for kind in AuditEvent.Kind
        ],
    )


def _with_words(kind: AuditEvent.Kind) -> list[str]:
    rows = EVENTS[kind]
    return [outcome for outcome, row in rows.items() if row.staff != rows[OTHERS].staff]


def news() -> Iterator[str]:
    """What endpoints are told."""
    yield table(
        ("`type`", "What happened", "`Reason`"),
        [(code(kind), kind.label, ", ".join(map(code, reasons_of(kind)))) for kind in News],
    )


# -- the sandbox -------------------------------------------------------------------


def endings() -> Iterator[str]:
    """What each ending does, and the Australian numbers that have it."""
    named = sandbox.ENDINGS | {"others": sandbox.USUAL}
    rows = []
    for ending, what in named.items():
        answer = f"{code(what.call)}: {code(what.code)}" if what.call else ""
        numbers = [n for n in fiction.AUSTRALIAN if sandbox.of(n) is what]
        shown = phonenumbers.format_number(
            phonenumbers.parse(numbers[0]), phonenumbers.PhoneNumberFormat.NATIONAL
        )
        rows.append((code(ending) if ending.isdigit() else ending, answer, what.words, shown))
    yield table(("Ends in", "Answer", "What happens", "For example"), rows)


# -- packages ----------------------------------------------------------------------


def packages() -> Iterator[str]:
    """The map in the docstring of ``optin``, from its first level to its last."""
    told = inspect.getdoc(optin) or ""
    levels = told[told.index("Values and pure") : told.index("The path of one")]
    yield f"```text\n{levels.replace('``', '').rstrip()}\n```"


# -- the page ----------------------------------------------------------------------

PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "packages": packages,
    "settings": settings,
    "metrics": every_metric,
    "kinds": kinds,
    "news": news,
    "endings": endings,
}


def generate(page: str) -> str:
    """Return *page* with its generated parts as the code has them now.

    :raises KeyError: if it has a part that nothing here makes.
    """

    def part(found: re.Match[str]) -> str:
        return "\n\n".join([found[1], *PARTS[found[2]](), found[3]])

    pattern = re.compile(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(part, page)


def write() -> None:
    """Bring the pages up to date."""
    for page in PAGES:
        page.write_text(generate(page.read_text(encoding="utf-8")), encoding="utf-8")
