"""What a rehearsal came to, as JSON has it, and as a terminal shows it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from optin.conf import Conf, Rate, conf
from tools.rehearsals.attacks import ATTACKS, Bound
from tools.rehearsals.stage import Stage, Visit

HONEST = 99
"""Percent of the honest visits that must succeed."""

IN_FORCE = (
    *(Conf.resend_wait, Conf.sends_per_number, Conf.sends_per_user, Conf.sends_per_ip),
    *(Conf.sends_per_client, Conf.sends_per_file, Conf.sends_total),
    *(Conf.own_sends_total, Conf.sms_regions),
    *(Conf.breaker_unproved, Conf.breaker_texts),
    *(Conf.otp_digits, Conf.otp_lifetime, Conf.otp_tries),
    *(Conf.lock_after, Conf.lock_seconds, Conf.disable_after),
    *(Conf.failed_sign_ins_per_ip, Conf.failed_sign_ins_per_name),
    *(Conf.failed_sign_ins_per_name_total, Conf.sign_ins_per_ip, Conf.observe),
)
"""The settings that decide how an attack goes. None is a secret."""


Report = dict[str, Any]


def report_on(stage: Stage, attack: str, *, is_short: bool) -> Report:
    """Sum up what was seen. Times are seconds since the attack began."""
    played = ATTACKS[attack]
    began = stage.asked[0]
    own = [text.at for text in stage.sent if text.by_attack]
    honest = _tried(v for v in stage.visits if played.spares_targets or not v.is_target)
    visits, succeeded = honest["visits"], honest["succeeded"]
    failed = Bound(
        f"Honest visits that failed, of {visits}",
        visits - succeeded,
        visits * (100 - HONEST) // 100,
    )
    bounds = [*played.bounds(stage), failed]
    return {
        "attack": attack,
        "seed": stage.seed,
        "is_short": is_short,
        "hours": stage.hours,
        "region": stage.region,
        "asked": len(stage.asked),
        "texts": len(own),
        "first_refusal": stage.refused[0][0] - began if stage.refused else None,
        "last_text": own[-1] - began if own else None,
        "refused": dict(Counter(rule for _, rule in stage.refused).most_common()),
        "alarms": [
            {"at": at - began, "name": name, "words": words} for at, name, words in stage.alarms
        ],
        "honest": honest,
        "attacked": _tried(visit for visit in stage.visits if visit.is_target),
        "note": played.notes(stage),
        "bounds": [{**asdict(bound), "is_kept": bound.is_kept} for bound in bounds],
        "is_kept": all(bound.is_kept for bound in bounds),
        "settings": in_force(),
    }


def _tried(visits: Iterable[Visit]) -> dict[str, Any]:
    """How many visits there were, how many succeeded, and which rules hit the others."""
    every = list(visits)
    hits = Counter(visit.hit or "unfinished" for visit in every if not visit.reached)
    return {
        "visits": len(every),
        "succeeded": len(every) - hits.total(),
        "hits": dict(hits.most_common()),
    }


def in_force() -> dict[str, str]:
    """The settings that decide, as they are now."""
    values = {setting.name: written(setting.__get__(conf, type(conf))) for setting in IN_FORCE}
    return {**values, Conf.observe.name: ",".join(conf.observe) or "nothing"}


def written(value: object) -> str:
    """Write a value as the environment has it."""
    match value:
        case Rate():
            return f"{value.count}/{value.seconds}"
        case tuple():
            return ",".join(written(part) for part in value) or "0"
    return str(value)


# -- for a terminal ----------------------------------------------------------------


def priced(report: Report, price: Decimal) -> Report:
    """Add what the texts of the attack cost.

    :param price: of one text; 0: not known.
    """
    return {**report, "price": str(price), "cost": str(report["texts"] * price)}


def text(reports: Sequence[Report]) -> str:
    """Write what a terminal shows."""
    lines: list[str] = []
    for report in reports:
        attack, hours = ATTACKS[report["attack"]], report["hours"]
        long = "1 hour" if hours == 1 else f"{hours:g} hours"
        where = f"numbers of {report['region']}, seed {report['seed']}"
        lines += [f"{attack.title}: {long}, {where}", attack.says, ""]
        lines += [f"  {line}" for line in [*_facts(report), *_alarms(report)]]
        lines.append("")
        lines += [f"  {_bound(**bound)}" for bound in report["bounds"]]
        lines.append("")
    usual = {setting.name: written(setting.default) for setting in IN_FORCE}
    usual[Conf.observe.name] = "nothing"
    now = reports[0]["settings"]
    other = [f"{name}={value}" for name, value in now.items() if value != usual[name]]
    lines.append(f"Settings that differ from the defaults: {', '.join(other) or 'none'}")
    return "\n".join(lines)


def _facts(report: Report) -> Iterable[str]:
    """What an operator asks first."""
    cost, price = Decimal(report["cost"]), Decimal(report["price"])
    money = f"{cost:,.2f} at {price} a text" if price else "the price of a text is not set"
    yield f"Requests of the attack: {report['asked']:,}"
    yield f"Texts that left for it: {report['texts']:,}: {money}"
    yield f"First refused or withheld after: {_moment(report['first_refusal'])}"
    yield f"Last text left after: {_moment(report['last_text'])}"
    yield f"Refused or withheld, by rule: {_hits(report['refused'])}"
    yield f"Honest people: {_visits(**report['honest'])}"
    if report["attacked"]["visits"]:
        yield f"The attacked people: {_visits(**report['attacked'])}"
    if report["note"]:
        yield f"Odds: {report['note']}"


def _alarms(report: Report) -> Iterable[str]:
    for alarm in report["alarms"]:
        yield f"Alarm after {_moment(alarm['at'])}: {alarm['words']} ({alarm['name']})"
    if not report["alarms"]:
        yield "Alarms: none"


def _bound(says: str, measured: int, at_most: int, is_kept: bool) -> str:
    return f"{'Kept' if is_kept else 'BROKEN'}: {says}: {measured:,} (at most {at_most:,})"


def _moment(seconds: float | None) -> str:
    """Write how far into a rehearsal something was: ``0:12:02``."""
    if seconds is None:
        return "never"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _visits(visits: int, succeeded: int, hits: dict[str, int]) -> str:
    # Rounded down: 99.0 is never less than that.
    percent = succeeded * 1000 // visits / 10 if visits else "-"
    said = f"{succeeded:,} of {visits:,} visits succeeded ({percent} %)"
    return f"{said}; failed by: {_hits(hits)}" if hits else said


def _hits(found: dict[str, int]) -> str:
    return ", ".join(f"{rule} {times:,}" for rule, times in found.items()) or "none"
