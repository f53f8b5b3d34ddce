"""The packages of ``optin``, from the ground up: imports go one way."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from optin import database

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "optin"

LEVELS = {
    part: level
    for level, parts in enumerate(
        (
            (
                *("errors", "conf", "phones", "fiction", "sandbox"),
                *("keys", "codes", "passkeys", "origin", "outcomes", "events", "causes", "hashes"),
            ),
            ("runtime", "database"),
            ("models",),
            ("gateways", "audit", "limits"),
            ("messaging",),
            ("support",),
            ("operations", "migrations"),
            ("doctor", "actions"),
            ("api", "web", "admin", "management", "tasks"),
            ("checks", "apps"),  # the start may look at everything
        )
    )
    for part in parts
}
FACES = {name for name, level in LEVELS.items() if level == LEVELS["api"]}

MODULES = sorted(path for path in APP.rglob("*.py") if "migrations" not in path.parts)


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(dotted: str) -> str:
    """The package, or the module at the top, that a module belongs to."""
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
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """The modules, parsed: at the first test, as each worker of a run imports this file."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_each_part_has_its_level() -> None:
    found = {part_of(name_of(path)) for path in MODULES if path != APP / "__init__.py"}
    assert found | {"migrations"} == set(LEVELS)


def test_imports_go_one_way(trees: dict[Path, ast.Module]) -> None:
    """Down, or within one level; the faces never import each other."""
    wrong = [
        f"{name_of(path)} imports {target}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        for target in imported(node, path)
        if (own := part_of(name_of(path))) != (other := part_of(target))
        if LEVELS[other] > LEVELS[own] or {own, other} <= FACES
    ]
    assert wrong == []


def test_the_database_package_knows_nothing_of_the_service(trees: dict[Path, ast.Module]) -> None:
    """It could serve another one. All others use what it offers at its top."""
    imports = {
        (part_of(name_of(path) + "."), target)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        for target in imported(node, path)
    }
    own = {target for part, target in imports if part == "database"}
    assert {part_of(target) for target in own} == {"database"}
    used = {target for part, target in imports if part_of(target) == "database"} - own
    offered = {f"optin.database.{name}" for name in database.__all__}
    assert used <= offered
    assert len(offered) <= 10
    within = [path.read_text("utf-8") for path in (APP / "database").glob("*.py")]
    assert not re.search("optin_[a-z]", "".join(within))


def test_nothing_loads_scim_but_its_first_call(trees: dict[Path, ast.Module]) -> None:
    """Its packages take as long to load as half of the service."""
    loading = {
        name_of(path)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if any("optin.api.scim" in target for target in imported(node, path))
        or (isinstance(node, ast.ImportFrom) and node.module == "scim2_models")
    }
    assert loading == {"optin.api.scim", "optin.api.scim_resources"}


def test_nothing_of_the_service_imports_a_tool(trees: dict[Path, ast.Module]) -> None:
    named = {
        f"{name_of(path)} imports {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
        if name and name.partition(".")[0] in {"tools", "conformance", "bench", "tests"}
    }
    assert named == set()


def test_each_package_says_what_is_in_it(trees: dict[Path, ast.Module]) -> None:
    silent = [
        name_of(path)
        for path, tree in trees.items()
        if path.name == "__init__.py" and path.parent.name != "commands"
        if not ast.get_docstring(tree)
    ]
    assert silent == []


def test_the_map_names_every_part(trees: dict[Path, ast.Module]) -> None:
    told = ast.get_docstring(trees[APP / "__init__.py"]) or ""
    assert [part for part in LEVELS if f"``{part}``" not in told] == []


def test_no_import_inside_a_function(trees: dict[Path, ast.Module]) -> None:
    """``apps.ready`` aside, which Django wants so."""
    inside = [
        f"{name_of(path)}.{function.name}, line {node.lineno}"
        for path, tree in trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if (name_of(path), function.name) != ("optin.apps", "ready")
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


WORDS_ONLY = ("errors", "outcomes", "conf", "phones", "keys", "codes")


def test_words_know_no_database_and_no_http(trees: dict[Path, ast.Module]) -> None:
    used = {
        node.module
        for path, tree in trees.items()
        if part_of(name_of(path) + ".") in WORDS_ONLY
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("django")
    }
    assert used <= {"django.conf"}


def test_operations_know_no_request(trees: dict[Path, ast.Module]) -> None:
    """They take plain values and domain objects, never a request, a form or a serializer."""
    for path, tree in trees.items():
        if part_of(name_of(path) + ".") not in {"operations", "messaging", "limits", "audit"}:
            continue
        names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        assert "request" not in names, path
        froms = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not [name for name in froms if name.startswith(("django.http", "rest_framework"))]


def test_only_the_settings_read_the_environment(trees: dict[Path, ast.Module]) -> None:
    readers = [
        name_of(path)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert readers == []


# -- pages: a view parses, calls one operation and presents its result -------------

CHANGING = {
    *("save", "create", "update", "delete", "get_or_create", "update_or_create"),
    *("bulk_create", "bulk_update", "select_for_update", "save_base", "raw"),
}
OF_SESSIONS = {
    "session_store.py: SessionOwner.objects.filter(session_key=row_of(old.session_key)).delete",
    "session_store.py: Session.objects.filter(session_key=row).delete",
    "session_store.py: Session.objects.select_for_update",
    "session_store.py: _fresh().select_for_update",
    "session_store.py: old.save",
    "session_store.py: old.update",
    "session_store.py: row.delete",
    "session_store.py: self.create",
    "session_store.py: successor.save",
    "session_store.py: successor.update",
    "sessions.py: request.session.update",
}
"""What ``sessions`` does to a session, which is no row of the domain."""


@pytest.fixture(scope="module")
def web(trees: dict[Path, ast.Module]) -> list[tuple[str, ast.AST]]:
    """Each node of the pages' code, by the name of its file."""
    found = [(path.name, tree) for path, tree in trees.items() if path.parent.name == "web"]
    return [(name, node) for name, tree in found for node in ast.walk(tree)]


def test_no_page_changes_a_row(web: list[tuple[str, ast.AST]]) -> None:
    """Every change of state goes through a service: on a second path, a rule would be missing."""
    found = {
        f"{name}: {ast.unparse(node.func)}"
        for name, node in web
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHANGING
    }
    assert found == OF_SESSIONS


def test_no_page_begins_a_transaction(web: list[tuple[str, ast.AST]]) -> None:
    """... but for the patience of ``readyz``, and to save sessions."""
    begins = {"atomic", "on_commit"}
    found = {name for name, node in web if isinstance(node, ast.Attribute) and node.attr in begins}
    assert found <= {"health.py", "session_store.py"}
