"""How migrations change tables beside a running service."""

from typing import Self

from django.db.backends.postgresql import schema

LOCK_TIMEOUT = 200
"""Milliseconds. While a migration waits for a table, all requests for this table wait behind it. It
takes at most three locks (``tests/upgrade/rules.py``), so it waits for less than PostgreSQL's
``deadlock_timeout`` (1 s) in total. After that time, PostgreSQL would end a request that deadlocks
with it."""


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Give up a lock that is not free soon; ``migrate`` tries again."""

    def __enter__(self) -> Self:
        super().__enter__()
        if self.atomic_migration and not self.collect_sql:
            self.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        return self
