"""Staff: what there is to be allowed, and the roles as groups.

A role that operators changed since is theirs: what is here is only ever added. In a
later migration too, whatever ``optin.staff`` says by then.
"""

from typing import Any

from django.db import migrations, models

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
    "act_on_accounts": "Can suspend, resume, unlock and send again",
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
        ("optin", "0009_doubts"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="auditevent",
            options={"permissions": [("export_events", "Can take audit events away as a file")]},
        ),
        migrations.AlterModelOptions(
            name="file",
            options={
                "permissions": [
                    (
                        "manage_tenants",
                        "Can make files, members, access keys and OAuth applications",
                    )
                ]
            },
        ),
        migrations.AlterModelOptions(
            name="guard",
            options={
                "permissions": [
                    ("manage_guards", "Can stop all texts, keep the lists, and open prefixes")
                ],
                "verbose_name": "stop or list entry",
                "verbose_name_plural": "stops and lists",
            },
        ),
        migrations.AlterModelOptions(
            name="provideruser",
            options={
                "permissions": [("reveal_number", "Can see a number in full")],
                "verbose_name": "mobile number",
            },
        ),
        migrations.AlterModelOptions(name="notice", options={"verbose_name": "mail"}),
        migrations.AlterModelOptions(name="pendingotp", options={"verbose_name": "code"}),
        migrations.AlterModelOptions(name="smsmessage", options={"verbose_name": "text message"}),
        migrations.AlterModelOptions(
            name="gatewayhealth",
            options={
                "verbose_name": "gateway that failed",
                "verbose_name_plural": "gateways that failed",
            },
        ),
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [
                    ("act_on_accounts", "Can suspend, resume, unlock and send again"),
                    ("revoke_at_once", "Can remove all second factors at once"),
                    ("give_roles", "Can make people staff, and end that"),
                ],
                "verbose_name": "account",
            },
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opt_in", "Opt-in: text asked for"),
                    ("verify_opt_in", "Opt-in: code entered"),
                    ("challenge", "Text asked for"),
                    ("check", "Code entered"),
                    ("opt_out", "Opt-out: code entered"),
                    ("sign_in", "Signed in with a password"),
                    ("refresh", "Token refreshed"),
                    ("token", "Token given at /o/token/"),
                    ("access", "Access refused"),
                    ("suspend", "Suspended by staff"),
                    ("resume", "Suspension ended by staff"),
                    ("unlock", "Unlocked by staff"),
                    ("revoke", "Number removed by staff"),
                    ("file", "File"),
                    ("member", "Member of a file"),
                    ("access_key", "Access key"),
                    ("password_clients", "Sign-in by password for clients without an id"),
                    ("keys", "Keys"),
                    ("purge", "Old rows deleted"),
                    ("erase", "Person erased"),
                    ("password", "Password"),
                    ("app", "Authenticator app"),
                    ("recovery_codes", "Recovery codes"),
                    ("disown", "This was not me"),
                    ("consent", "Application allowed to act"),
                    ("stop", "All texts stopped, or allowed again, by staff"),
                    ("breaker", "Closed prefix opened by staff"),
                    ("deny", "Deny list"),
                    ("safe", "Safe list"),
                    ("no_texts", "Texts to a number stopped by its owner, or allowed again"),
                    ("resend", "Text sent again by staff"),
                    ("reveal", "Number seen in full by staff"),
                    ("role", "Role of staff"),
                    ("export", "Audit events handed out as a file"),
                    ("application", "OAuth application"),
                    ("search", "Full number searched by staff"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(file_id__isnull=False),
                fields=["file_id", "-id"],
                name="audit_event_by_file",
            ),
        ),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
