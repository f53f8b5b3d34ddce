"""The tables on SQLite, made once: ``migrate`` takes seconds, a copy none."""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from optin.management.commands import migrate

MADE_BY = ("optin/models", "optin/migrations", "optin/audit", "optin/management", "twofa_site")
"""What decides how the tables and their first rows are, beside the packages."""


def tables() -> Path:
    """Return the SQLite file that ``migrate`` makes. Changed code has another.

    It holds nothing that depends on a key.
    """
    digest = hashlib.sha256()
    for package in ("Django", "django-oauth-toolkit", "django-otp"):
        digest.update(f"{package} {version(package)} ".encode())
    for folder in MADE_BY:
        for path in sorted((settings.BASE_DIR / folder).rglob("*.py")):
            name = path.relative_to(settings.BASE_DIR).as_posix()
            digest.update(name.encode() + path.read_bytes())
    place = Path(tempfile.gettempdir()) / f"optin-tables-{os.getuid()}-{digest.hexdigest()[:16]}"
    with place.with_suffix(".lock").open("w") as lock:  # the other workers wait for the first
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory() as data:
                command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
                env = {"PATH": os.environ["PATH"], "DATA_DIR": data}
                subprocess.run(command, cwd=settings.BASE_DIR, env=env, check=True)
                new = Path(shutil.copy(Path(data) / "db.sqlite3", place.with_suffix(".new")))
            new.replace(place)
    return place


def migrated(data: Path) -> None:
    """Let the folder *data* have the SQLite file of a first ``migrate``."""
    data.mkdir(parents=True, exist_ok=True)
    shutil.copy(tables(), data / "db.sqlite3")


def copy_at_first_migrate(patch: pytest.MonkeyPatch) -> None:
    """Let the next ``migrate`` of the tests, which run on SQLite, copy the tables."""

    def handle(command: migrate.Command, *args: Any, **options: Any) -> None:
        patch.undo()
        connection.ensure_connection()
        with closing(sqlite3.connect(tables())) as made:
            made.backup(connection.connection)

    patch.setattr(migrate.Command, "handle", handle)
