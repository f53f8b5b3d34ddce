"""Seals over the audit trail: made every few minutes, checked by ``integrity``.

Each event carries a keyed digest of its own content, so a change shows. A seal says which
events stood in a range of ids, so that nobody can remove or add one unnoticed. It is a row, and
also a line of the log (``optin.audit``). The line is kept elsewhere: it shows if somebody removed
the newest events together with their seal.

Only old events may be deleted. Purging follows three rules, and the check verifies them: it
deletes only sealed ranges, each as a whole in one transaction; the oldest first; only those
whose seal is older than the retention. Their seals stay. ``sealed_before`` names these ranges.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Max, Min
from django.utils import timezone

from optin import keys
from optin.conf import conf
from optin.models import AuditEvent, AuditSeal
from optin.models.audit import LAST
from optin.origin import Face

logger = logging.getLogger("optin.audit")
logger.setLevel(logging.INFO)  # The copies of seals leave whatever LOG_LEVEL says.

AGE = timedelta(minutes=5)
"""How old an event is when it is sealed."""

EVERY = 300
"""Seconds between two seals by each web process. Workers seal in their place."""

RANGE = 10_000
"""Events under one seal, at most."""

SHORTEST_RETENTION = timedelta(days=30)
"""The triggers keep each event at least so long. Retention can only be longer."""

PATIENCE = 10.0
"""Seconds that sealing waits for transactions that are adding events."""

_CHUNK = 2_000  # rows in memory at a time
_STEP = 0.02  # seconds between two looks at the open transactions
_JSON = json.JSONEncoder(default=str)  # made once, for millions of events


@dataclass(slots=True)
class Content:
    """The digest of a range of events. Add them in the order of their ids."""

    count: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, pk: int, key_id: str, digest: str) -> None:
        self.count += 1
        self._hash.update(_JSON.encode([pk, key_id, digest]).encode())

    def digest(self) -> str:
        return self._hash.hexdigest()


def seal(now: datetime, *, patience: float = PATIENCE) -> int:
    """Seal the events older than 5 minutes; return how many seals were made.

    Each seal is a transaction of its own and one line of the log. Any number of sealers
    may run at once: of two that begin at the same event, one makes the seal.

    No open transaction can add into a sealed range: see ``settled``. If one stays open
    for more than *patience* seconds, nothing is sealed and the next call will do it.
    """
    until = settled(patience)
    if until is None:
        logger.warning("nothing sealed: a transaction that adds events stays open")
    made = 0
    while until and (one := _seal_next(now, until)):
        # After the commit: a line without its seal would look like a seal removed.
        logger.info(one.line())
        made += 1
    return made


def oldest_unsealed() -> AuditEvent | None:
    """Return the oldest event without a seal."""
    newest = AuditSeal.objects.order_by("-first_id").values_list("last_id", flat=True).first()
    return AuditEvent.objects.filter(pk__gt=newest or 0).order_by("pk").first()


def sealed_before(cutoff: datetime) -> Iterator[AuditSeal]:
    """The seals made before *cutoff* whose events are still there, the oldest first.

    A seal is younger than its events, so these are older than *cutoff* too.
    """
    oldest = AuditEvent.objects.aggregate(id=Min("pk"))["id"]
    if oldest is None:
        return
    over = AuditSeal.objects.filter(first_id__lte=oldest).aggregate(id=Max("first_id"))["id"]
    from_id = over or oldest
    while True:
        seals = AuditSeal.objects.filter(first_id__gte=from_id).order_by("first_id")
        for one in (chunk := list(seals[:_CHUNK])):
            if one.at >= cutoff:
                return
            if one.last_id >= oldest:
                yield one
        if not chunk:
            return
        from_id = chunk[-1].first_id + 1


def _seal_next(now: datetime, until: int) -> AuditSeal | None:
    try:
        with transaction.atomic(durable=True):
            newest = AuditSeal.objects.order_by("-first_id").first()
            before = newest.last_id if newest else 0
            if before > until and before > (drawn() or LAST):
                logger.warning(
                    "nothing sealed: the newest seal ends above all events, at %s", before
                )
                return None
            events = AuditEvent.objects.filter(pk__gt=before, pk__lte=until).order_by("pk")
            rows = list(events.values_list("pk", "key_id", "digest")[:RANGE])
            if not rows:
                return None
            old = events.filter(pk__lte=rows[-1][0], at__lte=now - AGE)
            last = old.aggregate(id=Max("pk"))["id"]
            content = Content()
            for row in rows:
                if last is not None and row[0] <= last:
                    content.add(*row)
            if not content.count:
                return None
            one = AuditSeal(
                first_id=before + 1,
                last_id=last,
                count=content.count,
                digest=content.digest(),
                at=now,
                key_id=keys.digest_key_id(),
            )
            one.proof = one.own_proof()
            one.save()
            return one
    except IntegrityError:
        if not AuditSeal.objects.filter(first_id=before + 1).exists():
            raise
        # Another sealer was first, and goes on from there.
        return None


_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND relation = 'optin_auditevent'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND pid IS DISTINCT FROM pg_backend_pid()
"""


