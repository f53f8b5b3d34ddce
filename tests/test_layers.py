"""The layers of design.md, section 1: imports go one way, and ``ls optin/`` is the domain."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "optin"

LEVELS = {
    **dict.fromkeys(
        ("errors", "conf", "phones", "keys", "codes", "origin", "logs", "metrics", "outcomes"), 0
    ),
    **dict.fromkeys(("waiting", "throttle", "hashing", "smtp", "postman"), 0),
    "models": 1,
    **dict.fromkeys(("gateways", "wording", "delivery", "receipts", "limits", "alarms"), 2),
    **dict.fromkeys(
        ("factors", "verification", "sending", "opt_ins", "challenges", "staff_actions"), 3
    ),
    **dict.fromkeys(("passwords", "authenticators", "sign_in", "tenants", "guards"), 3),
    **dict.fromkeys(("staff", "revocations", "rotation", "seals", "audit_check", "upkeep"), 3),
    **dict.fromkeys(("timeline", "trail", "diagnosis", "staff_words", "figures", "refusals"), 3),
    **dict.fromkeys(("api", "web", "admin", "management", "tasks"), 4),
    # The start-up may look at everything.
    **dict.fromkeys(("checks", "apps"), 5),
}
FACES = {name for name, level in LEVELS.items() if level == 4}
FOLDERS = {"models", "migrations", "gateways", *FACES}

MODULES = sorted(path for path in APP.rglob("*.py") if "migrations" not in path.parts)


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(dotted: str) -> str:
    """The part of the app that a module belongs to."""
    return dotted.split(".")[1]


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """The modules of the app that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.startswith("optin."))
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: write imports in full"
        if node.module == "optin":
            yield from (f"optin.{alias.name}" for alias in node.names)
        elif node.module and node.module.startswith("optin."):
            yield node.module


IMPORTS = [
    (name_of(path), target)
    for path in MODULES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    for target in imported(node, path)
]


def test_each_module_has_its_level() -> None:
    found = {part_of(name_of(path)) for path in MODULES if path != APP / "__init__.py"}
    assert found <= set(LEVELS)


@pytest.mark.parametrize("part", sorted(LEVELS))
def test_imports_go_one_way(part: str) -> None:
    """A module imports its own level or a lower one; the faces never each other."""
    upward = [
        f"{importer} imports {target}"
        for importer, target in IMPORTS
        if part_of(importer) == part and LEVELS[part_of(target)] > LEVELS[part]
    ]
    assert upward == []


def test_faces_never_import_each_other() -> None:
    across = [
        f"{importer} imports {target}"
        for importer, target in IMPORTS
        if {part_of(importer), part_of(target)} <= FACES and part_of(importer) != part_of(target)
    ]
    assert across == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_inside_a_function(path: Path) -> None:
    """``apps.ready`` aside, which Django wants so."""
    inside = [
        f"{function.name}, line {node.lineno}"
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if (name_of(path), function.name) != ("optin.apps", "ready")
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


WORDS_ONLY = {
    "errors": (),
    "conf": ("django.conf",),
    "phones": (),
    "keys": (),
    "codes": (),
}


@pytest.mark.parametrize("part", WORDS_ONLY)
def test_words_know_no_database_and_no_http(part: str) -> None:
    tree = ast.parse((APP / f"{part}.py").read_text(encoding="utf-8"))
    used = [
        node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("django")
    ]
    assert set(used) <= set(WORDS_ONLY[part])


def test_operations_know_no_request() -> None:
    """House rule 9: plain values and domain objects, never ``request``, form or serializer."""
    for module in ("opt_ins", "challenges", "limits", "delivery"):
        tree = ast.parse((APP / f"{module}.py").read_text(encoding="utf-8"))
        names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        assert "request" not in names
        froms = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not [name for name in froms if name.startswith(("django.http", "rest_framework"))]


def test_the_listing_reads_as_the_domain() -> None:
    """The only folders are rows, gateways and faces; no helpers, no utils."""
    folders = {path.parent.name for path in MODULES if path.parent.parent == APP}
    files = {path.stem for path in APP.glob("*.py")} - {"__init__"}
    assert folders <= FOLDERS
    assert files <= set(LEVELS) - FOLDERS | {"admin", "tasks"}


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert readers == []
