"""Several statements in one round trip: sent together, and answered together.

PostgreSQL calls this pipeline mode. psycopg's ``Connection.pipeline`` waits for the socket at each
statement, and twice at the end; here the process waits once. Each statement is prepared on the
server when a connection first runs it: later the server gets its name and the values only.
"""

import select
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import count
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.abc import Buffer, Transformer
from psycopg.adapt import PyFormat
from psycopg.adapt import Transformer as make_transformer

Rows = list[tuple[Any, ...]]

Statement = tuple[str, Sequence[Any]]
"""SQL with ``%s`` in place of its values, and these."""

BEGIN: Statement = ("BEGIN", ())
COMMIT: Statement = ("COMMIT", ())
COMMIT_EARLY: Statement = ("SET LOCAL synchronous_commit TO off", ())
# A transaction that writes nothing does not wait for the disk: this writes an empty message.
WAIT_FOR_DISK = (BEGIN, ("SELECT pg_logical_emit_message(true, 'early', '')", ()), COMMIT)

Message = tuple[str, Sequence[Buffer | None]]
"""A statement as it is sent, with its values as text.

The server infers their types, so it prepares each statement once for all types of values."""

_OK = {int(pq.ExecStatus.COMMAND_OK), int(pq.ExecStatus.TUPLES_OK)}
_STALE = {errors.FeatureNotSupported.sqlstate, errors.InvalidSqlStatementName.sqlstate}
"""The errors of a statement whose table has changed since it was prepared."""

_numbers = count()


class Line:
    """A connection, and what the server has prepared on it. One thread at a time uses it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._names: dict[str, bytes] = {}  # of the prepared statements, by SQL
        self._values: Transformer = make_transformer(connection)  # it learns the types
        self._socket = select.poll()
        self._socket.register(connection.fileno(), select.POLLIN)

    def check(self) -> None:
        """Raise an error if this idle connection is closed, or the server has ended it."""
        # The server sent something: usually that it ends the connection, or a changed setting.
        if self.connection.closed or self._socket.poll(0):
            self.connection.execute("")
            self.connection.rollback()  # unless each statement is a transaction of its own

    def messages(self, statements: Sequence[Statement]) -> list[Message]:
        """Return the statements as they are sent.

        :raises psycopg.DataError: if a value cannot be.
        """
        dump, text = self._values.dump_sequence, PyFormat.TEXT
        try:
            return [(sql, dump(values, [text] * len(values))) for sql, values in statements]
        except (TypeError, ValueError) as error:  # as for half a surrogate pair
            raise psycopg.DataError(str(error)) from error

    def run(self, messages: Sequence[Message]) -> list[Rows]:
        """Run the statements in this order, and return the rows of each.

        As with ``execute``, a transaction begins first if the connection is in none and does not
        commit each statement. The first error is raised, and nothing after it is done.
        """
        begins = not self.connection.autocommit and (
            self.connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
        )
        results = self._exchange([BEGIN, *messages] if begins else messages)
        return [self._rows(result) for result in results[begins:]]

    def _exchange(self, messages: Sequence[Message]) -> list[pq.abc.PGresult]:
        """Send all, and return the result of each.

        :raises psycopg.Error: the first one.
        """
        pgconn = self.connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            # For each result to come: the SQL, and whether it only confirms that this is prepared.
            expected = [one for message in messages for one in self._send(pgconn, *message)]
            pgconn.pipeline_sync()
            results = list(self._results(pgconn))
            pgconn.exit_pipeline_mode()
        except BaseException:
            # Answers that are still to come would be taken for those to something else.
            if pgconn.status != pq.ConnStatus.BAD:
                self.connection.close()
            raise
        failed = [result for result in results if result.status not in _OK]
        if failed:
            for (sql, prepares), result in zip(expected, results, strict=False):
                if result in failed and (prepares or _sqlstate(result) in _STALE):
                    self._names.pop(sql, None)
            raise errors.error_from_result(failed[0], encoding=self.connection.info.encoding)
        pairs = zip(expected, results, strict=True)
        return [result for (_, prepares), result in pairs if not prepares]

    def _send(
        self, pgconn: pq.abc.PGconn, sql: str, values: Sequence[Buffer | None]
    ) -> Iterator[tuple[str, bool]]:
        """Send a statement; yield an entry for each result that it will have (``_exchange``)."""
        if not values:
            pgconn.send_query_params(sql.encode(), None)
        else:
            if sql not in self._names:
                # Behind a pooler, a name must mean the same statement to each process.
                digest = sha256(sql.encode()).hexdigest()[:16]
                self._names[sql] = f"prepared_{digest}_{next(_numbers)}".encode()
                pgconn.send_prepare(self._names[sql], _numbered(sql))
                yield sql, True
            pgconn.send_query_prepared(self._names[sql], values)
        yield sql, False

    def _results(self, pgconn: pq.abc.PGconn) -> Iterator[pq.abc.PGresult]:
        """Yield the results up to that of ``pipeline_sync``."""
        if pgconn.flush():  # more than the socket takes at once
            self._send_the_rest(pgconn)
        while True:
            while pgconn.is_busy():
                self._socket.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection is lost")
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return
            else:
                yield result

    def _send_the_rest(self, pgconn: pq.abc.PGconn) -> None:
        self._socket.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
        while pgconn.flush():
            self._socket.poll()
            pgconn.consume_input()
        self._socket.modify(pgconn.socket, select.POLLIN)

    def _rows(self, result: pq.abc.PGresult) -> Rows:
        if not result.ntuples:
            return []
        self._values.set_pgresult(result)
        return self._values.load_rows(0, result.ntuples, tuple)


def line_of(connection: Any) -> Line:
    """Return the line of a connection. It lives as long as that, in the pool too."""
    if not hasattr(connection, "line"):
        connection.line = Line(connection)
    line: Line = connection.line
    return line


@cache
def _numbered(sql: str) -> bytes:
    """Write ``$1`` in place of the first ``%s``, and so on."""
    first, *rest = sql.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
    return text.replace("%%", "%").encode()


def _sqlstate(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
