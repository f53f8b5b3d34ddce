"""The workers: they take jobs."""

import time
from collections.abc import Iterator

from optin.conf import conf
from optin.doctor.findings import Finding, fault, ok, skipped
from optin.support import health
from optin.support.wording import section

KNOWN_WITHIN = 12.0
"""Seconds in which a worker that was just started gives its first sign of life."""


def take_jobs() -> Iterator[Finding]:
    """With `OPTIN_DELIVERY=worker`: a worker gave a sign of life in the last 30 seconds."""
    if conf.delivery != "worker":
        yield skipped("OPTIN_DELIVERY is inline: web processes send texts and mails.")
        return
    alive = _wait_for_signs()
    if alive:
        yield ok(f"{len(alive)} alive; the last sign of life was {alive[0]:.0f} s ago.")
        return
    yield fault(
        "No worker runs: no text and no mail leaves.",
        do="systemctl restart optin-worker@1; then read journalctl -u 'optin-worker@*'. "
        + section("deploy", "Workers"),
    )


def _wait_for_signs() -> list[float]:
    """Return the signs of life; if there is none, wait for a worker that may be starting."""
    ends = time.monotonic() + KNOWN_WITHIN
    while not (alive := health.signs_of_life()) and time.monotonic() < ends:
        time.sleep(0.5)
    return alive
