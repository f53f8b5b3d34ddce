"""Two weeks at two small firms: people opt in and sign in, some in vain."""

import random
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import product

from django.utils import timezone

from optin.models import File, ProviderUser, User
from optin.models.messages import State
from optin.origin import Face, Origin
from tools.demo.story import Kind, Story

DAYS = 16
"""Days that are told, today among them: the home page compares the two whole weeks before today."""

FIRST = ("ada", "amir", "bea", "carla", "daan", "emil", "gita", "hana", "ines", "ivan", "jana")
LAST = ("abbott", "byrne", "dang", "evans", "ito", "khan", "meyer", "okafor", "rossi", "singh")
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 "
    "Edg/140.0",
)
OPEN_HOURS = 8, 18
"""The hours of the day, in the time zone of the service, in which people do all this."""


def numbers(rng: random.Random) -> list[str]:
    """Numbers that Australia keeps for fiction. A reader is told to try some of the first 200."""
    return [f"+6149157{end:04d}" for end in rng.sample(range(200, 10_000), 200)]


@dataclass
class Weeks:
    """Tells the story of the weeks, up to *story.now*; always the same one."""

    story: Story
    files: list[File]
    password: str
    rng: random.Random
    numbers: list[str]
    active: list[ProviderUser] = field(default_factory=list)

    def tell(self) -> None:
        names = [f"{first}.{last}" for first, last in product(FIRST, LAST)]
        self.rng.shuffle(names)
        people: list[tuple[User, File]] = []
        for n, file in enumerate(self.files):
            since = self.at(DAYS - 1, time(6))
            members = self.story.join(names[n :: len(self.files)], file, self.password, since)
            people += [(user, file) for user in members]
        self.rng.shuffle(people)
        for days_ago in reversed(range(DAYS)):
            self._day(days_ago, people)

    def at(self, days_ago: int, of_day: time) -> datetime:
        day = timezone.localdate(self.story.now) - timedelta(days=days_ago)
        return datetime.combine(day, of_day, timezone.get_current_timezone()).astimezone(UTC)

    def origin(self, user: User) -> Origin:
        """Everybody has one address and one browser."""
        n = zlib.crc32(user.username.encode())
        ip, agent = f"198.51.100.{n % 250 + 1}", AGENTS[n % len(AGENTS)]
        return Origin(Face.WEB, actor_id=user.pk, ip=ip, user_agent=agent)

    def _some_time(self, days_ago: int) -> datetime:
        first, last = OPEN_HOURS
        minute = int(self.rng.triangular(first * 60, last * 60 - 1, 11 * 60))
        return self.at(days_ago, time(minute // 60, minute % 60, self.rng.randrange(60)))

    def _day(self, days_ago: int, people: list[tuple[User, File]]) -> None:
        is_weekend = self.at(days_ago, time(12)).weekday() >= 5
        busy = self.rng.randint(2, 3) if is_weekend else self.rng.randint(5, 9)
        for _ in range(busy):
            # Drawn in any case: what happens later must not depend on the hour of the day.
            at, (user, file), fate = self._some_time(days_ago), people.pop(), self.rng.random()
            if self._is_past(at):
                self._opt_in(user, file, at, fate)
        times = sorted(self._some_time(days_ago) for _ in range(busy))
        for at in times:
            chance, fate = self.rng.random(), self.rng.random()
            known = [row for row in self.active if row.verified_at and row.verified_at < at]
            if known and self._is_past(at):
                self._sign_in(known[int(chance * len(known))], at, fate)

    def _is_past(self, at: datetime) -> bool:
        """Whether *at* is past, with all that follows from it within minutes."""
        return at < self.story.now - timedelta(minutes=15)

    def _opt_in(self, user: User, file: File, at: datetime, fate: float) -> None:
        number, origin = self.numbers.pop(), self.origin(user)
        state = State.FAILED if fate > 0.95 else State.SENT if fate > 0.86 else State.DELIVERED
        code = self.story.opt_in(user, number, file, at, origin, state=state)
        if state is State.FAILED or fate < 0.06:
            return  # it never came, or they thought better of it
        at += timedelta(seconds=self.rng.randint(15, 90))
        if fate < 0.14:
            self.story.miss(code, at)
            at += timedelta(seconds=20)
        self.story.verify(code, at)
        self.active.append(code.row)

    def _sign_in(self, row: ProviderUser, at: datetime, fate: float) -> None:
        origin = self.origin(row.user)
        if fate > 0.95:
            self.story.tell(Kind.SIGN_IN, "invalid_grant", at, origin, row.user)
            at += timedelta(seconds=25)
        code = self.story.sign_in(row, at, origin)
        if fate < 0.03:
            return
        at += timedelta(seconds=self.rng.randint(10, 60))
        if fate < 0.10:
            self.story.miss(code, at)
            at += timedelta(seconds=15)
        self.story.verify(code, at)
