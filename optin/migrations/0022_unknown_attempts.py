"""The doubts of a text or a mail become its unknown attempts. No value changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0021_verified_labels")]

    operations = [
        migrations.RenameField(model, "doubts", "unknown_attempts")
        for model in ("smsmessage", "notice")
    ]
