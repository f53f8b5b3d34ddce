"""A large audit trail: what it takes to seal, check and export it, and its bytes on the disk.

Sealing and checking are commands as an operator runs them, in processes of their own. The export
comes from a server over HTTP. The start of each command counts, so the times are right for many
events only.

    python -m bench.trail [--events N]
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from bench import servers, world

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection, connections
from django.db.models.base import ModelState
from django.test import Client
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

from optin.models import AuditEvent, AuthenticatorApp, User
from optin.origin import Face, Origin

LOG = "/admin/optin/auditevent/"
OLD = timedelta(minutes=6)
"""Events younger than five minutes are not sealed."""

SORTS = [
    ("sign_in", "2fa_code_required", "web"),
    ("sign_in", "signed_in", "web"),
    ("challenge", "sent", "web"),
    ("check", "ok", "web"),
    ("opt_in", "sent", "api"),
    ("verify_opt_in", "ok", "api"),
    ("refresh", "refresh_token", "token"),
]
BROWSERS = [
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0"
    for system in ("X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Linux; Android 14")
    for version in range(110, 130)
]


class Cost(NamedTuple):
    """What a step took: seconds by the clock and of the processor, megabytes at most.

    The processor time of the database server is not in it.
    """

    seconds: float
    processor: float
    memory: float

    def of(self, count: int) -> str:
        """Write it, with the times for a million events from those for *count*."""
        seconds, processor = (time * 1_000_000 / count for time in self[:2])
        return f"{seconds:8.1f} s {processor:8.1f} s {self.memory:8.0f} MB"


# -- the events --------------------------------------------------------------------


def make(count: int) -> None:
    """Make *count* events as one thread writes them.

    On PostgreSQL each second id stays unused, as after a roll-back. SQLite leaves none.
    """
    people = User.objects.bulk_create(
        (User(username=f"person{n}@example.com", password="!") for n in range(count // 10 + 1)),
        batch_size=2000,
    )
    first = AuditEvent.objects.record(
        AuditEvent.Kind.VERIFY_OPT_IN,
        "otp_incorrect",
        now=timezone.now() - OLD,
        origin=Origin(Face.API, client="key:1", ip="192.0.2.1", user_agent="curl/8"),
        user_id=people[0].pk,
        file_id=world.FILE_ID,
        provider_user_id=41,
        number_digest="cd" * 32,
        last_three="156",
        data={"try": 1, "failures": 1},
    )
    events = _following(first, count, [user.pk for user in people])
    while some := list(islice(events, 2000)):  # bulk_create would hold all of them
        AuditEvent.objects.bulk_create(some)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('optin_auditevent_id_seq', %s)", [2 * count - 2])


def _following(event: AuditEvent, count: int, people: list[int]) -> Iterator[AuditEvent]:
    """Each of another person than the one before, and so on: most follow from its number."""
    before = event
    for n in range(1, count):
        facts = copy(event)
        facts.kind, facts.outcome, facts.face = SORTS[n * 7919 % len(SORTS)]
        facts.user_id = people[n * 7919 % len(people)]
        facts.ip = f"198.51.{n // 256 % 256}.{n % 256}"
        facts.user_agent = BROWSERS[n % len(BROWSERS)]
        facts.request_id = f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}"
        facts.data = {"try": n % 10, "failures": n % 50}
        pk = 2 * n if connection.vendor == "postgresql" else n + 1
        before = another(facts, pk, before.name())
        yield before


def another(event: AuditEvent, pk: int, previous: str) -> AuditEvent:
    """Return an event under *pk* that says what *event* says, and has a digest of its own."""
    made = copy(event)
    made.pk, made.previous = pk, previous
    made._state = ModelState()
    made.digest = made.content_digest()
    return made


# -- the commands ------------------------------------------------------------------


def command(name: str) -> Cost:
    """Run a command on the database of the measurement."""
    begun = time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "manage.py", name],
        cwd=servers.ROOT,
        # A development start: the checks refuse the simulator otherwise.
        env=os.environ | {"DATABASE_URL": world.url(), "DEBUG": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    words = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"{name} ended with {process.returncode}: {words}")
    taken, processor = time.monotonic() - begun, used.ru_utime + used.ru_stime
    return Cost(taken, processor, used.ru_maxrss / 1024)


# -- the file ----------------------------------------------------------------------


def auditor() -> Client:
    """Return the browser of somebody of staff who has proved a second factor."""
    user = User.objects.create(username="auditor", is_staff=True, password="!")
    user.groups.add(Group.objects.get(name="auditor"))
    now = timezone.now()
    app = AuthenticatorApp.objects.create(
        user=user,
        confirmed=True,
        secret_encrypted=AuthenticatorApp.seal("A" * 32, user.pk),
        created_at=now,
        verified_at=now,
    )
    client = Client()
    client.force_login(user)
    session: Any = client.session
    session["began"] = session["seen"] = now.timestamp()
    session[DEVICE_ID_SESSION_KEY] = app.persistent_id
    session.save()
    return client


def memory(master: int) -> float:
    """Return the resident memory of the largest worker of a server so far, in MB."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in workers(master)]
    found = [re.search(r"VmHWM:\s+(\d+) kB", status) for status in statuses]
    return max(int(each[1]) / 1024 for each in found if each)


