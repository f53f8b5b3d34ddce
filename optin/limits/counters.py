"""Counters in the database, exact however many processes count.

Each counter counts in a fixed window. One statement raises the counters of an operation, inside a
savepoint. If one of them is over its limit, the savepoint is rolled back: a refused operation
counts nowhere. The statement locks the rows in one fixed order, so no two operations deadlock.
Counters that many people share are raised after these, at the end of the transaction (``shared``).
The texts of a number and of a person have no counter (``recent``).

Of all limits that refuse an operation, ``longest`` returns the one that refuses it longest: its end
is the time to try again (G-01).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from optin import keys
from optin.conf import Rate, conf
from optin.database import Bound, run, run_later
from optin.limits.rules import Rule
from optin.outcomes import whole_seconds

_INSERT = "INSERT INTO optin_sendcounter (scope, key, window_start, count, verified) VALUES "

_OR_ADD = """
ON CONFLICT (scope, key, window_start) DO UPDATE SET
count = CASE WHEN {over} THEN NULL ELSE optin_sendcounter.count + excluded.count END,
verified = optin_sendcounter.verified + excluded.verified
RETURNING count, verified
"""

_OR_NOTHING = """
ON CONFLICT (scope, key, window_start) DO NOTHING
RETURNING count, verified
"""

_OR_TAKE_BACK = """
ON CONFLICT (scope, key, window_start) DO UPDATE SET count =
CASE WHEN optin_sendcounter.count > 0 THEN optin_sendcounter.count - 1 ELSE 0 END
RETURNING count, verified
"""

NEVER = Bound("FALSE", [])

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """One counter and its ceiling. ``count`` 0 counts without a ceiling."""

    rule: Rule
    key: str  # what is counted; stored as a keyed digest
    count: int
    seconds: int
    adds: int = 1
    verifies: int = 0
    closes_at: int = 0  # refuse if so many are not verified (``Tally.is_pumped``); 0: never
    full_at: int = 0  # refuse if there are so many; 0: never

    @property
    def scope(self) -> str:
        """The name under which it is stored."""
        return _name(self.rule, self.seconds)

    def window(self, now: datetime) -> datetime:
        """Return the start of the window that *now* is in."""
        stamp = int(now.timestamp())
        return datetime.fromtimestamp(stamp - stamp % self.seconds, tz=now.tzinfo)


@dataclass(frozen=True, slots=True)
class Tally:
    """The count of one limit, and when it goes down."""

    limit: Limit
    count: int
    verified: int
    frees_at: datetime | None = None
    """When it lets through again, where it is known; else the next window tells."""

    @property
    def before(self) -> int:
        """How many there were before this one."""
        return self.count - self.limit.adds

    @property
    def unverified(self) -> int:
        """How many stood unverified before this one."""
        # A text that staff let through is not in this count, its proof is.
        return max(self.before - self.verified, 0)

    def is_pumped(self, threshold: int) -> bool:
        """Whether too few of those asked for before this one were verified."""
        too_few = self.verified * 100 < self.before * conf.breaker_share
        return 0 < threshold <= self.unverified and too_few


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that decided, and what it counted."""

    rule: Rule
    count: int
    limit: int  # 0: none
    seconds: int = field(default=0, kw_only=True)  # the window of a rate

    @property
    def data(self) -> dict[str, Any]:
        """The facts, for the audit event."""
        return {"rule": self._name, "count": self.count, "limit": self.limit}

    @property
    def _name(self) -> str:
        return _name(self.rule, self.seconds)


@dataclass(frozen=True, slots=True)
class Refused(Decision):
    """The rule that said no, what it counted, and when it no longer says no.

    ``also`` has the other rules that said no.
    """

    retry_after: timedelta
    is_open_ended: bool = field(default=False, kw_only=True)  # nobody knows its end
    also: frozenset[Rule] = field(default=frozenset(), kw_only=True)

    @property
    def rules(self) -> frozenset[Rule]:
        """All rules that said no."""
        return self.also | {self.rule}

    @property
    def data(self) -> dict[str, Any]:
        return {
            "rule": self._name,
            "count": self.count,
            "limit": self.limit,
            "retry_after": whole_seconds(self.retry_after),
        }


