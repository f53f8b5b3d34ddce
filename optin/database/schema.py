"""How migrations change tables beside a running service."""

from typing import Self

from django.db.backends.postgresql import schema

LOCK_TIMEOUT = 200
"""Milliseconds. All requests for a table wait behind a migration that waits for it. A migration
takes at most three locks (``tests/upgrade/rules.py``). It waits for them for less than PostgreSQL's
``deadlock_timeout`` (1 s) altogether. After that time, PostgreSQL would end a request if it and the
migration wait for each other."""


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """Give up a lock that is not free soon; ``migrate`` tries again."""

    def __enter__(self) -> Self:
        super().__enter__()
        if self.atomic_migration and not self.collect_sql:
            self.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        return self
