"""The documents, as text."""

from tests.kit.server import ROOT

DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "deploy" / "ha" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
OPERATORS = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
STAFF = (ROOT / "docs" / "staff.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
