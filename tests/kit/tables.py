"""The tables of the tests on SQLite, made once: ``migrate`` takes seconds, a copy none."""

import fcntl
import hashlib
import os
import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from optin.management.commands import migrate
from tests.kit.server import ROOT

MADE_BY = ("optin/models", "optin/migrations", "optin/audit", "optin/management", "twofa_site")
"""What decides how the tables and their first rows are, beside the packages."""


def copied() -> Path:
    """Return where the tables of this code are kept: changed code has another file."""
    digest = hashlib.sha256()
    for package in ("Django", "django-oauth-toolkit", "django-otp"):
        digest.update(f"{package} {version(package)} ".encode())
    for folder in MADE_BY:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return Path(tempfile.gettempdir()) / f"optin-tables-{os.getuid()}-{digest.hexdigest()[:16]}"


def copy_at_first_migrate(patch: pytest.MonkeyPatch) -> None:
    """Let the next ``migrate`` copy the tables, or make and keep them if no run has yet."""
    original = migrate.Command.handle

    def handle(command: migrate.Command, *args: Any, **options: Any) -> None:
        patch.undo()
        kept = copied()
        with kept.with_suffix(".lock").open("w") as lock:  # the other workers wait for the first
            fcntl.flock(lock, fcntl.LOCK_EX)
            connection.ensure_connection()
            if not kept.exists():
                original(command, *args, **options)
                new = kept.with_suffix(".new")
                new.unlink(missing_ok=True)  # of a run that was stopped
                with closing(sqlite3.connect(new)) as to:
                    connection.connection.backup(to)
                new.replace(kept)
                return
        with closing(sqlite3.connect(kept)) as tables:
            tables.backup(connection.connection)

    patch.setattr(migrate.Command, "handle", handle)
