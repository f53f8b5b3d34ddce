"""One table for the audit trail on PostgreSQL, instead of a partition for each month.

Sealed events are copied while the service writes: no event comes or goes among them, except for
what ``purge`` deletes. Then the rest is copied under a lock, and the new table takes the place of
the former one. If this is stopped, it can be run again.
"""

from typing import Any

from django.db import migrations, transaction

from optin.database.schema import LOCK_TIMEOUT

TABLE = "optin_auditevent"
SCHEMA = "optin_audit"
"""The partitions were in it. The new table is made in it, because its indexes keep their names."""
NEW = f"{SCHEMA}.{TABLE}"

CHUNK = 10_000

SCHEMA_AND_KIND = f"""
    SELECT relnamespace::regnamespace::text, relkind FROM pg_class
    WHERE oid = '{TABLE}'::regclass
"""  # noqa: S608
DROPPED_BY_PURGE = f"""
    SELECT format('DROP TABLE %s', oid::regclass) FROM pg_class
    WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r'
    AND obj_description(oid, 'pg_class') = 'purge drops this table'
    AND oid NOT IN (SELECT inhrelid FROM pg_inherits)
"""  # noqa: S608
# The first partition was the whole table once: its indexes have the names that the new one needs.
RENAMED = f"""
    SELECT format('ALTER INDEX {SCHEMA}.%I RENAME TO %I', relname, 'former_' || relname)
    FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'i'
    AND relname NOT LIKE 'former_%'
"""  # noqa: S608
TRIGGERS = f"""
    SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = '{TABLE}'::regclass AND NOT tgisinternal
"""  # noqa: S608
RIGHTS = f"""
    SELECT format('GRANT %s ON %s {TABLE}{{suffix}} TO %s', privilege_type, '{{kind}}',
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM (
        SELECT relowner, (aclexplode(relacl)).* FROM pg_class
        WHERE oid = '{TABLE}{{suffix}}'::regclass
    ) AS rights
    WHERE grantee <> relowner
"""  # noqa: S608


def make_one_table(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    model = apps.get_model("optin", "AuditEvent")
    columns = ", ".join(field.column for field in model._meta.concrete_fields)
    copy = f"INSERT INTO {NEW} ({columns}) SELECT {columns} FROM {TABLE}"  # noqa: S608
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(SCHEMA_AND_KIND)
        schema, kind = cursor.fetchone()
        if kind != "p":
            return
        for statement in _values(cursor, DROPPED_BY_PURGE):
            cursor.execute(statement)
        _make_table(cursor, model, schema_editor)
        _copy_sealed(cursor, copy)
        with transaction.atomic():
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
            cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
            _copy_rest(cursor, copy)
            _swap(cursor, schema)


def _make_table(cursor: Any, model: Any, schema_editor: Any) -> None:
    with transaction.atomic():
        if _values(cursor, f"SELECT 1 WHERE to_regclass('{NEW}') IS NOT NULL"):
            return  # an attempt that was stopped has made it
        for statement in _values(cursor, RENAMED):
            cursor.execute(statement)
        cursor.execute(f"SET LOCAL search_path = {SCHEMA}, public")
        schema_editor.create_model(model)
        for statement in schema_editor.deferred_sql:
            cursor.execute(str(statement))
        schema_editor.deferred_sql.clear()


def _copy_sealed(cursor: Any, copy: str) -> None:
    (last,) = _values(cursor, "SELECT max(last_id) FROM optin_auditseal")
    rows = f" WHERE id > %s AND id <= %s ORDER BY id LIMIT {CHUNK}"
    while last is not None:
        cursor.execute(copy + rows, [_newest(cursor), last])
        if cursor.rowcount < CHUNK:
            return


def _copy_rest(cursor: Any, copy: str) -> None:
    """Copy what was not sealed; take out what ``purge`` has deleted since it was copied."""
    cursor.execute(f"DELETE FROM {NEW} WHERE id < (SELECT min(id) FROM {TABLE})")  # noqa: S608
    cursor.execute(f"{copy} WHERE id > %s", [_newest(cursor)])
    cursor.execute(
        f"SELECT setval('{NEW}_id_seq', last_value, is_called) FROM {TABLE}_id_seq"  # noqa: S608
    )


def _newest(cursor: Any) -> int:
    (newest,) = _values(cursor, f"SELECT max(id) FROM {NEW}")  # noqa: S608
    return -(2**63) if newest is None else int(newest)


def _swap(cursor: Any, schema: str) -> None:
    triggers = _values(cursor, TRIGGERS)
    rights = _values(cursor, RIGHTS.format(kind="TABLE", suffix=""))
    rights += _values(cursor, RIGHTS.format(kind="SEQUENCE", suffix="_id_seq"))
    cursor.execute(f"DROP TABLE {TABLE}")
    cursor.execute(f"ALTER TABLE {NEW} SET SCHEMA {schema}")
    # It fails if somebody has detached a partition: its events would be lost.
    cursor.execute(f"DROP SCHEMA {SCHEMA}")
    for statement in [*triggers, *rights]:
        cursor.execute(statement)


def _values(cursor: Any, query: str) -> list[Any]:
    cursor.execute(query)
    return [value for (value,) in cursor.fetchall()]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("optin", "0067_beyond_texts")]
    operations = [migrations.RunPython(make_one_table)]
