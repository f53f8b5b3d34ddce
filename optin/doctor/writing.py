"""Whether a call could write now: ``/readyz`` and the doctor try it, and roll it back.

No row stays, and no id is used up: the check of the audit trail looks for ids that are missing.
"""

import secrets
from collections.abc import Iterator

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from psycopg.errors import ReadOnlySqlTransaction

from optin.doctor.findings import Finding, fault
from optin.models import (
    AuditEvent,
    Notice,
    PendingOtp,
    ProviderUser,
    RefusalCount,
    SendCounter,
    SmsMessage,
    User,
)
from optin.models.audit import LAST
from optin.origin import Face
from optin.support.wording import section

PATIENCE = 2000
"""Milliseconds that one statement may take."""

_ADDED_TO = [
    model._meta.db_table
    for model in (PendingOtp, ProviderUser, SmsMessage, Notice, SendCounter, RefusalCount)
]
_LOCKED = User._meta.db_table

# It changes no row, but is refused as if it did. A sequence is read after the rows were.
_UPDATES = ", ".join(
    f"w{n} AS (UPDATE {table} SET id = id WHERE false)"  # noqa: S608
    for n, table in enumerate([_LOCKED, *_ADDED_TO])
)
_SET_BACK = " UNION ALL ".join(
    f"SELECT '{table}' WHERE (SELECT max(id) FROM {table}) > "  # noqa: S608
    f"coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass), 0)"
    for table in [AuditEvent._meta.db_table, *_ADDED_TO]
)
_TRY = f"WITH {_UPDATES} {_SET_BACK}"


def attempt() -> list[str]:
    """Write as a call does; return the tables whose next row would get an id that is taken.

    :raises DatabaseError: if the database refuses it.
    """
    taken: list[str] = []
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {PATIENCE}")
                cursor.execute(_TRY)
                taken = [table for (table,) in cursor.fetchall()]
        _add_an_event()
        transaction.set_rollback(True)
    return taken


def _add_an_event() -> None:
    """Under an id that neither a call nor another attempt has."""
    event = AuditEvent(
        pk=LAST - secrets.randbelow(2**62),
        at=timezone.now(),
        kind=AuditEvent.Kind.PURGE,
        outcome="attempt",
        face=Face.COMMAND,
    )
    AuditEvent.objects.bulk_create([event])


def writes() -> Iterator[Finding]:
    """What each call writes can be written: it is tried, and rolled back."""
    try:
        taken = attempt()
    except DatabaseError as exc:
        cause = type(exc.__cause__ or exc)
        text, do = _REFUSED.get(cause, (cause.__name__, "Read the log of PostgreSQL."))
        yield fault(f"Calls can write nothing: {text}.", do=do)
        return
    for table in taken:
        yield fault(
            f"Calls fail: the sequence of {table} gives ids that are taken.",
            do="Somebody set it back. As the owner: SELECT setval(pg_get_serial_sequence("  # noqa: S608
            f"'{table}', 'id'), (SELECT max(id) FROM {table})).",
        )


_REFUSED: dict[type[BaseException], tuple[str, str]] = {
    ReadOnlySqlTransaction: (
        "transactions are read-only",
        "SHOW default_transaction_read_only, and look where it is set: ALTER DATABASE optin RESET "
        "default_transaction_read_only; ALTER ROLE too. A standby takes no writes. "
        + section("deploy", "PostgreSQL"),
    ),
}
