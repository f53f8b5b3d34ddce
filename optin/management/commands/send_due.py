from typing import Any

from django.utils import timezone

from optin.audit import repeats
from optin.management.commands import BaseCommand
from optin.messaging import delivery, receipts, webhooks
from optin.operations import audit_stream


class Command(BaseCommand):
    help = (
        "Send the texts and mails that an interrupted request left behind, and the events for "
        "webhook endpoints, and write the audit stream. Run it each minute."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # First what people wait for: it leaves also where no event can be added.
        self.stdout.write(f"Sent {delivery.send_due(timezone.now())}.")
        receipts.report_of_sandboxes(timezone.now())
        repeats.tell(timezone.now())
        audit_stream.write_due(seconds=10)
        # Last, because a slow endpoint takes long.
        if sent := webhooks.send_due(seconds=40):
            self.stdout.write(f"Sent {sent} events to webhook endpoints.")
