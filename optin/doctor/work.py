"""What must run all the time: workers or cron, and what they leave behind if they do not."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from optin.conf import conf
from optin.doctor.findings import Finding, Level, fault, ok, skipped
from optin.models import Span
from optin.support import health
from optin.support.health import Condition
from optin.support.wording import moment, section

WORKERS, CRON = section("deploy", "Workers"), section("deploy", "Starting it")

ROLLED_UP = timedelta(minutes=75)
"""The figures of this hour are counted at least so often, if a worker or send_due counts them."""


KNOWN_WITHIN = 12.0
"""Seconds in which a worker that was just started gives its first sign of life."""


def at_work_for() -> float:
    """Return for how many seconds this machine has run."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def workers() -> Iterator[Finding]:
    """With `OPTIN_DELIVERY=worker`: one gave a sign of life in the last 30 seconds."""
    if conf.delivery != "worker":
        yield skipped(
            "OPTIN_DELIVERY is inline: web processes send, a worker or cron does the rest. The "
            "check 'regular' shows whether one of them runs."
        )
        return
    alive = _wait_for_signs()
    if not alive:
        yield fault(
            "No worker runs: no text and no mail leaves.",
            do="systemctl restart optin-worker@1; then read journalctl -u 'optin-worker@*'. "
            f"{WORKERS}",
        )
        return
    yield ok(f"{len(alive)} alive; the last sign of life was {alive[0]:.0f} s ago.")


def _wait_for_signs() -> list[float]:
    """Return the signs of life; if there is none, wait for a worker that may be starting."""
    ends = time.monotonic() + KNOWN_WITHIN
    while not (alive := health.signs_of_life()) and time.monotonic() < ends:
        time.sleep(0.5)
    return alive


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
            do=f"systemctl enable --now {' '.join(f'{name}.timer' for name in off)}  If something "
            f"else does that work: systemctl mask --now instead. {CRON}",
        )
    for name in failed:
        yield fault(
            f"The last run of {name} failed.",
            do=f"journalctl -u {name} -n 20; then systemctl start {name}.",
        )


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


def told_by(*conditions: Condition) -> Callable[[], Iterator[Finding]]:
    """Return a check that says what ``health`` finds wrong in the tables."""
    right = " ".join(" ".join((condition.__doc__ or "").split()) for condition in conditions)

    def look() -> Iterator[Finding]:
        found = [need for need in health.needs(timezone.now(), *conditions) if need.do]
        for need in found:
            level = Level.FAULT if need.is_fault else Level.WARNING
            yield Finding(level, need.words, "The tables: staff see it in the admin, too.", need.do)

    look.__doc__ = right
    return look


def regular() -> Iterator[Finding]:
    """Figures were counted in the last 75 minutes, and no removal or new email address is late."""
    yield from told_by(health.overdue)()
    now = timezone.now()
    made = Span.objects.filter(start__lte=now).order_by("-start").first()
    counted_at = made.made_at if made else None
    if counted_at is None or now - counted_at > ROLLED_UP:
        when = f"since {moment(counted_at)}" if counted_at else "yet"
        yield fault(
            f"The figures of the admin have not been counted {when}.",
            do=f"manage send_due. {health.STARTING}",
        )
