import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from optin.audit import repeats
from optin.management.commands import ORIGIN, BaseCommand
from optin.messaging import delivery, receipts, webhooks
from optin.operations import email_changes, own_removals, revocations
from optin.support import statistics

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Do what is due, as workers do: send the texts, mails and events that wait, carry out the "
        "removals and changes of email addresses that nobody cancelled, "
        "and count the figures of the admin. Run it each minute."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = []
        for step in _STEPS:
            try:
                for words in step():
                    self.stdout.write(words)
            except Exception:
                logger.exception("a step of send_due failed")
                failed.append(step.__name__.strip("_").replace("_", " "))
        if failed:
            raise CommandError(f"Not done, see the log: {', '.join(failed)}.")


def _texts_and_mails() -> Iterator[str]:
    yield f"Sent {delivery.send_due(timezone.now())}."
    receipts.report_of_sandboxes(timezone.now())


def _removals() -> Iterator[str]:
    own_removals.remind(origin=ORIGIN)
    carried = revocations.carry_out(origin=ORIGIN)
    yield f"Removals: carried out {carried.out}, called off {carried.off}."


def _addresses() -> Iterator[str]:
    changed = email_changes.carry_out(origin=ORIGIN)
    yield f"Email addresses: changed {changed.out}, called off {changed.off}."


def _figures() -> Iterator[str]:
    yield f"Figures: counted {statistics.roll_up(timezone.now())}."


def _audit_trail() -> Iterator[str]:
    repeats.tell(timezone.now())
    yield from ()


def _webhooks() -> Iterator[str]:
    if sent := webhooks.send_due(seconds=40):
        yield f"Sent {sent} events to webhook endpoints."


_STEPS: tuple[Callable[[], Iterator[str]], ...] = (
    # First what people wait for, last what takes long if an endpoint is slow.
    *(_texts_and_mails, _removals, _addresses, _figures, _audit_trail, _webhooks),
)
