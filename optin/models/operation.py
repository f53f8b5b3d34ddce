"""An operation: a durable transaction, whose writes leave together.

In a ``transaction.atomic``, what ``run_later`` is given does not leave at once. It goes with the
next read of the transaction, or with its COMMIT, in one round trip and in the order of the calls
(``twofa_site.postgresql``). An error of it is raised then, too. Each round trip less shortens the
time for which the row of the user is locked.

On SQLite, and while somebody counts or logs each statement, the same statements run one after
another, at once.
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

    A statement that waits for a lock waits before the next one begins, so that one sees what is
    committed by then.
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
    """Run the statement before the open transaction next reads, or with its commit.

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
    """Send what the open transaction has written and not sent: rows have their keys after that."""
    # Also if somebody began to look at each statement meanwhile.
    send = getattr(connections[DEFAULT_DB_ALIAS], "send_waiting", None)
    if send:
        send()


def _pipeline() -> Any:
    """Return the connection if statements may go together: it can, and nobody looks at each."""
    here = connections[DEFAULT_DB_ALIAS]
    return here if getattr(here, "has_pipeline", False) else None
