"""What needs somebody of the staff now.

Each is read from the tables at this moment, by a fixed number of statements.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.apps import apps
from django.db import connection, models
from django.db.models import Count, Max, Min

from optin import gateways
from optin.audit import notes
from optin.audit.seals import oldest_unsealed
from optin.conf import Conf, conf
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    AuditStream,
    EmailChange,
    File,
    GatewayHealth,
    Guard,
    Notice,
    Revocation,
    SmsMessage,
    User,
    WebhookEndpoint,
)
from optin.models.audit_stream import COUNTED
from optin.models.messages import TRIPS_AT, State
from optin.outcomes import SECURED, FactorOutcome
from optin.support import budgets
from optin.support.wording import moment, some

WAITS_LONG = timedelta(minutes=1)
"""A message that waits longer has no worker or ``send_due`` that sends it."""

LATE = timedelta(minutes=5)
"""After its time, what waits (a removal, a new e-mail address) has nobody who carries it out."""

SAID_WITHIN = timedelta(days=1)
"""How long staff see who said "that was not me"."""

LOOKED_AT = 200
"""The most people to count for this."""

SEALED_WITHIN = timedelta(minutes=30)
"""Where something seals the audit trail, an event has its seal by then."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs somebody, and the rows that it is about."""

    words: str
    model: type[models.Model] | None = None  # none: the figures tell more
    pk: int | None = None  # of the one row that it is about
    filters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one task that failed in the last 7 days, or wait."""

    task: str
    failed: int
    waiting: int


def needs(now: datetime, file_ids: list[int]) -> list[Need]:
    """Return what needs somebody at *now*, what is worst first.

    :param file_ids: the files whose budgets are looked at, beside those of all texts.
    """
    return [
        *stops(now),
        *failing_gateways(now),
        *waiting(now),
        *near_budgets(now, file_ids),
        *closed_prefixes(now),
        *_revocations(now),
        *not_me(now),
        *new_addresses(now),
        *endpoints(),
        *failed_jobs(),
        *seals(now),
        *stream(now),
        *notary(now),
    ]


def jobs() -> list[Jobs]:
    """Return the tasks of which a job failed or waits. Only workers have jobs."""
    if not apps.is_installed("procrastinate.contrib.django"):
        return []
    with connection.cursor() as cursor:
        cursor.execute(_JOBS)
        return [Jobs(*row) for row in cursor.fetchall()]


_JOBS = """
SELECT task_name,
    count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'todo')
