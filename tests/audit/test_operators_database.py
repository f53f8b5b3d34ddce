"""The trail in a database that is set up as docs/deploy.md says, and in a copy of that (S-53).

The roles sign in by themselves: what they may not do, no ``RESET ROLE`` gives them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.kit.documents import GRANTS, ROLES
from tests.kit.server import ROOT, needs

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

NAME = f"optin_{os.getpid()}"
FOUND = 3


def own(sql: str) -> str:
    """The lines of the document, for a database and roles of this test alone."""
    return re.sub(r"\boptin(?=_owner|_service|\b(?!_))", NAME, sql)


@dataclass
class Server:
    """The database server, and a folder with the keys of the service."""

    folder: Path

    def url(self, role: str = "", name: str = NAME) -> str:
        known = connection.settings_dict
        who = f"{NAME}_{role}:{role}-password" if role else f"{known['USER']}:{known['PASSWORD']}"
        return f"postgres://{who}@{known['HOST']}:{known['PORT']}/{name}"

    def sql(self, statements: str, role: str = "", name: str = NAME) -> None:
        """Run *statements*, each in a transaction of its own."""
        with psycopg.connect(self.url(role, name), autocommit=True) as own_connection:
            for statement in re.split(r";\s*\n", statements):
                if re.sub(r"--.*", "", statement).strip():
                    own_connection.execute(statement)

    def manage(
        self, *arguments: str, role: str, name: str = NAME, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "DATA_DIR": str(self.folder), "DEBUG": "1"}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**env, "DATABASE_URL": self.url(role, name)},
            input=stdin,
            capture_output=True,
            text=True,
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run *script* as the service would."""
        done = self.manage("shell", "--no-imports", "-c", script, role="service")
        assert done.returncode == 0, done.stderr
        return done


