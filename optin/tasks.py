"""What workers do (``manage.py procrastinate worker``): send, and all that is done regularly.

A job carries ids only. It is queued in the transaction that writes the row it is about, so neither
exists without the other. It may run twice, and in two workers at once: whoever claims the row sends
it.

A worker that dies, or loses the database, leaves its jobs behind, and a row that it claimed.
``rescue`` takes up the jobs, ``sweep`` the rows that are left without one.
"""

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.translation import override
from procrastinate import BaseRetryStrategy, JobContext, RetryDecision, exceptions
from procrastinate.contrib.django import app
from procrastinate.jobs import Job, Status
from procrastinate.types import JSONDict

from optin.audit import repeats, seals
from optin.messaging import delivery, receipts, webhooks
from optin.models import Notice, SmsMessage
from optin.models.messages import LEASE, Outgoing
from optin.operations import email_changes, own_removals, retention, revocations
from optin.origin import Face, Origin
from optin.support import statistics

logger = logging.getLogger(__name__)

_ORIGIN = Origin(Face.COMMAND, client="worker")
_DAY = timedelta(days=1)

LEFT_AFTER = timedelta(minutes=1)
"""So long a row waits before ``sweep`` asks whether it has a job at all."""


class NotYet(Exception):
    """It could not be sent now. That is no fault of this service: no frames in the log."""

    expected = True


class BackOff(BaseRetryStrategy):
    """Again after 2, 4, 8 ... seconds, up to *longest*, for a day.

    A text is given up sooner: its code lives for minutes, and ``delivery`` ends the row
    at the first try after that.
    """

    def __init__(self, longest: timedelta) -> None:
        self.longest = int(longest.total_seconds())

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if job.attempts > _DAY.total_seconds() / self.longest:
            return None
        steps = min(job.attempts + 1, math.ceil(math.log2(self.longest)))
        return RetryDecision(retry_in={"seconds": min(2**steps, self.longest)})


# Somebody waits for a code; nobody for a mail.


@app.task(
    name=delivery.TASK[SmsMessage],
    queue="messages",
    priority=10,
    retry=BackOff(timedelta(seconds=30)),
)
def send_text(pk: int) -> None:
    _send(SmsMessage, pk)


@app.task(
    name=delivery.TASK[Notice], queue="messages", priority=5, retry=BackOff(timedelta(minutes=10))
)
def send_mail(pk: int) -> None:
    _send(Notice, pk)


def _send(model: type[Outgoing], pk: int) -> None:
    if delivery.send_one(model, pk):
        raise NotYet


# -- regularly ---------------------------------------------------------------------


def _regularly(cron: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function; one of the workers defers it at each time of *cron*.

    None is deferred while the last one waits. No ``lock``: a dead worker would hold it.
    """

    def make(work: Callable[..., Any]) -> Any:
        name = work.__name__
        task: Any = app.task(name=name, queue="upkeep", queueing_lock=name, **options)
        defer: Any = app.periodic(cron=cron)
        return defer(task(work))

    return make


@_regularly("* * * * * */15", priority=20, pass_context=True)
async def rescue(context: JobContext, timestamp: int) -> None:
    """Take up the jobs of workers that died."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=LEASE.total_seconds()):
        try:
            if job.queue == "messages":
                await manager.retry_job(job)
            else:
                # The next of its kind comes by itself, and may wait already.
                await manager.finish_job(job, Status.FAILED, delete_job=True)
        except exceptions.ConnectorException:
            logger.info("Job %s was taken up by another worker.", job.id)


@_regularly("* * * * *", priority=20)
def sweep(timestamp: int) -> None:
    """Find jobs for the messages that have none, and end those that are not sent any more.

    Left without one are those of a time with ``OPTIN_DELIVERY=inline``, and those whose
    job was lost on the way to a worker.
    """
    now = timezone.now()
    for model, task in ((SmsMessage, send_text), (Notice, send_mail)):
        delivery.give_up(model, now)
        if left := _without_job(model, now):
            task.batch_defer(*left)


def _without_job(model: type[Outgoing], now: datetime) -> list[JSONDict]:
    left = model._default_manager.due(now).filter(created_at__lte=now - LEFT_AFTER)
    waiting_for = _waiting_jobs(delivery.TASK[model])
    return [{"pk": pk} for pk in left.values_list("pk", flat=True) if pk not in waiting_for]


def _waiting_jobs(task: str) -> frozenset[int]:
    # By status first: few of many jobs wait, and there is an index for those.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (args ->> 'pk')::bigint FROM procrastinate_jobs"
            " WHERE status = 'todo' AND task_name = %s",
            [task],
        )
        return frozenset(pk for (pk,) in cursor.fetchall())


@_regularly("* * * * * */5")
def send_events(timestamp: int) -> None:
    """Send events to webhook endpoints. It ends before the next but one begins."""
    with override(None):  # a mail about an endpoint is in the language of the person
        webhooks.send_due(seconds=4)


@_regularly("* * * * * */5")
def report_of_sandboxes(timestamp: int) -> None:
    receipts.report_of_sandboxes(timezone.now())


@_regularly("* * * * *")
def revoke_due(timestamp: int) -> None:
    with override(None):  # as in send_events
        own_removals.remind(origin=_ORIGIN)
        revocations.carry_out(origin=_ORIGIN)
        email_changes.carry_out(origin=_ORIGIN)


@_regularly("* * * * *")
def tell_repeats(timestamp: int) -> None:
    repeats.tell(timezone.now())


@_regularly("*/10 * * * *")
def seal(timestamp: int) -> None:
    seals.seal(timezone.now())


@_regularly("*/5 * * * *")
def roll_up(timestamp: int) -> None:
    statistics.roll_up(timezone.now())


@_regularly("17 * * * *")
def purge(timestamp: int) -> None:
    retention.purge(origin=_ORIGIN)


@_regularly("37 3 * * *", pass_context=True)
async def forget_jobs(context: JobContext, timestamp: int) -> None:
    """Delete the jobs that failed a week ago. Those that succeed are deleted at once."""
    await context.app.job_manager.delete_old_jobs(
        nb_hours=7 * 24, include_failed=True, include_cancelled=True, include_aborted=True
    )
