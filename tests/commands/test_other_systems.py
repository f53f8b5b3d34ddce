"""Databases of other systems: by the queries of docs/move.md, their people come in and sign in.

Each database is made by programs of its system, not by our code: a hash in the way of ASP.NET
Identity by .NET's own classes, one of PHP's by PHP, and a site of Django by Django.
"""

import csv
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command

from optin.hashes import is_imported
from optin.models import File, User
from optin.operations import sign_in
from tests.kit.clients import Tokens
from tests.kit.mono import compiled
from tests.kit.server import ROOT, needs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]

PLACE = Path(__file__).parent / "systems"
PASSWORDS = [f"correct hörse {n}" for n in range(100)]

# As its migration makes it for SQLite.
IDENTITY = """
CREATE TABLE "AspNetUsers" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_AspNetUsers" PRIMARY KEY, "UserName" TEXT NULL,
    "NormalizedUserName" TEXT NULL, "Email" TEXT NULL, "NormalizedEmail" TEXT NULL,
    "EmailConfirmed" INTEGER NOT NULL, "PasswordHash" TEXT NULL, "SecurityStamp" TEXT NULL,
    "ConcurrencyStamp" TEXT NULL, "PhoneNumber" TEXT NULL, "PhoneNumberConfirmed" INTEGER NOT NULL,
    "TwoFactorEnabled" INTEGER NOT NULL, "LockoutEnd" TEXT NULL, "LockoutEnabled" INTEGER NOT NULL,
    "AccessFailedCount" INTEGER NOT NULL
)
"""


def output(command: list[str]) -> list[str]:
    """Return the lines that *command* makes of the passwords."""
    done = subprocess.run(
        command, input="\n".join(PASSWORDS), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def identity(database: Path) -> None:
    made = output(compiled(database.parent, PLACE / "Identity.cs"))
    with sqlite3.connect(database) as old:
        old.execute(IDENTITY)
        for n, text in enumerate(made):
            name, address = f"person-{n}", f"person-{n}@example.com"
            row = (f"8e445865-a24d-4543-a6c6-{n:012d}", name, name.upper(), address, text)
            old.execute(
                'INSERT INTO "AspNetUsers" VALUES'
                " (?, ?, ?, ?, NULL, 0, ?, NULL, NULL, NULL, 0, 0, NULL, 1, 0)",
                row,
            )


def django_site(database: Path) -> None:
    output([sys.executable, str(PLACE / "django_site.py"), str(database)])


def php(database: Path) -> None:
    needs("PHP", shutil.which("php") is not None)
    program = """
        while (($line = fgets(STDIN)) !== false)
            echo password_hash(rtrim($line, "\\n"), PASSWORD_BCRYPT, ["cost" => 4]), "\\n";
    """
    made = output(["php", "-r", program])
    with sqlite3.connect(database) as old:
        old.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, password TEXT)")
        rows = [(f"person-{n}@example.com", text) for n, text in enumerate(made)]
        old.executemany("INSERT INTO users (email, password) VALUES (?, ?)", rows)


@pytest.mark.parametrize(
    ("make", "table", "login"),
    [
        (identity, "AspNetUsers", "person-{}"),
        (django_site, "auth_user", "person-{}"),
        (php, "users", "person-{}@example.com"),
    ],
)
def test_everybody_signs_in_with_the_old_password(
    make: Callable[[Path], None],
    table: str,
    login: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once with the old hash, and then with the service's own."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 5_000)
    File.objects.create(pk=1001, name="Harbour Books")
    sign_in.enable_password_clients()
    make(tmp_path / "database")
    guide = (ROOT / "docs/move.md").read_text(encoding="utf-8")
    (query,) = re.findall(rf"SELECT .* FROM {table}\b[^)\n]*", guide)  # noqa: S608
    with sqlite3.connect(tmp_path / "database") as old, (tmp_path / "people.csv").open("w") as file:
        found = old.execute(query)
        csv.writer(file).writerows([[column[0] for column in found.description], *found])
    call_command("import_people", str(tmp_path / "people.csv"), "--reason=Moving in. Jo")
    for n, password in enumerate(PASSWORDS):
        user = User.objects.by_login(login.format(n))
        assert is_imported(user.password)
        here = Tokens(ip=f"100.{64 + n}.0.1")  # else there are too many wrong ones
        assert here.sign_in(login.format(n), f"{password}x").status == 400
        assert here.sign_in(login.format(n), password).status == 200
        user.refresh_from_db()
        assert not is_imported(user.password)
        assert here.sign_in(login.format(n), password).status == 200
