"""The language of mails and texts to a person that no page caused, and when they were invited."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0051_external_ids")]

    operations = [
        migrations.AddField(
            "user",
            "language",
            models.CharField(blank=True, db_default="", default="", max_length=8),
        ),
        migrations.AddField("user", "invited_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "user", "invitation_used_at", models.DateTimeField(blank=True, null=True)
        ),
    ]
