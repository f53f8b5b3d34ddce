"""Several statements in one round trip: sent together, and answered together.

PostgreSQL calls this pipeline mode. psycopg's ``Connection.pipeline`` waits for the socket at each
statement, and twice at the end; here the process waits once. Each statement is prepared on the
server when a connection first runs it: later the server gets its name and the values only.
"""

import select
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from psycopg.abc import Transformer
from psycopg.adapt import PyFormat
from psycopg.adapt import Transformer as make_transformer

Statement = tuple[str, Sequence[Any]]
"""SQL with ``%s`` in place of its values, and these."""

Rows = list[tuple[Any, ...]]

BEGIN: Statement = ("BEGIN", ())
COMMIT: Statement = ("COMMIT", ())


class _Message(NamedTuple):
    """A statement with its values as the server takes them."""

    sql: str
    values: Sequence[Any]
    types: tuple[int, ...]
    formats: Sequence[pq.Format]


Names = dict[tuple[str, tuple[int, ...]], bytes]

# What was prepared on each connection, by SQL and types.
_prepared: WeakKeyDictionary[psycopg.Connection[Any], Names] = WeakKeyDictionary()
_numbers = count()


def run(line: psycopg.Connection[Any], statements: Sequence[Statement]) -> list[Rows]:
    """Run the statements in this order, and return the rows of each.

    As with ``execute``, a transaction begins first if the connection is in none and does not
    commit each statement. The first error is raised, and nothing after it is done.
    """
    begins = not line.autocommit and line.pgconn.transaction_status == pq.TransactionStatus.IDLE
    values: Transformer = make_transformer(line)
    # Values that cannot be sent are refused here, before anything is.
    messages = [_message(values, one) for one in ([BEGIN, *statements] if begins else statements)]
    results = _exchange(line, messages)
    return [_rows(values, result) for result in results][begins:]


def _message(values: Transformer, statement: Statement) -> _Message:
    sql, given = statement
    dumped = values.dump_sequence(given, [PyFormat.AUTO] * len(given))
    return _Message(sql, dumped, values.types or (), values.formats or ())


def _exchange(line: psycopg.Connection[Any], messages: Sequence[_Message]) -> list[pq.abc.PGresult]:
    """Send all, and return the result of each.

    :raises psycopg.Error: the first one.
    """
    names = _prepared.setdefault(line, {})
    pgconn = line.pgconn
    pgconn.enter_pipeline_mode()
    try:
        is_last = [last for one in messages for last in _send(pgconn, names, one)]
        pgconn.pipeline_sync()
        results = list(_results(pgconn))
        pgconn.exit_pipeline_mode()
    except BaseException:
        # Answers that are still to come would be taken for those to something else.
        if pgconn.status != pq.ConnStatus.BAD:
            line.close()
        raise
    for result in results:
        if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
            # A table may have changed since a statement was prepared.
            del _prepared[line]
            raise errors.error_from_result(result, encoding=line.info.encoding)
    return [result for result, last in zip(results, is_last, strict=True) if last]


def _send(pgconn: pq.abc.PGconn, names: Names, message: _Message) -> Iterator[bool]:
    """Send a message; yield for each result that it will have whether it is the last."""
    sql, values, types, formats = message
    if not values:
        pgconn.send_query_params(sql.encode(), None)
        yield True
        return
    name = names.get((sql, types))
    if name is None:
        name = names[sql, types] = b"optin_%d" % next(_numbers)
        pgconn.send_prepare(name, _numbered(sql), types)
        yield False
    pgconn.send_query_prepared(name, values, formats)
    yield True


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


def _rows(values: Transformer, result: pq.abc.PGresult) -> Rows:
    if not result.ntuples:
        return []
    values.set_pgresult(result)
    return values.load_rows(0, result.ntuples, tuple)
