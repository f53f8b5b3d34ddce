"""An operation: a durable transaction, whose writes leave together.

Inside ``transaction.atomic``, ``run_later`` queues a statement. The queue is sent in the order of
the calls, in one round trip with the next ``run``, with the end of an inner block, or with
``COMMIT``. Any other statement sends the queue first, in a round trip of its own. An error of a
queued statement is raised when the queue is sent. Fewer round trips shorten the time for which the
row of the user is locked.

On SQLite, and while a test captures the statements (``CaptureQueriesContext``,
``execute_wrapper``), nothing waits: each statement runs immediately, alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, connections


class Bound(NamedTuple):
    """A statement, with ``%s`` in place of its values, and these as the driver takes them."""

    sql: str
    values: list[Any]


def run(statements: Sequence[Bound]) -> list[list[Any]]:
    """Run the statements in this order, after what waits; return the rows of each.

    If a statement waits for a lock, the next one starts only after it. So the next one sees
    everything that was committed during the wait.
    """
    found: list[list[Any]]
    if pipeline := _pipeline():
        found = pipeline.run_together(statements)
        return found
    found = []
    with connection.cursor() as cursor:
        for sql, values in statements:
            cursor.execute(sql, values)
            found.append(cursor.fetchall())
    return found


def run_later(statement: Bound, then: Callable[[Sequence[Any]], None] | None = None) -> None:
    """Queue the statement in the open transaction. Where nothing waits, or outside one, run it now.

    :param then: takes the row that the statement returns.
    """
    pipeline = _pipeline()
    if pipeline and pipeline.in_atomic_block:
        pipeline.run_later(statement, then)
        return
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        if then:
            then(cursor.fetchone())


def send_waiting() -> None:
    """Send the queued statements now. After that, inserted rows have their keys."""
    # Not by ``_pipeline``: statements may be queued although a capture has begun since.
    send = getattr(connections[DEFAULT_DB_ALIAS], "send_waiting", None)
    if send:
        send()


def _pipeline() -> Any:
    """Return the connection if statements may go together: it can, and nobody looks at each."""
    here = connections[DEFAULT_DB_ALIAS]
    return here if getattr(here, "has_pipeline", False) else None
