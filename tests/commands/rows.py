"""A file of people for ``import_people``, in which some rows are wrong, and what it must make.

The files 777 and 778 must be there, and ``taken`` with her address and key.
"""

import hashlib
import json
import random
import signal
import subprocess
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optin.models import AccessKey, AuditEvent, File, User

KEY = "5b1f0d1e9c4a4b7e8f2d3c6a7b8c9d0e"
BCRYPT = "$2b$04$abcdefghijklmnopqrstuuR/sMB5BEXmOMYfypgggoVc1NiqGSQrS"

BAD: list[tuple[Any, str]] = [
    ("this is no JSON", ""),
    ("[1, 2]", ""),
    ("[" * 5000, ""),
    ('{"username": "' + "x" * 70_000 + '"}', ""),
    ({}, "username"),
    ({"username": None}, "username"),
    ({"username": ""}, "username"),
    ({"username": 7}, "username"),
    ({"username": "two words"}, "username"),
    ({"username": "x" * 151}, "username"),
    ({"username": "a\0b"}, "username"),
    ({"nickname": "dodo"}, "nickname"),
    ({KEY: 777}, ""),
    ({"email": "nowhere"}, "email"),
    ({"email": "x" * 250 + "@example.com"}, "email"),
    ({"email": ["a@example.com"]}, "email"),
    ({"email": "TAKEN@example.com"}, "email"),
    ({"username": "Taken"}, "username"),
    ({"external_id": ""}, "external_id"),
    ({"external_id": 42}, "external_id"),
    ({"external_id": "x" * 256}, "external_id"),
    ({"external_id": "a\0b"}, "external_id"),
    ({"active": "perhaps"}, "active"),
    ({"active": 1}, "active"),
    ({"language": "fr"}, "language"),
    ({"language": "x" * 600}, "language"),
    ({"language": ""}, "language"),
    ({"password": "correct horse"}, "password"),
    ({"password": BCRYPT.replace("$04$", "$14$")}, "password"),
    ({"password": 12345}, "password"),
    ({"files": [779]}, "files"),
    ({"files": [0]}, "files"),
    ({"files": [2**31]}, "files"),
    ({"files": ["x"]}, "files"),
    ({"files": [True]}, "files"),
    ({"files": {"777": True}}, "files"),
    ({"files": [1] * 101}, "files"),
    ({"manages": [777]}, "manages"),
    ({"access_keys": [f"777:{KEY}"]}, "access_keys"),
    ({"files": [777], "access_keys": ["777:short"]}, "access_keys"),
    ({"files": [777], "access_keys": [f"777:{KEY}"] * 2}, "access_keys"),
    ({"email": "dora@[127.0.0.1]"}, "email"),
    ({"email": "D\u00f6ra@example.com"}, "email"),
    ({"username": "taken@example.com"}, "username"),
    ({"files": [777], "access_keys": [f"777:{KEY}\u00e4"]}, "access_keys"),
    ({"files": [777], "access_keys": [KEY]}, "access_keys"),
    ({"files": [777], "access_keys": ["777:sha256:abc"]}, "access_keys"),
    (
        {"files": [777], "access_keys": [f"777:sha256:{hashlib.sha256(b'taken').hexdigest()}"]},
        "access_keys",
    ),
    ({"number": "12"}, "number"),
    ({"number": "02 9374 4000"}, "number"),
    ({"number": "+1 212 555 0123"}, "number"),
    ({"number": 61491570156}, "number"),
]
"""Kinds of wrong rows, and the field that is to be named."""

Row = dict[str, Any]


def prepare() -> None:
    """Make what the rows refer to."""
    files = [File.objects.get_or_create(pk=pk, defaults={"name": "Moved"})[0] for pk in (777, 778)]
    taken = User.objects.create(username="taken", email="taken@example.com", password="!")
    AccessKey.objects.keep("taken", taken, files[0], taken.date_joined)


def write(path: Path, count: int, bad: int, first: int = 0) -> tuple[list[Row], dict[int, str]]:
    """Write *count* rows, of which *bad* are wrong; return the good ones, and the bad lines.

    :param first: what the first person is called by; the others count on.
    """
    good: list[Row] = []
    faults: dict[int, str] = {}
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            if n % (count // bad) == 0 and len(faults) < bad:
                wrong, faults[n + 1] = BAD[len(faults) % len(BAD)]
                named = wrong if isinstance(wrong, str) else {"username": f"bad-{n}", **wrong}
                row: Any = wrong and named
            else:
                good.append(row := _person(first + n))
            file.write((row if isinstance(row, str) else json.dumps(row)) + "\n")
    return good, faults


def _person(n: int) -> Row:
    digest = hashlib.sha256(b"%d" % n).digest()  # no password has it
    hashed = f"$pbkdf2-sha256$600000${_base64(digest[:16])}${_base64(digest)}"
    return {
        "external_id": str(n),
        "username": f"mover{n}",
        "email": f"mover{n}@example.com",
        "password": hashed,
        "files": [777, 778],
        "manages": [777],
        "access_keys": [f"777:{n:032x}"],
    }


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")


def named(rejects: Path) -> dict[int, str]:
    """Return the field that was named for each refused line."""
    faults = map(json.loads, rejects.read_text(encoding="utf-8").splitlines())
    return {fault["line"]: fault["field"] for fault in faults}


def kill(start: Callable[[], subprocess.Popen[bytes]], count: int, kills: int) -> int:
    """Start the import of *count* people, and kill it, again and again; return how often.

    Each time something more went in. The moments are spread over the whole.
    """
    before = done = User.objects.count()
    killed = 0
    for moment in sorted(random.sample(range(count), kills)):
        enough = max(before + moment, done + 1)
        with start() as one:
            while one.poll() is None and User.objects.count() < enough:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
            one.kill()
        killed += one.returncode == -signal.SIGKILL
        done = User.objects.count()
    return killed


def check(good: list[Row]) -> None:
    """Check that the database holds the people of *good*, each once and with one event."""
    told = AuditEvent.objects.filter(outcome="imported").values_list("user_id", flat=True)
    movers = User.objects.filter(username__startswith="mover")
    assert Counter(told) == Counter(movers.values_list("pk", flat=True))
    names = ("username", "email", "external__text", "password", "access_keys__digest")
    members = ("memberships__file_id", "memberships__manages")
    found = sorted(movers.values_list(*names, *members))
    assert found == sorted(each for row in good for each in _stored(row))


def _stored(row: Row) -> list[tuple[Any, ...]]:
    salt, digest = row["password"].split("$")[3:]
    password = f"imported$pbkdf2-sha256$600000,32${salt}${digest}"
    key = hashlib.sha256(row["access_keys"][0].partition(":")[2].encode()).hexdigest()
    own = row["username"], row["email"], row["external_id"], password, key
    return [(*own, 777, True), (*own, 778, False)]
