"""Two servers behind a balancer, under load: an upgrade and the way back (S-66), a new key."""

import base64
import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from tests.kit.haproxy import Balancer, balanced
from tests.kit.people import number
from tests.kit.server import PRESENT, Code, empty_database, until
from tests.upgrade.load import FILE_ID, Client, Person, load
from tests.upgrade.releases import last_release

pytestmark = [pytest.mark.postgresql, pytest.mark.long]


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the other processes have it too."""


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a service with an empty database."""
    unlimited = [
        *("OPTIN_REQUESTS_PER_USER", "OPTIN_REQUESTS_PER_NETWORK", "OPTIN_RESEND_WAIT"),
        *("OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER", "OPTIN_SENDS_PER_CLIENT"),
        *("OPTIN_SENDS_PER_IP", "OPTIN_SIGN_INS_PER_IP", "OPTIN_BREAKER_UNPROVED"),
    ]
    with empty_database() as url:
        yield {
            "PATH": os.environ["PATH"],
            "DEBUG": "1",  # the simulator stands for the phones
            "SECRET_KEY": settings.SECRET_KEY,
            "DATABASE_URL": url,
            "DATA_DIR": str(tmp_path),
            "LOG_LEVEL": "WARNING",
            "OPTIN_PASSWORD_HASHES": "4",
            **dict.fromkeys(unlimited, "0"),
        }


def manage(code: Code, env: dict[str, str], *arguments: str) -> str:
    done = code.manage(*arguments, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def people(code: Code, env: dict[str, str], port: int) -> list[Person]:
    """The people of the demo, who are members of the file."""
    made = json.loads(manage(code, env, "demo", "--json"))["users"]
    members = [user for user in made if FILE_ID in user["file_ids"]]
    return [
        Person(
            port,
            name=user["username"],
            password=user["password"],
            access_key=user["access_keys"][str(FILE_ID)],
            number=number(n),
            texts=Path(env["DATA_DIR"], "sms.jsonl"),
        )
        for n, user in enumerate(members)
    ]


def swap(balancer: Balancer, code: Code, **changes: str) -> None:
    """Restart one upstream after the other, with *code*, as upgrade-and-restore.md says.

    :param changes: of the environment, from then on.
    """
    for upstream in balancer.upstreams:
        upstream.env = {**upstream.env, **changes}
        # Version 0.8.0 does not say that it is about to stop: somebody must tell HAProxy.
        is_mute = not (upstream.code.root / "optin" / "runtime" / "stopping.py").exists()
        if is_mute:
            balancer.tell(f"set server optin/{upstream.name} state maint")
        upstream.stop()
        upstream.start(code)
        if is_mute:
            balancer.tell(f"set server optin/{upstream.name} state ready")
        until(partial(balancer.sends_to, upstream))


def key(byte: bytes) -> str:
    """Return a key as the environment has it."""
    return base64.urlsafe_b64encode(byte * 32).decode()


def check(env: dict[str, str], persons: list[Person]) -> None:
    """All that was acknowledged is in the database."""
    with psycopg.connect(env["DATABASE_URL"]) as database:
        for person in persons:
            events = database.execute(
                "SELECT kind, outcome FROM optin_auditevent JOIN optin_user u ON u.id = user_id"
                " WHERE username = %s",
                [person.name],
            ).fetchall()
            assert Counter(events) == person.acknowledged
            active = database.execute(
                "SELECT count(*) FROM optin_provideruser p JOIN optin_user u ON u.id = user_id"
                " WHERE username = %s AND confirmed",
                [person.name],
            ).fetchone()
            assert active == (int(person.active),)


def test_an_upgrade_under_load_and_the_way_back(env: dict[str, str], tmp_path: Path) -> None:
    """S-66. No request fails, and all that was acknowledged is there."""
    last = last_release().unpack(tmp_path / "last")
    manage(last, env, "migrate")
    with balanced(tmp_path, env, last) as balancer:
        persons = people(last, env, balancer.port)
        clients = [*persons, *(Client(balancer.port) for _ in range(3))]
        with load(clients):
            manage(PRESENT, env, "migrate")
            for code in (PRESENT, last):
                swap(balancer, code)

    assert [failure for client in clients for failure in client.failures] == []
    assert all(client.answers.total() > 100 for client in clients)
    check(env, persons)
    for code in (last, PRESENT):
        manage(code, env, "verify_audit", "--seal")


def test_a_key_is_replaced_under_load(env: dict[str, str], tmp_path: Path) -> None:
    """S-51: no request fails, and afterwards nothing needs the old key."""
    old, new = f"2026:{key(b'o')}", f"2027:{key(b'n')}"
    env |= {"OPTIN_KEYS": old, "OPTIN_DIGEST_KEY": key(b"d")}
    manage(PRESENT, env, "migrate")
    with balanced(tmp_path, env) as balancer:
        persons = people(PRESENT, env, balancer.port)
        with load(persons):
            swap(balancer, PRESENT, OPTIN_KEYS=f"{old},{new}")
            swap(balancer, PRESENT, OPTIN_KEYS=f"{new},{old}")
            env["OPTIN_KEYS"] = f"{new},{old}"
            # Not at once: a code under the old key may be on its way.
            assert any(PRESENT.manage("keys", "rotate", env=env).returncode == 0 for _ in range(20))

    assert [failure for person in persons for failure in person.failures] == []
    assert all(person.answers.total() > 50 for person in persons)
    check(env, persons)
    env["OPTIN_KEYS"] = new
    manage(PRESENT, env, "verify_audit", "--seal")
