"""Wrong codes of an app that no right code forgives, and the first of two codes in a row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0038_managers"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="app_failures_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="authenticatorapp",
            name="first_step",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
