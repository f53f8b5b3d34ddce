"""A text may be withheld. Only the names of states change, so nothing does in the database."""

from django.db import migrations, models

STATES = [
    ("queued", "Waiting to be sent"),
    ("sending", "Being sent"),
    ("sent", "Taken by the gateway"),
    ("delivered", "Delivered"),
    ("failed", "Failed"),
    ("expired", "Not sent: its code was of no use any more"),
    ("withheld", "Not sent, and whoever asked was not told"),
]


class Migration(migrations.Migration):
    dependencies = [("optin", "0018_copies_of_audit_events")]

    operations = [
        migrations.AlterField(
            model_name=model,
            name="state",
            field=models.CharField(choices=STATES, default="queued", max_length=9),
        )
        for model in ("notice", "smsmessage")
    ]
