"""The server on which the database lives: a restored database is in another place than it was.

The ledger shows what a restored database has lost, but a new machine has an empty one. So the
database itself keeps its home: the server, the table of the canary (each restored dump has new
tables), and the timeline. A recovery to a point in time begins a new timeline. So does a standby
that takes over, which is no restore: see ``_took_over``.

SQLite has none of this. There, only the ledger tells.
"""

import time
from collections.abc import Sequence

from django.db import NotSupportedError, ProgrammingError, connection, transaction

from optin.audit.ledger import Line
from optin.models import AuditEvent, Canary
from optin.origin import Face

SEEN = 120.0
"""Seconds. A standby takes over sooner, and a recovery takes longer, with the service stopped."""

_LOOK = """
    SELECT home, concat_ws(':', system_identifier, optin_canary.tableoid,
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))
    FROM optin_canary, pg_control_system() WHERE NOT pg_is_in_recovery()
"""

_seen = ("", 0.0)  # where this process saw the database at home, and when by time.monotonic()


def look() -> tuple[str, str] | None:
    """Return where the database was at home, and where it is now.

    None on SQLite, on a standby, or if the server does not tell.
    """
    if connection.vendor != "postgresql":
        return None
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOOK)
            found: tuple[str, str] | None = cursor.fetchone()
    except (ProgrammingError, NotSupportedError):  # no right to these functions
        return None
    return found


def is_elsewhere(lines: Sequence[Line] = ()) -> bool:
    """Return whether the database is on another server or timeline than before.

    The first call, and one after a failover, accept the new place.

    :param lines: of ledgers, none of which the database lacks.
    """
    global _seen
    found = look()
    if found is None:
        return False
    home, here = found
    if home != here and (not home or _took_over(home, here, lines)):
        settle()
        home = here
    if home == here:
        _seen = home, time.monotonic()
    return home != here


def settle() -> None:
    """Let the database be at home where it is now."""
    if found := look():
        Canary.objects.update(home=found[1])


def _took_over(home: str, here: str, lines: Sequence[Line]) -> bool:
    """Return whether a standby took over, and nothing that this process or its ledger knows of is
    lost.

    Either this process saw the primary a moment ago, or the ledger tells of the newest event.
    """
    if home.rpartition(":")[0] != here.rpartition(":")[0]:
        return False  # another server; a timeline only ever rises
    was_seen = _seen[0] == home and time.monotonic() - _seen[1] < SEEN
    return was_seen or _reach_the_end(lines)


def _reach_the_end(lines: Sequence[Line]) -> bool:
    """Return whether *lines*, none of which the database lacks, tell of its newest event.

    Not every event has a line: see ``ledger.keep``. Commands may run without a ledger.
    """
    newest = AuditEvent.objects.exclude(face=Face.COMMAND).order_by("-pk").first()
    return newest is not None and any(line.event_id >= newest.pk for line in lines)
