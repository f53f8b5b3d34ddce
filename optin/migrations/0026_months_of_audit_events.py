"""On PostgreSQL, the audit trail is partitioned by its id (``optin.audit.months``).

The table of before becomes partition 0. No event is copied, and no index is made anew: writers wait
only while the catalogue is changed. That no event has a greater id is checked beside them,
before. Each step is a transaction of its own and can be repeated.

The way back needs a trail whose events are all in partition 0.
"""

from collections.abc import Callable
from typing import Any

from django.db import migrations

from optin.audit import months
from optin.models.audit import BLOCK
from twofa_site.postgresql.schema import LOCK_TIMEOUT

TABLE = "optin_auditevent"
FIRST = months.name_of(0)
SEQUENCE = f"{TABLE}_id_seq"
BOUND = f"{TABLE}_bound"

BELONGINGS = f"""
    SELECT pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = '{TABLE}'::regclass AND NOT indisunique
    UNION ALL
    SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = '{TABLE}'::regclass AND NOT tgisinternal
    UNION ALL
    SELECT format('GRANT %s ON %s TO %s', privilege_type, relation,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM (
        SELECT '{TABLE}' AS relation, (aclexplode(relacl)).*
        FROM pg_class WHERE oid = '{TABLE}'::regclass
        UNION ALL
        SELECT 'SEQUENCE {SEQUENCE}', (aclexplode(relacl)).*
        FROM pg_class WHERE oid = '{SEQUENCE}'::regclass
    ) AS rights
    UNION ALL
    SELECT format('GRANT %s (%I) ON {TABLE} TO %s', privilege_type, attname,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM (
        SELECT attname, (aclexplode(attacl)).*
        FROM pg_attribute WHERE attrelid = '{TABLE}'::regclass
    ) AS rights
    UNION ALL
    SELECT format('SELECT setval(%L, %s, %L)', '{SEQUENCE}', last_value, is_called)
    FROM {SEQUENCE}
"""  # noqa: S608
"""Statements that give all that the table has to another one of the same name."""

STRIP = """
    SELECT format('DROP TRIGGER %I ON {table}', tgname) FROM pg_trigger
    WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal AND tgparentid = 0
    UNION ALL
    SELECT format('REVOKE ALL ON {table} FROM %s',
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM (
        SELECT relowner, (aclexplode(relacl)).* FROM pg_class WHERE oid = '{table}'::regclass
    ) AS rights
    WHERE grantee <> relowner
"""
"""Statements that take away the triggers of a table, and the rights of all but its owner."""


def step(change: Callable[[Any], None], *, partitioned: bool) -> Callable[[Any, Any], None]:
    """Return a step of the migration, for a table that is *partitioned* or is not yet."""

    def run(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT relkind FROM pg_class WHERE oid = %s::regclass", [TABLE])
            if (cursor.fetchone()[0] == "p") is partitioned:
                change(cursor)

    return run


def bound(cursor: Any) -> None:
    """Let no event of the old table have the id of another partition."""
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}")
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} CHECK (id < {BLOCK}) NOT VALID")


def unbound(cursor: Any) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {BOUND}")


def validate(cursor: Any) -> None:
    """Read all events beside the writers. Nobody waits behind this lock."""
    cursor.execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}")


def partition(cursor: Any) -> None:
    lock(cursor)
    cursor.execute("SELECT relowner::regrole::text FROM pg_class WHERE oid = %s::regclass", [TABLE])
    (owner,) = cursor.fetchone()
    cursor.execute("SELECT to_regnamespace(%s)", [months.SCHEMA])
    if cursor.fetchone() == (None,):
        cursor.execute(f"CREATE SCHEMA {months.SCHEMA} AUTHORIZATION {owner}")
    cursor.execute(f"SET LOCAL ROLE {owner}")
    belongings = rows(cursor, BELONGINGS)

    run_all(cursor, rows(cursor, STRIP.format(table=TABLE)))
    # PostgreSQL 17 takes no partition with ids of its own.
    cursor.execute(f"ALTER TABLE {TABLE} ALTER id DROP IDENTITY")
    cursor.execute(f"ALTER TABLE {TABLE} SET SCHEMA {months.SCHEMA}")
    cursor.execute(f"ALTER TABLE {months.SCHEMA}.{TABLE} RENAME TO {TABLE}_0")
    cursor.execute(
        f"CREATE TABLE {TABLE} (LIKE {FIRST} INCLUDING ALL EXCLUDING IDENTITY "
        "EXCLUDING INDEXES EXCLUDING CONSTRAINTS, PRIMARY KEY (id)) PARTITION BY RANGE (id)"
    )
    put_on(cursor, belongings)
    # The indexes and the triggers are there: it takes over the indexes of the old table.
    cursor.execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ({BLOCK})"
    )
    cursor.execute(f"ALTER TABLE {FIRST} DROP CONSTRAINT {BOUND}")
    months.guard(cursor, FIRST)
    for block in range(1, 1 + months.AHEAD):
        months.make(cursor, block)


def unpartition(cursor: Any) -> None:
    lock(cursor)
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {TABLE} WHERE id >= {BLOCK})")  # noqa: S608
    if cursor.fetchone()[0] or 0 not in months.attached():
        raise RuntimeError("The audit trail has events of several months: it cannot be one table.")
    belongings = [each for each in rows(cursor, BELONGINGS) if "INDEX" not in each.split()[:3]]

    cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {FIRST}")
    run_all(cursor, rows(cursor, STRIP.format(table=FIRST)))
    cursor.execute(f"DROP TABLE {TABLE}")  # and the empty partitions
    cursor.execute(f"ALTER TABLE {FIRST} RENAME TO {TABLE}")
    cursor.execute(f"ALTER TABLE {months.SCHEMA}.{TABLE} SET SCHEMA public")
    put_on(cursor, belongings)
    cursor.execute(f"DROP SCHEMA {months.SCHEMA}")


def lock(cursor: Any) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
    cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")


def put_on(cursor: Any, belongings: list[str]) -> None:
    """Give the new table ids of its own, and all that the former one had, and no more."""
    cursor.execute(f"ALTER TABLE {TABLE} ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    run_all(cursor, rows(cursor, STRIP.format(table=TABLE)))  # what default privileges gave
    run_all(cursor, belongings)


def rows(cursor: Any, query: str) -> list[str]:
    cursor.execute(query)
    return [value for (value,) in cursor.fetchall()]


def run_all(cursor: Any, statements: list[str]) -> None:
    for statement in statements:
        cursor.execute(statement)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("optin", "0025_restores")]
    operations = [
        migrations.RunPython(
            step(bound, partitioned=False), step(unbound, partitioned=False), atomic=True
        ),
        migrations.RunPython(
            step(validate, partitioned=False), migrations.RunPython.noop, atomic=True
        ),
        migrations.RunPython(
            step(partition, partitioned=False), step(unpartition, partitioned=True), atomic=True
        ),
    ]
