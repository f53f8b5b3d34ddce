"""The pages of staff beside each other, with few events and with many (P-22).

For each number of events there is a database; the pages are asked for in turns, through
the whole application in this process, and timed by the clock. Then events are added, with the
indexes of the filters and without them.

    python -m bench.admin [--events N ...] [--rounds N]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from bench import events, world

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

from optin.models import AuditEvent, AuthenticatorApp, File, ProviderUser, User
from optin.origin import Face, Origin

NUMBER = "+61491570156"
LOG = "/admin/optin/auditevent/"
ACCOUNT = "/admin/optin/user/{}/change/"
NEWER = [f"audit_event_by_{name}" for name in ("kind", "outcome", "face", "lone_number")]
AT_ONCE = 200
"""Events that are added in one go."""

Asked = Callable[[Client], Any]


# -- the databases -----------------------------------------------------------------


def go_to(name: str) -> None:
    """Let this process work with another database of the same server."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    connection.settings_dict["NAME"] = name


@contextmanager
def sizes(counts: list[int]) -> Iterator[dict[int, str]]:
    """A database for each number of events, by that number."""
    empty = connection.settings_dict["NAME"]
    names = {count: f"{empty}_{count}" for count in counts}
    try:
        for count, name in names.items():
            go_to(empty)
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
                cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{empty}"')
            go_to(name)
            fill(count)
        yield names
    finally:
        go_to(empty)
        with connection._nodb_cursor() as cursor:
            for name in names.values():
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def fill(count: int) -> None:
    """Make the events, and the accounts and the file that pages are asked for about."""
    now = timezone.now()
    file = File.objects.create(id=events.FILE, name="Bench")
    digest = ProviderUser.digest_of(NUMBER)
    for pk, name in ((events.BUSY, "busy"), (events.LEFT, "left")):
        User.objects.create(pk=pk, username=name, password="!")
    ProviderUser.objects.create(
        user_id=events.BUSY,
        file=file,
        number_encrypted="-",
        number_digest=digest,
        last_three=NUMBER[-3:],
        confirmed=True,
        created_at=now,
        verified_at=now,
    )
    with connection.cursor() as cursor, events.without_indexes(cursor):
        events.fill(cursor, count, end=now, digest=digest)


def auditor() -> Client:
    """Return the browser of somebody of staff who has proved a second factor."""
    user, made = User.objects.get_or_create(
        username="auditor", defaults={"is_staff": True, "password": "!"}
    )
    if made:
        user.groups.add(Group.objects.get(name="auditor"))
    app, _ = AuthenticatorApp.objects.get_or_create(
        user=user,
        confirmed=True,
        defaults={
            "secret_encrypted": AuthenticatorApp.seal("A" * 32, user.pk),
            "created_at": timezone.now(),
            "verified_at": timezone.now(),
        },
    )
    client = Client()
    client.force_login(user)
    session: Any = client.session
    session["began"] = session["seen"] = timezone.now().timestamp()
    session[DEVICE_ID_SESSION_KEY] = app.persistent_id
    session.save()
    return client


# -- the pages ---------------------------------------------------------------------


def filtered(**query: Any) -> Asked:
    return lambda client: client.get(f"{LOG}?{urlencode(query)}")


def from_the_middle(**query: Any) -> Asked:
    def ask(client: Client) -> Any:
        return client.get(f"{LOG}?{urlencode({**query, 'before': middle()})}")

    return ask


