"""Answers to requests with an Idempotency-Key, which get the same answer again for a day."""

from django.conf import settings
from django.db import migrations, models

from optin.migrations._tables import table


class Migration(migrations.Migration):
    dependencies = [("optin", "0003_trail_and_roles")]

    operations = [
        table(
            "IdempotencyKey",
            digest=models.CharField(max_length=64, primary_key=True, serialize=False),
            body_digest=models.CharField(max_length=64),
            request_id=models.CharField(max_length=36),
            answer=models.JSONField(),
            answered_at=models.DateTimeField(db_index=True),
            user=models.ForeignKey(
                settings.AUTH_USER_MODEL, models.CASCADE, related_name="idempotency_keys"
            ),
            options={"default_permissions": ()},
        )
    ]
