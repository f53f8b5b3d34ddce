"""Who manages a file."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0037_webhook_sending"),
    ]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="manages",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
