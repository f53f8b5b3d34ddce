"""The address at which a person has followed a mailed link."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0057_what_nothing_reads")]

    operations = [
        migrations.AddField(
            "user",
            "proved_email",
            models.EmailField(blank=True, db_default="", default="", max_length=254),
        ),
    ]
