"""Webhook endpoints: the events that each gets, who made it, and events to send again."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0033_client_reference"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookendpoint",
            name="description",
            field=models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            model_name="webhookendpoint",
            name="kinds",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.AddField(
            model_name="webhookendpoint",
            name="made_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
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
                    ("own_removal", "All second factors will be removed, as asked at sign-in"),
                    ("own_removal_off", "The removal asked for at sign-in was called off"),
                    ("own_removed", "All second factors were removed, as asked at sign-in"),
                    ("key_made", "An access key was made"),
                    ("key_revoked", "An access key was revoked"),
                    ("role", "The role as a member of staff was changed"),
                    ("email_prove", "A new e-mail address is to be confirmed"),
                    ("email_asked", "A new e-mail address was asked for"),
                    ("email_changed", "The e-mail address was changed"),
                    ("email_off", "The e-mail address was not changed"),
                    ("endpoint_off", "A webhook endpoint was switched off"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="webhookendpoint",
            name="off_why",
            field=models.CharField(
                blank=True,
                choices=[
                    ("staff", "switched off by staff"),
                    ("member", "switched off by a member of the file"),
                    ("failing", "switched off: all attempts failed"),
                ],
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="webhookevent",
            name="reason",
            field=models.CharField(blank=True, max_length=32),
        ),
        migrations.CreateModel(
            name="WebhookRepeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cursor", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
                ("due_at", models.DateTimeField()),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="repeats",
                        to="optin.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name": "repeat of webhook events",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("cursor__lt", models.F("last"))),
                        name="webhook_repeat_has_an_event",
                    )
                ],
            },
        ),
    ]
