"""Five gateways whose delays change, and what is said of them at each moment."""

import math
import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from optin.messaging.waits import LOOKS_BACK, Wait, estimate

Delay = Callable[[float], float]
"""The median in seconds, of the texts that the gateway takes at a second."""

JUMPS_AFTER = 900
"""Seconds between the jumps of ``jumping``."""


def blind(a_second: float) -> float:
    """Seconds after a jump in which nobody can know of it: too few texts tell, at their rate."""
    return 30 + 12 / a_second


def steady(at: float) -> float:
    return 6


def slower(at: float) -> float:
    """Half a minute slower within 30 minutes, then as quick as before within 30 minutes."""
    return 5 + 30 * (1 - abs(at % 3600 / 1800 - 1))


def waves(at: float) -> float:
    return 12 + 6 * math.sin(at / 1800 * 2 * math.pi)


def jumping(at: float) -> float:
    return 45 if at // JUMPS_AFTER % 2 else 6


def quicker(at: float) -> float:
    """As ``slower``, half an hour later."""
    return slower(at + 1800)


GATEWAYS: dict[str, Delay] = {
    each.__name__: each for each in (steady, slower, waves, jumping, quicker)
}

_SPREAD = 0.15
"""Of the logarithm of the delays: two in three differ by no more than 15 % from the median."""


@dataclass
class Traffic:
    """The texts of one gateway: when it took each, and how long each takes, in seconds."""

    taken: list[float] = field(default_factory=list)
    takes: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, delay: Delay, seconds: int, a_second: float, seed: str) -> "Traffic":
        chance, at, made = random.Random(seed), 0.0, cls()
        while (at := at + chance.expovariate(a_second)) < seconds:
            made.taken.append(at)
            made.takes.append(delay(at) * math.exp(chance.gauss(0, _SPREAD)))
        return made

    def seen(self, now: float) -> list[tuple[float, float | None]]:
        """What a reader of the receipts knows at *now*; see ``waits.estimate``."""
        first = bisect_left(self.taken, now - LOOKS_BACK.total_seconds())
        last = bisect_left(self.taken, now)
        pairs = zip(self.taken[first:last], self.takes[first:last], strict=True)
        return [(now - at, takes if at + takes <= now else None) for at, takes in pairs][-1000:]


@dataclass
class Said:
    """What was said of all gateways."""

    blind_for: float
    figures: int = 0
    ranges: int = 0
    slow: int = 0  # "longer than", and no more
    nothing: int = 0
    error: float = 0.0  # the largest of a figure
    outside: float = 0.0  # how far the truth was outside of a range, at most
    late: float = 0.0  # the last second after a jump at which a figure was wrong

    def hear(self, wait: Wait | None, gateway: str, now: float) -> None:
        truth = GATEWAYS[gateway](now)
        jumped = gateway == jumping.__name__ and now >= JUMPS_AFTER
        since = now % JUMPS_AFTER if jumped else math.inf
        if wait is None:
            self.nothing += 1
        elif wait.median is not None:
            self.figures += 1
            error = abs(wait.median - truth)
            if since >= self.blind_for:
                self.error = max(self.error, error)
            elif error > 3:
                self.late = max(self.late, since)
        else:
            self.ranges += wait.most is not None
            self.slow += wait.most is None
            if since >= self.blind_for:
                most = math.inf if wait.most is None else wait.most
                self.outside = max(self.outside, wait.least - truth, truth - most)


def listen(seconds: int, a_second: float, seed: int, every: int) -> Said:
    """Ask of each gateway, every so many seconds."""
    said = Said(blind(a_second))
    for gateway, delay in GATEWAYS.items():
        traffic = Traffic.of(delay, seconds, a_second, f"{gateway} {seed}")
        for now in range(120, seconds, every):  # from when there are texts enough
            said.hear(estimate(traffic.seen(now)), gateway, now)
    return said
