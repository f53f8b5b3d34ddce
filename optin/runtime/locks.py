"""Locks of the database that belong to no row: of all processes, one does something at a time.

They end with the open transaction. SQLite has one writer at a time, and needs none.
"""

from django.db import connection


def take(lock: int) -> bool:
    """Take *lock* if nobody has it; return whether that worked."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        (taken,) = cursor.fetchone()
    return bool(taken)


def wait_for(lock: int) -> None:
    """Take *lock* once nobody has it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
