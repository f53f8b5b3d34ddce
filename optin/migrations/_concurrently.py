"""Make an index while the service writes to its table."""

from typing import Any

from django.contrib.postgres import operations
from django.db import migrations


class AddIndexConcurrently(operations.AddIndexConcurrently):
    """On PostgreSQL, add an index without a lock against writers; elsewhere, as ``AddIndex`` does.

    Its migration has ``atomic = False``. If it is stopped, it can be run again.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        arguments = app_label, schema_editor, from_state, to_state
        if schema_editor.connection.vendor != "postgresql":
            migrations.AddIndex.database_forwards(self, *arguments)
            return
        # What an attempt that was stopped has left: PostgreSQL writes to it, but does not read it.
        name = schema_editor.quote_name(self.index.name)
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        super().database_forwards(*arguments)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        arguments = app_label, schema_editor, from_state, to_state
        if schema_editor.connection.vendor != "postgresql":
            migrations.AddIndex.database_backwards(self, *arguments)
            return
        super().database_backwards(*arguments)
