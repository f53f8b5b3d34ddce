"""Seals over the audit trail, and the check of the whole trail.

Each event carries a keyed digest of its own content, so a change shows. A seal says which
events stood in a range of ids, so that none can go or come unseen. It is a row, and a line
of the log (``optin.audit``): whoever removes the newest events together with their seal
is found by the line, which is kept elsewhere.

What the trail may lose is what is old. Purging obeys three rules, and ``verify`` holds it
to them: only sealed ranges, each as a whole in one transaction; the oldest first; only those
whose seal is past retention. Their seals stay. ``sealed_before`` names these ranges.
"""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import Max, Min

from optin import keys
from optin.models import AuditEvent, AuditSeal

logger = logging.getLogger("optin.audit")
logger.setLevel(logging.INFO)  # The copies of seals leave whatever LOG_LEVEL says.

AGE = timedelta(minutes=5)
"""How old an event is when it is sealed."""

RANGE = 10_000
"""Events under one seal, at most."""

KEPT = timedelta(days=30)
"""What the triggers keep in any case; retention can only be longer."""

PATIENCE = 10.0
"""Seconds that sealing waits for transactions that are adding events."""

_CHUNK = 2_000  # rows in memory at a time
_STEP = 0.02  # seconds between two looks at the open transactions
_LAST = 2**63 - 1
_NEVER = datetime.max.replace(tzinfo=UTC)

# What reading a row can raise whose values were tampered with.
_UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, DataError)

M = TypeVar("M", AuditEvent, AuditSeal)


# -- making seals ------------------------------------------------------------------


def seal(now: datetime, *, patience: float = PATIENCE) -> int:
    """Seal the events older than 5 minutes; return how many seals were made.

    Each seal is a transaction of its own and one line of the log. Any number of sealers
    may run at once: of two that begin at the same event, one makes the seal.

    No open transaction can add into a sealed range: see ``_settled``. If one stays open
    for more than *patience* seconds, nothing is sealed and the next call will do it.
    """
    until = _settled(patience)
    made = 0
    while until and (one := _seal_next(now, until)):
        # After the commit: a line without its seal would look like a seal removed.
        logger.info(one.line())
        made += 1
    return made


def sealed_before(cutoff: datetime) -> Iterator[AuditSeal]:
    """The seals made before *cutoff* whose events are still there, the oldest first.

    A seal is younger than its events, so these are older than *cutoff* too.
    """
    oldest = AuditEvent.objects.aggregate(id=Min("pk"))["id"]
    if oldest is None:
        return
    over = AuditSeal.objects.filter(first_id__lte=oldest).aggregate(id=Max("first_id"))["id"]
    for one in _seals(from_id=over or oldest):
        if one.at >= cutoff:
            return
        if one.last_id >= oldest:
            yield one


def _seal_next(now: datetime, until: int) -> AuditSeal | None:
    try:
        with transaction.atomic(durable=True):
            newest = AuditSeal.objects.order_by("-first_id").first()
            before = newest.last_id if newest else 0
            events = AuditEvent.objects.filter(pk__gt=before, pk__lte=until).order_by("pk")
            rows = list(events.values_list("pk", "key_id", "digest")[:RANGE])
            if not rows:
                return None
            old = events.filter(pk__lte=rows[-1][0], at__lte=now - AGE)
            last = old.aggregate(id=Max("pk"))["id"]
            content = _Content()
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
        # Another sealer was first, and goes on from there.
        return None


_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND relation = 'optin_auditevent'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND pid IS DISTINCT FROM pg_backend_pid()
"""


def _settled(patience: float) -> int | None:
    """Return an id up to which no event can come any more; None if that takes too long.

    On PostgreSQL an event with a lower id may be committed after one with a higher id: ids
    are drawn from a sequence. A transaction locks the table (``ROW EXCLUSIVE``) before it
    draws an id, and until its end. So those that have drawn an id up to the newest one
    seen here are over, or are among those that hold that lock right after; these are
    waited for. No clock is part of it, and no limit on the time of a transaction.

    SQLite has one writer at a time.
    """
    newest: int | None = AuditEvent.objects.aggregate(id=Max("pk"))["id"]
    if newest is None or connection.vendor != "postgresql":
        return newest
    waiting = _writers()
    for _ in range(int(patience / _STEP)):
        if not waiting:
            break
        time.sleep(_STEP)
        waiting &= _writers()
    if waiting:
        logger.warning("nothing sealed: a transaction that adds events stays open")
        return None
    return newest


def _writers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return {name for (name,) in cursor.fetchall()}


# -- checking ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the trail, or (with ``unchecked``) could not be checked."""

    text: str
    unchecked: bool = False


@dataclass(slots=True)
class Tally:
    """How far a check has come."""

    last_id: int = 0
    events: int = 0
    seals: int = 0
    purged: int = 0
    unsealed: int = 0
    copies: int = 0
    progress: Callable[["Tally"], None] = lambda tally: None
    """Called after each chunk of events."""

    def add(self, events: Sequence[AuditEvent]) -> None:
        self.events += len(events)
        self.last_id = events[-1].pk
        self.progress(self)


