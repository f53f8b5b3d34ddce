"""The triggers of the audit trail, and the roles of staff.

The trail is append-only: the database refuses everything else, whoever asks. No row is changed,
replaced or truncated, and none younger than 30 days is deleted. The clock is the database's own.
"""

from typing import Any

from django.db import migrations

TABLE = "optin_auditevent"
GUARDED = (TABLE, "optin_auditseal")

POSTGRESQL = """
    CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_refuse();
    CREATE TRIGGER {table}_no_early_delete BEFORE DELETE ON {table}
    FOR EACH ROW WHEN (OLD.at > now() - interval '30 days')
    EXECUTE FUNCTION {table}_refuse();
    CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()
"""

YOUNG = "OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-30 days')"
# REPLACE takes away whatever stands in the way of any unique value. It fires delete triggers only
# under PRAGMA recursive_triggers, which a client may leave off.
THERE = "EXISTS (SELECT 1 FROM {} WHERE {})"
SQLITE = {
    f"{TABLE}_no_update": f"UPDATE ON {TABLE}",
    f"{TABLE}_no_early_delete": f"DELETE ON {TABLE} WHEN {YOUNG}",
    f"{TABLE}_no_replace": f"INSERT ON {TABLE} WHEN {THERE.format(TABLE, 'id = NEW.id')}",
    f"{TABLE}_no_replace_of_previous": (
        f"INSERT ON {TABLE} WHEN {THERE.format(TABLE, 'previous = NEW.previous')}"
    ),
    "optin_auditseal_no_update": "UPDATE ON optin_auditseal",
    "optin_auditseal_no_early_delete": f"DELETE ON optin_auditseal WHEN {YOUNG}",
    "optin_auditseal_no_replace": "INSERT ON optin_auditseal WHEN "
    + THERE.format("optin_auditseal", "id = NEW.id OR first_id = NEW.first_id"),
}
COLUMNS = {
    f"{TABLE}_no_replace_of_previous": ": optin_auditevent.previous",
    "optin_auditseal_no_replace": ": optin_auditseal.first_id",
}
"""What the message of a trigger adds: how SQLite names a column that has to be unique."""


def protect(apps: Any, schema_editor: Any) -> None:
    # Not schema_editor.execute: it would read the % of strftime as a parameter.
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            for table in GUARDED:
                cursor.execute(POSTGRESQL.format(table=table))
            return
        for name, when in SQLITE.items():
            cursor.execute(
                f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE"
                f"(ABORT, 'the audit trail is append-only{COLUMNS.get(name, '')}'); END"
            )


def unprotect(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            for table in GUARDED:
                cursor.execute(f"DROP FUNCTION {table}_refuse() CASCADE")
            return
        for name in SQLITE:
            cursor.execute(f"DROP TRIGGER {name}")


# -- the roles of staff ------------------------------------------------------------

NAMES = {
    "view_user": "Can view account",
    "view_provideruser": "Can view mobile number",
    "view_pendingotp": "Can view code",
    "view_smsmessage": "Can view text message",
    "view_notice": "Can view mail",
    "view_guard": "Can view stop or list entry",
    "view_gatewayhealth": "Can view gateway that failed",
    "view_auditevent": "Can view audit event",
    "view_file": "Can view file",
    "view_membership": "Can view membership",
    "view_accesskey": "Can view access key",
    "view_application": "Can view application",
    "export_events": "Can take audit events away as a file",
    "act_on_accounts": "Can suspend, resume, unlock, send again, and revoke later",
    "revoke_at_once": "Can remove all second factors at once",
    "give_roles": "Can make people staff, and end that",
    "reveal_number": "Can see a number in full",
    "manage_tenants": "Can make files, members, access keys and OAuth applications",
    "manage_guards": "Can stop all texts, keep the lists, and open prefixes",
}
MODELS = {
    "export_events": "auditevent",
    "act_on_accounts": "user",
    "revoke_at_once": "user",
    "give_roles": "user",
    "reveal_number": "provideruser",
    "manage_tenants": "file",
    "manage_guards": "guard",
}
READS = [name for name in NAMES if name.startswith("view_")]
ROLES = {
    "auditor": [*READS, "export_events"],
    "support": [*READS, "act_on_accounts"],
    "administrator": list(NAMES),
}


def make_roles(apps: Any, schema_editor: Any) -> None:
    """Make the groups; and their permissions, which Django makes after all migrations."""
    content_types = apps.get_model("contenttypes", "ContentType").objects
    permissions = apps.get_model("auth", "Permission").objects
    groups = apps.get_model("auth", "Group").objects
    made = {}
    for codename, name in NAMES.items():
        model = MODELS.get(codename, codename.removeprefix("view_"))
        app = "oauth2_provider" if model == "application" else "optin"
        content_type, _ = content_types.get_or_create(app_label=app, model=model)
        made[codename], _ = permissions.get_or_create(
            content_type=content_type, codename=codename, defaults={"name": name}
        )
    for role, codenames in ROLES.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.add(*(made[codename] for codename in codenames))


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0002_tables"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [
        migrations.RunPython(protect),
        migrations.RunPython(make_roles),
    ]
