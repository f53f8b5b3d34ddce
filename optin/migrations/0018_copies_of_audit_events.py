"""Each audit event names the one that the same thread wrote before; no two name the same.

The index is made beside the writers: the table may have millions of rows, and a request
that waits for it is a 503. So there is no transaction around all, and each step can be
repeated.
"""

from typing import Any

from django.db import migrations, models

FIELD = models.CharField(max_length=36, null=True)
CONSTRAINT = models.UniqueConstraint(
    fields=["previous"],
    condition=models.Q(previous__isnull=False),
    name="audit_event_follows_another_alone",
)

# REPLACE takes away whatever stands in the way of any unique value (migration 0002).
SQLITE = """
    CREATE TRIGGER IF NOT EXISTS optin_auditevent_no_replace_of_previous
    BEFORE INSERT ON optin_auditevent
    WHEN EXISTS (SELECT 1 FROM optin_auditevent WHERE previous = NEW.previous)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only: optin_auditevent.previous'); END
"""


def protect(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, SQLITE)


def unprotect(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, "DROP TRIGGER IF EXISTS optin_auditevent_no_replace_of_previous")


def _run(schema_editor: Any, statement: str) -> None:
    if schema_editor.connection.vendor == "sqlite":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(statement)


def add_column(apps: Any, schema_editor: Any) -> None:
    event = apps.get_model("optin", "AuditEvent")
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        table = connection.introspection.get_table_description(cursor, event._meta.db_table)
    if "previous" not in {column.name for column in table}:
        schema_editor.add_field(event, _field(event))


def remove_column(apps: Any, schema_editor: Any) -> None:
    event = apps.get_model("optin", "AuditEvent")
    schema_editor.remove_field(event, _field(event))


def _field(event: Any) -> Any:
    field = FIELD.clone()
    field.set_attributes_from_name("previous")
    field.model = event
    return field


def add_constraint(apps: Any, schema_editor: Any) -> None:
    remove_constraint(apps, schema_editor)  # what an attempt that was stopped has left
    made = str(CONSTRAINT.create_sql(apps.get_model("optin", "AuditEvent"), schema_editor))
    schema_editor.execute(made.replace("INDEX", _INDEX[schema_editor.connection.vendor], 1))


def remove_constraint(apps: Any, schema_editor: Any) -> None:
    index = _INDEX[schema_editor.connection.vendor]
    schema_editor.execute(f"DROP {index} IF EXISTS {CONSTRAINT.name}")


_INDEX = {"postgresql": "INDEX CONCURRENTLY", "sqlite": "INDEX"}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("optin", "0017_used_codes")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add_column, remove_column)],
            [migrations.AddField("auditevent", "previous", FIELD)],
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add_constraint, remove_constraint)],
            [migrations.AddConstraint("auditevent", CONSTRAINT)],
        ),
        migrations.RunPython(protect, unprotect),
    ]
