"""What the database has lost because it was restored, and whether that was dealt with.

The ledger shows it, or that the database is not at home (``homes``).

Events of the kind "restore" record it. Their outcome is "noticed" (``is_behind``), then "begun" and
"done" (``operations.restore``). There is also one for each decision that was carried out again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Min

from optin import keys
from optin.audit import homes, ledger
from optin.audit.ledger import Line
from optin.audit.reading import rows_of
from optin.audit.seals import drawn
from optin.conf import conf
from optin.models import AuditEvent
from optin.origin import Face, Origin

logger = logging.getLogger(__name__)

_CHUNK = 1000  # lines at a time

_EVER = datetime.min.replace(tzinfo=UTC)

Kind = AuditEvent.Kind


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


def gaps(outcome: str, *, former: bool = False) -> list[Gap]:
    """Return the gaps of all restores whose ``after_restore`` has this outcome.

    :param outcome: "begun" or "done".
    :param former: also those that a former digest key proves. They stand where seals show that
        nobody added them since.
    """
    found = []
    for event in _events(outcome=outcome):
        first, last = (event.data.get(name) for name in ("lost_from", "lost_to"))
        proved = event.is_proved() if former else _is_ours(event)
        if proved and isinstance(first, int) and isinstance(last, int):
            found.append(Gap(first, last, event.at))
    return found


def unfinished() -> AuditEvent | None:
    """Return the newest event of a restore that ``after_restore`` has not finished, or None.

    Its outcome is "noticed" or "begun".
    """
    events = (event for event in _events() if event.outcome not in AGAIN)
    newest = next(filter(_is_ours, events), None)
    return newest if newest and newest.outcome != "done" else None


def carried_out() -> set[tuple[int, str]]:
    """Return the ids and digests of the lost events whose decisions were carried out again."""
    events = _events(outcome__in=AGAIN)
    return {(event.data["event"], event.data["digest"]) for event in events if _is_ours(event)}


def _events(**which: Any) -> list[AuditEvent]:
    """The events of restores, newest first, whatever somebody did to them."""
    events = AuditEvent.objects.led_by("kind", Kind.RESTORE).filter(**which)
    return rows_of(events, "key_id", "digest", "previous", "outcome")


AGAIN = ("again", "unchanged", "gone")
"""The result of carrying out a decision again."""


def _is_ours(event: AuditEvent) -> bool:
    # The role of the service may add rows; nobody adds one with this digest without the key.
    # Somebody else may know a former key.
    return event.key_id == keys.digest_key_id() and event.is_proved()


# -- the ledger beside the database ------------------------------------------------


def is_behind(size: int = 16 * 1024) -> bool:
    """Whether the database was restored, and ``after_restore`` has not been run to its end.

    Then the database is not at home, or it lacks one of the newest events that the ledger of this
    machine tells of. A standby that took over without the decisions of the last seconds lacks them,
    too. An event records this. So every machine knows, and lines that are written later do not
    hide it.

    :param size: bytes at the end of the ledger that are compared, in about 3 ms by default.
    :raises OSError: if the ledger cannot be read.
    """
    if unfinished():
        return True
    lines = ledger.newest(size) if conf.ledger else []
    away = missing(lines)
    gone = lost(away)
    if not gone:
        return bool(not_carried_out(away)) or homes.is_elsewhere(lines)
    logger.error(
        "the database was restored: it lacks %s of the newest events of the ledger, from event %s"
        " at %s on",
        len(gone),
        gone[0].event_id,
        gone[0].at.isoformat(),
    )
    with transaction.atomic():
        AuditEvent.objects.record(Kind.RESTORE, "noticed", origin=Origin(Face.COMMAND))
    return True


def not_carried_out(lines: Iterable[Line]) -> list[Line]:
    """Return the decisions among *lines* that the database lacks, and that were not made again.

    Also those from before the end of a restore, for which this ledger was forgotten.
    """
    told = missing([line for line in lines if line.kind])
    known = carried_out() if told else set()
    return [line for line in told if (line.event_id, line.digest) not in known]


def lost(lines: Sequence[Line]) -> list[Line]:
    """Return those of *lines* whose event the database lacks.

    Leave out events that were purged, and events from before the end of the last restore.
    """
    away = missing(lines)
    until = max((gap.at for gap in gaps("done")), default=_EVER) if away else _EVER
    return [line for line in away if line.at > until]


def missing(lines: Sequence[Line]) -> list[Line]:
    """Return those of *lines* whose event the database lacks, though it was not purged."""
    found = []
    for start in range(0, len(lines), _CHUNK):
        chunk = lines[start : start + _CHUNK]
        events = AuditEvent.objects.filter(pk__in=[line.event_id for line in chunk])
        digests = dict(events.values_list("pk", "digest"))
        found += [line for line in chunk if digests.get(line.event_id) != line.digest]
    if not found:
        return []
    # Read after them: what is purged meanwhile is not lost.
    oldest = AuditEvent.objects.filter(pk__gt=0).aggregate(id=Min("pk"))["id"]
    since = (drawn() or 0) + 1 if oldest is None else oldest
    return [line for line in found if line.event_id >= since]
