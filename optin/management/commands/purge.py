from typing import Any

from django.utils import timezone

from optin.conf import conf
from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import notary, retention


class Command(BaseCommand):
    help = "Delete what is past its time, in small steps. Run it each hour; again after a kill."

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = retention.purge(origin=ORIGIN)
        for kind in retention.KINDS:
            self.stdout.write(f"{kind.replace('_', ' ')}: {deleted[kind]}")
        # After the rest, because a slow place takes long. Workers do it by themselves.
        if conf.delivery != "worker":
            notary.give_due(timezone.now())
