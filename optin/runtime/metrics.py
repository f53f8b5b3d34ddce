"""What is counted for ``/metrics``: decisions, texts, mails, locks, times.

No label has a value that a client can choose, or one for each user: a label's values are
kept in memory for good. Each process counts for itself; where ``gunicorn.conf.py`` names
a folder for it, the counts of all its workers are added up.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OURS = CollectorRegistry()

DECISIONS = Counter(
    "optin_decisions", "Decisions, as in the audit trail.", ["kind", "outcome"], registry=_OURS
)
LOCKS = Counter("optin_locks", "Users locked for too many wrong codes.", registry=_OURS)
DISABLINGS = Counter("optin_disablings", "Users whose texted codes were disabled.", registry=_OURS)
TEXTS = Counter(
    "optin_texts",
    "Attempts to send a text, by what became of it; queued: to be tried again.",
    ["gateway", "state"],
    registry=_OURS,
)
MAILS = Counter(
    "optin_mails",
    "Attempts to send a mail to a user, by what became of it; queued: to be tried again.",
    ["kind", "state"],
    registry=_OURS,
)
ALARMS = Counter(
    "optin_alarms",
    "Alarms: prefix (one was closed), region, file, total.",
    ["alarm"],
    registry=_OURS,
)
REQUESTS = Histogram(
    "optin_request_seconds",
    "Time from a request's arrival to its answer.",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=_OURS,
)


def count_decision(kind: str, outcome: str, data: Mapping[str, Any]) -> None:
    """Count one audit event. Call it once the event is committed."""
    DECISIONS.labels(kind, outcome).inc()
    if "locked_until" in data:
        LOCKS.inc()
    if "disabled" in data:
        DISABLINGS.inc()


def observe(route: str, status: int, seconds: float) -> None:
    """Count one request; *route* is the name of an address, never a path."""
    # A count that the disk has no room for must not cost the answer.
    with suppress(OSError):
        REQUESTS.labels(route, f"{status // 100}xx").observe(seconds)


def exposition(folder: str, waiting: Mapping[str, tuple[int, float]] = {}) -> bytes:
    """Return all counts as Prometheus reads them.

    :param folder: where the processes of the server keep their counts, "" if there is
        only this one.
    :param waiting: for texts and mails, how many wait, and the oldest for how many seconds.
    """
    shown = CollectorRegistry()
    shown.register(_OfAllProcesses(folder) if folder else _OURS)
    shown.register(_Waiting(waiting))
    return generate_latest(shown)


class _OfAllProcesses(Collector):
    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterable[Metric]:
        # The file of a process that just starts is empty, and cannot be read yet.
        files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


class _Waiting(Collector):
    """What waits at this moment, as the tables have it.

    Not a ``Gauge``: that is kept in the folder of its process, for as long as the folder is there.
    """

    def __init__(self, waiting: Mapping[str, tuple[int, float]]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        many = GaugeMetricFamily("optin_waiting", "Messages to be sent.", labels=["kind"])
        oldest = GaugeMetricFamily(
            "optin_waiting_oldest_seconds", "Age of the oldest message to be sent.", labels=["kind"]
        )
        for kind, (count, seconds) in self._waiting.items():
            many.add_metric([kind], count)
            oldest.add_metric([kind], seconds)
        return (many, oldest) if self._waiting else ()
