"""What ``/metrics`` measures in the tables, at the moment when it is read.

All servers read the same tables, so each tells the same: of several, take the largest
(``max by (...)``). What no server could read is left out.
"""

from collections.abc import Iterator
from datetime import datetime

from django.apps import apps
from django.db import connection
from django.db.models import Min
from django.utils import timezone
from prometheus_client import Metric

from optin import gateways, limits
from optin.audit import seals
from optin.conf import conf
from optin.messaging import delivery
from optin.models import EmailChange, GatewayHealth, Guard, Revocation
from optin.models.messages import LEASE
from optin.runtime.metrics import gauge
from optin.support import budgets


def of_tables(now: datetime) -> Iterator[Metric]:
    """Yield each gauge, at *now*. It takes some twenty short statements."""
    yield _clock()
    yield from _messages(now)
    yield from _limits(now)
    yield from _late(now)
    if conf.delivery == "worker":
        yield from _workers()


def _clock() -> Metric:
    """The middle of the statement is when the database looked at its clock."""
    offset = 0.0
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # so that the time to connect is not measured
            begun = timezone.now()
            cursor.execute("SELECT clock_timestamp()")
            (there,) = cursor.fetchone()
            here = begun + (timezone.now() - begun) / 2
        offset = (here - there).total_seconds()
    words = "How far the clock of this machine is ahead of the database's."
    return gauge("optin_clock_offset_seconds", words, offset)


def _messages(now: datetime) -> Iterator[Metric]:
    backlog = delivery.backlog(now)
    many = {kind: float(count) for kind, (count, _) in backlog.items()}
    oldest = {kind: seconds for kind, (_, seconds) in backlog.items()}
    yield gauge("optin_waiting", "Messages to be sent.", many, "kind")
    words = "Age of the oldest message to be sent."
    yield gauge("optin_waiting_oldest_seconds", words, oldest, "kind")
    health = GatewayHealth.objects.all_known()
    in_use = [gateways.make(name).name for name in conf.gateways]
    failures = {name: float(health[name].failures if name in health else 0) for name in in_use}
    words = "Texts in a row at which a gateway failed, whoever sent them. From 3 on it rests."
    yield gauge("optin_gateway_failures", words, failures, "gateway")


def _limits(now: datetime) -> Iterator[Metric]:
    stopped = float(limits.texts_are_stopped())
    yield gauge("optin_texts_stopped", "1 while staff have stopped all texts.", stopped)
    closed = float(Guard.objects.closed_prefixes(now).count())
    yield gauge("optin_prefixes_closed", "Prefixes that are closed to opt-ins.", closed)
    words = "Used share of the texts of a budget; of those of files, the largest."
    yield gauge("optin_budget_used_ratio", words, budgets.fullest(now), "budget")


def _late(now: datetime) -> Iterator[Metric]:
    oldest = seals.oldest_unsealed()
    age = _since(oldest.at if oldest else None, now)
    words = "Age of the oldest audit event without a seal."
    yield gauge("optin_unsealed_oldest_seconds", words, age)
    due = {
        "removal": Revocation.objects.open().aggregate(first=Min("due_at"))["first"],
        "email": EmailChange.objects.due(now).aggregate(first=Min("due_at"))["first"],
    }
    late = {kind: _since(first, now) for kind, first in due.items()}
    words = "Time since the first removal, or new e-mail address, should have taken effect."
    yield gauge("optin_overdue_seconds", words, late, "kind")


def _since(moment: datetime | None, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


# -- workers -----------------------------------------------------------------------

_ALIVE = """
SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - %s * interval '1 s'
"""

# A job has no time of its own, only the events about it do.
_JOBS = """
SELECT queue.name,
    count(job.id) FILTER (WHERE job.status = 'todo'),
    coalesce(extract(epoch FROM max(now() - coalesce(job.scheduled_at, event.at))
        FILTER (WHERE job.status = 'todo')), 0)::float,
    count(job.id) FILTER (WHERE job.status = 'failed')
FROM unnest(%s::text[]) AS queue (name)
LEFT JOIN procrastinate_jobs job ON job.queue_name = queue.name
    AND (job.status = 'failed'
        OR job.status = 'todo' AND (job.scheduled_at IS NULL OR job.scheduled_at <= now()))
LEFT JOIN procrastinate_events event ON event.job_id = job.id AND event.type = 'deferred'
GROUP BY queue.name
"""

_QUEUES = ["messages", "upkeep"]


def _workers() -> Iterator[Metric]:
    if not apps.is_installed("procrastinate.contrib.django"):
        return
    with connection.cursor() as cursor:
        cursor.execute(_ALIVE, [LEASE.total_seconds()])
        (alive,) = cursor.fetchone()
        cursor.execute(_JOBS, [_QUEUES])
        rows = cursor.fetchall()
    yield gauge("optin_workers", "Workers that gave a sign of life in the last 30 seconds.", alive)
    waiting = {name: float(count) for name, count, _, _ in rows}
    yield gauge("optin_jobs_waiting", "Jobs that a worker should take up now.", waiting, "queue")
    words = "Time for which the oldest of these jobs has waited."
    oldest = {name: seconds for name, _, seconds, _ in rows}
    yield gauge("optin_jobs_oldest_seconds", words, oldest, "queue")
    failed = {name: float(count) for name, _, _, count in rows}
    words = "Jobs that failed in the last 7 days."
    yield gauge("optin_jobs_failed", words, failed, "queue")
