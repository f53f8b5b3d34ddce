"""Applications that keep people up to date by SCIM, and whose access they have ended."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0052_proposed_numbers")]

    operations = [
        migrations.AddField(
            "file",
            "external_id",
            models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.CreateModel(
            name="ScimClient",
            fields=[
                (
                    "application",
                    models.OneToOneField(
                        settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
                        django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="scim",
                        serialize=False,
                    ),
                ),
                (
                    "file",
                    models.ForeignKey(
                        "optin.file",
                        django.db.models.deletion.CASCADE,
                        blank=True,
                        null=True,
                        related_name="+",
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="ScimEnd",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("deleted", models.BooleanField(db_default=False, default=False)),
                (
                    "application",
                    models.ForeignKey(
                        settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
                        django.db.models.deletion.CASCADE,
                        related_name="+",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        settings.AUTH_USER_MODEL,
                        django.db.models.deletion.CASCADE,
                        related_name="scim_ends",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("application", "user"), name="scim_end_unique")
                ],
            },
        ),
    ]
