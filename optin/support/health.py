"""What must be right while the service runs, as its tables tell it: measured, judged, and said.

Each condition is one function. Its docstring says what is right. It yields what it measured, for
``/metrics``, and a ``Need`` for each thing that is wrong, for the home page of staff and the
doctor. All servers read the same tables, so each tells the same: of several, take the largest
(``max by (...)``). What no server could read is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from django.apps import apps
from django.db import connection, models
from django.db.models import Case, Count, Max, Min, OuterRef, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from prometheus_client import Metric

from optin import gateways
from optin.audit.seals import oldest_unsealed
from optin.conf import ALARM_SHARE, CLOCK_SLACK, conf
from optin.conf.sim_swaps import OFF
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    EmailChange,
    Figure,
    File,
    GatewayHealth,
    Guard,
    Notice,
    Revocation,
    SmsMessage,
    User,
    WebhookEndpoint,
)
from optin.models.messages import LEASE, SIM_SWAPS, TRIPS_AT, State
from optin.origin import Face
from optin.outcomes import SECURED, FactorOutcome
from optin.runtime import metrics
from optin.support import budgets
from optin.support.wording import length, moment, moment_by, section, some

WAITS_LONG = timedelta(minutes=1)
"""A message or a job that waits longer has no worker or ``send_due`` that takes it up."""

LATE = timedelta(minutes=5)
"""After its time, what waits (a removal, a new email address) has nobody who carries it out."""

SAID_WITHIN = timedelta(days=1)
"""How long staff see who said "that was not me"."""

LOOKED_AT = 200
"""The most people to count for this."""

SEALED_WITHIN = timedelta(minutes=30)
"""An event has its seal by then, if something seals the audit trail."""

_PUMPING = section("run", "Limits against pumping")
_WORKERS = section("deploy", "Workers")
STARTING = (
    "Check that a worker runs (systemctl status 'optin-worker@*'), or cron. "
    f"{section('deploy', 'Starting it')}"
)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs somebody, and the rows that it is about."""

    words: str
    model: type[models.Model] | None = None  # none: there are no rows to see
    pk: int | None = None  # of the one row that it is about
    filters: dict[str, str] = field(default_factory=dict)
    do: str = ""
    """What helps, for operators. Without it, this is for staff only."""
    is_fault: bool = False
    """Whether the service does not do what it should. Otherwise somebody should look at it."""


class Condition(Protocol):
    """Its name is a label of the metric ``optin_needs_attention``, which alerts read."""

    __name__: str

    def __call__(self, now: datetime, /) -> Iterator[Metric | Need]: ...


def needs(now: datetime, *conditions: Condition) -> list[Need]:
    """Return what needs somebody at *now*, what is worst first: by default, all that staff see."""
    return [
        found
        for condition in conditions or CONDITIONS
        for found in condition(now)
        if isinstance(found, Need)
    ]


def gauges(now: datetime) -> Iterator[Metric]:
    """Yield what is measured at *now*. It takes some twenty short statements."""
    needed = {}
    for condition in (*MACHINES, *CONDITIONS):
        found = list(condition(now))
        yield from (one for one in found if isinstance(one, Metric))
        needed[condition.__name__] = sum(isinstance(one, Need) and bool(one.do) for one in found)
    yield metrics.NEEDS_ATTENTION.of(needed)


# -- texts -------------------------------------------------------------------------


def stop_of_texts() -> Guard | None:
    """Return the stop of all texts, if there is one, with who made it as ``by``: one statement."""
    name = User.objects.filter(pk=OuterRef("actor_id")).values("username")
    operator = Case(When(face=Face.COMMAND, then=Value("an operator")))
    stops = AuditEvent.objects.filter(pk__gt=0, kind=AuditEvent.Kind.STOP, outcome="ok")
    by = stops.annotate(by=Coalesce(Subquery(name), operator)).order_by("-pk").values("by")[:1]
    return Guard.objects.filter(kind=Guard.Kind.STOP).annotate(by=Subquery(by)).first()


def stopped_texts(now: datetime) -> Iterator[Metric | Need]:
    """Texts are not stopped."""
    found = stop_of_texts()
    yield metrics.TEXTS_STOPPED.of(float(found is not None))
    if found:
        words = f"All texts have been stopped since {moment(found.made_at)}."
        do = "Ask whoever stopped them, as the audit log says, before you end it."
        yield Need(words, Guard, found.pk, do=f"{do} {_PUMPING}")


