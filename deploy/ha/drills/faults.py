"""What fails, how it comes back, and what it cost."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import NamedTuple

from deploy.ha.drills import proof
from deploy.ha.drills.cluster import ADDRESSES, Cluster, wait_until_nothing
from deploy.ha.drills.gateway import Gateway, Text
from deploy.ha.drills.load import Load
from deploy.ha.drills.machines import Machine

SETTLES = 5.0
"""Seconds of load from the fault, and again after all is well."""

IN_FLIGHT = 1.0
"""Seconds from the gateway's receipt of a text to the commit that says so, at most."""


class Fault(NamedTuple):
    """One way to fail."""

    name: str
    machine: Callable[[Cluster, int], str]
    """Which machine it hits in which round."""
    begin: Callable[[Machine], object]
    end: Callable[[Machine], object]
    lasts: float
    """Seconds until ``end``."""
    limit: float
    """Seconds without an acknowledged change that are promised, at most."""
    of_the_primary: bool = False
    """Whether requests may fail that were repeated."""
    sends_again: bool = False
    """Whether a text may be sent twice (S-63)."""


def _kill(*names: str) -> Callable[[Machine], object]:
    def kill(machine: Machine) -> None:
        assert machine.signal(signal.SIGKILL, *names), f"{machine.name} runs no {names}"

    return kill


def _nothing(machine: Machine) -> None:
    """Something starts it again: ``Service``, or Patroni."""


def _primary(cluster: Cluster, turn: int) -> str:
    return cluster.primary()


def _standby(cluster: Cluster, turn: int) -> str:
    return cluster.standby()


def _each(*names: str) -> Callable[[Cluster, int], str]:
    return lambda cluster, turn: names[turn % len(names)]


def _freeze(machine: Machine) -> None:
    machine.signal(signal.SIGSTOP)


def _thaw(machine: Machine) -> None:
    machine.signal(signal.SIGCONT)


_DATABASE = _kill("postgres")
_APPS, _WORKERS = _each("app1", "app2"), _each("worker1", "worker2")

_CUT, _JOIN = Machine.cut_off, Machine.connect_again

FAILOVER, SILENT, CUT, ELSE = 15.0, 30.0, 7.0, 2.0
"""Seconds. ``SILENT``: if a primary says nothing, Patroni's ttl of 20 s has to end first. ``CUT``:
any other machine that is cut off may hold a lock, or be the standby for which commits wait, until
its connection ends."""

FAULTS = [
    Fault("primary killed", _primary, _DATABASE, _nothing, 0, FAILOVER, True, True),
    Fault("primary stopped", _primary, _freeze, _thaw, SILENT, SILENT, True, True),
    Fault("primary cut off", _primary, _CUT, _JOIN, SILENT, SILENT, True, True),
    Fault("standby killed", _standby, _DATABASE, _nothing, 0, ELSE),
    Fault("standby cut off", _standby, _CUT, _JOIN, 10, CUT),
    Fault("application killed", _APPS, _kill("gunicorn"), _nothing, 0, ELSE),
    Fault("application cut off", _APPS, _CUT, _JOIN, 10, CUT),
    Fault("PgBouncer killed", _APPS, _kill("pgbouncer"), _nothing, 0, ELSE),
    Fault("worker killed", _WORKERS, _kill("python"), _nothing, 0, ELSE, sends_again=True),
    Fault("worker cut off", _WORKERS, _CUT, _JOIN, 10, CUT, sends_again=True),
    Fault("etcd killed", _each("db1", "db2", "front"), _kill("etcd"), _nothing, 0, ELSE),
]


