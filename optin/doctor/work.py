"""What must run all the time: workers or cron, and what they leave behind if they do not."""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from optin.conf import conf
from optin.doctor import seen, site
from optin.doctor.database import is_postgresql, rows
from optin.doctor.findings import Finding, fault, ok, section, skipped, warning
from optin.doctor.net import Unreachable
from optin.models import File, Span
from optin.models.messages import LEASE
from optin.support import budgets, needs
from optin.support.wording import some

WORKERS, CRON = section("deploy", "Workers"), section("deploy", "Starting it")

ROLLED_UP = timedelta(minutes=75)
"""The figures of this hour are counted at least so often, if roll_up runs every 5 minutes."""


def _by_workers() -> bool:
    return bool(conf.delivery == "worker")


KNOWN_WITHIN = 12.0
"""Seconds in which a worker that was just started gives its first sign of life."""

_SIGNS = "SELECT extract(epoch FROM now() - last_heartbeat)::float FROM procrastinate_workers"
_NAMES = """
    SELECT DISTINCT split_part(application_name, ' ', 2),
        split_part(application_name, ' ', 3)::float
    FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s
"""


def _named() -> list[tuple[str, float]]:
    """The signature of each worker that is connected, and when it started."""
    if not is_postgresql():
        return []
    return [(str(mark), float(str(at))) for mark, at in rows(_NAMES, f"{seen.WORKER} % %")]


def at_work_for() -> float:
    """Return for how many seconds the oldest worker has run; without workers, this machine."""
    starts = [at for _, at in _named()]
    return time.time() - min(starts) if starts else time.clock_gettime(time.CLOCK_BOOTTIME)


def workers() -> Iterator[Finding]:
    """With `OPTIN_DELIVERY=worker`: one gave a sign of life in the last 30 seconds. All have the
    release and the settings of the service."""
    if not _by_workers():
        yield skipped(
            "OPTIN_DELIVERY is inline: web processes send, a worker or cron does the rest. The "
            "check 'regular' shows whether one of them runs."
        )
        yield from _unlike_the_service()
        return
    silent, alive = _wait_for_signs()
    if not alive:
        last = f"The last one has said nothing for {silent[0]:.0f} s." if silent else ""
        yield fault(
            f"No worker runs: no text and no mail leaves. {last}".strip(),
            seen="last_heartbeat in procrastinate_workers.",
            do="systemctl restart optin-worker@1; then read journalctl -u 'optin-worker@*'. "
            f"{WORKERS}",
        )
        return
    yield from _unlike_the_service()
    if len(alive) < len(silent):
        dead = len(silent) - len(alive)
        yield warning(
            f"{len(alive)} workers run; {dead} died within the last day without stopping.",
            seen="last_heartbeat in procrastinate_workers.",
            do="If these were to run: systemctl status 'optin-worker@*'.",
        )
    else:
        yield ok(f"{len(alive)} alive; the last sign of life was {alive[0]:.0f} s ago.")


def _wait_for_signs() -> tuple[list[float], list[float]]:
    """Return for how many seconds each worker has been silent, and those who are alive.

    Without one that is alive, wait for one that may be starting.
    """
    ends = time.monotonic() + KNOWN_WITHIN
    while True:
        silent = sorted(float(str(seconds)) for (seconds,) in rows(_SIGNS))
        alive = [seconds for seconds in silent if seconds <= LEASE.total_seconds()]
        if alive or time.monotonic() > ends:
            return silent, alive
        time.sleep(0.5)


def _unlike_the_service() -> Iterator[Finding]:
    """Workers that have other settings, or another release, than the running service."""
    try:
        service = site.what_arrives()
    except Unreachable:
        service = None
    if service is None:
        return  # "site" or "running" tells
    expected = seen.signature(service["release"], service["settings"])
    named = _named()
    if others := [at for mark, at in named if mark != expected]:
        yield warning(
            f"{len(others)} of {some(len(named), 'worker')} run with other settings, or another "
            "release, than the service.",
            seen="Keyed digests of both were compared.",
            do=f"systemctl restart 'optin-worker@*', on each machine. {WORKERS}",
        )


TIMERS = ("optin-backup", "optin-run@verify_audit", "optin-run@doctor", "optin-owner@purge")
_ITSELF = "optin-run@doctor"


def timers() -> Iterator[Finding]:
    """[They](deploy.md#starting-it) are on, and their last runs succeeded."""
    if not os.path.exists(settings.CONFIG_DIR / "owner.env"):
        yield skipped("They run on the machine with owner.env, if systemd is used.")
        return
    states = _units(f"{name}.{kind}" for name in TIMERS for kind in ("timer", "service"))
    if not states:
        yield skipped("There is no systemd here.")
        return
    wanted = [name for name in TIMERS if states[f"{name}.timer"]["LoadState"] != "masked"]
    off = [name for name in wanted if states[f"{name}.timer"]["ActiveState"] != "active"]
    # The run that asks is no result yet, and one by hand must not tell of the last one.
    failed = [
        name
        for name in wanted
        if states[f"{name}.service"]["Result"] != "success" and name != _ITSELF
    ]
    if off:
        yield fault(
            f"These timers are off: {', '.join(off)}.",
            seen="systemctl show.",
            do=f"systemctl enable --now {' '.join(f'{name}.timer' for name in off)}  If something "
            f"else does that work: systemctl mask --now instead. {CRON}",
        )
    for name in failed:
        yield fault(
            f"The last run of {name} failed.",
            seen="Its Result in systemctl show.",
            do=f"journalctl -u {name} -n 20; then systemctl start {name}.",
        )
    if not off and not failed:
        yield ok(f"{len(wanted)} are on, and their last runs succeeded.")


def _units(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what systemd says of these units; nothing without systemd."""
    asked = "--property=Id,LoadState,ActiveState,Result"
    try:
        done = subprocess.run(  # noqa: S603
            ["systemctl", "show", asked, *names],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    units = [
        dict(line.split("=", 1) for line in each.splitlines()) for each in done.stdout.split("\n\n")
    ]
    return {unit["Id"]: unit for unit in units if unit}


_OLDEST = """
    SELECT queue_name, count(*),
    extract(epoch FROM now() - min(greatest(at.deferred, scheduled_at)))::float
    FROM procrastinate_jobs, LATERAL (SELECT min(at) AS deferred FROM procrastinate_events
        WHERE job_id = procrastinate_jobs.id) AS at
    WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now() GROUP BY queue_name
"""


def jobs() -> Iterator[Finding]:
    """None has waited for more than a minute, and none has failed in the last 7 days."""
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
    """No text and no mail has waited for more than a minute."""
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
    """Figures were counted in the last 75 minutes, and no removal or new e-mail address is
    late."""
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
    """Texts are not stopped, no gateway fails, no budget is nearly used, no prefix is closed."""
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
