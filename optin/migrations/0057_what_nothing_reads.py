"""Tables and columns that this release no longer reads. The next one drops them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0054_scim")]

    operations = [
        # So that an endpoint can go without the rows that are left about it.
        migrations.AlterField(
            "webhookrepeat",
            "endpoint",
            models.ForeignKey(
                "optin.WebhookEndpoint",
                django.db.models.deletion.CASCADE,
                db_constraint=False,
                related_name="repeats",
            ),
        ),
        migrations.AlterField("auditnote", "stamp", models.TextField(blank=True, db_default="")),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel("Rehearsal"),
                migrations.DeleteModel("WebhookRepeat"),
                migrations.RemoveField("auditnote", "stamp"),
                migrations.RemoveField("webhookendpoint", "slow"),
            ]
        ),
    ]
