"""What refusals told people to wait (G-01)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from optin.limits import Rule
from optin.models import AuditEvent, RefusalCount
from optin.outcomes import WITHHELD

OPEN_ENDED = {Rule.STOP.value, Rule.OPTED_OUT.value}
"""Rules whose end nobody knows."""


@dataclass(slots=True)
class Told:
    """One rule, how often it refused, and the longest wait that was told."""

    rule: str  # as events have it, a rate with its seconds: ``own-user/600``
    times: int = 0
    longest: timedelta = timedelta(0)

    @property
    def is_open_ended(self) -> bool:
        """Whether the wait was no promise."""
        return self.rule in OPEN_ENDED


def told_waits(since: datetime) -> list[Told]:
    """Return each rule that told a wait since *since*, the most frequent first."""
    rules: dict[str, Told] = {}
    for rule, seconds, times in (*_events(since), *_counts(since)):
        told = rules.setdefault(rule, Told(rule))
        told.times += times
        told.longest = max(told.longest, timedelta(seconds=seconds))
    return sorted(rules.values(), key=lambda told: (-told.times, told.rule))


def _events(since: datetime) -> Iterator[tuple[str, int, int]]:
    events = AuditEvent.objects.filter(at__gte=since, data__has_key="retry_after")
    # A person whose text is withheld is not told.
    for data in events.exclude(outcome=WITHHELD).values_list("data", flat=True).iterator():
        # One event tells of several equal refusals.
        yield str(data.get("rule", "")), int(data["retry_after"]), int(data.get("repeated", 1))


def _counts(since: datetime) -> Iterator[tuple[str, int, int]]:
    """Those of which no event tells yet: a count is of one hour, which may begin earlier."""
    counts = RefusalCount.objects.untold().filter(last_at__gte=since)
    for count in counts.iterator():
        data = count.last["data"]
        if "retry_after" in data:
            yield str(data.get("rule", "")), int(data["retry_after"]), count.count - count.told