@dataclass(frozen=True, slots=True)
class Withheld(Refused):
    """The same, by a rule about others: the answer is as if the text was sent."""


@dataclass(frozen=True, slots=True)
class Reserved(Decision):
    """The rule that was nearest to saying no.

    Its count is an estimate if many share it: two texts at once may both be the fifth.
    """


def charge(limits: Sequence[Limit], now: datetime) -> Refused | None:
    """Raise all of *limits*, or none if one would be exceeded."""
    with transaction.atomic():
        refused = longest(over(add(limits, now), now))
        if refused:
            transaction.set_rollback(True)
    return refused


def each_rate(rule: Rule, key: str, rates: Iterable[Rate]) -> list[Limit]:
    return [Limit(rule, key, rate.count, rate.seconds) for rate in rates]


def add(limits: Sequence[Limit], now: datetime) -> list[Tally]:
    """Raise each counter, in the order given, and return what they came to."""
    if not limits:
        return []
    (found,) = run([adding(limits, now)])
    return tallies_of(limits, found)


def is_first(limit: Limit, now: datetime) -> bool:
    """Count once in a window; return whether nothing was counted before.

    It waits only for another first one that is not committed.
    """
    (found,) = run([_statement([limit], now, _OR_NOTHING)])
    return bool(found)


def adding(limits: Sequence[Limit], now: datetime, over: Bound = NEVER) -> Bound:
    """Return the statement that raises each counter, and returns what they came to.

    :param over: a condition on ``optin_sendcounter`` and ``excluded``, as the row is and as it is
        to be added. Where it holds, the statement fails, because no count may be NULL.
    """
    raised = _statement(limits, now, _OR_ADD.format(over=over.sql))
    return Bound(raised.sql, [*raised.values, *over.values])


def tallies_of(limits: Sequence[Limit], rows: Sequence[Any]) -> list[Tally]:
    return [Tally(limit, *counts) for limit, counts in zip(limits, rows, strict=True)]


def take_back(limits: Sequence[Limit], charged_at: datetime) -> None:
    """Lower each counter by one, none below zero, with the commit."""
    if limits:
        lowered = [replace(limit, adds=0) for limit in limits]
        run_later(_statement(lowered, charged_at, _OR_TAKE_BACK))


def _statement(limits: Sequence[Limit], now: datetime, or_else: str) -> Bound:
    sql = _INSERT + ", ".join(["(%s, %s, %s, %s, %s)"] * len(limits)) + or_else
    params: list[Any] = []
    for limit in limits:
        params += [*row_of(limit, now), limit.adds, limit.verifies]
    return Bound(sql, params)


def row_of(limit: Limit, now: datetime) -> list[Any]:
    """The scope, the key and the start of the window, as they are stored."""
    start = connection.ops.adapt_datetimefield_value(limit.window(now))
    return [limit.scope, keys.digest("counter", limit.key), start]


def over(tallies: Iterable[Tally], now: datetime) -> list[Refused]:
    """Return a refusal for each limit that its count is over."""
    return [
        Refused(
            tally.limit.rule,
            tally.count - 1,
            tally.limit.count,
            _wait(tally, now),
            seconds=tally.limit.seconds,
        )
        for tally in tallies
        if tally.limit.count and tally.count > tally.limit.count
    ]


def longest(refusals: Iterable[Refused | None]) -> Refused | None:
    """Return the one that stands longest, if any: before its end, trying again is in vain.

    One whose end nobody knows stands longer than any other.
    """
    found = [refused for refused in refusals if refused]
    if not found:
        return None
    last = max(found, key=lambda refused: (refused.is_open_ended, refused.retry_after))
    rules = frozenset[Rule]().union(*(refused.rules for refused in found))
    return replace(last, also=rules - {last.rule})


def _wait(tally: Tally, now: datetime) -> timedelta:
    """Return how long the limit refuses, in whole minutes: till the end of its window."""
    limit = tally.limit
    end = tally.frees_at or limit.window(now) + timedelta(seconds=limit.seconds)
    return -((now - end) // MINUTE) * MINUTE


def _name(rule: Rule, seconds: int) -> str:
    return f"{rule}/{seconds}" if seconds else rule.value
