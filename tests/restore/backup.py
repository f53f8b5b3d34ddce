"""A backup of the database of the tests, and its restore, by the programs of operators."""

import sqlite3
import subprocess
from pathlib import Path

import psycopg
from django.db import connection

from tests.kit.clusters import BIN
from tests.kit.server import database_url, needs


class Backup:
    """The state of the database at the moment when this was made."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "backup"
        if connection.vendor == "postgresql":
            needs("PostgreSQL (its programs)", (BIN / "pg_dump").exists())
            self._run("pg_dump", "--format=custom", f"--file={self._file}", database_url())
        else:
            connection.ensure_connection()
            with sqlite3.connect(self._file) as copy:
                connection.connection.backup(copy)

    def restore(self) -> None:
        if connection.vendor == "postgresql":
            connection.close()
            connection.close_pool()  # type: ignore[attr-defined]  # its statements are prepared
            with psycopg.connect(database_url()) as owner:
                owner.execute("DROP SCHEMA public CASCADE")
                owner.execute("CREATE SCHEMA public")
            options = ["--single-transaction", "--no-owner"]
            self._run("pg_restore", *options, f"--dbname={database_url()}", str(self._file))
        else:
            with sqlite3.connect(self._file) as copy:
                copy.backup(connection.connection)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([str(BIN / program), *arguments], check=True)
