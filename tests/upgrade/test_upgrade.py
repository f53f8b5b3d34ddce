"""A database that an earlier release made, with people in it, becomes one of today."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from tests.kit.server import PRESENT, Code, empty_database
from tests.upgrade.releases import release

OLDEST = "0.25.0"
"""From which one can upgrade."""
NEWER_RING = {"OPTIN_KEYS": "second:" + "A" * 43 + "=,first:" + "B" * 42 + "A="}
RING = {"OPTIN_KEYS": "first:" + "B" * 42 + "A=", "OPTIN_DIGEST_KEY": "C" * 42 + "A="}
TODAY = str(Path(__file__).with_name("today.py"))


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the other processes have it too."""


@contextmanager
def database(vendor: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a service that has an empty database."""
    folder.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
        "DEBUG": "1",  # the simulator stands for the phones
        "SECRET_KEY": settings.SECRET_KEY,
        "DATA_DIR": str(folder),
        **RING,
    }
    if vendor == "sqlite":
        yield env | {"DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}"}
    else:
        with empty_database() as url:
            yield env | {"DATABASE_URL": url}


def run(code: Code, env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [code.python, *command], cwd=code.root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def act(code: Code, env: dict[str, str], when: str) -> dict[str, Any]:
    """Return what a client got (``today.py``); its mails are printed, too."""
    printed = run(code, env, TODAY, when).splitlines()
    got: dict[str, Any] = json.loads(next(line for line in printed if line.startswith("{")))
    return got


def schema(url: str) -> list[str]:
    """What the tables are made of: the words of each part, in an order that is always the same.

    A column that got another name keeps its check under the old one, and a check that was added
    later was not validated: neither is a difference.
    """
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            made = file.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        lines = [part for (sql,) in made for part in re.split(r', (?="|CONSTRAINT)', sql)]
    else:
        dump = ["pg_dump", "--schema-only", "--no-owner", url]
        dumped = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
        names = r"CONSTRAINT optin_\w+_check | NOT VALID|ADD (?=CONSTRAINT)|^ALTER TABLE \S+$"
        lines = [re.sub(names, "", line) for line in dumped.splitlines() if line[:1] not in "-\\"]
    return sorted({" ".join(sorted(re.findall(r"[\w'.%-]+|[<>=]+", line))) for line in lines})


@pytest.mark.slow
@pytest.mark.parametrize(
    "vendor", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def test_a_database_of_an_earlier_release_goes_on(vendor: str, tmp_path: Path) -> None:
    """Pending codes, active numbers, counts, access keys and the trail all hold, under a newer key
    ring too; the tables are those of a new database."""
    old = release(OLDEST).unpack(tmp_path / "old")
    with database(vendor, tmp_path / "fresh") as fresh, database(vendor, tmp_path / "used") as env:
        run(PRESENT, fresh, "manage.py", "migrate")
        run(old, env, "manage.py", "migrate")
        people = json.loads(run(old, env, "manage.py", "demo", "--json"))["users"]
        env["PEOPLE"] = json.dumps(people)
        was = act(old, env, "before")
        assert (was["wrong"], was["right"], was["asked"]) == ("otp_incorrect", "ok", 401)

        for _ in range(2):  # the second time there is nothing left to do
            run(PRESENT, env, "manage.py", "migrate")
        assert schema(env["DATABASE_URL"]) == schema(fresh["DATABASE_URL"])

        env |= {"ANN_ID": str(was["pk"])} | NEWER_RING
        assert act(PRESENT, env, "after") == {
            "wrong": "otp_incorrect",
            "right": "ok",
            "again": "already_verified",
            "sign in": 200,
            "opt out": 401,
            "leave": 200,
        }
        assert " 0 findings" in run(PRESENT, env, "manage.py", "verify_audit", "--seal")
        assert "The database knows" not in run(PRESENT, env, "manage.py", "migrate", "--check")


@pytest.mark.django_db
@pytest.mark.parametrize("applied", ["0001_initial", "0047_trusted_clients"])
def test_an_older_database_is_refused(applied: str) -> None:
    """Before 0.25.0, some of what the first migrations replace was not applied."""
    MigrationRecorder(connection).record_applied("optin", applied)
    with pytest.raises(CommandError, match=r"older than release 0\.25\.0"):
        call_command("migrate")
    MigrationRecorder(connection).record_applied("optin", "0063_names_of_lists")
    call_command("migrate", verbosity=0)
