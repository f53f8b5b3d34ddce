from typing import Any

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import retention


class Command(BaseCommand):
    help = "Delete what is past its time, in small steps. Run it each hour; again after a kill."

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = retention.purge(origin=ORIGIN)
        for kind in retention.KINDS:
            self.stdout.write(f"{kind.replace('_', ' ')}: {deleted[kind]}")
