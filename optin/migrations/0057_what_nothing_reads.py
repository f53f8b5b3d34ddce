"""Tables and columns that no model has any more. 0060 drops them."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0054_scim")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel("Rehearsal"),
                migrations.DeleteModel("WebhookRepeat"),
                migrations.RemoveField("auditnote", "stamp"),
                migrations.RemoveField("webhookendpoint", "slow"),
            ]
        ),
    ]
