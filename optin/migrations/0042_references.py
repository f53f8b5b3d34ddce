"""To which requests a count of refusals leads."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0041_audit_notes"),
    ]

    operations = [
        migrations.AddField(
            model_name="refusalcount",
            name="recent",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