def failing_gateways(now: datetime) -> Iterator[Metric | Need]:
    """No gateway failed at its last 3 texts, nor the SIM swap provider at its last 3 questions."""
    health = GatewayHealth.objects.all_known()
    # A gateway that is no longer in the settings keeps its row.
    names = [gateway.name for gateway in map(gateways.make, conf.gateways)]
    names += [SIM_SWAPS] if conf.sim_swap != OFF else []
    failures = {name: health[name].failures if name in health else 0 for name in names}
    yield metrics.GATEWAY_FAILURES.of(failures)
    for name in (name for name in failures if failures[name] >= TRIPS_AT):
        until = health[name].tripped_until
        then = "the next text tries it again"
        if until and until > now:
            then = f"not used until {moment(until)}"
        words = f"Gateway {name} failed {failures[name]} times in a row: {then}."
        do = "Others that serve its regions take its texts."
        if name == SIM_SWAPS:
            do = "Meanwhile the service does not ask about SIM swaps."
        see = section("run", "When texts do not leave")
        yield Need(words, GatewayHealth, health[name].pk, do=f"{do} {see}")


def messages(now: datetime) -> Iterator[Metric | Need]:
    """No text and no mail has waited for more than a minute."""
    backlog = delivery.backlog(now)
    yield metrics.WAITING.of({kind: count for kind, (count, _) in backlog.items()})
    yield metrics.WAITING_OLDEST.of({kind: seconds for kind, (_, seconds) in backlog.items()})
    models_of: dict[str, type[models.Model]] = {"text": SmsMessage, "mail": Notice}
    for kind, (count, seconds) in backlog.items():
        if seconds > WAITS_LONG.total_seconds():
            wait = some(int(seconds // 60), "minute")
            yield Need(
                f"{some(count, kind)} not sent yet: the oldest has waited for {wait}.",
                models_of[kind],
                filters={"state": State.QUEUED},
                do=STARTING + " If one runs, look at their reason in the admin.",
                is_fault=True,
            )


def near_budgets(now: datetime) -> Iterator[Metric | Need]:
    """No budget is nearly used."""
    used = budgets.fullest(now)
    yield metrics.BUDGET_USED.of(used)
    if not any(share * 100 >= ALARM_SHARE for share in used.values()):
        return
    near = budgets.near(now)
    ids = [one.file_id for one in near if one.file_id is not None]
    names = dict(File.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}
    for one in sorted(near, key=lambda one: -one.share):
        yield Need(
            f"Budget “{budgets.name(one, names)}”: {one.used:,} of {one.limit:,} {one.unit} used. "
            f"It begins again at {moment(one.ends)}.",
            Figure,
            do=f"Find out who uses it up. {_PUMPING}",
        )


def closed_prefixes(now: datetime) -> Iterator[Metric | Need]:
    """No prefix is closed."""
    closed = Guard.objects.closed_prefixes(now).count()
    yield metrics.PREFIXES_CLOSED.of(closed)
    if closed:
        is_are = "is" if closed == 1 else "are"
        words = f"{some(closed, 'prefix', 'prefixes')} {is_are} closed to opt-ins."
        do = "Find out who asks, then open the prefix or deny it for longer."
        filters = {"kind": Guard.Kind.BREAKER.value}
        yield Need(words, Guard, filters=filters, do=f"{do} {_PUMPING}")


# -- people ------------------------------------------------------------------------


def overdue(now: datetime) -> Iterator[Metric | Need]:
    """No removal and no new email address is late."""
    removals = Revocation.objects.open().aggregate(
        count=Count("pk"), first=Min("due_at"), user=Max("user")
    )
    addresses = EmailChange.objects.due(now).aggregate(count=Count("pk"), first=Min("due_at"))
    first = {"removal": removals["first"], "email": addresses["first"]}
    yield metrics.OVERDUE.of({kind: _since(due, now) for kind, due in first.items()})
    if removals["count"]:
        yield _removals(now, **removals)
    if addresses["count"] and addresses["first"] <= now - LATE:
        late = EmailChange.objects.due(now - LATE).count()
        words = some(late, "new email address is", "new email addresses are")
        yield Need(
            f"{words} due, but not in effect yet. The first was due at "
            f"{moment(addresses['first'])}.",
            AuditEvent,
            filters={"kind": AuditEvent.Kind.EMAIL.value, "outcome": "proved"},
            do=f"manage send_due. {STARTING}",
            is_fault=True,
        )


def _removals(now: datetime, count: int, first: datetime, user: int) -> Need:
    """Staff see those that are planned, too: they may call one off."""
    is_late = first + LATE < now
    then = "was due at {}, and has not been carried out" if is_late else "takes effect at {}"
    if count > 1:
        then = f"are planned: one {then}" if is_late else "are planned: the next is at {}"
    words = f"{some(count, 'removal')} of second factors {then.format(moment_by(first))}."
    do = f"manage send_due. {STARTING}" if is_late else ""
    if count == 1:
        return Need(words, User, user, do=do, is_fault=is_late)
    filters = {"kind": AuditEvent.Kind.REVOCATION.value}
    return Need(words, AuditEvent, filters=filters, do=do, is_fault=is_late)


def not_me(now: datetime) -> Iterator[Need]:
    """Nobody said "that was not me", on their page or by a mailed link."""
    said = AuditEvent.objects.led_by("kind", AuditEvent.Kind.DISOWN).filter(
        outcome__in=[FactorOutcome.OK, SECURED], at__gt=now - SAID_WITHIN
    )
    found = {*said.order_by().values_list("user_id", flat=True).distinct()[:LOOKED_AT]}
    if len(found) == 1:
        yield Need("One person said “that wasn't me” in the last day.", User, found.pop())
    elif found:
        filters = {"kind": AuditEvent.Kind.DISOWN.value}
        words = f"{len(found)} people said “that wasn't me” in the last day."
        yield Need(words, AuditEvent, filters=filters)


def endpoints(now: datetime) -> Iterator[Need]:
    """The service switched off no webhook endpoint, and somebody answers for each."""
    by_service = [WebhookEndpoint.Off.FAILING, WebhookEndpoint.Off.GONE]
    off = WebhookEndpoint.objects.filter(off_why__in=by_service)
    for row in off.order_by("pk"):
        since = moment(row.off_at) if row.off_at else ""
        yield Need(
            f"A webhook endpoint of file {row.file_id} is {row.get_off_why_display()} ({since}).",
            WebhookEndpoint,
            row.pk,
        )
    on = WebhookEndpoint.objects.filter(off_at=None, file__active=True)
    paused = on.paused()
    for row in on.filter(pk__in=paused).order_by("pk"):
        yield Need(
            f"A webhook endpoint of file {row.file_id} is paused: {paused[row.pk].label}.",
            WebhookEndpoint,
            row.pk,
        )


# -- workers -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one task that failed in the last 7 days, and those to be taken up now."""

    queue: str
    task: str
    failed: int
    waiting: int
    oldest: float
    """Seconds for which one has waited."""


# A job has no time of its own, only the events about it do.
_JOBS = """
SELECT queue_name, task_name, count(*) FILTER (WHERE status = 'failed'),
    count(*) FILTER (WHERE status = 'todo'),
    coalesce(extract(epoch FROM max(now() - coalesce(scheduled_at, event.at))
        FILTER (WHERE status = 'todo')), 0)::float
FROM procrastinate_jobs job
LEFT JOIN procrastinate_events event ON event.job_id = job.id AND event.type = 'deferred'
WHERE status = 'failed' OR status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
GROUP BY queue_name, task_name ORDER BY 3 DESC, 4 DESC, 2
"""
_QUEUES = ("messages", "upkeep")
_SIGNS = """
SELECT extract(epoch FROM now() - last_heartbeat)::float FROM procrastinate_workers ORDER BY 1
"""


def queued() -> list[Jobs]:
    """Return the tasks of which a job failed or waits. Only workers have jobs."""
    if not apps.is_installed("procrastinate.contrib.django"):
        return []
    with connection.cursor() as cursor:
        cursor.execute(_JOBS)
        return [Jobs(*row) for row in cursor.fetchall()]


def signs_of_life() -> list[float]:
    """Return for how many seconds each worker that is alive has said nothing."""
    with connection.cursor() as cursor:
        cursor.execute(_SIGNS)
        return [silent for (silent,) in cursor.fetchall() if silent <= LEASE.total_seconds()]


def workers(now: datetime) -> Iterator[Metric]:
    """A worker gave a sign of life in the last 30 seconds."""
    if _by_workers():
        yield metrics.WORKERS.of(len(signs_of_life()))


def jobs(now: datetime) -> Iterator[Metric | Need]:
    """No job has waited for more than a minute."""
    if _by_workers():
        found = queued()
        of = {name: [one for one in found if one.queue == name] for name in _QUEUES}
        waiting = {name: sum(one.waiting for one in each) for name, each in of.items()}
        oldest = {name: max((one.oldest for one in each), default=0) for name, each in of.items()}
        yield metrics.JOBS_WAITING.of(waiting)
        yield metrics.JOBS_OLDEST.of(oldest)
        yield metrics.JOBS_FAILED.of({n: sum(one.failed for one in of[n]) for n in of})
        for name in (name for name in of if oldest[name] > WAITS_LONG.total_seconds()):
            yield Need(
                f"{some(waiting[name], 'background job')} of the queue {name} not taken up yet: "
                f"the oldest has waited for {length(timedelta(seconds=oldest[name]))}.",
                do="Start more workers, at least one of them without --queues; and look whether a "
                f"gateway or the mail server is slow. {_WORKERS}",
                is_fault=True,
            )


def failed_jobs(now: datetime) -> Iterator[Need]:
    """No job failed in the last 7 days."""
    if failed := [one for one in queued() if one.failed]:
        tasks = ", ".join(one.task for one in failed)
        count = some(sum(one.failed for one in failed), "background job")
        yield Need(f"{count} failed in the last 7 days: {tasks}.", do=_WORKERS)


def _by_workers() -> bool:
    return conf.delivery == "worker" and apps.is_installed("procrastinate.contrib.django")


# -- the audit trail ---------------------------------------------------------------


def seals(now: datetime) -> Iterator[Metric | Need]:
    """No event has waited for its seal for more than 30 minutes."""
    oldest = oldest_unsealed()
    waits = _since(oldest.at if oldest else None, now)
    yield metrics.UNSEALED_OLDEST.of(waits)
    if oldest and waits > SEALED_WITHIN.total_seconds():
        yield Need(
            f"The audit log hasn't been sealed since {moment(oldest.at)}.",
            AuditEvent,
            oldest.pk,
            do="Look in the log for 'nothing sealed' and 'could not be sealed'. Then: manage "
            f"verify_audit --seal. {STARTING}",
            is_fault=True,
        )


# -- the database ------------------------------------------------------------------


def clock(now: datetime) -> Iterator[Metric | Need]:
    """The clocks of the database and of this machine differ by 5 seconds at most."""
    offset = 0.0
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # so that the time to connect is not measured
            begun = timezone.now()
            cursor.execute("SELECT clock_timestamp()")
            (there,) = cursor.fetchone()
            # The middle of the statement is when the database looked at its clock.
            offset = (there - begun - (timezone.now() - begun) / 2).total_seconds()
    yield metrics.CLOCK_OFFSET.of(-offset)
    yield from clock_of("the database", offset)


def clock_of(whose: str, seconds: float) -> Iterator[Need]:
    """Judge by how many *seconds* the clock of another machine is ahead."""
    limit = CLOCK_SLACK.total_seconds()
    if abs(seconds) > limit:
        way = "ahead of" if seconds > 0 else "behind"
        yield Need(
            f"The clock of {whose} is {abs(seconds):.0f} seconds {way} that of this machine. They "
            f"must not differ by more than {limit:.0f}.",
            do="Look which one is wrong (timedatectl), and set both by NTP.",
            is_fault=True,
        )


def _since(moment: datetime | None, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


CONDITIONS: tuple[Condition, ...] = (
    *(
        stopped_texts,
        failing_gateways,
        messages,
        near_budgets,
        closed_prefixes,
        overdue,
        not_me,
        endpoints,
    ),
    *(jobs, failed_jobs, seals),
)
MACHINES: tuple[Condition, ...] = (clock, workers)
"""Conditions that do not concern staff."""
