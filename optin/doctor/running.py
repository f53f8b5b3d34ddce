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
from optin.doctor.findings import Check, Finding, Level, fault, section, skipped
from optin.doctor.net import Unreachable

CHECKS = (
    Check("versions", start.versions, right="Python and Django are new enough."),
    # While the database is away, Django's checks wait for it twice.
    Check("settings", start.settings_, seconds=11, right="`check --deploy` finds nothing."),
    Check(
        "files",
        start.files,
        right="Only the service can read `production.env`, and only root `owner.env`.",
    ),
    Check("static", start.static_files, right="The style sheets and scripts of pages are there."),
    Check(
        "database",
        database.reach,
        right="It answers, is PostgreSQL 15 or newer in UTF8, is no standby, and ends statements "
        "that hang.",
    ),
    Check(
        "pooler",
        database.pooler,
        after=("database",),
        right="There is none, or it keeps prepared statements.",
    ),
    Check(
        "clock",
        database.clock,
        after=("database",),
        right="The clocks of the database and of this machine differ by 5 seconds at most.",
    ),
    Check(
        "role",
        rights.role,
        after=("database",),
        right="The service owns no table and is no superuser.",
    ),
    Check(
        "grants",
        rights.granted,
        after=("database", "role"),
        right="The service has the rights of docs/deploy.md, no fewer and no more.",
    ),
    Check(
        "migrations",
        database.migrations,
        after=("database",),
        right="All are applied, and no unknown ones.",
    ),
    Check(
        "triggers",
        rights.triggers,
        after=("database", "migrations"),
        right="Those of the audit trail, and of each of its months, are there and enabled.",
    ),
    Check(
        "writes",
        writing.writes,
        after=("database", "grants", "migrations"),
        right="What each call writes can be written: it is tried, and rolled back.",
    ),
    Check(
        "keys",
        trail.keys_,
        after=("database", "migrations"),
        seconds=9,
        right="They are those of the database, and open the oldest and newest numbers and apps.",
    ),
    Check(
        "ledger",
        trail.restored,
        after=("database", "migrations", "keys"),
        seconds=9,
        right="It can be written, and the database has all that it tells of, and lives where it "
        "did.",
    ),
    Check(
        "partitions",
        trail.ahead,
        after=("database", "migrations", "writes"),
        right="The audit trail has room for the events of the next months.",
    ),
    Check(
        "seals",
        trail.sealed,
        after=("database", "migrations", "writes", "keys"),
        settles=660,
        right="No event has waited for its seal for more than 30 minutes.",
    ),
    Check(
        "trail",
        trail.newest,
        after=("database", "migrations", "writes", "keys", "triggers"),
        right="The newest seal, its events and those after it are unchanged. For all, run "
        "`verify_audit`.",
    ),
    Check(
        "stream",
        trail.streamed,
        after=("database", "migrations"),
        settles=60,
        right="The audit stream, if `OPTIN_AUDIT_STREAM` is set, has all events but those of the "
        "last 5 minutes, and its last attempt did not fail.",
    ),
    Check(
        "notary",
        trail.notarised,
        after=("database", "migrations"),
        settles=3660,
        right="No place of `OPTIN_NOTARY` has waited for its note for more than 26 hours.",
    ),
    Check(
        "disk",
        disks.space,
        right="There are more than 500 MB free for the ledger. Below 20 MB is a fault.",
    ),
    Check("redis", servers.redis, right="It takes counts, if `REDIS_URL` is set."),
    Check(
        "mail",
        servers.mail,
        seconds=9,
        right="The mail server answers, with TLS, and accepts the password.",
    ),
    Check(
        "gateways",
        gateways.reach,
        seconds=15,
        right="Each resolves, answers, and has a certificate that is valid for 14 days more. "
        "`twilio` and `kannel` accept the credentials: they are sent a text to nobody, which "
        "they refuse.",
    ),
    Check(
        "workers",
        work.workers,
        after=("database", "migrations"),
        seconds=16,
        right="With `OPTIN_DELIVERY=worker`: one gave a sign of life in the last 30 seconds. All "
        "have the release and the settings of the service.",
    ),
    Check(
        "jobs",
        work.jobs,
        after=("database", "migrations", "workers"),
        settles=90,
        right="None has waited for more than a minute, and none has failed in the last 7 days.",
    ),
    Check(
        "messages",
        work.messages,
        after=("database", "migrations", "workers", "jobs"),
        settles=90,
        right="No text and no mail has waited for more than a minute.",
    ),
    Check(
        "regular",
        work.regular,
        after=("database", "migrations", "workers", "jobs"),
        settles=330,
        right="Figures were counted in the last 75 minutes, and no removal or new e-mail address is"
        " late.",
    ),
    Check(
        "timers",
        work.timers,
        right="[They](deploy.md#starting-it) are on, and their last runs succeeded.",
    ),
    Check(
        "budgets",
        work.attention,
        after=("database", "migrations", "settings"),
        right="Texts are not stopped, no gateway fails, no budget is nearly used, no prefix is "
        "closed.",
    ),
    Check(
        "site",
        site.reach,
        right="`BASE_URL` resolves, answers, and has a certificate that is valid for 14 days more.",
    ),
    Check(
        "proxy",
        proxy.visitors,
        after=("site",),
        right="The visitor's address arrives, and one that the visitor makes up is not believed.",
    ),
    Check(
        "listens",
        proxy.listens,
        after=("site",),
        right="At 127.0.0.1, unless `TRUSTED_PROXIES` names another machine.",
    ),
    Check(
        "https",
        proxy.https,
        after=("site",),
        right="The service knows that visitors use https, and browsers are told to stay with it.",
    ),
    Check(
        "requests",
        proxy.requests,
        after=("site",),
        right="The proxy passes on whole requests only, and refuses long bodies.",
    ),
    Check("metrics", site.metrics, after=("site",), right="`/metrics` is not open to everybody."),
    Check(
        "running",
        site.running,
        after=("site",),
        right="The running service has this release, these settings, and the right time.",
    ),
    Check(
        "ready",
        site.ready,
        after=("site", "database", "grants", "migrations", "writes", "keys", "ledger"),
        right="`/readyz` answers 200.",
    ),
)


