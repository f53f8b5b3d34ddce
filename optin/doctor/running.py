"""All checks, in their order, each with a time limit."""

import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.db import DatabaseError, connection
from psycopg.errors import InsufficientPrivilege

from optin.doctor import (
    database,
    disks,
    gateways,
    proxy,
    rights,
    servers,
    site,
    start,
    trail,
    work,
    writing,
)
from optin.doctor.findings import Check, Finding, Level, fault, ok, skipped
from optin.doctor.net import Unreachable
from optin.doctor.work import told_by
from optin.support import health
from optin.support.wording import section

CHECKS = (
    # While the database is away, Django's checks wait for it twice.
    Check("settings", start.settings_, seconds=14),
    Check("files", start.files),
    Check("database", database.reach),
    Check("clock", told_by(health.clock), after=("database",)),
    Check("role", rights.role, after=("database",), on_sqlite=False),
    Check("grants", rights.granted, after=("role",), on_sqlite=False),
    Check("migrations", database.migrations, after=("database",)),
    Check("triggers", rights.triggers, after=("migrations",), on_sqlite=False),
    Check("writes", writing.writes, after=("grants", "migrations")),
    Check("keys", trail.keys_, after=("migrations",), seconds=9),
    Check("ledger", trail.restored, after=("keys",), seconds=9),
    Check("seals", told_by(health.seals), after=("writes", "keys"), settles=660),
    Check("trail", trail.newest, after=("writes", "keys", "triggers")),
    Check("disk", disks.space),
    Check("mail", servers.mail, seconds=9),
    Check("gateways", gateways.reach, seconds=15),
    Check("sims", gateways.knows_of_sims),
    Check("workers", work.workers, after=("migrations",), seconds=16),
    Check("jobs", told_by(health.jobs, health.failed_jobs), after=("workers",), settles=90),
    Check("messages", told_by(health.messages), after=("jobs",), settles=90),
    Check("regular", work.regular, after=("jobs",), settles=330),
    Check("timers", work.timers),
    Check(
        "budgets",
        told_by(
            health.stopped_texts,
            health.failing_gateways,
            health.near_budgets,
            health.closed_prefixes,
        ),
        after=("migrations", "settings"),
    ),
    Check("site", site.reach),
    Check("passkeys", site.passkeys_, after=("migrations",)),
    Check("running", site.running, after=("site",)),
    Check("proxy", proxy.visitors, after=("running",)),
    Check("listens", proxy.listens, after=("running",)),
    Check("https", proxy.https, after=("running",)),
    Check("requests", proxy.requests, after=("site",)),
)


NOT_LOOKED = "Not looked at"
"""The beginning of a finding for a check that waited for others in vain."""

PATIENCE = 18.0
"""Seconds for all checks; the start of the command takes one or two more."""


class _Visit:
    """One check, in a thread of its own."""

    def __init__(self, check: Check, before: "Sequence[_Visit]", until: float) -> None:
        """*until*: when all must have ended, by ``time.monotonic``."""
        self.check = check
        self.findings: list[Finding] = []
        self._blocked_by: list[str] = []
        self._until = until
        self._before = before
        self._over = threading.Event()
        threading.Thread(target=self._run, name=f"doctor-{check.name}", daemon=True).start()

    def wait(self) -> list[Finding]:
        """Return what it found: it ends in time, whatever hangs."""
        self._over.wait()
        return self.findings

    def ill(self) -> list[str]:
        """Return the checks whose faults keep what comes after this one from being looked at."""
        is_ill = any(finding.level is Level.FAULT for finding in self.wait())
        return [self.check.name] if is_ill else self._blocked_by

    def _run(self) -> None:
        ill = [*dict.fromkeys(name for visit in self._before for name in visit.ill())]
        if ill:
            self._blocked_by = ill
            self.findings = [skipped(f"{NOT_LOOKED}, because of the fault of: {', '.join(ill)}.")]
        else:
            self._look_in_time()
        self._over.set()

    def _look_in_time(self) -> None:
        """Look, and give up after the time of the check: its thread ends with the process."""
        left = self._until - time.monotonic()
        if left <= 0:
            self.findings = [skipped(f"{NOT_LOOKED}, because others took too long.")]
            return
        found: list[Finding] = []
        look = threading.Thread(target=lambda: found.extend(_look(self.check)), daemon=True)
        look.start()
        look.join(min(self.check.seconds, left))
        self.findings = found
        if look.is_alive():
            self.findings = [
                fault(
                    f"The check {self.check.name!r} gave no result within "
                    f"{min(self.check.seconds, left):.0f} s.",
                    do="See whether the server that it asks answers, and run the doctor again. "
                    f"{section('run', 'The doctor')}",
                )
            ]


def examine(
    checks: Sequence[Check] = CHECKS, *, patience: float = PATIENCE
) -> Iterator[tuple[Check, list[Finding]]]:
    """Run all *checks* at once; give each with what it found, in their order.

    :param patience: seconds after which all have ended, whatever hangs.
    """
    until = time.monotonic() + patience
    start.forget()
    site.forget()
    visits: dict[str, _Visit] = {}
    for check in checks:
        visits[check.name] = _Visit(check, [visits[name] for name in check.after], until)
    for visit in visits.values():
        yield visit.check, visit.wait()


def _look(check: Check) -> list[Finding]:
    try:
        if connection.vendor == "sqlite" and not check.on_sqlite:
            return [skipped("SQLite has none of this.")]
        found = list(check.look()) or [ok(check.right)]
        return _settled(found, work.at_work_for(), check.settles) if check.settles else found
    except Exception as exc:
        return [_failed(exc)]
    finally:
        connection.close()


def _settled(found: list[Finding], ran: float, settles: float) -> list[Finding]:
    """Return *found* without what may only be so because the work began *ran* seconds ago."""
    if ran >= settles:
        return found
    wait = f"The work began {ran:.0f} s ago: look again in {settles - ran:.0f} s."
    ill = (Level.WARNING, Level.FAULT)
    return [skipped(f"{wait} {one.text}") if one.level in ill else one for one in found]


def _failed(exc: Exception) -> Finding:
    """The finding for a check that raised *exc*, without its words: they may hold a secret."""
    if isinstance(exc, DatabaseError) and isinstance(exc.__cause__, InsufficientPrivilege):
        return skipped("Not looked at: this role of the database may not read it.")
    if isinstance(exc, DatabaseError):
        return fault(
            "The database broke off.",
            seen=f"{type(exc.__cause__ or exc).__name__}.",
            do="Run the doctor again. If it repeats, read the log of PostgreSQL.",
        )
    if isinstance(exc, Unreachable):
        return fault(
            f"It broke off meanwhile. {exc}",
            do="Run the doctor again. If it repeats, read /var/log/nginx/optin.log. "
            f"{section('deploy', 'The proxy in front')}",
        )
    where = traceback.extract_tb(exc.__traceback__)[-1]
    return fault(
        "The doctor itself failed here.",
        seen=f"{type(exc).__name__} in {Path(where.filename).name}, line {where.lineno}.",
        do="Report this with that line.",
    )
