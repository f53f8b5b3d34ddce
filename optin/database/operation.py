"""An operation: a durable transaction, whose writes leave together.

Inside ``transaction.atomic``, ``run_later`` queues a statement. The queue is sent in the order of
the calls, in one round trip with the next ``run``, with the end of an inner block, or with
``COMMIT``. What is given to ``release_early`` comes last, with ``COMMIT``. Any other statement
sends the queue first, in a round trip of its own. An error of a queued statement is raised when the
queue is sent. Fewer round trips shorten the time for which the row of the user is locked.

With another backend, and while a test captures the statements (``CaptureQueriesContext``,
``execute_wrapper``), nothing waits: each statement runs immediately, alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, connections

Then = Callable[[Any], None] | None


def _as_they_are(rows: list[Any]) -> Any:
    return rows


class Bound(NamedTuple):
    """A statement, with ``%s`` in place of its values, and these as the driver takes them.

    ``result`` makes what a caller gets of the rows that the database returns.
    """

    sql: str
    values: list[Any]
    result: Callable[[list[Any]], Any] = _as_they_are

    @property
    def sent(self) -> tuple[str, list[Any]]:
        return self.sql, self.values


def run(statements: Sequence[Bound]) -> list[Any]:
    """Run what waits, and then the statements in this order; return the result of each.

    If a statement waits for a lock, the next one starts only after it. So the next one sees
    everything that was committed during the wait. ``run([])`` only sends what waits: after that,
    rows that were inserted have their keys.
    """
    here: Any = connections[DEFAULT_DB_ALIAS]
    if _can_wait(here):
        found = here.run_together([statement.sent for statement in statements])
    else:
        # Statements may wait although a capture has begun since.
        getattr(here, "send_waiting", list)()
        found = [_run_now(statement) for statement in statements]
    return [one.result(rows) for one, rows in zip(statements, found, strict=True)]


def run_later(statement: Bound, then: Then = None) -> None:
    """Queue the statement in the open transaction. Where nothing waits, or outside one, run it now.

    :param then: takes the rows that the statement returns.
    """
    here: Any = connections[DEFAULT_DB_ALIAS]
    if _can_wait(here) and here.in_atomic_block:
        here.run_later(statement.sent, then)
    else:
        _run_now(statement, then)


def release_early(last: Bound | None = None, then: Then = None) -> None:
    """Release the locks of the open transaction before its commit is on the disk.

    For rows that many operations lock. The commit still returns after that. Until then, others see
    changes that a crash of the database may undo. A writer who sees them waits too: its commit
    cannot reach the disk before this one. A reader does not wait.

    :param last: a statement to run as the last one of the transaction, so that the rows that it
        changes are locked for the shortest time. An error is raised by the commit.
    :param then: takes the rows that this statement returns.
    """
    here: Any = connections[DEFAULT_DB_ALIAS]
    if _can_wait(here) and here.in_atomic_block and not here.savepoint_ids:
        here.release_early()
        if last:
            here.run_at_the_end(last.sent, then)
    elif last:
        _run_now(last, then)


def _run_now(statement: Bound, then: Then = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(*statement.sent)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
    if then:
        then(rows)
    return rows


def _can_wait(here: Any) -> bool:
    """Whether statements may go together: the backend can, and nobody looks at each."""
    return getattr(here, "has_pipeline", False)
