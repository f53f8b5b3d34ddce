"""The last guess of an account becomes its last attempt. No value changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("optin", "0022_unknown_attempts")]

    operations = [
        migrations.RenameField("user", f"last_guess{part}", f"last_attempt{part}")
        for part in ("", "_as", "_at")
    ]
