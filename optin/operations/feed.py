"""The feed of a file: its events, for a client that reads them by ``GET /events``."""

from optin.errors import CursorGone
from optin.messaging.webhooks import CHUNK, give_numbers
from optin.models import File, WebhookEvent


def latest(file: File) -> int:
    """Return the ``sequence`` of the last event of *file*, after which a new client begins."""
    while give_numbers(file) == CHUNK:
        pass
    return File.objects.values_list("webhook_sequence", flat=True).get(pk=file.pk)


def after(file: File, cursor: int, *, limit: int) -> list[WebhookEvent]:
    """Return the next events of *file*, at most *limit*, in the order of their ``sequence``.

    Events without a number get one first, so this works without workers too. It does not wait for
    another process that gives numbers: the next call returns those events.

    :param cursor: the ``sequence`` of the last event that the client has; 0 for none.
    :raises CursorGone: if the event after that is not kept, or *cursor* is beyond the last one.
    """
    # Read before the events: later, a number given meanwhile would look like one that is gone.
    last = File.objects.values_list("webhook_sequence", flat=True).get(pk=file.pk)
    of_file = WebhookEvent.objects.filter(file=file)
    if of_file.filter(sequence=None, endpoint=None).exists():
        give_numbers(file)
    events = list(of_file.filter(sequence__gt=cursor).order_by("sequence")[:limit])
    follows = events[0].sequence == cursor + 1 if events else last == cursor
    if cursor and not follows:
        raise CursorGone
    return events
