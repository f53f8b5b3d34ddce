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
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from psycopg.abc import Buffer, Transformer
from psycopg.adapt import PyFormat
from psycopg.adapt import Transformer as make_transformer

Rows = list[tuple[Any, ...]]


class Message(NamedTuple):
    """SQL with ``%s`` in place of its values, and these as text.

    The server finds out their types, so one statement is prepared once, whatever it is given.
    """

    sql: str
    values: Sequence[Buffer | None] = ()


BEGIN = Message("BEGIN")
COMMIT = Message("COMMIT")
COMMIT_EARLY = Message("SET LOCAL synchronous_commit TO off")
# A transaction that writes nothing does not wait for the disk: this writes an empty message.
WAIT_FOR_DISK = (BEGIN, Message("SELECT pg_logical_emit_message(true, 'optin', '')"), COMMIT)

_OF_A_CHANGED_TABLE = {errors.FeatureNotSupported.sqlstate, errors.InvalidSqlStatementName.sqlstate}
"""What the server says to a statement that was prepared before its table was changed."""

Names = dict[str, bytes]

# The statements that were prepared on each connection, by SQL.
_prepared: WeakKeyDictionary[psycopg.Connection[Any], Names] = WeakKeyDictionary()
_numbers = count()


def message(line: psycopg.Connection[Any], sql: str, values: Sequence[Any]) -> Message:
    """Return the statement as it is sent.

    :raises psycopg.DataError: if a value cannot be.
    """
    dumped = _transformer(line).dump_sequence(values, [PyFormat.TEXT] * len(values))
    return Message(sql, dumped)


def run(line: psycopg.Connection[Any], messages: Sequence[Message]) -> list[Rows]:
    """Run the statements in this order, and return the rows of each.

    As with ``execute``, a transaction begins first if the connection is in none and does not
    commit each statement. The first error is raised, and nothing after it is done.
    """
    begins = not line.autocommit and line.pgconn.transaction_status == pq.TransactionStatus.IDLE
    results = _exchange(line, [BEGIN, *messages] if begins else messages)
    values = _transformer(line)
    return [_rows(values, result) for result in results][begins:]


def _transformer(line: psycopg.Connection[Any]) -> Transformer:
    made: Transformer = make_transformer(line)
    return made


def _exchange(line: psycopg.Connection[Any], messages: Sequence[Message]) -> list[pq.abc.PGresult]:
    """Send all, and return the result of each.

    :raises psycopg.Error: the first one.
    """
    names = _prepared.setdefault(line, {})
    pgconn = line.pgconn
    pgconn.enter_pipeline_mode()
    try:
        # One for each result that will come: its statement, and whether it only prepares that.
        expected = [one for message in messages for one in _send(pgconn, names, message)]
        pgconn.pipeline_sync()
        results = list(_results(pgconn))
        pgconn.exit_pipeline_mode()
    except BaseException:
        # Answers that are still to come would be taken for those to something else.
        if pgconn.status != pq.ConnStatus.BAD:
            line.close()
        raise
    failed = [result for result in results if not _is_ok(result)]
    if failed:
        for (sql, prepares), result in zip(expected, results, strict=False):
            if not _is_ok(result) and (prepares or _sqlstate(result) in _OF_A_CHANGED_TABLE):
                names.pop(sql, None)
        raise errors.error_from_result(failed[0], encoding=line.info.encoding)
    return [result for (_, prepares), result in zip(expected, results, strict=True) if not prepares]


def _send(pgconn: pq.abc.PGconn, names: Names, message: Message) -> Iterator[tuple[str, bool]]:
    """Send a statement; yield an entry for each result that it will have (``_exchange``)."""
    sql, values = message
    if not values:
        pgconn.send_query_params(sql.encode(), None)
    else:
        if sql not in names:
            # Behind a pooler, a name must mean the same statement to each process.
            digest = sha256(sql.encode()).hexdigest()[:16]
            names[sql] = f"optin_{digest}_{next(_numbers)}".encode()
            pgconn.send_prepare(names[sql], _numbered(sql))
            yield sql, True
        pgconn.send_query_prepared(names[sql], values)
    yield sql, False


@cache
def _numbered(sql: str) -> bytes:
    """Write ``$1`` in place of the first ``%s``, and so on."""
    first, *rest = sql.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
    return text.replace("%%", "%").encode()


def _results(pgconn: pq.abc.PGconn) -> Iterator[pq.abc.PGresult]:
    """Yield the results up to that of ``pipeline_sync``."""
    socket = select.poll()
    socket.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():
        socket.poll()
        pgconn.consume_input()
    socket.modify(pgconn.socket, select.POLLIN)
    while True:
        while pgconn.is_busy():
            socket.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return
        else:
            yield result


def _is_ok(result: pq.abc.PGresult) -> bool:
    return result.status in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}


def _sqlstate(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()


def _rows(values: Transformer, result: pq.abc.PGresult) -> Rows:
    if not result.ntuples:
        return []
    values.set_pgresult(result)
    return values.load_rows(0, result.ntuples, tuple)
