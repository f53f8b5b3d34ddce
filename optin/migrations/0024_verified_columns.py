"""What was called proved is verified, as all labels say. No value changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("optin", "0023_last_attempt")]

    operations = [
        migrations.RenameField("sendcounter", "proved", "verified"),
        migrations.RenameField("figure", "proved", "verified"),
        migrations.RenameField("guard", "unproved", "unverified"),
        # Its label is now its name.
        migrations.AlterField("guard", "unverified", models.PositiveIntegerField(default=0)),
    ]
