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
from optin.audit import notes, seals
from optin.conf import Conf, conf
from optin.messaging import delivery
from optin.models import AuditStream, EmailChange, GatewayHealth, Guard, Revocation
from optin.models.messages import LEASE
from optin.runtime import metrics
from optin.support import budgets


def of_tables(now: datetime) -> Iterator[Metric]:
    """Yield each gauge, at *now*. It takes some twenty short statements."""
    yield _clock()
    yield from _messages(now)
    yield from _limits(now)
    yield from _late(now)
    if conf.audit_stream:
        yield from _stream(now)
    if conf.notary:
        longest = max(place.waits(now) for place in notes.places())
        yield metrics.NOTARY_WAITING.of(longest.total_seconds())
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
    return metrics.CLOCK_OFFSET.of(offset)


def _messages(now: datetime) -> Iterator[Metric]:
    backlog = delivery.backlog(now)
    many = {kind: float(count) for kind, (count, _) in backlog.items()}
    oldest = {kind: seconds for kind, (_, seconds) in backlog.items()}
    yield metrics.WAITING.of(many)
    yield metrics.WAITING_OLDEST.of(oldest)
    health = GatewayHealth.objects.all_known()
    in_use = [gateways.make(name).name for name in conf.gateways]
    failures = {name: float(health[name].failures if name in health else 0) for name in in_use}
    yield metrics.GATEWAY_FAILURES.of(failures)


def _limits(now: datetime) -> Iterator[Metric]:
    yield metrics.TEXTS_STOPPED.of(float(limits.texts_are_stopped()))
    is_enforced = not conf.is_observed(Conf.breaker_unproved)
    closed = Guard.objects.closed_prefixes(now).count() if is_enforced else 0
    yield metrics.PREFIXES_CLOSED.of(float(closed))
    yield metrics.BUDGET_USED.of(budgets.fullest(now))


def _late(now: datetime) -> Iterator[Metric]:
    oldest = seals.oldest_unsealed()
    yield metrics.UNSEALED_OLDEST.of(_since(oldest.at if oldest else None, now))
    due = {
        "removal": Revocation.objects.open().aggregate(first=Min("due_at"))["first"],
        "email": EmailChange.objects.due(now).aggregate(first=Min("due_at"))["first"],
    }
    yield metrics.OVERDUE.of({kind: _since(first, now) for kind, first in due.items()})


def _stream(now: datetime) -> Iterator[Metric]:
    state = AuditStream.objects.state()
    oldest = state.oldest_waiting() if state else None
    yield metrics.STREAM_EVENTS.of(float(state.waiting() if state else 0))
    yield metrics.STREAM_SECONDS.of(_since(oldest.at if oldest else None, now))
    yield metrics.STREAM_FAILURES.of(float(state.failures if state else 0))


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
    yield metrics.WORKERS.of(alive)
    yield metrics.JOBS_WAITING.of({name: float(count) for name, count, _, _ in rows})
    yield metrics.JOBS_OLDEST.of({name: seconds for name, _, seconds, _ in rows})
    yield metrics.JOBS_FAILED.of({name: float(count) for name, _, _, count in rows})
