"""A database of the first day, with people in it, becomes one of today (see README.md)."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings as django_settings

from tests.kit.server import empty_database

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ANN, BEN = "4892275", "8150944"
KEYS = {
    "OPTIN_KEYS": "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "OPTIN_DIGEST_KEY": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
}
OTHER_RING = {**KEYS, "OPTIN_KEYS": "first:" + "A" * 43 + "="}
NEWER_RING = {**KEYS, "OPTIN_KEYS": f"second:{'A' * 43}=,{KEYS['OPTIN_KEYS']}"}


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the other processes have it too."""


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    path = folder / "first.sqlite3"
    database = sqlite3.connect(path)
    database.executescript((HERE / "first.sqlite.sql").read_text(encoding="utf-8"))
    database.close()
    yield f"sqlite:///{path}"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    with empty_database() as url:
        with psycopg.connect(url) as database:
            database.execute((HERE / "first.postgresql.sql").read_bytes())
        yield url


@pytest.fixture(
    params=[sqlite, pytest.param(postgresql, marks=pytest.mark.postgresql)],
    ids=lambda make: make.__name__,
)
def first(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a service whose database is that of the first day."""
    with request.param(tmp_path) as url:
        yield {
            **os.environ,
            **KEYS,
            "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
            "DEBUG": "1",  # the simulator stands for the phones
            "SECRET_KEY": django_settings.SECRET_KEY,
            "BASE_URL": "http://127.0.0.1:8000",
            "DATABASE_URL": url,
            "DATA_DIR": str(tmp_path),
            "REDIS_URL": "",
        }


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )


def migrate(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(env, "manage.py", "migrate", "--no-input", "--verbosity", "0")


def use(env: dict[str, str]) -> dict[str, object]:
    done = run(env, "-m", "tests.upgrade.today", ANN, BEN)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])  # its mails come first
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "ring",
    [
        pytest.param(KEYS, id="same-ring", marks=pytest.mark.slow),
        pytest.param(NEWER_RING, id="newer-ring"),
    ],
)
def test_a_database_of_the_first_day_goes_on(first: dict[str, str], ring: dict[str, str]) -> None:
    """Pending codes, active numbers, counts, access keys and the trail: all still hold."""
    env = first | ring
    for _ in range(2):  # the second time there is nothing left to do
        done = migrate(env)
        assert done.returncode == 0, done.stderr

    assert use(env) == {
        "trail": [True] * 4,
        "numbers": ["+61491570156", "+61491570157"],
        "resend": "resent",
        "wrong": "otp_incorrect",
        "failures": 4,
        "tries": 2,
        "right": "ok",
        "again": "already_verified",
        "sign in": "ok",
        "opt out": "sent",
        "texts": ["+61491570156 the code of before", "+61491570157 another code"],
        "check": [],
    }


TRIED_TWICE = """
from django.db import connection
connection.cursor().execute(
    "UPDATE optin_smsmessage SET state = 'sending', tries = 2, claimed_at = '2026-11-02 12:00:00Z'"
)
"""
FOUND = """
from optin.models import SmsMessage
print(*SmsMessage.objects.values_list("state", "unknown_attempts", "reason").distinct())
"""


@pytest.mark.slow
def test_what_was_tried_before_the_upgrade_counts(first: dict[str, str]) -> None:
    """S-63: a text that was tried twice by the version before is not sent again."""
    for command in (["shell", "-c", TRIED_TWICE], ["migrate", "--no-input"], ["send_due"]):
        done = run(first, "manage.py", *command)
        assert done.returncode == 0, done.stderr
    assert "Sent 0." in done.stdout
    left = run(first, "manage.py", "shell", "-v", "0", "-c", FOUND)
    assert left.stdout == "('failed', 2, 'its sender stopped, twice')\n"


@pytest.mark.slow
def test_without_its_keys_a_database_stays_what_it_was(first: dict[str, str]) -> None:
    """The wrong ring stops the upgrade; with the right one it can be run again."""
    refused = migrate(first | OTHER_RING)
    assert refused.returncode != 0
    assert "provider user 1 does not open" in refused.stderr

    assert migrate(first).returncode == 0
    assert use(first)["right"] == "ok"
