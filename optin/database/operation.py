"""An operation: a durable transaction, whose writes leave together.

Inside ``transaction.atomic``, ``run_later`` queues a statement. The queue is sent in the order of
the calls, in one round trip with the next ``run``, with the end of an inner block, or with
``COMMIT``. What is given to ``run_at_the_end`` comes last, with ``COMMIT``. Any other statement
sends the queue first, in a round trip of its own. An error of a queued statement is raised when the
queue is sent. Fewer round trips shorten the time for which the row of the user is locked.

On SQLite, and while a test captures the statements (``CaptureQueriesContext``,
``execute_wrapper``), nothing waits: each statement runs immediately, alone.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

logger = logging.getLogger(__name__)


Then = Callable[[Sequence[Any]], None] | None


class Bound(NamedTuple):
    """A statement, with ``%s`` in place of its values, and these as the driver takes them."""

    sql: str
    values: list[Any]


def run(statements: Sequence[Bound]) -> list[list[Any]]:
    """Run the statements in this order, after what waits; return the rows of each.

    If a statement waits for a lock, the next one starts only after it. So the next one sees
    everything that was committed during the wait.
    """
    if pipeline := _pipeline():
        found: list[list[Any]] = pipeline.run_together(statements)
        return found
    return [_run_now(statement) for statement in statements]


def run_later(statement: Bound, then: Then = None) -> None:
    """Queue the statement in the open transaction. Where nothing waits, or outside one, run it now.

    :param then: takes the rows that the statement returns.
    """
    pipeline = _pipeline()
    if pipeline and pipeline.in_atomic_block:
        pipeline.run_later(statement, then)
        return
    _run_now(statement, then)


def release_early() -> None:
    """Release the locks of the open transaction before its commit is on the disk.

    For rows that many operations lock. The commit still returns after that. Until then, others see
    changes that a crash of the database may undo. A writer who sees them waits too: its commit
    cannot reach the disk before this one. A reader does not wait.
    """
    if here := _outermost():
        here.release_early()


def run_at_the_end(statement: Bound, then: Then = None) -> None:
    """``release_early``, and run the statement as the last one of the open transaction.

    So the rows that it changes are locked for the shortest time. An error is raised by the commit.

    :param then: takes the rows that the statement returns.
    """
    if here := _outermost():
        here.run_at_the_end(statement, then)
    else:
        _run_now(statement, then)


def send_waiting() -> None:
    """Send the queued statements now. After that, inserted rows have their keys."""
    # ``_pipeline`` does not tell: statements may be queued although a capture has begun since.
    send = getattr(connections[DEFAULT_DB_ALIAS], "send_waiting", None)
    if send:
        send()


def after_commit(hook: Callable[[], object]) -> None:
    """Run *hook* after the commit, and outside a transaction now. An error changes no answer.

    Django's ``robust`` hooks are not enough. If a ``partial`` fails, Django fails too, and the
    request keeps a broken connection.
    """
    transaction.on_commit(partial(_run_hook, hook))


def waiting_hooks() -> Iterator[Callable[[], object]]:
    """The hooks of the open transaction, the last one first."""
    for entry in reversed(connection.run_on_commit):
        run_it: Any = entry[1]  # the stubs know two of its three parts
        if isinstance(run_it, partial) and run_it.func is _run_hook:
            yield run_it.args[0]


def _run_hook(hook: Callable[[], object]) -> None:
    try:
        hook()
    except Exception:
        logger.exception("something to do after a commit failed")
        connection.close_if_unusable_or_obsolete()


def _outermost() -> Any:
    """Return the connection if it can wait for the end of the transaction, in no inner block."""
    here = _pipeline()
    return here if here and here.in_atomic_block and not here.savepoint_ids else None


def _run_now(statement: Bound, then: Then = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
    if then:
        then(rows)
    return rows


def _pipeline() -> Any:
    """Return the connection if statements may go together: it can, and nobody looks at each."""
    here = connections[DEFAULT_DB_ALIAS]
    return here if getattr(here, "has_pipeline", False) else None
