"""Seals over the audit trail, guarded as its events are (migration 0002)."""

from typing import Any

from django.db import migrations, models
from django.db.models import F, Q

POSTGRESQL = [
    """
    CREATE FUNCTION optin_auditseal_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER optin_auditseal_no_update BEFORE UPDATE ON optin_auditseal
    FOR EACH ROW EXECUTE FUNCTION optin_auditseal_refuse()
    """,
    """
    CREATE TRIGGER optin_auditseal_no_early_delete BEFORE DELETE ON optin_auditseal
    FOR EACH ROW WHEN (OLD.at > now() - interval '30 days')
    EXECUTE FUNCTION optin_auditseal_refuse()
    """,
    """
    CREATE TRIGGER optin_auditseal_no_truncate BEFORE TRUNCATE ON optin_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION optin_auditseal_refuse()
    """,
]
POSTGRESQL_REVERSE = ["DROP FUNCTION optin_auditseal_refuse() CASCADE"]

SQLITE = [
    """
    CREATE TRIGGER optin_auditseal_no_update BEFORE UPDATE ON optin_auditseal
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    """
    CREATE TRIGGER optin_auditseal_no_early_delete BEFORE DELETE ON optin_auditseal
    WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-30 days')
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    # REPLACE takes away whatever stands in the way of any unique value.
    """
    CREATE TRIGGER optin_auditseal_no_replace BEFORE INSERT ON optin_auditseal
    WHEN EXISTS (SELECT 1 FROM optin_auditseal WHERE id = NEW.id OR first_id = NEW.first_id)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only: optin_auditseal.first_id'); END
    """,
]
SQLITE_REVERSE = [
    f"DROP TRIGGER optin_auditseal_{name}"
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
    dependencies = [("optin", "0003_audit_kinds_and_other_user")]
    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("count", models.PositiveIntegerField()),
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 over the digests of the events.", max_length=64
                    ),
                ),
                ("at", models.DateTimeField(help_text="When the seal was made.")),
                ("key_id", models.CharField(max_length=8)),
                (
                    "proof",
                    models.CharField(
                        help_text="Keyed digest of all that the seal says.", max_length=64
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("first_id",), name="audit_seal_one_from_each_start"
                    ),
                    models.CheckConstraint(
                        condition=Q(last_id__gte=F("first_id")),
                        name="audit_seal_ends_after_its_start",
                    ),
                    models.CheckConstraint(
                        condition=Q(count__gt=0), name="audit_seal_holds_an_event"
                    ),
                ],
            },
        ),
        migrations.RunPython(protect, unprotect),
    ]
