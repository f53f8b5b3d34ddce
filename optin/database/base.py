"""Django's backend for PostgreSQL, with fewer round trips, and a pool that survives a restart.

Statements that are known to belong together are sent together and answered together
(``pipeline``). Writes given to ``run_later``, and savepoints, wait. They are sent with the next
``run_together``, at the end of an inner block, or with COMMIT. Any other statement first sends what
waits, so that nothing is seen out of order.
``optin.database.operation`` uses this.

A process keeps its connections (``pool``). After a restart or a failover all idle ones are dead,
and each would fail one request. Django can ask every connection before every use
(``CONN_HEALTH_CHECKS``), which is one round trip more for each request. A server that ends a
connection sends a message, and the kernel holds it. Looking there takes a thirtieth of the time.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from django.db import ProgrammingError
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from psycopg.pq import TransactionStatus

from optin.database import pipeline
from optin.database.pool import pool_of
from optin.database.schema import DatabaseSchemaEditor
from optin.runtime import metrics

Then = Callable[[Sequence[Any]], None] | None


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    pool = None  # Django's own, which a DATABASE_URL could ask for
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
        """``release_early``, and run the statement as the last one of this transaction.

        :param then: takes the rows that it returns.
        """
        self.validate_no_broken_transaction()
        self.release_early()
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

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take an idle connection of this process, or open one."""
        asked = time.perf_counter()
        self._pool = pool_of(self.alias, self.settings_dict)
        try:
            self._line = self._pool.take(partial(super().get_new_connection, conn_params))
        except psycopg.Error:
            metrics.POOL_FAILURES.inc()
            raise
        metrics.POOL_WAITS.observe(time.perf_counter() - asked)
        metrics.POOL_USED.inc()
        return self._line.connection

    def _close(self) -> None:
        """Give the connection back."""
        self._forget_waiting()
        if self.connection is not None:
            line, self._line = self._line, None
            self.connection = None  # another thread may have it now
            metrics.POOL_USED.dec()
            self._pool.give_back(line)

    def close_pool(self) -> None:
        """Close the idle connections."""
        pool_of(self.alias, self.settings_dict).close()

    def _set_autocommit(self, autocommit: bool) -> None:
        # An interrupted commit leaves its transaction open. The next one must not commit it.
        self._forget_waiting()
        if self.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self.close()
            raise ProgrammingError("the transaction was not ended, so it is rolled back")
        self.connection._autocommit = autocommit
