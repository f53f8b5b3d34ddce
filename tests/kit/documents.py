"""The documents, as text."""

import ast
import base64
import re
import secrets
from functools import cache
from pathlib import Path

from tests.kit.server import ROOT

DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "deploy" / "ha" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
RUN = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
OPERATORS = "\n".join(
    (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for page in (
        *("deploy", "gateways", "people", "run", "audit-trail"),
        *("upgrade-and-restore", "reference"),
    )
)
"""All pages for operators."""
ROLES, GRANTS = (
    (ROOT / "deploy" / "postgresql" / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("roles", "grants")
)
"""What deploy.md has operators run."""
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
INSTALL_STEPS, TRIAL_STEPS, _ = re.split(r"^## (?:Try|What).*$", INSTALL, flags=re.MULTILINE)
INSTALL_COMMANDS = re.findall(r"^ {7,8}(\w.*|/.*)$", INSTALL_STEPS, re.MULTILINE)
TRIAL_COMMANDS = re.findall(r"^ {4}(install .*)$", TRIAL_STEPS, re.MULTILINE)
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
CONFORMANCE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of *document*."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def is_there(test: str) -> bool:
    """Whether there is *test*: a path, or a path and the name of a function in it."""
    name, _, function = test.partition("::")
    path = ROOT / name
    return path.is_file() and (not function or function in functions(path))


def production_environment() -> dict[str, str]:
    """The variables of production.env, with its examples of secrets."""
    lines = (ROOT / "docs" / "production.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


OWN_SECRETS = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "OPTIN_KEYS": f"2026:{key()}",
    "OPTIN_DIGEST_KEY": key(),
    "OPTIN_RECEIPT_SECRET": secrets.token_hex(20),
    "METRICS_TOKEN": secrets.token_hex(20),
}
"""What operators must put in place of the examples."""