@dataclass
class Cost:
    """What one fault cost."""

    fault: Fault
    machine: str
    since: float
    """``time.monotonic`` at which it began."""
    silent: float
    """Seconds without an acknowledged change, at most."""
    slowest_text: float
    """Seconds from the answer to the phone, at most."""
    failed: Counter[str]
    """Requests that failed when first sent, by kind."""
    repeated: Counter[str]
    """Requests that got 503 and failed again when repeated, by kind."""
    lost: list[str]
    lower: list[str]
    findings: str
    """What ``verify_audit`` found; "": nothing."""
    sent_again: list[list[Text]] = field(default_factory=list)
    """The copies of each text that was sent twice."""

    def broken_promises(self, slack: float) -> list[str]:
        """Say what was promised and is not so."""
        fault, broken = self.fault, []
        if self.silent > fault.limit * slack:
            broken.append(
                f"{self.silent:.1f} s without success: more than {fault.limit * slack:.0f}"
            )
        broken += [f"lost: {what}" for what in self.lost]
        broken += [f"went down: {what}" for what in self.lower]
        if self.sent_again and not fault.sends_again:
            broken += [f"sent twice: {self._tell(copies)}" for copies in self.sent_again]
        if self.findings:
            broken.append(f"verify_audit: {self.findings}")
        if self.repeated and not fault.of_the_primary:
            broken.append(f"failed though repeated: {_counts(self.repeated)}")
        wrong = [kind for kind in self.failed + self.repeated if kind.startswith("500")]
        if wrong or any("without" in kind for kind in self.failed):
            broken.append(f"unexpected: {_counts(self.failed + self.repeated)}")
        return [f"{fault.name} ({self.machine}): {what}" for what in broken]

    def _tell(self, copies: Sequence[Text]) -> str:
        return ", ".join(f"{text.at - self.since:.1f} s by {text.sender}" for text in copies)


def drill(fault: Fault, turn: int, cluster: Cluster, load: Load) -> Cost:
    """Break something under load, let it come back, and measure what it cost."""
    name = fault.machine(cluster, turn)
    machine, record = cluster.machines[name], load.record
    since = time.monotonic()
    fault.begin(machine)
    try:
        time.sleep(max(fault.lasts, SETTLES))
    finally:
        fault.end(machine)
    over = time.monotonic()

    def missing() -> list[str]:
        senders = load.gateway.senders(since=over)
        idle = [name for name in ("worker1", "worker2") if ADDRESSES[name] not in senders]
        return [*cluster.missing(), *idle]

    wait_until_nothing(missing)
    time.sleep(SETTLES)
    until = time.monotonic()
    found = proof.compare(record.acknowledged_so_far())
    audit = cluster.manage("verify_audit")
    return Cost(
        fault,
        name,
        since,
        record.longest_silence(since, until),
        record.slowest_text(since),
        record.failed(since, repeated=False),
        record.failed(since, repeated=True),
        found.lost,
        found.lower,
        audit.stdout.strip() if audit.returncode else "",
    )


def find_sent_again(costs: Sequence[Cost], gateway: Gateway) -> None:
    """Find the texts that were sent twice, and hold each against the fault that broke it off.

    That is the last one that had begun when the first copy came. The second copy comes up to
    45 seconds later, often after the next fault.
    """
    begins = [cost.since - IN_FLIGHT for cost in costs]
    for cost, (begin, end) in zip(costs, pairwise([*begins, inf]), strict=True):
        cost.sent_again = gateway.sent_again(begin, end)


TITLES = (
    "What fails",
    "Runs",
    "Longest without success, s",
    "Slowest text, s",
    "Failed",
    "Failed again",
    "Lost",
    "Counters down",
    "Texts twice",
    "Audit",
)


def table(costs: Sequence[Cost]) -> str:
    """Return a table in Markdown: a row for each kind of fault, with the worst of its runs."""
    rows = [TITLES, tuple("---" for _ in TITLES)]
    for fault in dict.fromkeys(cost.fault for cost in costs):
        runs = [cost for cost in costs if cost.fault is fault]
        rows.append(
            (
                fault.name,
                str(len(runs)),
                ", ".join(f"{run.silent:.1f}" for run in runs),
                f"{max(run.slowest_text for run in runs):.1f}",
                _counts(sum((run.failed for run in runs), Counter())),
                _counts(sum((run.repeated for run in runs), Counter())),
                str(sum(len(run.lost) for run in runs)),
                str(sum(len(run.lower) for run in runs)),
                str(sum(len(run.sent_again) for run in runs)),
                str(sum(bool(run.findings) for run in runs)),
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{times} x {kind}" for kind, times in counter.most_common()) or "none"
