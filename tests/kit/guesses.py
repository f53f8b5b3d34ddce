"""How many guesses at one account can be compared, and the chance that one is right (G-03).

Computed from the settings alone. The guesser knows the password, so they move the count of wrong
codes. The owner signs in once a day, which starts the count again. The guesser does their worst:
they wait out each lock, know when the owner comes, and reach the counts before that at which locks
are shortest.

They may have an access key too. The guesses by keys and tokens have a count of their own, which
only a right code by a key or token, or staff, starts again: they end at ``OPTIN_DISABLE_AFTER``.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from optin import codes
from optin.conf import MAX_FAILURES, Conf, conf
from optin.outcomes import By

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400

PURPOSES = 3
"""Codes that can be open for one number at once: to sign in, to turn off, to change."""

CLASSES = 2
"""Opt-outs count apart from the texts that a person asks for (``OPTIN_SENDS_PER_NUMBER``)."""

STEPS = 3
"""Time steps whose code an app may show: ``codes.app_step``."""

PROGRAMS, TOGETHER = "programs", "together"

NO_CAP = 2**62
"""No count of wrong codes ends recovery codes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The most guesses within some time, and how to get there."""

    guesses: int
    begins_at: int = 0  # wrong codes since the owner last signed in, when the time begins
    lasts: int = 0  # seconds from then until the owner signs in
    shuts_out: bool = False  # the owner finds a lock each day until then, or all the time


@dataclass(frozen=True, slots=True)
class Row:
    """The guesses at one kind of code that are let through."""

    kind: str
    hour: int
    day: int
    year: int
    chance: float  # in a year


class Climb:
    """The locks that wrong codes bring one after the other, up to *cap* of them.

    Up to ``head`` the locks differ; after it, each ``OPTIN_LOCK_AFTER`` bring the last one again.
    """

    def __init__(self, cap: int) -> None:
        after = conf.lock_after
        self.cap = cap
        self.head = after * max(len(conf.lock_seconds), math.ceil(conf.disable_after / after))
        self.ends = list(accumulate(map(lock, range(self.head + 1))))
        self.daily = self._last_by(DAY)
        """The most guesses between two sign-ins of the owner: no lock may refuse her."""

    def plan(self, seconds: int) -> Plan:
        """The most guesses that fit any *seconds*."""
        days = seconds // DAY
        plans = [plan for resets in {days or 1, days + 1} for plan in self._plans(seconds, resets)]
        if self.cap == NO_CAP:
            plans += self._shutting_out(seconds)
        return max(plans, key=lambda plan: (plan.guesses, -plan.lasts))

    def plan_without_owner(self, seconds: int) -> Plan:
        """The most guesses that fit any *seconds*, where no sign-in starts the count again."""
        begins = range(0, min(self.head, self.cap), conf.lock_after)
        last = {begin: self._last_by(self._end(begin) + seconds - 1) + 1 for begin in begins}
        plans = [Plan(min(last[begin], self.cap) - begin, begin) for begin in begins]
        return max(plans, key=lambda plan: plan.guesses)

    def _plans(self, seconds: int, resets: int) -> Iterator[Plan]:
        """Guess before the first of *resets* sign-ins of the owner, between, and after the last."""
        spare = seconds - (resets - 1) * DAY
        for begins_at in (0, *range(conf.lock_after, self.head + 1, conf.lock_after)):
            if begins_at <= self.daily:
                for lasts in self._lengths(spare, self._end(begins_at)):
                    before = self._last_by(self._end(begins_at) + lasts) - begins_at
                    after = self._fresh(spare - lasts)
                    guesses = before + (resets - 1) * self.daily + after
                    yield Plan(guesses, begins_at, lasts)

    def _shutting_out(self, seconds: int) -> Iterator[Plan]:
        """Guess whenever the last lock has ended, and let the owner in late or never."""
        after, last = conf.lock_after, conf.lock_seconds[-1]
        yield Plan(math.ceil(seconds / last) * after, self.head, shuts_out=True)
        for lasts in (seconds - end - 1 for end in self.ends if end < seconds - 1):
            before = lasts // last * after + after - 1
            guesses = before + self._fresh(seconds - lasts)
            yield Plan(guesses, self.head, lasts, shuts_out=True)

    def _lengths(self, spare: int, begin: int) -> set[int]:
        """How long to guess before the owner signs in: until a lock ends, here or after her.

        Where both are beyond the head, it does not matter, so one of them is not.
        """
        least, most = max(spare - DAY, 0), min(spare, DAY - begin)
        lengths = {end - begin for end in self.ends} | {spare - 1 - end for end in self.ends}
        return {length for length in lengths | {least, most} if least <= length <= most}

    def _end(self, count: int) -> int:
        """Seconds of locks from no wrong code to *count*."""
        if count <= self.head:
            return self.ends[count]
        rounds = (count - self.head) // conf.lock_after
        return self.ends[-1] + rounds * conf.lock_seconds[-1]

    def _last_by(self, seconds: int) -> int:
        """The highest count whose locks have ended after *seconds*."""
        if seconds < self.ends[-1]:
            count = bisect_right(self.ends, seconds) - 1
        else:
            rounds = (seconds - self.ends[-1]) // conf.lock_seconds[-1]
            count = self.head + (rounds + 1) * conf.lock_after - 1
        return min(count, self.cap)

    def _fresh(self, seconds: int) -> int:
        """The most guesses in the first *seconds* after the owner signed in."""
        return min(self._last_by(seconds - 1) + 1, self.cap) if seconds > 0 else 0


def lock(count: int) -> int:
    """Seconds of the lock that wrong code number *count* brings (``verification``)."""
    if count == 0 or count % conf.lock_after or count == conf.disable_after:
        return 0
    return conf.lock_seconds[min(count // conf.lock_after, len(conf.lock_seconds)) - 1]


def plan(kind: str, seconds: int) -> Plan:
    """The most guesses at codes of *kind* that can be compared in any *seconds*."""
    caps = {
        By.TEXT.value: conf.disable_after,
        PROGRAMS: conf.disable_after,
        By.APP.value: MAX_FAILURES,
    }
    climb = Climb(caps.get(kind, NO_CAP))
    found = climb.plan_without_owner(seconds) if kind == PROGRAMS else climb.plan(seconds)
    if kind == By.TEXT:
        most = _texts(seconds, CLASSES, PURPOSES) * conf.otp_tries
    elif kind == PROGRAMS:
        most = _texts(seconds, classes=1, purposes=1) * conf.otp_tries
    elif kind == By.APP:
        rate = conf.app_failures
        most = rate.count + math.ceil(seconds * rate.count / rate.seconds) - 1
    elif kind == TOGETHER:
        most = found.guesses + plan(PROGRAMS, seconds).guesses
        return replace(found, guesses=most)
    else:
        return found
    return replace(found, guesses=min(found.guesses, most))


def _texts(seconds: int, classes: int, purposes: int) -> int:
    """The most codes that can be tried in any *seconds*. Those sent shortly before count too."""
    limits = [
        min(
            rate.count * classes * math.ceil((seconds + conf.otp_lifetime) / rate.seconds),
            rate.count * classes * math.ceil(seconds / rate.seconds) + purposes,
        )
        for setting in (Conf.sends_per_number, Conf.sends_per_user)
        for rate in setting.value
    ]
    return min(limits, default=NO_CAP)


def budget() -> list[Row]:
    """What the settings in force allow, for each kind of code and for all together."""
    rows = [_row(kind, chance) for kind, chance in _CHANCES.items()]
    together = min(1.0, sum(row.chance for row in rows))
    return [*rows, _row(TOGETHER, lambda guesses: together)]


def _row(kind: str, chance: Callable[[int], float]) -> Row:
    hour, day, year = (plan(kind, seconds).guesses for seconds in (HOUR, DAY, YEAR))
    return Row(kind, hour, day, year, chance(year))


def _of_text(guesses: int) -> float:
    return min(1.0, guesses * _likeliest(conf.otp_digits))


def _of_app(guesses: int) -> float:
    """One code of several, while one is enough; then two in a row, the second shortly after.

    Two are compared also beyond NIST's ceiling, where each ten wrong codes bring the last lock.
    """
    one = STEPS * _likeliest(codes.APP_DIGITS)
    climb = Climb(NO_CAP)
    pairs = climb.plan(YEAR).guesses * climb.plan(codes.APP_PAIR * codes.APP_STEP).guesses
    return min(1.0, guesses * one + pairs * one**2)


def _of_recovery(guesses: int) -> float:
    return min(1.0, guesses * codes.RECOVERY_CODES * 2.0 ** (-5 * codes.RECOVERY_LENGTH))


def _likeliest(digits: int) -> float:
    """The chance of the likeliest code: HOTP takes 31 bits modulo a power of ten."""
    return math.ceil(2**31 / math.pow(10, digits)) / 2**31


_CHANCES: dict[str, Callable[[int], float]] = {
    By.TEXT: _of_text,
    PROGRAMS: _of_text,
    By.APP: _of_app,
    By.RECOVERY: _of_recovery,
}
