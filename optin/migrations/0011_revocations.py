"""Revocations that take effect after a while; mails about those, access keys and roles."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NAME = "Can suspend, resume, unlock, send again, and revoke later"


def name_permission(apps: Any, schema_editor: Any) -> None:
    """Say what the permission is for: Django leaves the name of one that exists alone."""
    permissions = apps.get_model("auth", "Permission").objects
    permissions.filter(
        codename="act_on_accounts", content_type__app_label="optin", content_type__model="user"
    ).update(name=NAME)


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0010_staff"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [
                    (
                        "act_on_accounts",
                        "Can suspend, resume, unlock, send again, and revoke later",
                    ),
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
                    ("revocation", "Removal after a while: asked for by staff, or called off"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="notice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("activated", "Two-factor sign-in was turned on"),
                    ("released", "Two-factor sign-in was turned off"),
                    ("revoked", "Staff removed the mobile number"),
                    ("locked", "Codes are refused for a while"),
                    ("disabled", "Codes by text message were disabled"),
                    ("suspended", "Staff suspended the mobile number"),
                    ("resumed", "Staff ended the suspension"),
                    ("unlocked", "Staff unlocked the account"),
                    ("number_claimed", "Somebody else proved this number"),
                    ("changed", "The mobile number was changed"),
                    ("app_added", "An authenticator app was added"),
                    ("app_removed", "The authenticator app was removed"),
                    ("recovery_codes", "New recovery codes were made"),
                    ("recovered", "A recovery code was used"),
                    ("password", "The password was changed"),
                    ("password_reset", "A new password was asked for"),
                    ("disowned", "A change was taken back"),
                    ("no_texts", "STOP came from the mobile number"),
                    ("revoke_planned", "Staff will remove all second factors"),
                    ("revoke_off", "The removal of all second factors was called off"),
                    ("key_made", "An access key was made"),
                    ("key_revoked", "An access key was revoked"),
                    ("role", "The role as a member of staff was changed"),
                ],
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="Revocation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("actor_id", models.BigIntegerField(null=True)),
                ("reason", models.CharField(max_length=500)),
                ("asked_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "closed_as",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("cancelled", "Cancelled by the person"),
                            ("withdrawn", "Withdrawn by staff"),
                            ("done", "Carried out"),
                            ("out_of_reach", "Who asked for it may not do it any more"),
                            ("deactivated", "The account is deactivated"),
                            ("untold", "The mail about it did not leave in time"),
                            ("set_up_since", "A second factor was set up since"),
                            ("nothing", "There was nothing to remove"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="revocations",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at", None)),
                        fields=["due_at"],
                        name="revocation_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at", None)),
                        fields=("user",),
                        name="revocation_one_open_per_user",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_as", ""), ("closed_at", None)),
                            models.Q(
                                ("closed_at__isnull", False),
                                models.Q(("closed_as", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="revocation_closed_says_how",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("due_at__gt", models.F("asked_at"))),
                        name="revocation_is_due_after_it_was_asked",
                    ),
                ],
            },
        ),
        migrations.RunPython(name_permission, migrations.RunPython.noop),
    ]
