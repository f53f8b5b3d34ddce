"""Counters that many people share: of a client, a file, a prefix, a region, and of all texts.

If an operation held them until it is committed, all others would wait for that. So it reads them,
decides, and raises them at the end of its transaction (``release_early``). There, the
statement fails if others have used up a limit since the decision. Then the operation is rolled back
and decided again, with these counters held from the decision on. So the limits are exact. Others
wait for one round trip; only operations near a limit wait for a whole operation.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError

from optin.conf import conf
from optin.database import Bound, release_early
from optin.limits.counters import NEVER, Limit, Tally, adding, row_of, tallies_of
from optin.models import SendCounter

P = ParamSpec("P")
T = TypeVar("T")

_later = ContextVar("optin_raise_shared_counters_later", default=False)


def are_raised_later() -> bool:
    """Whether to read shared counters now, and raise them at the end of the transaction."""
    return _later.get()


def decided_again(operation: Callable[P, T]) -> Callable[P, T]:
    """Decorate an operation that is one transaction: others need not wait for its counters.

    Operations without it hold them from their decision to their commit: those that check a
    password, because running them again would count the password twice, and those of staff.
    """

    @wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _later.set(True)
        try:
            return operation(*args, **kwargs)
        except IntegrityError as exc:
            if not _is_overtaken(exc):
                raise
        finally:
            _later.reset(token)
        return operation(*args, **kwargs)

    return run


def reading(limits: Sequence[Limit], now: datetime) -> Bound:
    """Return the statement that reads what ``expected`` takes."""
    where: list[str] = []
    params: list[Any] = []
    for limit in limits:
        where.append("(scope = %s AND key = %s AND window_start = %s)")
        params += row_of(limit, now)
    columns = "SELECT scope, count, verified FROM optin_sendcounter WHERE "
    return Bound(columns + " OR ".join(where), params)


def expected(limits: Sequence[Limit], rows: Sequence[Any]) -> list[Tally]:
    """Each counter as it is with this operation, if no other one raises it meanwhile."""
    found = {scope: counts for scope, *counts in rows}
    return [
        Tally(limit, count + limit.adds, verified + limit.verifies)
        for limit in limits
        for count, verified in [found.get(limit.scope, (0, 0))]
    ]


def add_at_the_end(
    limits: Sequence[Limit],
    now: datetime,
    *,
    within: Sequence[Limit] = (),
    then: Callable[[list[Tally]], None] | None = None,
) -> None:
    """Raise each counter, in the order given, as the last statement of the transaction.

    :param within: of these, the limits that must not be exceeded; otherwise the commit fails.
    :param then: takes what the counters came to.
    """
    if not limits:
        return
    over = [NEVER.sql]
    values: list[Any] = []
    for limit in within:
        if limit.count:
            over.append(_OVER)
            values += [limit.scope, limit.count]
        if limit.closes_at:
            over.append(_PUMPED)
            values += [limit.scope, limit.closes_at, conf.breaker_share]
        if limit.full_at:
            over.append(_FULL)
            values += [limit.scope, limit.full_at]
    raised = adding(limits, now, Bound(" OR ".join(over), values))
    release_early(raised, lambda rows: then(tallies_of(limits, rows)) if then else None)


_OVER = """
(excluded.scope = %s AND optin_sendcounter.count + excluded.count > %s)
"""

_FULL = """
(excluded.scope = %s AND optin_sendcounter.count >= %s)
"""

# ``Tally.is_pumped``
_PUMPED = """
(excluded.scope = %s AND optin_sendcounter.count - optin_sendcounter.verified >= %s
AND optin_sendcounter.verified * 100 < optin_sendcounter.count * %s)
"""


def _is_overtaken(exc: IntegrityError) -> bool:
    diagnosis = getattr(exc.__cause__, "diag", None)
    where = getattr(diagnosis, "table_name", ""), getattr(diagnosis, "column_name", "")
    return where == (SendCounter._meta.db_table, "count")
