"""The partitions of the audit trail on PostgreSQL: a month is dropped, not deleted row by row.

The table is partitioned by its id. Each partition has a block of ids: partition 2 has those from
``2 * BLOCK`` to ``3 * BLOCK - 1``. When a month is over, ``cut`` lets the ids go on in the next
block, so a partition has the events of one month. If nobody cuts, nothing fails: a partition then
has the events of several months.

The partitions are in a schema of their own. A grant on all tables of the schema ``public``, which
operators repeat after each migration, does not reach them: who may not delete from the trail, may
not delete from its partitions. Only the owner of the table may cut and drop.

SQLite has one table, and ``purge`` deletes its rows.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Sum
from psycopg.errors import LockNotAvailable

from optin.audit.seals import SHORTEST_RETENTION, drawn
from optin.models import AuditEvent, AuditSeal
from optin.models.audit import BLOCK, AuditEventQuerySet

logger = logging.getLogger("optin.audit")

SCHEMA = "optin_audit"

AHEAD = 3
"""Empty partitions after the one in use, so that there is always one for new ids."""

LONGEST = timedelta(days=31)
"""By how much an event may outlive its retention, because its partition has younger ones."""

LATE = timedelta(hours=1)
"""An event up to an hour older than the month may be in its partition: its request began before."""

_LOCK_TIMEOUT = 200  # milliseconds
_CUTTING, _DROPPING = 7_260_501, 7_260_502  # advisory locks

_DROP = "purge drops this table"
"""The comment on a partition that purge has begun to drop."""


def name_of(block: int) -> str:
    return f"{SCHEMA}.optin_auditevent_{block}"


def make(cursor: CursorWrapper, block: int) -> None:
    """Add the partition of *block*, empty, to the table; call it in a transaction.

    ``ATTACH`` makes neither writers nor readers wait, unlike ``CREATE TABLE ... PARTITION OF``.
    """
    name, first = name_of(block), block * BLOCK if block else "MINVALUE"
    cursor.execute(f"CREATE TABLE {name} (LIKE optin_auditevent INCLUDING ALL EXCLUDING IDENTITY)")
    # Unique in the partition only: PostgreSQL has no unique index over all of them without the id.
    # ``verify_audit`` finds a copy in another partition.
    cursor.execute(
        f"CREATE UNIQUE INDEX audit_event_{block}_follows_another_alone ON {name} (previous) "
        "WHERE previous IS NOT NULL"
    )
    guard(cursor, name)
    cursor.execute(
        f"ALTER TABLE optin_auditevent ATTACH PARTITION {name} "
        f"FOR VALUES FROM ({first}) TO ({(block + 1) * BLOCK})"
    )


def guard(cursor: CursorWrapper, name: str) -> None:
    """Let nobody truncate a partition. Its other triggers are copies of those of the table."""
    cursor.execute(
        f"CREATE TRIGGER optin_auditevent_no_truncate BEFORE TRUNCATE ON {name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION optin_auditevent_refuse()"
    )


def attached() -> list[int]:
    """Return the blocks that have a partition, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'optin_auditevent'::regclass AND NOT inhdetachpending"
        )
        return sorted(int(name.rpartition("_")[2]) for (name,) in cursor.fetchall())


def are_ours() -> bool:
    """Whether this role of the database owns the table: it may cut and drop."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class "
            "WHERE oid = 'optin_auditevent'::regclass"
        )
        (ours,) = cursor.fetchone()
    return bool(ours)


# -- a new month -------------------------------------------------------------------


def cut(now: datetime) -> None:
    """Begin the next partition if a new month (UTC) has begun; create those that are missing.

    If a lock is not free soon, the next call does the rest.
    """
    try:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}")
            # Only one process may cut at a time: a second one would set the sequence back.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CUTTING])
            block, known = current(), attached()
            # Events drawn meanwhile are in the old block. A partition of this transaction does
            # not count: the sequence does not go back if it fails.
            if block + 1 in known and _is_of_another_month(block, now):
                block += 1
                skip_to(block * BLOCK - 1)
            for ahead in range(block + 1, block + 1 + AHEAD):
                if ahead not in known:
                    make(cursor, ahead)
    except OperationalError as exc:
        if not isinstance(exc.__cause__, LockNotAvailable):
            raise
        logger.info("no partition was made: the audit trail is in use; the next purge tries again")


def current() -> int:
    """Return the block of the next id. Only for a role that may read the sequence."""
    return ((drawn() or 0) + 1) // BLOCK


def skip_to(last: int) -> None:
    """Let the next event have the id after *last*. The sequence must not have given it out.

    Its partition must be there.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('optin_auditevent', 'id'), %s)", [last]
        )


