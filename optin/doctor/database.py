"""The database: whether it answers, and as the service needs it."""

import time
from collections.abc import Iterator

import psycopg
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from optin.doctor.findings import Finding, fault, ok, warning
from optin.support.wording import section

OLDEST = 15
"""The oldest PostgreSQL that serves."""

POSTGRESQL = section("deploy", "PostgreSQL")
_FACTS = """
    SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),
    pg_is_in_recovery(), current_user, current_database(),
    current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')
"""


def is_postgresql() -> bool:
    return bool(connection.vendor == "postgresql")


def rows(sql: str, *values: str | list[str]) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def reach() -> Iterator[Finding]:
    """It answers, is PostgreSQL 15 or newer, is no standby, and ends statements that hang."""
    began = time.monotonic()
    try:
        connection.ensure_connection()
    except (DatabaseError, psycopg.Error) as exc:
        yield fault(
            f"The database does not let the service in: {_cause(exc)}.",
            seen=f"Connecting to {_address()} failed after {time.monotonic() - began:.0f} s.",
            do="Check that PostgreSQL runs (systemctl status postgresql). As root: "
            '(set -a; . /etc/optin/production.env; psql "$DATABASE_URL" -c "SELECT 1"). '
            f"{POSTGRESQL}",
        )
        return
    if not is_postgresql():
        yield ok("SQLite, which is for trying.")
        return
    ((major, version, standby, role, name, *timeouts),) = rows(_FACTS)
    found = [] if isinstance(major, int) and major >= OLDEST else [_too_old(version)]
    found += [_STANDBY] if standby else []
    for (setting, wanted), value in zip(_TIMEOUTS.items(), timeouts, strict=True):
        if value == "0":
            text = f"{setting} is off: a statement or a transaction that hangs is never ended."
            do = f"ALTER ROLE {role} SET {setting} = '{wanted}'; then restart the service."
            found.append(warning(text, do=do))
    yield from found or [ok(f"PostgreSQL {version}, {name} as {role}.")]


_TIMEOUTS = {"statement_timeout": "10s", "idle_in_transaction_session_timeout": "30s"}


def _too_old(version: object) -> Finding:
    do = f"Upgrade to PostgreSQL {OLDEST} or newer."
    return fault(f"PostgreSQL {version} is too old.", do=do)


_STANDBY = fault(
    "This server is a standby: it takes no writes.",
    do="Add target_session_attrs=read-write to DATABASE_URL. "
    + section("deploy", "Several database servers"),
)


def _cause(exc: BaseException) -> str:
    """Say why there was no connection. Not in the words of the library: they have the address."""
    said = str(exc).lower()
    for words, meaning in _CAUSES:
        if words in said:
            return meaning
    return type(exc.__cause__ or exc).__name__


_CAUSES = (
    ("password authentication failed", "the password is wrong"),
    ("no password supplied", "DATABASE_URL has no password"),
    ("does not exist", "there is no such database or role"),
    ("permission denied for database", "the role may not connect to this database"),
    ("too many", "it has too many connections"),
    ("starting up", "it is starting"),
    ("refused", "nothing listens there"),
    ("could not translate", "the name of its host does not resolve"),
    ("failed to resolve", "the name of its host does not resolve"),
    ("timeout", "it does not answer"),
    ("certificate", "its certificate is not accepted"),
    ("unable to open database file", "the file cannot be opened"),
)


def _address() -> str:
    known = connection.settings_dict
    return f"{known['HOST']}:{known['PORT'] or 5432}" if is_postgresql() else str(known["NAME"])


def migrations() -> Iterator[Finding]:
    """All are applied, and no unknown ones."""
    loader = MigrationLoader(connection)
    applied = set(loader.applied_migrations)
    missing = sorted(set(loader.graph.nodes) - applied)
    newest_of = dict(sorted(loader.disk_migrations))
    unknown = sorted(each for each in applied if each[1] > newest_of.get(each[0], ""))
    if missing:
        yield fault(
            f"Tables are not those of this release: {_these(missing)} not applied.",
            do="Migrate as the owner, and give the grants again. "
            + section("upgrade-and-restore", "Upgrade"),
        )
    if unknown:
        yield warning(
            f"The database knows migrations of another release: {_these(unknown)}.",
            do="Fine while you upgrade or went back by one release. Otherwise install the "
            "release that belongs to this database.",
        )


def _these(names: list[tuple[str, str]]) -> str:
    first = ", ".join(".".join(name) for name in names[:3])
    return f"{first} and {len(names) - 3} more" if len(names) > 3 else first
