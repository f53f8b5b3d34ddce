"""Changes of e-mail addresses; mails and audit events about them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0028_text_first"),
    ]

    operations = [
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
                    ("restore", "Database restored from a backup"),
                    ("session", "Signed out somewhere else"),
                    ("email", "E-mail address"),
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
                    ("released", "The mobile number was removed"),
                    ("revoked", "Staff removed the mobile number"),
                    ("locked", "Codes are refused for a while"),
                    ("disabled", "Codes by text message were disabled"),
                    ("suspended", "Staff suspended the mobile number"),
                    ("resumed", "Staff ended the suspension"),
                    ("unlocked", "Staff unlocked the account"),
                    ("number_claimed", "Somebody else verified this number"),
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
                    ("email_prove", "A new e-mail address is to be confirmed"),
                    ("email_asked", "A new e-mail address was asked for"),
                    ("email_changed", "The e-mail address was changed"),
                    ("email_off", "The e-mail address was not changed"),
                ],
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="EmailChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("old_address", models.EmailField(blank=True, max_length=254)),
                ("new_address", models.EmailField(max_length=254)),
                ("asked_at", models.DateTimeField()),
                ("proved_at", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "closed_as",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("done", "It took effect"),
                            ("cancelled", "Cancelled by the person"),
                            ("replaced", "Another address was asked for"),
                            ("secured", "The account was secured, such as by a new password"),
                            ("deactivated", "The account was deactivated"),
                            ("taken", "Another account has the address"),
                            ("otherwise", "The address was changed in another way"),
                            ("untold", "The mail to the old address was not sent in time"),
                            ("restored", "The database was restored from a backup"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="email_changes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at", None), ("due_at__isnull", False)),
                        fields=["due_at"],
                        name="email_change_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at", None)),
                        fields=("user",),
                        name="email_change_one_open_per_user",
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
                        name="email_change_closed_says_how",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("due_at", None), ("proved_at", None)),
                            models.Q(
                                ("due_at__gte", models.F("proved_at")), ("proved_at__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="email_change_is_due_once_proved",
                    ),
                ],
            },
        ),
    ]
