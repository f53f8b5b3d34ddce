from typing import Any

from django.core.management.base import BaseCommand

from optin import upkeep
from optin.management.commands import ORIGIN


class Command(BaseCommand):
    help = "Delete what is past its time, in small steps. Run it each hour; again after a kill."

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = upkeep.purge(origin=ORIGIN)
        for kind in upkeep.KINDS:
            self.stdout.write(f"{kind.replace('_', ' ')}: {deleted[kind]}")
