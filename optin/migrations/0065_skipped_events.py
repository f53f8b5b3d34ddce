"""Whether an event was skipped after an attempt to send it to an endpoint failed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0064_idempotency_keys")]

    operations = [
        migrations.AddField(
            "webhooktry", "skipped", models.BooleanField(db_default=False, default=False)
        )
    ]
