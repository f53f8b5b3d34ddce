"""Django's backend for PostgreSQL, with fewer round trips, and a pool that survives a restart.

Statements that are known to belong together are sent together and answered together
(``pipeline``). Writes given to ``run_later``, and savepoints, wait. They are sent with the next
``run_together``, at the end of an inner block, or with COMMIT. Any other statement first sends what
waits, so that nothing is seen out of order.
``operation`` uses this.

A process keeps its connections (``OPTIONS["pool"]``, as with Django's own backend). After a restart
or a failover all idle ones are dead, and each would fail one request. The pool can ask every
connection before every use, which is one round trip more for each request. A server that ends a
connection sends a message, and the kernel holds it. Looking there takes a thirtieth of the time.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from django.db import ProgrammingError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from optin.database import pipeline
from optin.database.schema import DatabaseSchemaEditor
from optin.database.signals import connection_taken

Then = Callable[[Sequence[Any]], None] | None

_pools: dict[tuple[str, str, int], "ConnectionPool[psycopg.Connection[Any]]"] = {}
"""By alias and name of the database, and by process: two processes must not use one connection."""


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    _waiting: list[tuple[pipeline.Statement, Then]]
    _at_the_end: list[tuple[pipeline.Statement, Then]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: Any = None  # pipeline.Line, while there is a connection
        self._forget_waiting()
        self.execute_wrappers.append(self._send_first)

    # -- several statements in one round trip ---------------------------------------

    @property
    def has_pipeline(self) -> bool:
        """Whether statements are sent together. Not while a test captures them one by one."""
        # DEBUG alone changes nothing: a development start does what production does.
        return len(self.execute_wrappers) == 1 and not self.force_debug_cursor

    def run_together(self, statements: Sequence[pipeline.Statement]) -> list[pipeline.Rows]:
        """Run the statements, after those that wait; return the rows of each."""
        # As Django's cursors do: connect if needed, and refuse a broken transaction.
        if self.connection is None:
            self.ensure_connection()
        if self.needs_rollback:
            self.validate_no_broken_transaction()
        return self._run(statements)

    def run_later(self, statement: pipeline.Statement, then: Then) -> None:
        """Run the statement with the next ones of this transaction, at the latest with COMMIT.

        :param then: takes the rows that it returns.
        """
        self.validate_no_broken_transaction()
        self._waiting.append((statement, then))

    def release_early(self) -> None:
        """Release the locks of this transaction before its commit is on the disk.

        The server releases them when it has committed, before it has written that to its disk
        and to a synchronous standby. The commit returns after both, as always: a second
        transaction in the same round trip commits normally. When it is on disk, the first is too.
        """
        if not self._at_the_end:
            self._at_the_end = [(pipeline.COMMIT_EARLY, None)]

    def run_at_the_end(self, statement: pipeline.Statement, then: Then) -> None:
        """Run the statement as the last one of this transaction.

        :param then: takes the rows that it returns.
        """
        self.validate_no_broken_transaction()
        self._at_the_end.append((statement, then))

    def send_waiting(self) -> None:
        """Run what waits now: its rows have their keys after that."""
        if self._waiting:
            self._run([])

    def _forget_waiting(self) -> None:
        self._waiting = []
        self._at_the_end = []

    def _run(self, statements: Sequence[pipeline.Statement]) -> list[pipeline.Rows]:
        waiting, line = self._waiting, self._line
        with self.wrap_database_errors:
            # If a value cannot be sent, what waits goes on waiting.
            messages = line.messages([*(one for one, _ in waiting), *statements])
            self._waiting = []
            found: list[pipeline.Rows] = line.run(messages)
        for (_, then), rows in zip(waiting, found, strict=False):
            if then:
                then(rows)
        return found[len(waiting) :]

    def _send_first(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.send_waiting()
        return execute(sql, params, many, context)

    def _commit(self) -> None:
        if self._at_the_end:
            # If only the second transaction fails, the first one stays and the caller gets an
            # error: as if the connection was lost during the commit.
            self._waiting += self._at_the_end
            self._at_the_end = []
            with debug_transaction(self, "COMMIT"):
                self._run([pipeline.COMMIT, *pipeline.WAIT_FOR_DISK])
        elif self._waiting:
            with debug_transaction(self, "COMMIT"):
                self._run([pipeline.COMMIT])
        else:
            super()._commit()  # type: ignore[misc]

    def _rollback(self) -> None:
        self._forget_waiting()
        super()._rollback()  # type: ignore[misc]

    def _savepoint(self, sid: str) -> None:
        if self.has_pipeline:
            self._waiting.append(((self.ops.savepoint_create_sql(sid), ()), None))
        else:
            super()._savepoint(sid)  # type: ignore[misc]

    def _savepoint_commit(self, sid: str) -> None:
        release: pipeline.Statement = (self.ops.savepoint_commit_sql(sid), ())
        status = self.connection.info.transaction_status
        if not self.has_pipeline:
            super()._savepoint_commit(sid)  # type: ignore[misc]
        elif self._waiting and self._waiting[-1][0][0] == self.ops.savepoint_create_sql(sid):
            del self._waiting[-1]  # nothing is in it
        elif self._waiting or status is TransactionStatus.INERROR:
            # Now, so that an error in this block is raised at its end.
            self._run([release])
        else:
            self._waiting.append((release, None))

    def _savepoint_rollback(self, sid: str) -> None:
        names = [sql for (sql, _), _ in self._waiting]
        made = self.ops.savepoint_create_sql(sid)
        if made in names:
            # It was not sent. It stays, because Django releases it next.
            del self._waiting[names.index(made) + 1 :]
        else:
            self._waiting = []
            super()._savepoint_rollback(sid)  # type: ignore[misc]

    # -- the connection -------------------------------------------------------------

    @property
    def pool(self) -> "ConnectionPool[psycopg.Connection[Any]] | None":
        """As Django's, but its check takes no round trip."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        return _pools.get(self._pool_key) or _pools.setdefault(
            self._pool_key,
            ConnectionPool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                configure=self._configure_connection,  # type: ignore[attr-defined]
                check=_check,
                open=False,
                **options,
            ),
        )

    @property
    def _pool_key(self) -> tuple[str, str, int]:
        return self.alias, self.settings_dict["NAME"], os.getpid()

    def close_pool(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        if pool := _pools.pop(self._pool_key, None):
            pool.close()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        asked, found = time.perf_counter(), False
        try:
            connection = super().get_new_connection(conn_params)
            found = True
        finally:
            seconds = time.perf_counter() - asked
            connection_taken.send(type(self), seconds=seconds, found=found)
        self._line = pipeline.line_of(connection)
        return connection

    def _close(self) -> None:
        self._forget_waiting()
        self._line = None
        if self.connection is not None and self.connection.broken:
            # If the address of the database moved to another machine, the idle ones look alive,
            # because no server closed them.
            _replace_all(self.connection)
        super()._close()  # type: ignore[misc]

    def _set_autocommit(self, autocommit: bool) -> None:
        # An interrupted commit leaves its transaction open. The next one must not commit it.
        self._forget_waiting()
        if self.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self.close()
            raise ProgrammingError("the transaction was not ended, so it is rolled back")
        self.connection._autocommit = autocommit


def _check(connection: psycopg.Connection[Any]) -> None:
    """Raise an error if the server has ended this idle connection."""
    try:
        pipeline.line_of(connection).check()
    except psycopg.Error:
        # The others ended with it, and the pool waits longer after each that fails.
        _replace_all(connection)
        raise


def _replace_all(connection: Any) -> None:
    """Close the other connections of the same pool: those in use when they are given back."""
    if pool := connection._pool:
        pool.drain()
