from typing import Any

from django.utils import timezone

from optin.management.commands import BaseCommand
from optin.support import statistics


class Command(BaseCommand):
    help = "Count the figures of the home page of staff, from where it was. Run it each 5 minutes."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Counted {statistics.roll_up(timezone.now())}.")
