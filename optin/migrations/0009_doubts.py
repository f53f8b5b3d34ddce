"""Messages that wait during the upgrade: each try made so far may have left."""

from typing import Any

from django.db import migrations
from django.db.models import F


def tries_were_doubts(apps: Any, schema_editor: Any) -> None:
    for name in ("SmsMessage", "Notice"):
        waiting = apps.get_model("optin", name).objects.filter(state__in=["queued", "sending"])
        waiting.update(doubts=F("tries"))


class Migration(migrations.Migration):
    dependencies = [("optin", "0008_gateways")]

    operations = [migrations.RunPython(tries_were_doubts, migrations.RunPython.noop)]
