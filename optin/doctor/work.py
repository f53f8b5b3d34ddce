"""What must run all the time: workers or cron, and what they leave behind if they do not."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from optin.conf import conf
from optin.doctor.database import rows
from optin.doctor.findings import Finding, fault, ok, section, skipped, warning
from optin.models import File, Span
from optin.models.messages import LEASE
from optin.support import budgets, needs

WORKERS, CRON = section("deploy", "Workers"), section("deploy", "Starting it")

ROLLED_UP = timedelta(minutes=75)
"""The figures of this hour are counted at least so often, if roll_up runs every 5 minutes."""


def _by_workers() -> bool:
    return bool(conf.delivery == "worker")


_ALIVE = "SELECT extract(epoch FROM now() - last_heartbeat)::float FROM procrastinate_workers"


def workers() -> Iterator[Finding]:
    """With OPTIN_DELIVERY=worker: at least one has given a sign of life."""
    if not _by_workers():
        yield skipped(
            "OPTIN_DELIVERY is inline: web processes send, a worker or cron does the rest. The "
            "check 'regular' shows whether one of them runs."
        )
        return
    silent = sorted(float(str(seconds)) for (seconds,) in rows(_ALIVE))
    limit = LEASE.total_seconds()
    alive = [seconds for seconds in silent if seconds <= limit]
    if not alive:
        last = f"The last one has said nothing for {silent[0]:.0f} s." if silent else ""
        yield fault(
            f"No worker runs: no text and no mail leaves. {last}".strip(),
            seen="last_heartbeat in procrastinate_workers.",
            do="systemctl start optin-worker@1, and wait ten seconds; then read journalctl -u "
            f"'optin-worker@*'. {WORKERS}",
        )
    elif len(alive) < len(silent):
        dead = len(silent) - len(alive)
        yield warning(
            f"{len(alive)} workers run; {dead} died within the last day without stopping.",
            seen="last_heartbeat in procrastinate_workers.",
            do="If these were to run: systemctl status 'optin-worker@*'.",
        )
    else:
        yield ok(f"{len(alive)} alive; the last sign of life was {alive[0]:.0f} s ago.")


_OLDEST = """
    SELECT queue_name, count(*),
    extract(epoch FROM now() - min(greatest(at.deferred, scheduled_at)))::float
    FROM procrastinate_jobs, LATERAL (SELECT min(at) AS deferred FROM procrastinate_events
        WHERE job_id = procrastinate_jobs.id) AS at
    WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now() GROUP BY queue_name
"""


def jobs() -> Iterator[Finding]:
    """No job has waited for long, and none has failed."""
    if not _by_workers():
        yield skipped("Without workers there are no jobs.")
        return
    late = False
    for queue, count, seconds in rows(_OLDEST):
        if seconds and float(str(seconds)) > needs.WAITS_LONG.total_seconds():
            late = True
            yield fault(
                f"{count} jobs of the queue {queue} wait; the oldest for {seconds:.0f} s.",
                seen="procrastinate_jobs.",
                do="Start more workers, at least one of them without --queues; and look whether "
                f"a gateway or the mail server is slow. {WORKERS}",
            )
    failed = list(needs.failed_jobs())
    for need in failed:
        yield warning(need.words, seen="procrastinate_jobs.", do=WORKERS)
    if not late and not failed:
        yield ok("None waits for long, and none has failed.")


def messages() -> Iterator[Finding]:
    """No text and no mail waits for long."""
    late = list(needs.waiting(timezone.now()))
    for need in late:
        yield fault(
            need.words,
            seen="optin_smsmessage and optin_notice.",
            do=f"Start a worker, or check that cron runs send_due. {CRON}"
            if not _by_workers()
            else f"Look at their reason in the admin. {WORKERS}",
        )
    if not late:
        yield ok("No text and no mail waits for long.")


def regular() -> Iterator[Finding]:
    """What is done regularly was done lately: removals, new addresses, figures."""
    now = timezone.now()
    do = (
        f"Check the workers: systemctl status 'optin-worker@*'. {WORKERS}"
        if _by_workers()
        else "Check the worker (systemctl status 'optin-worker@*') or, if cron is used, "
        f"/etc/cron.d/optin. {CRON}"
    )
    late = [*needs.late_revocations(now), *needs.new_addresses(now)]
    for need in late:
        yield fault(
            need.words,
            seen="due_at in optin_revocation and optin_emailchange.",
            do=f"manage revoke_due. {do}",
        )
    made = Span.objects.filter(start__lte=now).order_by("-start").first()
    counted = made.made_at if made else None
    if made and (counted is None or now - counted > ROLLED_UP):
        when = f"since {counted:%Y-%m-%d %H:%M} UTC" if counted else "yet"
        late = [*late, needs.Need("")]
        yield fault(
            f"The figures of the admin have not been counted {when}.",
            seen="optin_span. This is the only trace that regular commands leave on a quiet day.",
            do=f"manage roll_up. {do}",
        )
    if made is None:
        yield warning(
            "The figures of the admin have never been counted.",
            seen="optin_span has no row.",
            do=f"Nothing within 5 minutes of the first start. Later: {do}",
        )
    elif not late:
        yield ok(f"Figures were counted at {counted:%H:%M} UTC, and nothing that is due waits.")


def attention() -> Iterator[Finding]:
    """What staff see on their home page: a stop, gateways that fail, budgets, closed prefixes."""
    now = timezone.now()
    files = list(File.objects.values_list("pk", flat=True)[:100])
    found = [
        *needs.stops(now),
        *needs.failing_gateways(now),
        *needs.near_budgets(now, files),
        *needs.closed_prefixes(now),
    ]
    for need in found:
        yield warning(
            need.words,
            seen="The home page of the admin shows it too.",
            do=section("run", "Limits against pumping"),
        )
    if not found:
        left = [f"{budgets.name(one, {})} {one.share:.0%}" for one in budgets.running(now, [])]
        yield ok(f"Texts may leave. Used: {', '.join(left) or 'there is no limit'}.")
