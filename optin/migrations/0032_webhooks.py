"""Webhooks: endpoints of files, the events for them, and the log of the attempts."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0031_kinds_of_events"),
    ]

    operations = [
        migrations.AddField(
            model_name="file",
            name="webhook_sequence",
            field=models.BigIntegerField(db_default=0, default=0),
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
                    ("revoke", "All second factors removed by staff, or as asked at sign-in"),
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
                    ("revocation", "Removal after a while: asked for, or called off"),
                    ("restore", "Database restored from a backup"),
                    ("session", "Signed out somewhere else"),
                    ("email", "E-mail address"),
                    ("person", "Account made, deactivated or activated by an operator"),
                    ("test_text", "Test text sent by an operator"),
                    ("webhook", "Webhook endpoint"),
                ],
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("url", models.CharField(max_length=500)),
                ("secrets_encrypted", models.CharField(max_length=300)),
                ("old_secret_ends_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("off_at", models.DateTimeField(blank=True, null=True)),
                (
                    "off_why",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("staff", "switched off by staff"),
                            ("failing", "switched off: all attempts failed"),
                        ],
                        max_length=8,
                    ),
                ),
                ("cursor", models.BigIntegerField(default=0)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField()),
                ("claimed_at", models.DateTimeField(blank=True, null=True)),
                ("claims", models.BigIntegerField(default=0)),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhook_endpoints",
                        to="optin.file",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook endpoint",
            },
        ),
        migrations.CreateModel(
            name="WebhookEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("message_id", models.CharField(max_length=40, unique=True)),
                ("kind", models.CharField(max_length=24)),
                ("at", models.DateTimeField()),
                ("provider_user_id", models.BigIntegerField(null=True)),
                ("reason", models.CharField(blank=True, max_length=16)),
                ("transaction", models.BigIntegerField(default=0)),
                ("sequence", models.BigIntegerField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tests",
                        to="optin.webhookendpoint",
                    ),
                ),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhook_events",
                        to="optin.file",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook event",
            },
        ),
        migrations.CreateModel(
            name="WebhookTry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("message_id", models.CharField(max_length=40)),
                ("kind", models.CharField(max_length=24)),
                ("sequence", models.BigIntegerField(null=True)),
                ("at", models.DateTimeField()),
                ("status", models.PositiveSmallIntegerField(default=0)),
                ("milliseconds", models.PositiveIntegerField()),
                ("answer", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, max_length=200)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tries",
                        to="optin.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name": "attempt at a webhook",
            },
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("off_at__isnull", True), ("off_why", "")),
                    models.Q(("off_at__isnull", False), models.Q(("off_why", ""), _negated=True)),
                    _connector="OR",
                ),
                name="webhook_endpoint_off_for_a_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookevent",
            index=models.Index(
                condition=models.Q(("sequence__isnull", True)),
                fields=["id"],
                name="webhook_event_no_sequence",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookevent",
            index=models.Index(fields=["at"], name="webhook_event_by_time"),
        ),
        migrations.AddIndex(
            model_name="webhookevent",
            index=models.Index(
                condition=models.Q(("provider_user_id__isnull", False)),
                fields=["provider_user_id"],
                name="webhook_event_by_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookevent",
            constraint=models.UniqueConstraint(
                fields=("file", "sequence"), name="webhook_event_sequence"
            ),
        ),
        migrations.AddIndex(
            model_name="webhooktry",
            index=models.Index(fields=["at"], name="webhook_try_by_time"),
        ),
    ]
