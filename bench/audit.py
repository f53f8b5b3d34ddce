"""The audit trail at a size: what sealing and checking it take, and that they work.

Each step is a command as an operator runs it, in a process of its own, so that its memory
is known. After sealing, one event is added in the middle: the check must find that and
nothing else, or there is no measurement.

    python -m bench.audit [--events N]
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from pathlib import Path

from bench import world

from django.db import connection, connections
from django.db.models.base import ModelState
from django.utils import timezone

from optin.models import AuditEvent
from optin.origin import Face, Origin

ROOT = Path(__file__).resolve().parent.parent
OLD = timedelta(minutes=6)
"""Events younger than five minutes are not sealed."""


def make(count: int) -> None:
    """Make *count* equal events with the ids 1, 2, 4, 6, ..., as one thread writes them."""
    first = AuditEvent.objects.record(
        AuditEvent.Kind.VERIFY_OPT_IN,
        "otp_incorrect",
        now=timezone.now() - OLD,
        origin=Origin(Face.API, client="key:1", ip="192.0.2.1", user_agent="curl/8"),
        user_id=7,
        file_id=world.FILE_ID,
        provider_user_id=41,
        number_digest="cd" * 32,
        last_three="156",
        data={"try": 1, "failures": 1},
    )
    AuditEvent.objects.bulk_create(_following(first, count), batch_size=2000)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('optin_auditevent_id_seq', %s)", [2 * count - 2])


def _following(event: AuditEvent, count: int) -> Iterator[AuditEvent]:
    before = event
    for n in range(1, count):
        before = another(event, 2 * n, before.name())
        yield before


def another(event: AuditEvent, pk: int, previous: str) -> AuditEvent:
    """Return an event under *pk* that says what *event* says, and has a digest of its own."""
    made = copy(event)
    made.pk, made.previous = pk, previous
    made._state = ModelState()
    made.digest = made.content_digest()
    return made


def command(name: str, expected: int = 0) -> tuple[str, str]:
    """Run a command on the database of the measurement; return its cost and its words."""
    begun = time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "manage.py", name],
        cwd=ROOT,
        # A development start: the checks refuse the simulator otherwise.
        env=os.environ | {"DATABASE_URL": world.url(), "DEBUG": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    words = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise AssertionError(f"{name} ended with {process.returncode}: {words}")
    taken, processor = time.monotonic() - begun, used.ru_utime + used.ru_stime
    return f"{taken:8.1f} s {processor:8.1f} s {used.ru_maxrss / 1024:8.0f} MB", words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    with world.database():
        connections.close_all()
        nothing, _ = command("verify_audit")
        make(count)
        connections.close_all()
        sealing, _ = command("purge")
        added = another(AuditEvent.objects.earliest("pk"), count // 2 * 2 + 1, "0" * 32)
        AuditEvent.objects.bulk_create([added])
        connections.close_all()
        checking, words = command("verify_audit", expected=3)
        found, summary = words.splitlines()
        if not re.fullmatch(r"events \d+ to \d+: 1 added", found):
            raise AssertionError(words)
    print(f"{connection.vendor}, {count} events: time, processor time, memory at most")
    print(f"verify_audit, an empty trail {nothing}")
    print(f"purge, which seals them all  {sealing}")
    print(f"verify_audit                 {checking}")
    print(found, summary, sep="\n")


if __name__ == "__main__":
    main()