def make_up_to(block: int) -> None:
    """Make the partitions that are missing from that in use to that of *block*."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        for missing in {*range(current(), block + 1)} - {*attached()}:
            make(cursor, missing)


def _is_of_another_month(block: int, now: datetime) -> bool:
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    first = _events(block).order_by("pk").values_list("at", flat=True).first()
    return first is not None and first < month - LATE


def _events(block: int) -> "AuditEventQuerySet":
    return AuditEvent.objects.filter(pk__gte=block * BLOCK, pk__lt=(block + 1) * BLOCK)


# -- the end of retention ----------------------------------------------------------


def drop_before(cutoff: datetime) -> int:
    """Drop the partitions whose seals were all made before *cutoff*, the oldest first.

    Neither writers nor readers wait: ``DETACH ... CONCURRENTLY`` waits for them. If it is stopped,
    the next call goes on. Call it outside a transaction.

    :returns: how many events these partitions had, as their seals say.
    """
    with _alone() as alone:
        if not alone:
            return 0  # another purge does it
        gone = sum(_drop(block) for block in _detached())
        for block in attached():
            if not _is_past(block, cutoff):
                break
            _detach(block)
            gone += _drop(block)
    return gone


@contextmanager
def _alone() -> Iterator[bool]:
    """Yield whether no other process drops partitions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_DROPPING])
        (alone,) = cursor.fetchone()
        try:
            yield alone
        finally:
            if alone:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_DROPPING])


def _is_past(block: int, cutoff: datetime) -> bool:
    """Whether ids go on above *block*, its events are all sealed, and each seal is old enough.

    The clock of the database is checked too, as in the triggers.
    """
    if block >= current():
        return False
    # By its id: to find the greatest time among these ids, PostgreSQL may read them all.
    newest = _events(block).order_by("-pk").values_list("pk", "at").first()
    if newest is None:
        return True
    last, at = newest
    seals = AuditSeal.objects.filter(last_id__gte=block * BLOCK, last_id__lt=(block + 1) * BLOCK)
    if not seals.filter(last_id__gte=last).exists():
        return False
    with connection.cursor() as cursor:
        days = SHORTEST_RETENTION.days
        cursor.execute("SELECT %s < now() - make_interval(days => %s)", [at, days])
        (is_old,) = cursor.fetchone()
    return bool(is_old) and not seals.filter(at__gte=cutoff).exists()


def _detach(block: int) -> None:
    name = name_of(block)
    with connection.cursor() as cursor:
        cursor.execute(f"COMMENT ON TABLE {name} IS '{_DROP}'")
        cursor.execute(f"ALTER TABLE optin_auditevent DETACH PARTITION {name} CONCURRENTLY")


def _detached() -> list[int]:
    """Return the blocks whose partition a purge has detached, or begun to, and not dropped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, inhdetachpending FROM pg_class "
            "LEFT JOIN pg_inherits ON inhrelid = pg_class.oid "
            "WHERE relnamespace = %s::regnamespace AND relkind = 'r' "
            "AND obj_description(pg_class.oid, 'pg_class') = %s AND inhdetachpending IS NOT false",
            [SCHEMA, _DROP],
        )
        found = {int(name.rpartition("_")[2]): pending for name, pending in cursor.fetchall()}
        for block, pending in found.items():
            if pending:
                cursor.execute(
                    f"ALTER TABLE optin_auditevent DETACH PARTITION {name_of(block)} FINALIZE"
                )
    return sorted(found)


def _drop(block: int) -> int:
    """Drop a detached partition; return how many events it had, as their seals say."""
    name = name_of(block)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(f"SELECT min(id) FROM {name}")  # noqa: S608
        (oldest,) = cursor.fetchone()
        cursor.execute(f"DROP TABLE {name}")
    if oldest is None:
        return 0
    seals = AuditSeal.objects.filter(last_id__gte=oldest, last_id__lt=(block + 1) * BLOCK)
    count: int = seals.aggregate(count=Sum("count"))["count"] or 0
    return count