FROM procrastinate_jobs WHERE status IN ('failed', 'todo')
GROUP BY task_name ORDER BY 2 DESC, 3 DESC, 1
"""


# -- texts -------------------------------------------------------------------------


def stops(now: datetime) -> Iterator[Need]:
    stop = Guard.objects.in_force(now).filter(kind=Guard.Kind.STOP).first()
    if stop:
        yield Need(f"All texts have been stopped since {moment(stop.made_at)}.", Guard, stop.pk)


def failing_gateways(now: datetime) -> Iterator[Need]:
    """Those in use: what is no longer in the settings keeps its row."""
    names = [gateway.name for gateway in map(gateways.make, conf.gateways)]
    for row in GatewayHealth.objects.filter(failures__gte=TRIPS_AT, gateway__in=names):
        until = row.tripped_until
        then = "the next text tries it again"
        if until and until > now:
            then = f"not used until {moment(until)}"
        yield Need(
            f"Gateway {row.gateway} failed {row.failures} times in a row: {then}.",
            GatewayHealth,
            row.pk,
        )


def waiting(now: datetime) -> Iterator[Need]:
    models_of: dict[str, type[models.Model]] = {"text": SmsMessage, "mail": Notice}
    for kind, (count, seconds) in delivery.backlog(now).items():
        if seconds > WAITS_LONG.total_seconds():
            wait = some(int(seconds // 60), "minute")
            yield Need(
                f"{some(count, kind)} not sent yet: the oldest has waited for {wait}.",
                models_of[kind],
                filters={"state": State.QUEUED},
            )


def near_budgets(now: datetime, file_ids: list[int]) -> Iterator[Need]:
    near = [one for one in budgets.running(now, file_ids) if one.share * 100 >= conf.alarm_share]
    ids = [one.file_id for one in near if one.file_id is not None]
    names = dict(File.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}
    for one in sorted(near, key=lambda one: -one.share):
        name = budgets.name(one, names)
        yield Need(
            f"Budget “{name}”: {one.used:,} of {one.limit:,} texts used. It begins again at "
            f"{moment(one.ends)}."
        )


def closed_prefixes(now: datetime) -> Iterator[Need]:
    closed = Guard.objects.closed_prefixes(now).count()
    if closed and not conf.is_observed(Conf.breaker_unproved):
        is_are = "is" if closed == 1 else "are"
        words = f"{some(closed, 'prefix', 'prefixes')} {is_are} closed to opt-ins."
        yield Need(words, Guard, filters={"kind": Guard.Kind.BREAKER})


# -- the rest ----------------------------------------------------------------------


def _revocations(now: datetime) -> Iterator[Need]:
    waiting = Revocation.objects.open()
    found = waiting.aggregate(count=Count("pk"), next=Min("due_at"), user=Max("user"))
    count, due = found["count"], found["next"]
    if not count:
        return
    removals = some(count, "removal") + " of second factors"
    is_late = due + LATE < now
    if count == 1:
        then = "was due at {}, and has not been carried out" if is_late else "takes effect at {}"
    else:
        first = (
            "one was due at {}, and has not been carried out" if is_late else "the next is at {}"
        )
        then = f"are planned: {first}"
    words = f"{removals} {then.format(moment(due))}."
    if count == 1:
        yield Need(words, User, found["user"])
    else:
        filters = {"kind": AuditEvent.Kind.REVOCATION.value}
        yield Need(words, AuditEvent, filters=filters)


def not_me(now: datetime) -> Iterator[Need]:
    """People who said "that was not me", on their page or by a mailed link."""
    said = AuditEvent.objects.led_by("kind", AuditEvent.Kind.DISOWN).filter(
        outcome__in=[FactorOutcome.OK, SECURED], at__gt=now - SAID_WITHIN
    )
    found = {*said.order_by().values_list("user_id", flat=True).distinct()[:LOOKED_AT]}
    if len(found) == 1:
        yield Need("One person said “that was not me” in the last day.", User, found.pop())
    elif found:
        filters = {"kind": AuditEvent.Kind.DISOWN.value}
        words = f"{len(found)} people said “that was not me” in the last day."
        yield Need(words, AuditEvent, filters=filters)


def endpoints() -> Iterator[Need]:
    """Webhook endpoints that the service switched off, or for which nobody answers any more."""
    off = WebhookEndpoint.objects.filter(off_why=WebhookEndpoint.Off.FAILING)
    for row in off.order_by("pk"):
        since = moment(row.off_at) if row.off_at else ""
        yield Need(
            f"A webhook endpoint of file {row.file_id} is switched off since {since}: all attempts "
            "failed.",
            WebhookEndpoint,
            row.pk,
        )
    on = WebhookEndpoint.objects.filter(off_at=None, file__active=True)
    answered_for = WebhookEndpoint.objects.answered_for().values("pk")
    for row in on.exclude(pk__in=answered_for).order_by("pk"):
        yield Need(
            f"A webhook endpoint of file {row.file_id} is paused: whoever answers for it does not "
            "manage the file any more.",
            WebhookEndpoint,
            row.pk,
        )


def late_revocations(now: datetime) -> Iterator[Need]:
    """Those of ``_revocations`` whose time is over."""
    due = Revocation.objects.open().filter(due_at__lt=now - LATE).exists()
    yield from _revocations(now) if due else ()


def new_addresses(now: datetime) -> Iterator[Need]:
    """Only late ones: the others need no attention."""
    late = EmailChange.objects.due(now - LATE)
    found = late.aggregate(count=Count("pk"), first=Min("due_at"))
    if count := found["count"]:
        words = some(count, "new e-mail address is", "new e-mail addresses are")
        yield Need(
            f"{words} due, but not in effect yet. The first was due at {moment(found['first'])}.",
            AuditEvent,
            filters={"kind": AuditEvent.Kind.EMAIL.value, "outcome": "proved"},
        )


def failed_jobs() -> Iterator[Need]:
    failed = [one for one in jobs() if one.failed]
    if failed:
        tasks = ", ".join(one.task for one in failed)
        count = some(sum(one.failed for one in failed), "background job")
        yield Need(f"{count} failed in the last 7 days: {tasks}.")


def seals(now: datetime) -> Iterator[Need]:
    """Events that are older than any sealer leaves them."""
    oldest = oldest_unsealed()
    if oldest and oldest.at < now - max(SEALED_WITHIN, timedelta(seconds=2 * conf.seal_every)):
        yield Need(
            f"The audit trail has not been sealed since {moment(oldest.at)}.", AuditEvent, oldest.pk
        )


def stream(now: datetime) -> Iterator[Need]:
    """The audit stream, if it cannot be written, or nobody does it."""
    state = AuditStream.objects.state() if conf.audit_stream else None
    if state is None or not state.is_late(now):
        return
    why = f": {state.fault}" if state.failures else ""
    count = state.waiting()
    many = f"{count:,} or more" if count == COUNTED else some(count, "audit event")
    yield Need(f"{many} not in the audit stream yet{why}.", AuditEvent)


def notary(now: datetime) -> Iterator[Need]:
    """The places outside that keep notes of the audit trail, if one has not got its note."""
    for place in notes.places():
        if place.is_overdue(now):
            since = moment(now - place.waits(now))
            yield Need(f"No note of the audit trail has been given to {place.name} since {since}.")
