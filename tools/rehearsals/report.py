"""What a rehearsal came to: the facts, and whether the promise was kept."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Self

from optin.conf import Conf, Rate, conf
from tools.rehearsals.attacks import ATTACKS, Bound
from tools.rehearsals.stage import Stage, Visit

HONEST = 99
"""Percent of the honest visits that must succeed."""

STEPS = 24
"""Into so many the time is divided in charts."""

IN_FORCE = (
    *(Conf.resend_wait, Conf.sends_per_number, Conf.sends_per_user, Conf.sends_per_ip),
    *(Conf.sends_per_client, Conf.sends_per_file, Conf.sends_total),
    *(Conf.own_sends_total, Conf.own_sends_reserve, Conf.sms_regions),
    *(Conf.breaker_unproved, Conf.breaker_texts, Conf.breaker_share, Conf.breaker_seconds),
    *(Conf.alarm_unproved, Conf.alarm_share),
    *(Conf.otp_digits, Conf.otp_lifetime, Conf.otp_tries),
    *(Conf.lock_after, Conf.lock_seconds, Conf.disable_after),
    *(Conf.failed_sign_ins_per_ip, Conf.failed_sign_ins_per_name),
    *(Conf.failed_sign_ins_per_name_total, Conf.failed_sign_ins_per_new_network),
    *(Conf.sign_ins_per_ip, Conf.observe),
)
"""The settings that decide how an attack goes. None is a secret."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A setting as it was in the rehearsal."""

    name: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """How many visits there were, how many succeeded, and which rules hit the others."""

    visits: int
    succeeded: int
    hits: dict[str, int]

    @classmethod
    def of(cls, visits: Iterable[Visit]) -> Self:
        every = list(visits)
        hits = Counter(visit.hit or "unfinished" for visit in every if not visit.reached)
        return cls(len(every), len(every) - hits.total(), dict(hits.most_common()))

    @property
    def percent(self) -> str:
        """Rounded down: 99.0 is never less than that."""
        return f"{self.succeeded * 1000 // self.visits / 10}" if self.visits else "-"


@dataclass(frozen=True, slots=True)
class Alarm:
    at: float  # seconds since the attack began
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the time."""

    begins: float  # seconds since the beginning
    texts: int  # of the attack
    refused: int  # of its requests
    succeeded: int  # of the honest visits that began then
    failed: int


@dataclass(frozen=True, slots=True)
class Report:
    attack: str
    seed: int
    is_short: bool
    hours: float
    region: str
    asked: int
    texts: int
    first_refusal: float | None  # seconds since the attack began
    last_text: float | None
    refused: dict[str, int]
    alarms: list[Alarm]
    honest: Tried
    attacked: Tried  # of these, where they are told apart
    note: str
    steps: list[Step]
    bounds: list[Bound]
    settings: list[InForce]
    price: Decimal = field(default=Decimal(0))  # of one text; 0: not known

    @property
    def cost(self) -> Decimal:
        """What the texts of the attack cost."""
        return self.texts * self.price

    @property
    def is_kept(self) -> bool:
        return all(bound.is_kept for bound in self.bounds)

    @property
    def title(self) -> str:
        return ATTACKS[self.attack].title

    @property
    def says(self) -> str:
        return ATTACKS[self.attack].says

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        bounds = [{**asdict(bound), "is_kept": bound.is_kept} for bound in self.bounds]
        more = {"price": str(self.price), "cost": str(self.cost), "is_kept": self.is_kept}
        return {**asdict(self), "bounds": bounds, **more}

    @classmethod
    def read(cls, plain: dict[str, Any], price: Decimal) -> Self:
        """Read what ``plain`` wrote, and set a price."""
        parts = {name: plain[name] for name in cls.__dataclass_fields__}
        return cls(
            **{
                **parts,
                "alarms": [Alarm(**alarm) for alarm in plain["alarms"]],
                "honest": Tried(**plain["honest"]),
                "attacked": Tried(**plain["attacked"]),
                "steps": [Step(**step) for step in plain["steps"]],
                "bounds": [
                    Bound(bound["says"], bound["measured"], bound["at_most"])
                    for bound in plain["bounds"]
                ],
                "settings": [InForce(**setting) for setting in plain["settings"]],
                "price": price,
            }
        )


def report_on(stage: Stage, attack: str, *, is_short: bool) -> Report:
    """Sum up what was seen."""
    played = ATTACKS[attack]
    began = stage.asked[0]
    own = [text.at for text in stage.sent if text.by_attack]
    targets = [visit for visit in stage.visits if visit.is_target]
    counted = [v for v in stage.visits if played.spares_targets or not v.is_target]
    honest = Tried.of(counted)
    failed = Bound(
        f"Honest visits that failed, of {honest.visits}",
        honest.visits - honest.succeeded,
        honest.visits * (100 - HONEST) // 100,
    )
    return Report(
        attack=attack,
        seed=stage.seed,
        is_short=is_short,
        hours=stage.hours,
        region=stage.region,
        asked=len(stage.asked),
        texts=len(own),
        first_refusal=stage.refused[0][0] - began if stage.refused else None,
        last_text=own[-1] - began if own else None,
        refused=dict(Counter(rule for _, rule in stage.refused).most_common()),
        alarms=[Alarm(at - began, name, words) for at, name, words in stage.alarms],
        honest=honest,
        attacked=Tried.of(targets),
        note=played.notes(stage),
        steps=_steps(stage, own, counted),
        bounds=[*played.bounds(stage), failed],
        settings=in_force(),
    )


def _steps(stage: Stage, own: list[float], visits: list[Visit]) -> list[Step]:
    length = stage.length / STEPS

    def count(moments: Iterable[float]) -> Counter[int]:
        return Counter(min(int(moment / length), STEPS - 1) for moment in moments)

    texts, refused = count(own), count(at for at, _ in stage.refused)
    good = count(visit.at for visit in visits if visit.reached)
    bad = count(visit.at for visit in visits if not visit.reached)
    return [Step(n * length, texts[n], refused[n], good[n], bad[n]) for n in range(STEPS)]


def in_force() -> list[InForce]:
    """The settings that decide, as they are now."""
    found = []
    for setting in IN_FORCE:
        value = getattr(conf, setting.name.removeprefix("OPTIN_").lower())
        text = written(value) if value != () or setting is not Conf.observe else "nothing"
        found.append(InForce(setting.name, text, value == setting.default))
    return found


def written(value: object) -> str:
    """Write a value as the environment has it."""
    match value:
        case Rate():
            return f"{value.count}/{value.seconds}"
        case tuple():
            return ",".join(written(part) for part in value) or "0"
    return str(value)
