"""How much of each budget is used in its present window."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q, QuerySet

from optin import keys
from optin.conf import ALARM_SHARE, conf
from optin.conf.sim_swaps import OFF
from optin.limits import Limit, Rule
from optin.models import File, SendCounter
from optin.support.wording import plain


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of one budget its window, which is running, has used."""

    scope: str  # the rule: "total", "own-total", "file" or "sim-swap"
    file_id: int | None  # nothing: the budget of all
    used: int
    limit: int
    ends: datetime
    seconds: int

    @property
    def share(self) -> float:
        return self.used / self.limit

    @property
    def unit(self) -> str:
        return "questions" if self.scope == Rule.SIM_SWAP else "texts"


_NAMES = {
    Rule.TOTAL.value: "All files",
    Rule.OWN_TOTAL.value: "Signing in and changes",
    Rule.SIM_SWAP.value: "Questions about SIM swaps",
}


def name(one: Budget, files: Mapping[int, str]) -> str:
    """Say what *one* is the budget of; *files* has the names of files by their id."""
    if one.file_id is not None:
        return f"{plain(files.get(one.file_id, 'gone'))} ({one.file_id})"
    return _NAMES[one.scope]


def _limits() -> list[Limit]:
    """The budgets that are not switched off; of those of files, one for all."""
    return [
        Limit(rule, "", rate.count, rate.seconds)
        for rule, rates in (
            (Rule.TOTAL, conf.sends_total),
            (Rule.OWN_TOTAL, conf.own_sends_total),
            (Rule.FILE, conf.sends_per_file),
            (Rule.SIM_SWAP, conf.sim_swap_budget if conf.sim_swap != OFF else ()),
        )
        for rate in rates
        if rate.count
    ]


def running(now: datetime, file_ids: Iterable[int]) -> list[Budget]:
    """Return the budgets of all and of some files at *now*, as they are counted."""
    wanted = {
        (one.scope, keys.digest("counter", "" if owner is None else str(owner)), one.window(now)): (
            one,
            owner,
        )
        for one in _limits()
        for owner in (file_ids if one.rule is Rule.FILE else (None,))
    }
    asked = Q(pk__in=[])
    for scope, key, start in wanted:
        asked |= Q(scope=scope, key=key, window_start=start)
    rows = SendCounter.objects.filter(asked).values_list("scope", "key", "window_start", "count")
    used = {(scope, key, start): count for scope, key, start, count in rows}
    return [
        Budget(
            one.rule,
            owner,
            used.get(place, 0),
            one.count,
            one.window(now) + timedelta(seconds=one.seconds),
            one.seconds,
        )
        for place, (one, owner) in wanted.items()
    ]


def fullest(now: datetime) -> dict[str, float]:
    """Return the used share of each budget at *now*, by its scope; of those of files, the largest.

    1.0: all is used. Budgets that are switched off are left out.
    """
    shares: dict[str, float] = {}
    for one in _limits():
        most = _counters(one, now).aggregate(most=Max("count"))["most"] or 0
        shares[one.rule.value] = max(shares.get(one.rule.value, 0.0), most / one.count)
    return shares


def near(now: datetime) -> list[Budget]:
    """Return the budgets of which ``ALARM_SHARE`` percent are used."""
    of_files = {
        key
        for one in _limits()
        if one.rule is Rule.FILE
        for key in _counters(one, now)
        .filter(count__gte=one.count * ALARM_SHARE / 100)
        .values_list("key", flat=True)
    }
    file_ids = [
        pk
        for pk in (File.objects.values_list("pk", flat=True) if of_files else ())
        if keys.digest("counter", str(pk)) in of_files
    ]
    return [one for one in running(now, file_ids) if one.share * 100 >= ALARM_SHARE]


def _counters(one: Limit, now: datetime) -> "QuerySet[SendCounter]":
    return SendCounter.objects.filter(scope=one.scope, window_start=one.window(now))