RECORD = """
from datetime import timedelta
from django.utils import timezone
from optin.audit import seals
from optin.models import AuditEvent
from optin.models.audit import committed
from optin.origin import Face, Origin
committed.disconnect(dispatch_uid="keep_sealing")  # seals are made when the test says so
for _ in range(6):
    for n in range(10):
        AuditEvent.objects.record(
            AuditEvent.Kind.CHECK, "ok", now=timezone.now() - timedelta(minutes=6),
            origin=Origin(Face.WEB), user_id=n, reason=f"number {n}",
        )
    assert seals.seal(timezone.now()) == 1
"""
"""Six ranges under a seal each, of ten events."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needs("PostgreSQL (DATABASE_URL)", connection.vendor == "postgresql")
    server = Server(tmp_path_factory.mktemp("keys"))
    try:
        server.sql(own(ROLES), name="postgres")
        made = server.manage("migrate", "--verbosity", "0", role="owner")
        assert made.returncode == 0, made.stderr
        server.sql(own(GRANTS), role="owner")
        (server.folder / "log").write_text(server.shell(RECORD).stderr, encoding="utf-8")
        yield server
    finally:
        for statement in (
            *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (NAME, f"{NAME}_copy")),
            *(f"DROP ROLE IF EXISTS {NAME}_{role}" for role in ("owner", "service")),
        ):
            server.sql(statement, name="postgres")


def rows(server: Server) -> list[Any]:
    with psycopg.connect(server.url()) as own_connection:
        return [
            own_connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608
            for table in ("optin_auditevent", "optin_auditseal")
        ]


# -- by SQL ------------------------------------------------------------------------

ON_EACH = [
    "UPDATE {t} SET key_id = key_id",
    "DELETE FROM {t} WHERE at < now() - interval '3 years'",
    "TRUNCATE {t} RESTART IDENTITY CASCADE",
    "INSERT INTO {t} SELECT * FROM {t} ON CONFLICT (id) DO UPDATE SET key_id = 'x'",
    "INSERT INTO {t} SELECT * FROM {t}",
    "MERGE INTO {t} a USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM {t} RETURNING *) SELECT count(*) FROM gone",
    "SELECT * FROM {t} FOR UPDATE",
    "DO $$ BEGIN LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE; END $$",
    "COPY {t} FROM PROGRAM 'true'",
    "DROP TABLE {t} CASCADE",
    "DROP TRIGGER {t}_no_update ON {t}",
    "DROP FUNCTION {t}_refuse() CASCADE",
    "CREATE OR REPLACE FUNCTION {t}_refuse() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NEW; END'",
    "ALTER TABLE {t} DISABLE TRIGGER USER",
    "ALTER TABLE {t} RENAME TO gone",
    "ALTER TABLE {t} OWNER TO CURRENT_USER",
    "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY",
    "CREATE RULE quiet AS ON INSERT TO {t} DO INSTEAD NOTHING",
    "CREATE TRIGGER quiet BEFORE INSERT ON {t} FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "GRANT ALL ON {t} TO CURRENT_USER; UPDATE {t} SET key_id = 'x'",
    "SELECT setval('{t}_id_seq', 1)",
    "ALTER SEQUENCE {t}_id_seq RESTART",
]
ON_ALL = [
    "SET session_replication_role = replica",
    "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "RESET ROLE; UPDATE optin_auditevent SET outcome = 'x'",
    "GRANT {owner} TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "DROP OWNED BY {owner}",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (id int)",
    # One of its own in front of the real one would take the events of this connection.
    "CREATE TEMPORARY TABLE optin_auditevent (id int)",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "DROP DATABASE {name}",
    "ALTER DATABASE {name} SET session_replication_role = replica",
    "DELETE FROM django_migrations",
    "DO $$ BEGIN UPDATE optin_auditevent SET outcome = 'x'; END $$",
]
STATEMENTS = [
    *(each.format(t=t) for t in ("optin_auditevent", "optin_auditseal") for each in ON_EACH),
    *(each.replace("{owner}", f"{NAME}_owner").replace("{name}", NAME) for each in ON_ALL),
]


def test_the_role_of_the_service_changes_nothing_by_sql(server: Server) -> None:
    """S-53."""
    before = rows(server)
    with psycopg.connect(server.url("service"), autocommit=True) as own_connection:
        got = {statement: refusal(own_connection, statement) for statement in STATEMENTS}
    not_refused = {statement: code for statement, code in got.items() if code not in REFUSALS}
    assert not_refused == {}
    assert rows(server) == before


# Permission denied; of another owner; a value that must be the only one; two-phase commit is off.
REFUSALS = {"42501", "23505", "55000"}


def refusal(own_connection: Any, statement: str) -> str:
    """Return the code of what PostgreSQL says to *statement*, "" if it does it."""
    try:
        own_connection.execute(statement)
    except psycopg.Error as exc:
        return exc.sqlstate or "?"
    return ""


# -- a restored copy ---------------------------------------------------------------


def restored(server: Server) -> str:
    """Restore a backup elsewhere, as its owner; return the name of the copy."""
    copy = f"{NAME}_copy"
    server.sql(f"CREATE DATABASE {copy} OWNER {NAME}_owner TEMPLATE template0", name="postgres")
    dump = subprocess.run(
        ["pg_dump", "--no-privileges", server.url("owner")], capture_output=True, check=True
    )
    subprocess.run(
        ["psql", "--quiet", "--set", "ON_ERROR_STOP=1", server.url("owner", copy)],
        input=dump.stdout,
        capture_output=True,
        check=True,
    )
    return copy


def checked(server: Server, copy: str) -> tuple[int, list[str]]:
    """Check *copy* against the seals in the log of the service."""
    log = (server.folder / "log").read_text(encoding="utf-8")
    done = server.manage("verify_audit", "--copies", "-", role="owner", name=copy, stdin=log)
    return done.returncode, done.stdout.splitlines()


def test_what_was_done_to_a_restored_copy_is_named(server: Server) -> None:
    """One row changed, one removed, and the newest cut off; ``test_manipulations`` has more."""
    copy = restored(server)
    assert checked(server, copy) == (
        0,
        [
            "60 events checked, 0 of them not sealed yet, 6 seals, 0 events purged, "
            "6 copies of seals: 0 findings, 0 not to be checked."
        ],
    )
    with psycopg.connect(server.url("owner", copy)) as own_connection:
        with pytest.raises(psycopg.Error, match="append-only"):
            own_connection.execute("UPDATE optin_auditevent SET outcome = 'x'")
        own_connection.rollback()
        found = own_connection.execute(
            "SELECT first_id, last_id FROM optin_auditseal ORDER BY first_id"
        )
        (_, changed), (_, removed), *_, (first, last) = found.fetchall()
        script = f"""
ALTER TABLE optin_auditevent DISABLE TRIGGER USER;
ALTER TABLE optin_auditseal DISABLE TRIGGER USER;
UPDATE optin_auditevent SET user_id = 4711 WHERE id = {changed - 2};
DELETE FROM optin_auditevent WHERE id = {removed - 2} OR id >= {first};
DELETE FROM optin_auditseal WHERE first_id >= {first};
"""  # noqa: S608
        own_connection.execute(script)

    status, lines = checked(server, copy)

    assert status == FOUND
    assert {*lines[:-1]} == {
        f"event {changed - 2}: its content was changed",
        f"events {changed + 1} to {removed}: 1 missing",
        f"event {removed - 2}: named by later events, but removed or replaced",
        f"events {first} to {last}: their seal was removed",
        f"events {first} to {last}: 10 missing",
    }
