from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from optin import delivery, refusals


class Command(BaseCommand):
    help = "Send the texts and mails that an interrupted request left behind. Run it each minute."

    def handle(self, *args: Any, **options: Any) -> None:
        refusals.tell(timezone.now())
        self.stdout.write(f"Sent {delivery.send_due(timezone.now())}.")
