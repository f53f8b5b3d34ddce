"""Make an index while the service writes to its table."""

from typing import Any

from django.contrib.postgres import operations
from django.db import migrations, transaction

from optin.database.schema import LOCK_TIMEOUT


class AddIndexConcurrently(operations.AddIndexConcurrently):
    """On PostgreSQL, add an index without a lock against writers; elsewhere, as ``AddIndex`` does.

    Its migration has ``atomic = False``. If it is stopped, it can be run again.

    PostgreSQL makes no index of a partitioned table like that. So each partition gets one, and
    then that of the table takes them over, which locks the table for a moment only.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        arguments = app_label, schema_editor, from_state, to_state
        if schema_editor.connection.vendor != "postgresql":
            migrations.AddIndex.database_forwards(self, *arguments)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        name = schema_editor.quote_name(self.index.name)
        if partitions := _partitions(schema_editor, model._meta.db_table):
            _briefly(schema_editor, f"DROP INDEX IF EXISTS {name}")
            for partition in partitions:
                self._add_to(partition, model, schema_editor)
            _briefly(schema_editor, str(self.index.create_sql(model, schema_editor)))
            return
        # What an attempt that was stopped has left: PostgreSQL writes to it, but does not read it.
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        super().database_forwards(*arguments)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        arguments = app_label, schema_editor, from_state, to_state
        if schema_editor.connection.vendor != "postgresql":
            migrations.AddIndex.database_backwards(self, *arguments)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        if _partitions(schema_editor, model._meta.db_table):
            _briefly(schema_editor, str(self.index.remove_sql(model, schema_editor)))
            return
        super().database_backwards(*arguments)

    def _add_to(self, partition: str, model: Any, schema_editor: Any) -> None:
        schema, _, table = partition.rpartition(".")
        name = f"{table}_{self.index.name}"
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
        made = str(self.index.create_sql(model, schema_editor, concurrently=True))
        made = made.replace(schema_editor.quote_name(self.index.name), name, 1)
        made = made.replace(schema_editor.quote_name(model._meta.db_table), partition, 1)
        schema_editor.execute(made, params=None)


def _partitions(schema_editor: Any, table: str) -> list[str]:
    """Return the partitions of *table*, with their schema; none where SQL is only written down."""
    if schema_editor.collect_sql:
        return []
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%%I.%%I', relnamespace::regnamespace, relname) "
            "FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = to_regclass(%s) ORDER BY inhrelid",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


def _briefly(schema_editor: Any, statement: str) -> None:
    """Do what locks the table, but give up a lock that is not free soon."""
    with transaction.atomic(schema_editor.connection.alias):
        schema_editor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        schema_editor.execute(statement, params=None)
