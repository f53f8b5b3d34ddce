"""The skipped events of an endpoint, which its page lists."""

from django.db import migrations
from django.db.models import Index, Q

from optin.migrations._concurrently import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("optin", "0065_skipped_events")]

    operations = [
        AddIndexConcurrently(
            "webhooktry",
            Index(condition=Q(skipped=True), fields=["endpoint"], name="webhook_try_skipped"),
        )
    ]
