"""The canary: wrong keys stop the start, with a sentence that helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from django.db import connection

from optin.models import Canary
from tests.keys.rings import DIGEST, NEW, NEW_DIGEST, OLD, OTHER, environment, python

pytestmark = pytest.mark.django_db(transaction=True)

STARTS = {
    "the server": ("-c", "import twofa_site.wsgi"),
    "a command": ("manage.py", "send_due"),
    "a migration": ("manage.py", "migrate"),
}


@dataclass(frozen=True)
class Keys:
    """Keys that somebody starts with, and what the start says of them."""

    name: str
    ring: Mapping[str, bytes]
    digest: bytes = DIGEST
    error: str = ""
    helps: str = ""


CASES = [
    Keys("the same", {"old": OLD}),
    Keys("a new one in front", {"new": NEW, "old": OLD}),
    Keys("a new one behind", {"old": OLD, "new": NEW}),
    Keys("the old one is gone", {"new": NEW}, error="E301", helps="'old', which is not in OPTIN"),
    Keys("the old one is another", {"old": OTHER}, error="E301", helps="'old', which has another"),
    Keys(
        "another behind the new", {"new": NEW, "old": OTHER}, error="E301", helps="behind the cur"
    ),
    Keys(
        "another digest key",
        {"old": OLD},
        NEW_DIGEST,
        error="E302",
        helps="see Keys in",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_keys_that_do_not_fit_have_their_check(case: Keys, ring: LazySettings) -> None:
    ring.OPTIN_KEYS, ring.OPTIN_DIGEST_KEY = case.ring, case.digest
    found = [m for m in run_checks() if str(m.id) in {"optin.E301", "optin.E302"}]

    assert [str(m.id).removeprefix("optin.") for m in found] == ([case.error] if case.error else [])
    assert all(m.is_serious() and case.helps in (m.hint or "") for m in found)


_MIGRATE_AND_START = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
import twofa_site.wsgi
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service that was migrated and started once."""
    folder = tmp_path_factory.mktemp("started")
    env = environment(folder, f"sqlite:///{folder}/db.sqlite3", {"old": OLD}, DIGEST)
    done = python(
        "-c", _MIGRATE_AND_START, env=env | {"DJANGO_SETTINGS_MODULE": "twofa_site.settings"}
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "start"),
    [(CASES[1], "the server"), (CASES[-1], "the server"), *((CASES[3], one) for one in STARTS)],
    ids=str,
)
def test_a_wrong_ring_stops_the_start(case: Keys, start: str, started: Path) -> None:
    """The start is stopped, not the first sign-in. No key is in what it says."""
    database = f"sqlite:///{started}/db.sqlite3"
    env = environment(started, database, case.ring, case.digest)

    done = python(*STARTS[start], env=env)

    assert (done.returncode != 0) == bool(case.error), done.stderr
    if case.error:
        assert f"(optin.{case.error})" in done.stderr
        assert case.helps in done.stderr
    for key in (env["OPTIN_DIGEST_KEY"], env["OPTIN_KEYS"].partition(":")[2][:43]):
        assert key not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_database_without_tables_stops_nothing(tmp_path: Path) -> None:
    """The first ``migrate`` must get through, and so must a start while it runs."""
    env = environment(tmp_path, f"sqlite:///{tmp_path}/new.sqlite3", {"old": OLD}, DIGEST)

    done = python("manage.py", "check", env=env)

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_database_that_is_away_stops_nothing(tmp_path: Path) -> None:
    """S-64: the service waits for it, and ``/readyz`` tells."""
    env = environment(tmp_path, "postgres://x@127.0.0.1:1/x", {"old": OLD}, DIGEST)

    done = python("-c", "import twofa_site.wsgi", env=env)

    assert done.returncode == 0, done.stderr


def test_the_first_start_makes_it_and_no_other_does(ring: LazySettings) -> None:
    first = Canary.objects.get()
    ring.OPTIN_KEYS, ring.OPTIN_DIGEST_KEY = {"new": NEW}, NEW_DIGEST

    assert Canary.objects.look().sealed == first.sealed
    assert not Canary.objects.look().opens()
    assert not Canary.objects.look().has_digest()


def test_a_check_leaves_no_connection_open(ring: LazySettings) -> None:
    """It is one of eight in the pool of a process."""
    run_checks()
    if connection.vendor == "postgresql":
        assert connection.connection is None
