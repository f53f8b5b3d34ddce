"""What is counted for ``/metrics``: decisions, texts, mails, locks, times, waits.

No label has a value that a client can choose, or one for each user: a label's values are
kept in memory for good. Each process counts for itself; where ``gunicorn.conf.py`` names
a folder for it, the counts of all its workers are added up.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.dispatch import receiver
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from optin.database import connection_taken

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OURS = CollectorRegistry()

DECISIONS = Counter(
    "optin_decisions", "Decisions, as in the audit trail.", ["kind", "outcome"], registry=_OURS
)
LOCKS = Counter("optin_locks", "Users locked for too many wrong codes.", registry=_OURS)
DISABLINGS = Counter("optin_disablings", "Users whose texted codes were locked.", registry=_OURS)
TEXTS = Counter(
    "optin_texts",
    "Attempts to send a text. Those that are queued are tried again.",
    ["gateway", "state"],
    registry=_OURS,
)
MAILS = Counter(
    "optin_mails",
    "Attempts to send a mail to a user. Those that are queued are tried again.",
    ["kind", "state"],
    registry=_OURS,
)
ALARMS = Counter(
    "optin_alarms",
    "Alarms: prefix (one was closed), region, file, total, own-total, staff, webhook.",
    ["alarm"],
    registry=_OURS,
)
GATEWAYS = Histogram(
    "optin_gateway_seconds",
    "Time that a gateway took for a text.",
    ["gateway", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5),
    registry=_OURS,
)
SIM_SWAPS = Histogram(
    "optin_sim_swap_seconds",
    "Time that a question about a SIM swap took.",
    ["answer"],
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1),
    registry=_OURS,
)
HASH_WAITS = Histogram(
    "optin_password_hash_wait_seconds",
    "Time that a password waited before it was checked.",
    buckets=(0.005, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    registry=_OURS,
)
HASHES_REFUSED = Counter(
    "optin_password_hashes_refused",
    "Passwords that got a 503, because too many others waited, or for too long.",
    registry=_OURS,
)
POOL_WAITS = Histogram(
    "optin_pool_wait_seconds",
    "Time that a request or job waited for a connection to the database.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5),
    registry=_OURS,
)
POOL_FAILURES = Counter(
    "optin_pool_failures",
    "Requests and jobs that got no connection to the database.",
    registry=_OURS,
)
REQUESTS = Histogram(
    "optin_request_seconds",
    "Time from a request's arrival to its answer.",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=_OURS,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured at the moment when it is read.

    Not a ``Gauge``: that is kept in the folder of its process, for as long as the folder is there.
    """

    name: str
    words: str
    label: str = ""

    def of(self, values: float | Mapping[str, float]) -> Metric:
        """Return it as a number, or as one for each value of the label."""
        labels = [self.label] if self.label else []
        family = GaugeMetricFamily(self.name, self.words, labels=labels)
        for value, number in values.items() if isinstance(values, Mapping) else [("", values)]:
            family.add_metric([value] if self.label else [], number)
        return family


UNREADY = Measure("optin_unready", "1 if the server cannot serve for this reason.", "reason")
NEEDS_ATTENTION = Measure(
    "optin_needs_attention",
    "How many things are wrong, as the home page and the doctor tell them.",
    "condition",
)
CLOCK_OFFSET = Measure(
    "optin_clock_offset_seconds",
    "Seconds by which this machine's clock is ahead of the database's.",
)
WAITING = Measure("optin_waiting", "Messages to be sent.", "kind")
WAITING_OLDEST = Measure(
    "optin_waiting_oldest_seconds", "Age of the oldest message to be sent.", "kind"
)
GATEWAY_FAILURES = Measure(
    "optin_gateway_failures",
    "Texts in a row at which a gateway failed. At 3 it gets none for a minute.",
    "gateway",
)
TEXTS_STOPPED = Measure("optin_texts_stopped", "1 while staff have stopped all texts.")
PREFIXES_CLOSED = Measure("optin_prefixes_closed", "Prefixes that are closed to opt-ins.")
BUDGET_USED = Measure(
    "optin_budget_used_ratio",
    "Used share of a budget. For files: of the fullest one.",
    "budget",
)
UNSEALED_OLDEST = Measure(
    "optin_unsealed_oldest_seconds", "Age of the oldest audit event without a seal."
)
OVERDUE = Measure(
    "optin_overdue_seconds",
    "Time since the first removal, or new email address, should have taken effect.",
    "kind",
)
WORKERS = Measure("optin_workers", "Workers that gave a sign of life in the last 30 seconds.")
JOBS_WAITING = Measure("optin_jobs_waiting", "Jobs that a worker should take up now.", "queue")
JOBS_OLDEST = Measure(
    "optin_jobs_oldest_seconds", "Time for which the oldest of these jobs has waited.", "queue"
)
JOBS_FAILED = Measure("optin_jobs_failed", "Jobs that failed in the last 7 days.", "queue")


def every_metric() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the name, the labels and the meaning of each metric that ``/metrics`` may have."""
    for metric in globals().values():
        if isinstance(metric, Measure):
            yield metric.name, (metric.label,) if metric.label else (), metric.words
        elif isinstance(metric, MetricWrapperBase):
            (told,) = metric.describe()
            name = f"{told.name}_total" if told.type == "counter" else told.name
            yield name, metric._labelnames, told.documentation


def count_decision(kind: str, outcome: str, data: Mapping[str, Any]) -> None:
    """Count one audit event. Call it once the event is committed."""
    DECISIONS.labels(kind, outcome).inc()
    if "test" in data:
        return  # in a sandbox, where integrators try this out
    if "locked_until" in data:
        LOCKS.inc()
    if "disabled" in data:
        DISABLINGS.inc()


@receiver(connection_taken)
def _count_connection(*, seconds: float, found: bool, **_: object) -> None:
    if found:
        POOL_WAITS.observe(seconds)
    else:
        POOL_FAILURES.inc()


def observe(route: str, status: int, seconds: float, *, is_of_sandbox: bool = False) -> None:
    """Count one request; *route* is the name of an address, never a path.

    :param is_of_sandbox: whether a number asked a sandbox for this answer: it is no fault.
    """
    # A count that the disk has no room for must not cost the answer.
    with suppress(OSError):
        result = "rehearsed" if is_of_sandbox else f"{status // 100}xx"
        REQUESTS.labels(route, result).observe(seconds)


def may_read(authorization: str, token: str) -> bool:
    """Whether the header ``Authorization`` shows the *token* of the metrics."""
    return hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


def exposition(folder: str, measured: Sequence[Metric] = ()) -> bytes:
    """Return all counts as Prometheus reads them.

    :param folder: where the processes of the server keep their counts, "" if there is
        only this one.
    :param measured: what is measured at this moment, besides.
    """
    shown = CollectorRegistry()
    if folder:
        MultiProcessCollector(shown, folder)  # type: ignore[no-untyped-call]
    else:
        shown.register(_OURS)
    shown.register(_Measured(measured))
    return generate_latest(shown)


class _Measured(Collector):
    def __init__(self, measured: Sequence[Metric]) -> None:
        self._measured = measured

    def collect(self) -> Iterable[Metric]:
        return self._measured
