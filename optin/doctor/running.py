"""All checks, in their order."""

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.db import DatabaseError

from optin.doctor import gateways, keys, mail, proxy, workers, writing
from optin.doctor.findings import Check, Finding, Level, fault, ok, skipped
from optin.doctor.net import Unreachable
from optin.support.wording import section

CHECKS = (
    Check("writes", writing.writes),
    Check("keys", keys.fit, after=("writes",)),
    Check("seals", keys.newest_seal, after=("keys",)),
    Check("workers", workers.take_jobs, after=("writes",)),
    Check("mail", mail.leaves),
    Check("gateways", gateways.reach),
    Check("site", proxy.reach),
    Check("proxy", proxy.visitors, after=("site",)),
    Check("https", proxy.https, after=("proxy",)),
)


def examine(checks: Sequence[Check] = CHECKS) -> Iterator[tuple[Check, list[Finding]]]:
    """Run *checks* in their order, and yield each with what it found.

    Each waits a few seconds for a server that does not answer (``net.PATIENCE``).
    """
    proxy.forget()
    ill: set[str] = set()
    for check in checks:
        if first := [name for name in check.after if name in ill]:
            found = [skipped(f"Not checked, because of the fault of: {', '.join(first)}.")]
            ill.add(check.name)
        else:
            found = _look(check)
            if any(finding.level is Level.FAULT for finding in found):
                ill.add(check.name)
        yield check, found


def _look(check: Check) -> list[Finding]:
    try:
        return list(check.look()) or [ok(check.right)]
    except Exception as exc:
        return [_failed(exc)]


def _failed(exc: Exception) -> Finding:
    """Return the finding for a check that raised *exc*, without its words: they may hold a
    secret."""
    if isinstance(exc, DatabaseError):
        return fault(
            "The database broke off.",
            seen=f"{type(exc.__cause__ or exc).__name__}.",
            do="Run the doctor again. If it repeats, read the log of PostgreSQL.",
        )
    if isinstance(exc, Unreachable):
        return fault(
            f"It broke off meanwhile. {exc}",
            do="Run the doctor again. If it repeats, read the log of the proxy. "
            f"{section('deploy', 'The proxy in front')}",
        )
    where = traceback.extract_tb(exc.__traceback__)[-1]
    return fault(
        "The doctor itself failed here.",
        seen=f"{type(exc).__name__} in {Path(where.filename).name}, line {where.lineno}.",
        do="Report this with that line.",
    )
