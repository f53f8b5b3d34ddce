"""On which server the database lives."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0048_mails_of_endpoints_and_consents"),
    ]

    operations = [
        migrations.AddField(
            model_name="canary",
            name="home",
            field=models.CharField(blank=True, db_default="", default="", max_length=48),
        ),
    ]
