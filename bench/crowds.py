"""Wrong codes in a large database, and many writers at one account.

First, the same 10 000 people send wrong codes in a database of 10 000 people, and in one of 110
000 people and a million audit events; the two take turns. Second, 16 connections send wrong codes
for one account, and for 1000: each request waits for the lock of its account. In the second
comparison a trigger sets the counts back to zero, so that no account is locked. Everything else is
done as usual.

    python -m bench.crowds [--seconds N] [--rounds N] [--people N] [--events N]
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench import contenders, rates, servers, verify, world

from django.db import connection, connections
from django.utils import timezone

from optin.models import AuditEvent, PendingOtp

REWIND = """
UPDATE optin_pendingotp SET tries = 0 WHERE tries > 0;
UPDATE optin_user SET program_failures = 0, program_locked_until = NULL
WHERE program_failures > 0;
"""
TAKE_BACK = """
CREATE FUNCTION take_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'optin_user' THEN NEW.program_failures := 0; ELSE NEW.tries := 0; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER take_back BEFORE UPDATE ON optin_user
FOR EACH ROW EXECUTE FUNCTION take_back();
CREATE TRIGGER take_back BEFORE UPDATE ON optin_pendingotp
FOR EACH ROW EXECUTE FUNCTION take_back();
"""


def copy_database(url: str) -> str:
    """Copy the database at *url*; return the address of the copy."""
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}_small" TEMPLATE "{name}"')
    return parts._replace(path=f"/{name}_small").geturl()


def drop_database(url: str) -> None:
    parts = urlsplit(url)
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f'DROP DATABASE "{parts.path.lstrip("/")}" WITH (FORCE)')


def make_events(count: int) -> None:
    """Make *count* events in all, shared among all people, as copies of the one that exists."""
    columns = [f.attname for f in AuditEvent._meta.concrete_fields if not f.primary_key]
    made = {"user_id": "u.id", "previous": "md5(random()::text)"}
    taken = ", ".join(made.get(name, f"e.{name}") for name in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO optin_auditevent ({', '.join(columns)}) SELECT {taken} "  # noqa: S608
            "FROM (SELECT * FROM optin_auditevent LIMIT 1) e, optin_user u, "
            "generate_series(1, (SELECT 1 + %s / count(*) FROM optin_user)) LIMIT %s",
            [count, count],
        )
        cursor.execute("ANALYZE")


class Bench:
    """One measurement: the requests to send, and for which people."""

    def __init__(self, folder: str, people: list[world.Person], seconds: int) -> None:
        self.data, self.script = Path(folder, "people"), Path(folder, "script.lua")
        servers.write(self.data, people)
        contender = rates.CONTENDERS[rates.SERVICE]
        self.script.write_text(
            servers.SCRIPT % (self.data, "POST", contender.path, contender.status, contender.word)
        )
        self.seconds = seconds

    def run(self, url: str) -> servers.Driven:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(REWIND)
        port = servers.free_port()
        with servers.serving(servers.gunicorn(port), port, url):
            servers.drive(port, self.script, min(2, self.seconds))
            return servers.drive(port, self.script, self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=100_000, help="Beside the first 10 000.")
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    with world.database(), tempfile.TemporaryDirectory() as folder:
        people = world.people(10_000)
        PendingOtp.objects.update(expires_at=timezone.now() + timedelta(days=1))
        wrong = verify.CONTENDERS["verify wrong, bearer, JSON"]
        verify.run(contenders.application, wrong, people[:1])
        large = world.url()
        small = copy_database(large)
        try:
            world.people(options.people, label="more")
            make_events(options.events)
            connections.close_all()
            sizes: dict[str, list[servers.Driven]] = defaultdict(list)
            writers: dict[int, list[servers.Driven]] = defaultdict(list)
            bench = Bench(folder, people, options.seconds)
            for _ in range(options.rounds):
                sizes["small"].append(bench.run(small))
                sizes["large"].append(bench.run(large))
            with psycopg.connect(small, autocommit=True) as database:
                database.execute(TAKE_BACK)
            for _ in range(options.rounds):
                for count in (1, 1000):
                    writers[count].append(Bench(folder, people[:count], options.seconds).run(small))
        finally:
            connections.close_all()
            drop_database(small)
    median = {
        name: statistics.median(driven.rate for driven in values) for name, values in sizes.items()
    }
    print(f"small database: {median['small']:.0f}/s; large: {median['large']:.0f}/s,")
    print(f"{median['large'] / median['small']:.2f} of the small one's")
    for count, values in writers.items():
        rate, half, tail, longest = (
            statistics.median(column) for column in zip(*values, strict=True)
        )
        print(
            f"16 writers, accounts: {count:4}: {rate:5.0f}/s, median {half:.0f} ms,"
            f" 99th percentile {tail:.0f} ms, longest {longest:.0f} ms"
        )


if __name__ == "__main__":
    main()
