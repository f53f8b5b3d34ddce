"""Who people are in the system that they came from."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0050_wrong_codes_of_programs")]

    operations = [
        migrations.CreateModel(
            name="ExternalId",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        settings.AUTH_USER_MODEL,
                        django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="external",
                        serialize=False,
                    ),
                ),
                ("text", models.CharField(max_length=255, unique=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("text", ""), _negated=True),
                        name="external_id_never_empty",
                    )
                ],
            },
        )
    ]
