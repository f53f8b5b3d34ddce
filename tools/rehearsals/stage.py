"""The stage of a rehearsal: a clock that is stepped, those who act by it, and what is seen.

Everybody who acts is a generator: it calls the operations of the service as a face would, and
yields the seconds until it acts again. The clock leaps from one act to the next, so hours take
seconds, and the same seed plays the same hours.
"""

import heapq
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from django.utils import timezone

from optin.messaging import delivery
from optin.messaging.postman import Postman
from optin.models import SmsMessage
from tools.rehearsals.phones import Phones

BEGINS = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
"""The morning of a working day in Sydney. The day ends in UTC half an hour later, and with it the
windows of all limits: what begins anew then must not help an attack."""

Script = Iterator[float]


@dataclass(frozen=True, slots=True)
class Sent:
    """A text that left."""

    at: float  # seconds since the beginning
    by_attack: bool
    to: str


@dataclass(slots=True)
class Visit:
    """A visit of an honest person, and whether it succeeded."""

    kind: str
    at: float
    is_target: bool = False  # of the attack
    reached: bool = False
    hit: str = ""  # the rule that stood in the way


@dataclass
class Stage:
    """Who acts, and what is seen of it."""

    seed: int
    hours: float
    region: str  # of the attacked numbers
    now: datetime = BEGINS
    sent: list[Sent] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    alarms: list[tuple[float, str, str]] = field(default_factory=list)  # when, name, words
    asked: list[float] = field(default_factory=list)  # when the attack asked for something
    refused: list[tuple[float, str]] = field(default_factory=list)  # of that: when, by which rule
    seen: Counter[str] = field(default_factory=Counter)  # what an attack counts itself
    # The newest on each phone, for each purpose: the words of a text say what it is for.
    codes: dict[tuple[str, str], str] = field(default_factory=dict)
    _turns: list[tuple[datetime, int, bool, Script]] = field(default_factory=list)
    _entered: "count[int]" = field(default_factory=count)

    def chance(self, *name: object) -> random.Random:
        """Return the dice of one who acts: what others do does not change how they fall."""
        return random.Random(f"{self.seed} {name}")  # noqa: S311  (no secret)

    @property
    def seconds(self) -> float:
        """How long it has been played."""
        return (self.now - BEGINS).total_seconds()

    @property
    def length(self) -> float:
        """How long an attack goes on, in seconds."""
        return self.hours * 3600

    def enter(self, script: Script, after: float, *, attacks: bool = False) -> None:
        """Let somebody act, *after* seconds from now."""
        at = self.now + timedelta(seconds=after)
        heapq.heappush(self._turns, (at, next(self._entered), attacks, script))

    def visit(self, kind: str, *, is_target: bool = False) -> Visit:
        visit = Visit(kind, self.seconds, is_target)
        self.visits.append(visit)
        return visit

    def attack(self, refused_by: str = "") -> None:
        """Note that the attack asked for something, and which rule refused or withheld it."""
        self.asked.append(self.seconds)
        if refused_by:
            self.refused.append((self.seconds, refused_by))

    def play(self) -> None:
        """Play until nobody acts any more; the attack, until its time is over."""
        with _stepped(self), _heard(self), _without_mails():
            while self._turns:
                self.now, _, attacks, script = heapq.heappop(self._turns)
                if attacks and self.seconds > self.length:
                    continue
                wait = next(script, None)
                self._take_texts(attacks)
                if wait is not None:
                    self.enter(script, wait, attacks=attacks)

    def _take_texts(self, attacks: bool) -> None:
        for text in Phones.arrived:
            self.sent.append(Sent(self.seconds, attacks, text.to))
            code = SmsMessage.objects.select_related("pending_otp").latest("pk").pending_otp
            assert code  # whoever acts asks for a code, and for one at a time
            self.codes[text.to, code.purpose] = text.body.split()[0]
        Phones.arrived.clear()


@contextmanager
def _stepped(stage: Stage) -> Iterator[None]:
    """Let the service read the time of the stage.

    Each operation reads it by ``timezone.now()``, and nothing else in here asks another clock: so
    this one function is exchanged, in this process, which does nothing but rehearse.
    """
    real = timezone.now
    timezone.now = lambda: stage.now
    try:
        yield
    finally:
        timezone.now = real


@contextmanager
def _heard(stage: Stage) -> Iterator[None]:
    """Note the alarms, which the service sounds in its log."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            facts = getattr(record, "facts", {})
            stage.alarms.append((stage.seconds, str(facts.get("alarm", "")), record.getMessage()))

    logger, ear = logging.getLogger("optin.alarm"), Ear(logging.WARNING)
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.WARNING)
    logger.addHandler(ear)
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = True


class _Away(Postman):
    """Takes no mail: the rows stay queued, as where the queue is full."""

    def submit(self, work: object) -> bool:
        return False


@contextmanager
def _without_mails() -> Iterator[None]:
    """Let no thread send mails: they have no part in this, and it has another clock."""
    real, delivery.postman = delivery.postman, _Away(1)
    try:
        yield
    finally:
        delivery.postman = real
