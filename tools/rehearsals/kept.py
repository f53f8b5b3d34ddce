"""The promise about each attack, and its last stored rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optin.models import Rehearsal
from tools.rehearsals.attacks import ATTACKS, Attack, Bound
from tools.rehearsals.report import HONEST, Report, in_force
from tools.rehearsals.stage import Stage


@dataclass(frozen=True, slots=True)
class Promise:
    """About one attack. *at* is None if no rehearsal of it is stored."""

    title: str
    command: str  # that plays it, and keeps the result
    bounds: list[str]  # with what was measured, if it was
    at: datetime | None = None
    is_short: bool = False
    is_kept: bool = False
    changed: tuple[str, ...] = ()
    """Settings that affect the attack and have changed since the rehearsal."""


def keep(reports: Sequence[Report], now: datetime) -> None:
    """Store *reports*. Each replaces the last one of the same attack."""
    for one in reports:
        Rehearsal.objects.update_or_create(
            attack=one["attack"],
            defaults={
                "at": now,
                "is_short": one["is_short"],
                "bounds": [[b["says"], b["measured"], b["at_most"]] for b in one["bounds"]],
                "settings": one["settings"],
            },
        )


def promises() -> list[Promise]:
    """Return what is promised, in the order of the attacks. One statement; nothing is played."""
    last = {row.attack: row for row in Rehearsal.objects.all()}
    return [_promise(attack, last.get(name)) for name, attack in ATTACKS.items()]


def _promise(attack: Attack, last: Rehearsal | None) -> Promise:
    command = f"manage limits rehearse {attack.name} --keep"
    if last is None:
        nothing = Stage(seed=0, hours=0, region="")
        bounds = [f"{bound.says}: at most {bound.at_most}" for bound in attack.bounds(nothing)]
        bounds.append(f"Honest visits that succeed: at least {HONEST} %")
        return Promise(attack.title, command, bounds)
    measured = [Bound(*each) for each in last.bounds]
    return Promise(
        attack.title,
        command,
        [f"{bound.says}: {bound.measured}, at most {bound.at_most}" for bound in measured],
        last.at,
        last.is_short,
        bool(measured) and all(bound.is_kept for bound in measured),
        tuple(name for name, value in in_force().items() if last.settings.get(name) != value),
    )