def middle() -> int:
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]
    return max(int(newest) // 2, 1)


DAY = (timezone.now() - timedelta(days=100)).date().isoformat()
PAGES: dict[str, Asked] = {
    "the log": filtered(),
    "a page from the middle": from_the_middle(),
    "a common event": filtered(kind="check"),
    "the same, from the middle": from_the_middle(kind="check"),
    "an event of a year ago": filtered(kind="token"),
    "a rare event": filtered(kind="suspend"),
    "an event that never was": filtered(kind="erase"),
    "a rare outcome": filtered(outcome="locked"),
    "a face": filtered(face="api"),
    "a large file": filtered(file_id=events.FILE),
    "a file that left a year ago": filtered(file_id=events.LEFT_FILE),
    "event and outcome, often": filtered(kind="check", outcome="ok"),
    "event and outcome, never": filtered(kind="sign_in", outcome="otp_incorrect"),
    "file, event and outcome": filtered(file_id=events.FILE, kind="check", outcome="locked"),
    "left file and event, never": filtered(file_id=events.LEFT_FILE, kind="refresh"),
    "a day": filtered(**{"from": DAY, "until": DAY}),
    "a day and an event": filtered(**{"from": DAY, "until": DAY, "kind": "check"}),
    "the log of a busy account": filtered(user_id=events.BUSY),
    "a busy account": lambda client: client.get(ACCOUNT.format(events.BUSY)),
    "an account that left": lambda client: client.get(ACCOUNT.format(events.LEFT)),
    "an account by its number": lambda client: client.post("/admin/find/", {"who": NUMBER}),
}


def ask(asked: Asked, client: Client) -> float:
    """Return how long the answer took, in milliseconds."""
    begun = time.perf_counter()
    response = asked(client)
    taken = time.perf_counter() - begun
    if response.status_code not in {200, 303} or b"Not understood" in response.content:
        raise AssertionError(f"{response.status_code} {response.content[:2000]!r}")
    return taken * 1000


def pages(names: dict[int, str], rounds: int) -> None:
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for count, name in names.items():
            go_to(name)
            client = auditor()
            client.get("/admin/")
            for page, asked in PAGES.items():
                times.setdefault((page, count), []).append(ask(asked, client))
    print(f"milliseconds of a page, shortest and median of {rounds} rounds")
    print(f"{'events':30}" + "".join(f"{count:>18}" for count in names))
    for page in PAGES:
        values = [times[page, count] for count in names]
        print(f"{page:30}" + "".join(f"{min(v):10.0f} {statistics.median(v):7.0f}" for v in values))


# -- what the indexes cost ---------------------------------------------------------


def adding(without: list[str]) -> float:
    """Return how long it takes to add one event, in microseconds; nothing stays."""
    origin = Origin(Face.WEB, ip="192.0.2.1", user_agent="curl/8")
    with transaction.atomic():
        with connection.cursor() as cursor:
            for name in without:
                cursor.execute(f"DROP INDEX {name}")
        now = timezone.now()
        begun = time.perf_counter()
        for n in range(AT_ONCE):
            AuditEvent.objects.record(
                AuditEvent.Kind.CHECK,
                "ok",
                now=now,
                origin=origin,
                user_id=events.FIRST + n,
                file_id=events.FILE,
                number_digest=f"{n:064x}",
                last_three="156",
                data={"try": 1},
            )
        taken = time.perf_counter() - begun
        transaction.set_rollback(True)
    return taken / AT_ONCE * 1e6


def insertion(name: str, rounds: int) -> None:
    go_to(name)
    adding([])
    pairs = [(adding([]), adding(NEWER)) for _ in range(max(rounds, 3))]
    with_all, without = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_relation_size(name::regclass)) / 1e6 FROM unnest(%s::text[]) AS name",
            [NEWER],
        )
        size = cursor.fetchone()[0]
        cursor.execute("SELECT pg_total_relation_size('optin_auditevent') / 1e6")
        whole = cursor.fetchone()[0]
    print(f"adding an event: {with_all:.0f} us, without {', '.join(NEWER)} {without:.0f} us:")
    print(f"  {ratio:.2f} times as long; they take {size:.0f} MB of {whole:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    begun = time.monotonic()
    with world.database(), sizes(sorted(options.events)) as names:
        print(f"made in {time.monotonic() - begun:.0f} s", flush=True)
        pages(names, options.rounds)
        count = max([each for each in names if each <= 1_000_000], default=min(names))
        insertion(names[count], options.rounds)


if __name__ == "__main__":
    main()
