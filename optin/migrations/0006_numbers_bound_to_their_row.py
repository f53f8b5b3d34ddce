"""Encrypt anew the numbers that are bound to their user only.

At first a number opened in any row of its user; now in its own row only. Needs the key
ring (``OPTIN_KEYS``). May be stopped and started again, and run while the service runs.
"""

from typing import Any

from django.db import migrations

from optin import keys

CHUNK = 500
"""Rows that are held in memory at a time."""


def bind(apps: Any, schema_editor: Any) -> None:
    rows = apps.get_model("optin", "ProviderUser").objects.order_by("pk")
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:CHUNK]):
        for row in chunk:
            bound = _bound(row)
            if bound != row.number_encrypted:
                # Not one that the service has encrypted anew meanwhile.
                rows.filter(pk=row.pk, number_encrypted=row.number_encrypted).update(
                    number_encrypted=bound
                )
        last = chunk[-1].pk


def _bound(row: Any) -> str:
    """Return the ciphertext of *row*, openable in that row only."""
    stored, own = row.number_encrypted, f"number {row.number_digest} of user {row.user_id}"
    try:
        keys.decrypt(stored, context=own)
    except keys.UndecryptableError:
        pass
    else:
        return str(stored)
    try:
        number = keys.decrypt(stored, context=f"number of user {row.user_id}")
    except keys.UndecryptableError:
        number = ""
    # What opens in any row of the user may have been put here from another one.
    if not number or keys.digest("number", number) != row.number_digest:
        raise keys.UndecryptableError(
            f"the number of provider user {row.pk} does not open: "
            "give the keys it was stored with, in OPTIN_KEYS and OPTIN_DIGEST_KEY"
        )
    return keys.encrypt(number, context=own)


class Migration(migrations.Migration):
    # Each row by itself: nothing else waits for the last one.
    atomic = False

    dependencies = [
        ("optin", "0005_keys"),
    ]

    operations = [
        # Nothing to take back: what the service reads now was written before this, too.
        migrations.RunPython(bind, migrations.RunPython.noop, elidable=False),
    ]
