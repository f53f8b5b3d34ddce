"""The audit trail is append-only: the database refuses everything else.

No row is changed, replaced or truncated, and none younger than 30 days is deleted,
whoever asks. The clock is the database's own.
"""

from typing import Any

from django.db import migrations

POSTGRESQL = [
    """
    CREATE FUNCTION optin_auditevent_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER optin_auditevent_no_update BEFORE UPDATE ON optin_auditevent
    FOR EACH ROW EXECUTE FUNCTION optin_auditevent_refuse()
    """,
    """
    CREATE TRIGGER optin_auditevent_no_early_delete BEFORE DELETE ON optin_auditevent
    FOR EACH ROW WHEN (OLD.at > now() - interval '30 days')
    EXECUTE FUNCTION optin_auditevent_refuse()
    """,
    """
    CREATE TRIGGER optin_auditevent_no_truncate BEFORE TRUNCATE ON optin_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION optin_auditevent_refuse()
    """,
]
POSTGRESQL_REVERSE = ["DROP FUNCTION optin_auditevent_refuse() CASCADE"]

SQLITE = [
    """
    CREATE TRIGGER optin_auditevent_no_update BEFORE UPDATE ON optin_auditevent
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    """
    CREATE TRIGGER optin_auditevent_no_early_delete BEFORE DELETE ON optin_auditevent
    WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-30 days')
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    # REPLACE fires delete triggers only under PRAGMA recursive_triggers, which a client
    # may leave off.
    """
    CREATE TRIGGER optin_auditevent_no_replace BEFORE INSERT ON optin_auditevent
    WHEN EXISTS (SELECT 1 FROM optin_auditevent WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
]
SQLITE_REVERSE = [
    f"DROP TRIGGER optin_auditevent_{name}"
    for name in ("no_update", "no_early_delete", "no_replace")
]


def protect(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, {"postgresql": POSTGRESQL, "sqlite": SQLITE})


def unprotect(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, {"postgresql": POSTGRESQL_REVERSE, "sqlite": SQLITE_REVERSE})


def _run(schema_editor: Any, statements: dict[str, list[str]]) -> None:
    for statement in statements[schema_editor.connection.vendor]:
        # Not schema_editor.execute: it would read the % of strftime as a parameter.
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("optin", "0001_initial")]
    operations = [migrations.RunPython(protect, unprotect)]
