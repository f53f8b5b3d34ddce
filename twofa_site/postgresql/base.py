"""Django's backend for PostgreSQL, with fewer round trips, and a pool that survives a restart.

Statements that are known to belong together are sent together and answered together
(``pipeline``). Writes given to ``run_later``, and savepoints, wait. They are sent with the next
``run_together``, at the end of an inner block, or with COMMIT. Any other statement first sends what
waits, so that nothing is seen out of order.
``optin.models.operation`` uses this.

After a restart or a failover all idle connections of the pool are dead, and each would fail one
request. Django can ask every connection before every use (``CONN_HEALTH_CHECKS``), which
is one round trip more for each request. A server that ends a connection says so, and the kernel
knows. Looking there takes a thirtieth of the time.
"""

import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from optin.runtime import metrics
from twofa_site.postgresql import pipeline
from twofa_site.postgresql.schema import DatabaseSchemaEditor

Statement = tuple[str, Sequence[Any]]
"""SQL with ``%s`` in place of its values, and these."""

Then = Callable[[Sequence[Any]], None] | None


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: list[tuple[pipeline.Message, Then]] = []
        self._at_the_end: list[tuple[pipeline.Message, Then]] = []
        self.execute_wrappers.append(self._send_first)

    # -- several statements in one round trip ---------------------------------------

    @property
    def has_pipeline(self) -> bool:
        """Whether statements are sent together. Not while a test captures them one by one."""
        # DEBUG alone changes nothing: a development start does what production does.
        return len(self.execute_wrappers) == 1 and not self.force_debug_cursor

    def run_together(self, statements: Sequence[Statement]) -> list[pipeline.Rows]:
        """Run the statements, after those that wait; return the rows of each."""
        return self._run([self._message(statement) for statement in statements])

    def run_later(self, statement: Statement, then: Then) -> None:
        """Run the statement with the next ones of this transaction, at the latest with COMMIT.

        :param then: takes the rows that it returns.
        """
        self._waiting.append((self._message(statement), then))

    def release_early(self) -> None:
        """Release the locks of this transaction before its commit is on the disk.

        The server releases them when it has committed, before it has written that to its disk
        and to a synchronous standby. The commit returns after both, as always: a second
        transaction in the same round trip commits normally. When it is on disk, the first is too.
        """
        if not self._at_the_end:
            self._at_the_end = [(pipeline.COMMIT_EARLY, None)]

    def run_at_the_end(self, statement: Statement, then: Then) -> None:
        """``release_early``, and run the statement as the last one of this transaction.

        :param then: takes the rows that it returns.
        """
        message = self._message(statement)
        self.release_early()
        self._at_the_end.append((message, then))

    def send_waiting(self) -> None:
        """Run what waits now: its rows have their keys after that."""
        if self._waiting:
            self._run([])

    def _message(self, statement: Statement) -> pipeline.Message:
        """Return the statement as it is sent.

        A value that cannot be sent raises here, so the statements that wait are kept.
        """
        # As Django's cursors do: connect if needed, and refuse a broken transaction.
        self.ensure_connection()
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            return pipeline.message(self.connection, *statement)

    def _run(self, messages: Sequence[pipeline.Message]) -> list[pipeline.Rows]:
        waiting, self._waiting = self._waiting, []
        together = [*(one for one, _ in waiting), *messages]
        with self.wrap_database_errors:
            found = pipeline.run(self.connection, together)
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
        self._waiting = []
        self._at_the_end = []
        super()._rollback()  # type: ignore[misc]

    def _savepoint(self, sid: str) -> None:
        if self.has_pipeline:
            self._waiting.append((pipeline.Message(self.ops.savepoint_create_sql(sid)), None))
        else:
            super()._savepoint(sid)  # type: ignore[misc]

    def _savepoint_commit(self, sid: str) -> None:
        release = pipeline.Message(self.ops.savepoint_commit_sql(sid))
        status = self.connection.info.transaction_status
        if not self.has_pipeline:
            super()._savepoint_commit(sid)  # type: ignore[misc]
        elif self._waiting and self._waiting[-1][0].sql == self.ops.savepoint_create_sql(sid):
            del self._waiting[-1]  # nothing is in it
        elif self._waiting or status is TransactionStatus.INERROR:
            # Now, so that an error in this block is raised at its end.
            self._run([release])
        else:
            self._waiting.append((release, None))

    def _savepoint_rollback(self, sid: str) -> None:
        names = [message.sql for message, _ in self._waiting]
        made = self.ops.savepoint_create_sql(sid)
        if made in names:
            # It was not sent. It stays, because Django releases it next.
            del self._waiting[names.index(made) + 1 :]
        else:
            self._waiting = []
            super()._savepoint_rollback(sid)  # type: ignore[misc]

    # -- the connection -------------------------------------------------------------

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection from the pool, and leave out those that the server has ended."""
        asked = time.perf_counter()
        while True:
            try:
                line = super().get_new_connection(conn_params)
            except psycopg.Error:
                metrics.POOL_FAILURES.inc()
                raise
            if not self.pool:
                return line
            if not _is_gone(line):
                metrics.POOL_WAITS.observe(time.perf_counter() - asked)
                metrics.POOL_LIMIT.set(self.pool.max_size)
                metrics.POOL_USED.inc()
                return line
            line.close()
            self.pool.putconn(line)  # which makes another one in its place

    def _close(self) -> None:
        """Give the connection back; if it broke in use, renew all others too.

        If the address of the database moved to another machine, no server closed the other
        connections, so they look alive.
        """
        self._waiting = []
        self._at_the_end = []
        is_used = self.pool and self.connection is not None
        broke = is_used and self.connection.broken
        super()._close()  # type: ignore[misc]  # the stubs do not know it
        if is_used:
            metrics.POOL_USED.dec()
        if broke:
            self.pool.drain()


def _is_gone(line: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection is closed, or the server has ended it."""
    idle = select.poll()
    try:
        idle.register(line.fileno(), select.POLLIN)  # fails for a closed one
        # The server sent something: usually that it ends the connection, or a changed setting.
        if idle.poll(0):
            ConnectionPool.check_connection(line)
    except psycopg.Error:
        return True
    return False
