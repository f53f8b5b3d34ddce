"""The shape of the pages' code: a view parses, calls one operation and presents its result."""

import ast
from pathlib import Path

WEB = Path(__file__).resolve().parent.parent.parent / "optin" / "web"
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

TREES = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in WEB.glob("*.py")}


def test_nothing_here_changes_a_row() -> None:
    """Every change of state goes through a service: on a second path, a rule would be missing."""
    found = {
        f"{name}: {ast.unparse(node.func)}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHANGING
    }
    assert found == OF_SESSIONS


def test_no_transaction_begins_here() -> None:
    """... but for the patience of ``readyz``, and to save sessions."""
    found = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"atomic", "on_commit"}
    }
    assert found <= {"health.py", "session_store.py"}
