"""The canary has no home, and no passkey is stopped by a restore.

The column stays for now: the release before reads it while servers are upgraded one by one.
"""

from typing import Any

from django.db import migrations


def refuse_stopped_passkeys(apps: Any, schema_editor: Any) -> None:
    """A passkey without a key was removed before a restore. No host is called like this."""
    passkeys = apps.get_model("optin", "Passkey").objects.using(schema_editor.connection.alias)
    passkeys.filter(public_key="").update(rp_id="removed.invalid")


class Migration(migrations.Migration):
    dependencies = [("optin", "0070_figures_of_three_charts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField("canary", "home")]
        ),
        migrations.RunPython(refuse_stopped_passkeys, migrations.RunPython.noop),
    ]