def verify(now: datetime, tally: Tally, *, kept: timedelta = KEPT) -> Iterator[Finding]:
    """Check all events and seals, in constant memory; count in *tally*.

    A range without any event was purged, and is no finding, if its seal is older than
    *kept* and no older range has events left. Where the newest events were removed
    together with their seals, only copies of these seals can tell: ``verify_copies``.
    """
    outside = _Content()
    yield from _check_events(-_LAST, 0, tally, outside)
    if outside.count:
        yield Finding(f"events up to 0: {outside.count} added")
    next_id = 1
    purging = True
    for one in _seals():
        tally.seals += 1
        yield from _check_seal(one, next_id)
        if one.first_id > next_id:
            yield from _check_events(next_id, one.first_id - 1, tally, _Content())
        content = _Content()
        yield from _check_events(one.first_id, one.last_id, tally, content)
        difference = content.difference(one)
        # Looked at again: it may have been purged between two chunks.
        if difference and purging and one.at < now - kept and not _events(one).exists():
            tally.purged += one.count
        else:
            purging = False
            yield from _different(one, difference)
        next_id = max(next_id, one.last_id + 1)
    rest = _Content()
    yield from _check_events(next_id, _LAST, tally, rest)
    tally.unsealed = rest.count


def verify_copies(lines: Iterable[str], tally: Tally) -> Iterator[Finding]:
    """Compare the seals with the copies of them in *lines* of logs; count in *tally*."""
    for number, line in enumerate(lines, start=1):
        copy = AuditSeal.from_line(line)
        if copy is None:
            continue
        tally.copies += 1
        if copy.key_id == keys.digest_key_id() and not _same(copy.proof, copy.own_proof()):
            yield Finding(f"line {number}: this copy of a seal was changed", unchecked=True)
            continue
        stored = AuditSeal.objects.filter(first_id=copy.first_id).first()
        if stored is None:
            yield Finding(f"{_range(copy)}: their seal was removed")
            content = _Content()
            for chunk in _chunks(copy.first_id, copy.last_id):
                for event in chunk:
                    content.add(event.pk, event.key_id, event.digest)
            yield from _different(copy, content.difference(copy))
        elif stored.line() != copy.line():
            yield Finding(f"{_range(copy)}: their seal is not the one that was logged")


@dataclass(slots=True)
class _Content:
    """What a seal says of a range of events."""

    count: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, pk: int, key_id: str, digest: str) -> None:
        self.count += 1
        self._hash.update(json.dumps([pk, key_id, digest], default=str).encode())

    def digest(self) -> str:
        return self._hash.hexdigest()

    def difference(self, one: AuditSeal) -> str:
        """What happened to the events since they were sealed, or nothing."""
        if self.count < one.count:
            return f"{one.count - self.count} missing"
        if self.count > one.count:
            return f"{self.count - one.count} added"
        return "" if _same(self.digest(), one.digest) else "not those that were sealed"


def _check_seal(one: AuditSeal, next_id: int) -> Iterator[Finding]:
    if one.key_id != keys.digest_key_id():
        yield Finding(f"seal over {_range(one)}: digest key {one.key_id!r} is not here", True)
    elif not _same(one.proof, one.own_proof()):
        yield Finding(f"seal over {_range(one)}: it was changed or forged")
    if one.first_id > next_id:
        yield Finding(f"events {next_id} to {one.first_id - 1}: their seal was removed")
    if one.first_id < next_id:
        yield Finding(f"seal over {_range(one)}: it was added, others are there already")


def _check_events(first: int, last: int, tally: Tally, content: _Content) -> Iterator[Finding]:
    """Check the own digest of each event in a range, and add them all to *content*."""
    for chunk in _chunks(first, last):
        current = keys.digest_key_id()
        foreign: dict[str, list[int]] = {}
        for event in chunk:
            content.add(event.pk, event.key_id, event.digest)
            if event.key_id != current:
                foreign.setdefault(event.key_id, []).append(event.pk)
            elif not _same(event.digest, event.content_digest()):
                yield Finding(f"event {event.pk}: its content was changed")
        for key_id, ids in foreign.items():
            which = (
                f"event {ids[0]}" if len(ids) == 1 else f"{len(ids)} events {ids[0]} to {ids[-1]}"
            )
            yield Finding(f"{which}: digest key {key_id!r} is not here", unchecked=True)
        tally.add(chunk)


def _different(one: AuditSeal, difference: str) -> Iterator[Finding]:
    if difference:
        yield Finding(f"{_range(one)}: {difference}")


def _range(one: AuditSeal) -> str:
    return f"events {one.first_id} to {one.last_id}"


def _same(found: str, expected: str) -> bool:
    return hmac.compare_digest(str(found).encode(), expected.encode())


def _events(one: AuditSeal) -> "models.QuerySet[AuditEvent]":
    return AuditEvent.objects.filter(pk__gte=one.first_id, pk__lte=one.last_id)


def _seals(from_id: int = -_LAST) -> Iterator[AuditSeal]:
    """The seals that begin at *from_id* or later, in their order."""
    while True:
        seals = AuditSeal.objects.filter(first_id__gte=from_id).order_by("first_id")
        chunk = _read(seals[:_CHUNK], "first_id", "last_id", "count", "digest", "key_id", "proof")
        yield from chunk
        if not chunk:
            return
        from_id = chunk[-1].first_id + 1


def _chunks(first: int, last: int) -> Iterator[list[AuditEvent]]:
    """The events of a range in the order of their ids; each chunk is one statement."""
    while True:
        events = AuditEvent.objects.filter(pk__gte=first, pk__lte=last).order_by("pk")
        chunk = _read(events[:_CHUNK], "key_id", "digest")
        if not chunk:
            return
        yield chunk
        first = chunk[-1].pk + 1


def _read(rows: "models.QuerySet[M]", *fields: str) -> list[M]:
    """Return *rows*. One that cannot be read has only *fields*, and its digest fails."""
    try:
        found = list(rows)
    except _UNREADABLE:
        values = list(rows.values("pk", *fields))
        found = [_one(rows.model, value) for value in values]
    for row in found:
        # What SQLite has in place of a time.
        row.at = row.at or _NEVER
    return found


def _one(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model._base_manager.get(pk=values["pk"])
    except _UNREADABLE:
        return model(**values, at=_NEVER)
