"""The reference that a client gives to a number, also in the events about it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0032_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="provideruser",
            name="client_reference",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="webhookevent",
            name="reference",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
    ]