def workers(master: int) -> list[str]:
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()


def download(port: int, client: Client) -> http.client.HTTPResponse:
    """Ask the server for the whole log as a file."""
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"}
    server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    server.request("GET", LOG, headers=headers)
    page = server.getresponse()
    html = page.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    cookie = re.search(rf"{settings.CSRF_COOKIE_NAME}=\w+", str(page.headers))
    if not token or not cookie:
        raise AssertionError(html)
    headers["Cookie"] += f"; {cookie[0]}"
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    headers["Origin"] = f"http://127.0.0.1:{port}"
    body = urlencode({"csrfmiddlewaretoken": token[1]})
    server.request("POST", f"{LOG}export/", body, headers)
    response = server.getresponse()
    if response.status != 200:
        raise AssertionError(f"{response.status} {response.read()!r}")
    return response


def export(count: int) -> tuple[Cost, float]:
    """Take the log away over HTTP; return its cost, and the memory of the server before it."""
    client, port = auditor(), servers.free_port()
    env = {"DATABASE_URL": world.url()}
    with servers.serving(servers.gunicorn(port), port, env) as master:
        response = download(port, client)
        before, lines, begun = memory(master), 0, time.monotonic()
        used, _ = servers.processor_time(master, "")
        while block := response.read(1 << 16):
            lines += block.count(b"\n")
        taken = time.monotonic() - begun
        cost = Cost(taken, servers.processor_time(master, "")[0] - used, memory(master))
    if lines <= count:
        raise AssertionError(f"{lines} lines of {count} events")
    return cost, before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    with world.database():
        connections.close_all()
        nothing = command("verify_audit")
        make(count)
        connections.close_all()
        sealing = command("purge")
        exporting, before = export(count)
        connections.close_all()
        checking = command("verify_audit")
        size = bytes_of_one(count)
        connections.close_all()
    print(f"{connection.vendor}, {count} events: time and processor time of a million; memory")
    print(f"sealing (purge)         {sealing.of(count)}, {nothing.memory:.0f} without events")
    print(f"checking (verify_audit) {checking.of(count)}, {nothing.memory:.0f} without events")
    print(f"exporting (over HTTP)   {exporting.of(count)}, {before:.0f} before")
    print(f"an event with its indexes: {size} bytes")


def bytes_of_one(count: int) -> int:
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("VACUUM optin_auditevent")
        cursor.execute("SELECT pg_total_relation_size('optin_auditevent')")
        return int(cursor.fetchone()[0] / count)


if __name__ == "__main__":
    main()