NOT_LOOKED = "Not looked at"
"""So begins what is said of a check that waited for others in vain."""

PATIENCE = 18.0
"""Seconds for all checks; the start of the command takes one or two more."""


class _Visit:
    """One check, in a thread of its own."""

    def __init__(self, check: Check, before: "Sequence[_Visit]", until: float) -> None:
        """*until*: when all must have ended, by ``time.monotonic``."""
        self.check = check
        self.findings: list[Finding] = []
        self._until = until
        self._before = before
        self._over = threading.Event()
        threading.Thread(target=self._run, name=f"doctor-{check.name}", daemon=True).start()

    def wait(self) -> list[Finding]:
        """Return what it found: it ends in time, whatever hangs."""
        self._over.wait()
        return self.findings

    def _run(self) -> None:
        ill = [
            visit.check.name
            for visit in self._before
            if any(finding.level is Level.FAULT for finding in visit.wait())
        ]
        if ill:
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
                    seen="It was stopped.",
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
        found = list(check.look())
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
    """What is said of a check that raised *exc*. Not its words: they may hold a secret."""
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
            seen="A connection from this machine.",
            do="Run the doctor again. If it repeats, read /var/log/nginx/optin.log. "
            f"{section('deploy', 'The proxy in front')}",
        )
    where = traceback.extract_tb(exc.__traceback__)[-1]
    return fault(
        "The doctor itself failed here.",
        seen=f"{type(exc).__name__} in {Path(where.filename).name}, line {where.lineno}.",
        do="Report this with that line.",
    )
