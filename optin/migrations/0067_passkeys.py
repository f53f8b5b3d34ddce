"""Passkeys and security keys."""

from django.conf import settings
from django.db import migrations, models

from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("optin", "0066_index_of_skipped_events")]

    operations = [
        migrations.AddField(
            "user", "passkey_challenge_at", models.DateTimeField(blank=True, null=True)
        ),
        table(
            "Passkey",
            name=models.CharField(max_length=40),
            confirmed=models.BooleanField(default=True, help_text="Is this device ready for use?"),
            credential_id=models.CharField(max_length=1364, unique=True),
            public_key=models.TextField(),
            sign_count=models.PositiveBigIntegerField(),
            can_be_backed_up=models.BooleanField(),
            is_backed_up=models.BooleanField(),
            transports=models.CharField(blank=True, max_length=100),
            created_at=models.DateTimeField(),
            last_used_at=models.DateTimeField(blank=True, null=True),
            user=models.ForeignKey(
                settings.AUTH_USER_MODEL, models.CASCADE, related_name="passkeys"
            ),
        ),
    ]
