"""How many texts of each budget are used in its present window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q

from optin import keys, limits
from optin.conf import conf
from optin.models import SendCounter
from optin.support.wording import plain


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of one budget its window, which is running, has used."""

    scope: str  # "total", "own-total" or "file"
    file_id: int | None  # nothing: the budget of all
    used: int
    limit: int
    ends: datetime

    @property
    def share(self) -> float:
        return self.used / self.limit


def name(one: Budget, files: Mapping[int, str]) -> str:
    """Say what *one* is the budget of; *files* has the names of files by their id."""
    if one.file_id is not None:
        said = f"{plain(files.get(one.file_id, 'gone'))} ({one.file_id})"
    else:
        said = "All files" if one.scope == "total" else "Signing in and changes"
    is_observed = limits.settings_of([one.scope]) & {*conf.observe}
    return f"{said}, only observed" if is_observed else said


def running(now: datetime, file_ids: list[int]) -> list[Budget]:
    """Return the budgets of all texts and of some files at *now*, as they are counted."""
    wanted = {}
    for rule, rates, owners in (
        (limits.Rule.TOTAL, conf.sends_total, [None]),
        (limits.Rule.OWN_TOTAL, conf.own_sends_total, [None]),
        (limits.Rule.FILE, conf.sends_per_file, file_ids),
    ):
        for rate in rates:
            for owner in owners:
                key = "" if owner is None else str(owner)
                one = limits.Limit(rule, key, rate.count, rate.seconds)
                if rate.count:
                    wanted[one.scope, keys.digest("counter", key), one.window(now)] = (
                        rule,
                        owner,
                        one,
                    )
    asked = Q(pk__in=[])
    for scope, key, start in wanted:
        asked |= Q(scope=scope, key=key, window_start=start)
    rows = SendCounter.objects.filter(asked).values_list("scope", "key", "window_start", "count")
    used = {(scope, key, start): count for scope, key, start, count in rows}
    return [
        Budget(
            scope,
            owner,
            used.get(place, 0),
            one.count,
            one.window(now) + timedelta(seconds=one.seconds),
        )
        for place, (scope, owner, one) in wanted.items()
    ]


def fullest(now: datetime) -> dict[str, float]:
    """Return the used share of each budget at *now*, by its scope; of those of files, the largest.

    1.0: all texts are used. Budgets that are switched off are left out.
    """
    shares: dict[str, float] = {}
    for one in running(now, []):
        shares[one.scope] = max(shares.get(one.scope, 0.0), one.share)
    for rate in conf.sends_per_file:
        if rate.count:
            limit = limits.Limit(limits.Rule.FILE, "", rate.count, rate.seconds)
            counters = SendCounter.objects.filter(scope=limit.scope, window_start=limit.window(now))
            most = counters.aggregate(most=Max("count"))["most"] or 0
            name = limits.Rule.FILE.value
            shares[name] = max(shares.get(name, 0.0), most / rate.count)
    return shares
