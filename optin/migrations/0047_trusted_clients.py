"""Clients that may name the addresses of their users."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0003_trail_and_roles")]

    operations = [
        migrations.CreateModel(
            name="TrustedClient",
            fields=[
                (
                    "application",
                    models.OneToOneField(
                        settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
                        models.CASCADE,
                        primary_key=True,
                        related_name="trust",
                        serialize=False,
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
    ]
