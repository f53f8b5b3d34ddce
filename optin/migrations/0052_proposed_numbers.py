"""Numbers that are proposed to people, and what the system before verified."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0053_language_of_people")]

    operations = [
        migrations.CreateModel(
            name="ProposedNumber",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        settings.AUTH_USER_MODEL,
                        django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="proposed",
                        serialize=False,
                    ),
                ),
                ("number_encrypted", models.TextField()),
                ("last_three", models.CharField(max_length=3)),
                ("source", models.CharField(max_length=16)),
                ("proposed_at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(
            model_name="provideruser",
            name="taken_over_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="provideruser",
            name="taken_over_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
    ]
