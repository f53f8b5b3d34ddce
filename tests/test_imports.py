"""Tests share helpers by ``tests.kit``, and import no test, no fixture and no other folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
MODULES = sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules below ``tests`` that the module at *path* imports names from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tests"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_fine(name: str, own: str) -> bool:
    """Whether a module in the folder *own* may import *name*."""
    parts = name.split(".")
    no_helper = any(part == "conftest" or part.startswith("test_") for part in parts)
    return not no_helper and name.startswith(("tests.kit.", f"{own}."))


def test_helpers_come_from_the_kit_or_the_own_folder() -> None:
    wrong = {
        f"{path.relative_to(TESTS)} imports {name}"
        for path in MODULES
        for name in imported(path)
        if not is_fine(name, ".".join(path.relative_to(TESTS.parent).parent.parts))
    }
    assert wrong == set()


def test_measurements_and_deployments_import_no_test() -> None:
    folders = [TESTS.parent / name for name in ("bench", "deploy", "conformance", "tools")]
    wrong = {
        f"{path} imports {name}"
        for folder in folders
        for path in folder.rglob("*.py")
        for name in imported(path)
    }
    assert wrong == set()
