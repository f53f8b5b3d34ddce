"""Whether a webhook endpoint is slow: then it takes no place of the others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0036_audit_stream"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookendpoint",
            name="slow",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
