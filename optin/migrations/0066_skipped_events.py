"""Whether an event was skipped after an attempt to send it to an endpoint failed."""

from django.db import migrations, models

from optin.migrations._concurrently import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("optin", "0064_idempotency_keys")]

    operations = [
        migrations.AddField(
            "webhooktry", "skipped", models.BooleanField(db_default=False, default=False)
        ),
        AddIndexConcurrently(
            "webhooktry",
            models.Index(
                condition=models.Q(("skipped", True)),
                fields=["endpoint"],
                name="webhook_try_skipped",
            ),
        ),
    ]
