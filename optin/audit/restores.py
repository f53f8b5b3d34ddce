"""Whether the database was restored from a backup, and which events it lost by that.

Each machine keeps one number in a file (``OPTIN_NEWEST_EVENT``): the id of the newest event that it
has seen. If the newest event of the database has a lower id, the database was restored, and the
service does not start until ``operations.restore`` has run. That lets ids go on above all lost
ones, so that other machines start, too.
"""

import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db.models import Max

from optin import keys
from optin.audit.reading import rows_of
from optin.conf import conf
from optin.models import AuditEvent

logger = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two numbers that one process writes."""

Kind = AuditEvent.Kind

# -- the newest event that this machine has seen -----------------------------------

_noted_at = float("-inf")  # by time.monotonic(); of this process


def note(event: AuditEvent, **signal: Any) -> None:
    """Write the id of *event*, which is committed, into the file: only now and then."""
    global _noted_at
    if not conf.newest_event or time.monotonic() - _noted_at < EVERY:
        return
    _noted_at = time.monotonic()
    try:
        write(event.pk)
    except OSError as exc:
        # The decision stands.
        logger.error("%s could not be written: %s", conf.newest_event, exc.strerror)


def write(event_id: int) -> None:
    """Write *event_id* into the file, unless a higher one is there."""
    try:
        if event_id <= (newest_seen() or 0):
            return
    except ValueError:
        pass  # the file is damaged
    new = f"{conf.newest_event}.{os.getpid()}.{threading.get_ident()}"
    Path(new).write_text(f"{event_id}\n", encoding="ascii")
    os.replace(new, conf.newest_event)


def newest_seen() -> int | None:
    """Return the number in the file, None if there is no file.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it holds no number.
    """
    try:
        return int(Path(conf.newest_event).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def newest_here() -> int:
    """Return the id of the newest event of the database."""
    return AuditEvent.objects.aggregate(id=Max("pk"))["id"] or 0


def is_behind() -> bool:
    """Whether the database is older than the newest event that this machine has seen.

    :raises OSError, ValueError: as ``newest_seen``.
    """
    seen = newest_seen() if conf.newest_event else None
    return seen is not None and newest_here() < seen


# -- what restores have lost -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gap:
    """The ids of the events that a restored database has lost."""

    first: int
    last: int
    at: datetime
    """When ``after_restore`` recorded it."""

    def overlap(self, first: int, last: int) -> int:
        """Return how many of the ids from *first* to *last* are among these."""
        return max(0, min(last, self.last) - max(first, self.first) + 1)


def gaps(*, former: bool = False) -> list[Gap]:
    """Return the gap of each restore after which ``after_restore`` has run.

    :param former: also those that a former digest key proves. They stand where seals show that
        nobody added them since.
    """
    found: dict[tuple[int, int], Gap] = {}
    # Releases before 0.29 recorded each gap twice: also when it began.
    events = AuditEvent.objects.led_by("kind", Kind.RESTORE).filter(outcome__in=["begun", "done"])
    for event in rows_of(events, "key_id", "digest", "previous", "outcome"):
        first, last = (event.data.get(name) for name in ("lost_from", "lost_to"))
        # The role of the service may add rows; nobody adds a proved one without the key.
        proved = event.is_proved() and (former or event.key_id == keys.digest_key_id())
        if proved and isinstance(first, int) and isinstance(last, int):
            found[first, last] = Gap(first, last, event.at)
    return list(found.values())
