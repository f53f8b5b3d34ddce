"""A passkey that was removed before a restore, and so had no key, is one of a host of its own."""

from typing import Any

from django.db import migrations


def refuse_stopped_passkeys(apps: Any, schema_editor: Any) -> None:
    """Name a host that cannot exist: passkeys of another host are refused."""
    passkeys = apps.get_model("optin", "Passkey").objects.using(schema_editor.connection.alias)
    passkeys.filter(public_key="").update(rp_id="removed.invalid")


class Migration(migrations.Migration):
    dependencies = [("optin", "0071_no_homes")]

    operations = [
        migrations.RunPython(refuse_stopped_passkeys, migrations.RunPython.noop),
    ]