def settled(patience: float) -> int | None:
    """Return an id up to which no event can come any more; None if that takes too long.

    Call it outside a transaction, and read the events in a later statement.

    The sequence has given it out: the service did not write events beyond that, and a seal over
    such an event would also cover ids of events still to come.

    On PostgreSQL an event with a lower id may be committed after one with a higher id: ids
    are drawn from a sequence. A transaction locks the table (``ROW EXCLUSIVE``) before it
    draws an id, and until its end. So those that have drawn an id up to the newest one
    seen here are over, or are among those that hold that lock right after; these are
    waited for. No clock is part of it, and no limit on the time of a transaction.

    SQLite has one writer at a time.
    """
    last = drawn()
    ours = AuditEvent.objects.filter(pk__lte=LAST if last is None else last)
    newest: int = ours.aggregate(id=Max("pk"))["id"] or 0
    if connection.vendor != "postgresql":
        return newest
    waiting = _writers()
    for _ in range(int(patience / _STEP)):
        if not waiting:
            break
        time.sleep(_STEP)
        waiting &= _writers()
    return None if waiting else newest


def _writers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return {name for (name,) in cursor.fetchall()}


_DRAWN = {
    "postgresql": """
        SELECT CASE WHEN has_sequence_privilege(name, 'USAGE, SELECT')
        THEN coalesce(pg_sequence_last_value(name), 0) END
        FROM (SELECT pg_get_serial_sequence('optin_auditevent', 'id')::regclass AS name) AS it
    """,
    "sqlite": """
        SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'optin_auditevent'
    """,
}


def drawn() -> int | None:
    """Return the last id that the database has given to an event, also if it was rolled back.

    None where this role may not read the sequence.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DRAWN[connection.vendor])
        last: int | None = cursor.fetchone()[0]
    return last


# -- in the background -------------------------------------------------------------

_sealer: threading.Thread | None = None
_starting = threading.Lock()
_ended = threading.Event()  # set only by tests: the thread is a daemon, and ends with its process


def keep_sealing(event: AuditEvent, **signal: Any) -> None:
    """Let a thread of this process seal every few minutes, beginning with its first event.

    If there are workers, they seal instead. A command ends too soon to seal.
    """
    global _sealer
    if (_sealer and _sealer.is_alive()) or conf.delivery == "worker":
        return
    if event.face == Face.COMMAND:
        return
    with _starting:
        # A forked child does not have the thread of its parent.
        if _sealer is None or not _sealer.is_alive():
            _sealer = threading.Thread(target=_seal_for_ever, name="sealer", daemon=True)
            _sealer.start()


def _seal_for_ever() -> None:
    while True:
        try:
            seal(timezone.now())
        except Exception as exc:
            # The next round, another process, purge or verify_audit makes the seal.
            logger.error("the audit trail could not be sealed: %s", type(exc).__name__)
        finally:
            connection.close()
        if _ended.wait(EVERY):
            return
