"""docs/guarantees.md, and the ids that code and tests cite, keep together."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")

CODE = ("optin", "tools", "twofa_site", "templates", "tests", "bench", "deploy")
TEXTS = {".py", ".html", ".txt", ".md", ".js", ".css", ".cs", ".rb", ".php", ".env"}

ID = r"\b[SPG]-\d+[a-z]?\b"
ENTRY = re.compile(rf"^- \*\*({ID})\*\* (.+?)(?=^- |^#|\Z)", re.MULTILINE | re.DOTALL)
ENTRIES = dict(ENTRY.findall(GUARANTEES))
"""What stands under each id."""
PROVES = (ast.Module, ast.ClassDef, ast.FunctionDef)


@cache
def texts(*folders: str) -> tuple[tuple[Path, str], ...]:
    """Each text file below *folders*, by its path in the repository."""
    return tuple(
        (path.relative_to(ROOT), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in TEXTS
    )


def flat(text: str) -> str:
    """Return *text* as one line, comments too: a citation may be broken at a line's end."""
    return re.sub(r"\s+(?:#\s+)?", " ", text)


# -- ids ---------------------------------------------------------------------------


def test_each_id_has_one_entry() -> None:
    names = [name for name, _ in ENTRY.findall(GUARANTEES)]
    assert len(names) > 50, "the pattern finds nothing any more"
    assert {name for name in names if names.count(name) > 1} == set()


def test_each_id_that_is_cited_has_its_guarantee() -> None:
    unknown = {
        f"{path}: {cited}"
        for path, text in texts(*CODE, "docs")
        for cited in re.findall(ID, text)
        if cited not in ENTRIES
    }
    assert unknown == set()


def test_each_guarantee_has_a_test() -> None:
    """The docstring of a test, or of a module of tests, names what it proves."""
    proven: set[str] = set()
    for path, text in texts("tests"):
        if path.suffix == ".py":
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, PROVES)]
            told = " ".join(ast.get_docstring(node) or "" for node in nodes)
            proven.update(re.findall(ID, told))
    assert ENTRIES.keys() - proven == set()


# -- documents ---------------------------------------------------------------------

ELSEWHERE = r"\bdesign(?:\.md)?,? section|\bhouse[ -]rule|(?<!docs/)\bcontract(?:\.md)?,? section"


def test_no_document_is_cited_that_is_not_here() -> None:
    found = {
        f"{path}: {cited}"
        for path, text in texts(*CODE, "docs")
        for cited in re.findall(ELSEWHERE, flat(text), re.IGNORECASE)
    }
    assert found == set()


def test_each_document_that_is_named_exists() -> None:
    missing = {
        f"{path}: {name}"
        for path, text in texts(*CODE, "docs")
        for name in re.findall(r"\w[\w/-]*\.md\b|docs/\w+\.env\b", text)
        if not any(
            (folder / name).is_file() for folder in (ROOT, ROOT / "docs", ROOT / path.parent)
        )
    }
    assert missing == set()


def has_section(document: str, number: str) -> bool:
    path = ROOT / document
    return path.is_file() and bool(
        re.search(rf"^#+ {number}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_each_section_that_is_cited_is_of_an_rfc_or_of_a_document_here() -> None:
    wrong = set()
    for path, text in texts(*CODE):
        if path.is_relative_to("tests/conformance"):
            continue  # what the kit says, which cites the contract
        line = flat(text)
        for match in re.finditer(r"\bsections? (\d+)", line):
            before = line[: match.start()]
            own = re.search(r"(docs/[\w-]+\.md),? $", before)
            if own and has_section(own[1], match[1]):
                continue
            if not re.search(r"\bRFC \d+,? $", before):
                wrong.add(f"{path}: {before[-40:]}{match[0]}")
    assert wrong == set()
