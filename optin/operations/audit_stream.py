"""The audit stream: each event and each seal of the trail, as a line for a SIEM.

Lines are written in the order of ids. After that, the place in the trail moves in the database
(``AuditStream``).

An event gets its id before it commits, so a reader by id could miss an event that commits later.
The stream therefore stops at an id that ``seals.settled`` has returned: every transaction that drew
this id, or a lower one, is over. Seals follow the same rule. A later statement reads all events up
to this id, and no more can appear.

A seal follows the events that it covers. Seals commit in their order, because each begins where
the one before it ends.

One process writes at a time. It holds a lock of the database, which ends with the transaction, and
writes the lines while the transaction is open. The transaction holds no row and no snapshot
meanwhile. If a writer dies or loses its connection, the place has not moved: the next writer writes
the batch again, with the same ids.
"""

import logging
import time
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F

from optin.audit.reading import rows_of
from optin.audit.seals import settled
from optin.conf import conf
from optin.models import AuditEvent, AuditSeal, AuditStream
from optin.runtime import locks, sinks
from optin.support import ocsf

logger = logging.getLogger(__name__)

BATCH = 500
"""Events that are written before the place moves."""

PATIENCE = 2.0
"""Seconds to wait for transactions that are adding events. The next call tries again."""

_LOCK = 0x6F7074696E73  # of the database: only one process writes


@dataclass(frozen=True, slots=True)
class Written:
    """The result of one call."""

    lines: int = 0
    fault: str = ""


def write_due(seconds: float) -> Written:
    """Write what is due; begin no batch after *seconds*. Call it outside a transaction.

    Any number of processes may do this at once: one of them writes. If the sink fails, that is
    kept, and the next call goes on.
    """
    if not conf.audit_stream:
        return Written()
    ends = time.monotonic() + seconds
    until = settled(PATIENCE)
    if until is None:
        logger.warning("the audit stream waits: a transaction that adds events stays open")
        return Written()
    _begin_once(until)
    lines = 0
    try:
        while True:
            count = _write_batch(until)
            lines += count
            if not count or time.monotonic() > ends:
                return Written(lines)
    except sinks.Busy:
        return Written(lines)
    except OSError as exc:
        return Written(lines, _failed(exc))


def begin(event_id: int | None = None) -> int:
    """Let the stream go on with the event *event_id*, or after the newest one; return after which.

    :raises TimeoutError: if a transaction that adds events stays open.
    """
    after = settled(PATIENCE) if event_id is None else event_id - 1
    if after is None:
        raise TimeoutError
    with transaction.atomic(durable=True):
        locks.wait_for(_LOCK)
        AuditStream.objects.all().delete()
        AuditStream.beginning_after(after).save()
    return after


def _write_batch(until: int) -> int:
    """Write the next events up to *until*, and the seals over them; return how many lines.

    :raises OSError: if they could not be written.
    """
    with sinks.opened(conf.audit_stream) as sink, transaction.atomic(durable=True):
        if not locks.take(_LOCK):
            return 0
        state = AuditStream.objects.get()
        if sink.was_cut(state.mark):
            state.event, state.seal = state.last_event, state.last_seal
        events, seals, reached = _next(state, until)
        lines = [ocsf.line_of_event(event) for event in events]
        lines += [ocsf.line_of_seal(one) for one in seals]
        if not lines:
            if state.failures:
                state.recover()
            return 0
        state.move(reached, seals[-1].last_id if seals else state.seal, sink.write(lines))
    return len(lines)


def _begin_once(after: int) -> None:
    """A new stream begins now, also if its sink fails."""
    if not AuditStream.objects.exists():
        fresh = AuditStream.beginning_after(after)
        AuditStream.objects.bulk_create([fresh], ignore_conflicts=True)


def _next(state: AuditStream, until: int) -> tuple[list[AuditEvent], list[AuditSeal], int]:
    """Return what comes after *state*, and the id up to which that is everything."""
    waiting = AuditEvent.objects.filter(pk__gt=state.event, pk__lte=until).order_by("pk")
    events = rows_of(waiting[:BATCH], "kind", "outcome", "key_id", "digest", "previous")
    reached = events[-1].pk if len(events) == BATCH else max(until, state.event)
    over = AuditSeal.objects.filter(last_id__gt=state.seal, last_id__lte=reached)
    seals = rows_of(over.order_by("last_id")[:BATCH], "first_id", "last_id", "count", "digest")
    return events, seals, reached


def _failed(exc: OSError) -> str:
    """Keep why nothing could be written: the metrics, the doctor and the admin tell it."""
    fault = exc.strerror or str(exc) or type(exc).__name__
    logger.error("the audit stream could not be written: %s", fault)
    AuditStream.objects.update(failures=F("failures") + 1, fault=fault[:200])
    return fault
