"""A month at two small firms: people opt in and sign in, some in vain; one night, an attack."""

import random
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import product

from django.utils import timezone

from optin.conf import conf
from optin.limits import Rule
from optin.models import AuditEvent, File, Guard, ProviderUser, RefusalCount, User
from optin.models.messages import State
from optin.origin import Face, Origin
from optin.support.statistics import DAYS
from tools.demo.story import Kind, Story

FIRST = (
    *("ada", "aisha", "alba", "amir", "anh", "arlo", "bea", "bruno", "carla", "chloe", "daan"),
    *("dora", "elif", "emil", "faye", "femi", "gita", "hana", "hugo", "ines", "ivan", "jana"),
)
LAST = (
    *("abbott", "byrne", "castro", "dang", "evans", "fonseca", "grant", "haddad", "ito", "jones"),
    *("khan", "lopez", "meyer", "novak", "okafor", "parker", "quinn", "rossi", "singh", "tran"),
)
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 "
    "Edg/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 "
    "Safari/605.1.15",
)
OPEN_HOURS = 8, 18
"""The hours of the day, in the time zone of the service, in which people do all this."""

OUTAGE = 4
"""Days ago when the first gateway was away for two hours: texts went through the second."""

ATTACK = 9
"""Days ago."""

ATTACKERS = 6
NIGHT = time(2, 10)
"""When the attack begins."""


def numbers(rng: random.Random) -> list[str]:
    """Numbers that Australia keeps for fiction, less those that a reader is told to try."""
    tried = {"0006", "0110", "0156", "0157", "0158", "0159"}
    ends = [f"{n:04d}" for n in range(10_000) if f"{n:04d}" not in tried]
    rng.shuffle(ends)
    return [f"+6149157{end}" for end in ends]


@dataclass
class Month:
    """Tells the story of the month, up to *story.now*; always the same one."""

    story: Story
    files: list[File]
    password: str
    rng: random.Random
    numbers: list[str]
    client: int  # the application of clients that sign in with a password
    active: list[ProviderUser] = field(default_factory=list)
    file_of: dict[int, File] = field(default_factory=dict)

    def tell(self) -> None:
        since = self.at(DAYS - 1, time(6))
        names = [f"{first}.{last}" for first, last in product(FIRST, LAST)]
        self.rng.shuffle(names)
        people: list[User] = []
        for file, share in zip(self.files, (names[::2], names[1::2]), strict=True):
            members = self.story.join(share, file, self.password, since)
            self.file_of |= dict.fromkeys((user.pk for user in members), file)
            people += members
        self.rng.shuffle(people)
        if conf.breaker_unproved:
            self._attack()
        for days_ago in reversed(range(DAYS)):
            self._day(days_ago, people)

    def at(self, days_ago: int, of_day: time) -> datetime:
        day = timezone.localdate(self.story.now) - timedelta(days=days_ago)
        return datetime.combine(day, of_day, timezone.get_current_timezone()).astimezone(UTC)

    def _some_time(self, days_ago: int) -> datetime:
        first, last = OPEN_HOURS
        minute = int(self.rng.triangular(first * 60, last * 60 - 1, 11 * 60))
        return self.at(days_ago, time(minute // 60, minute % 60, self.rng.randrange(60)))

    def _day(self, days_ago: int, people: list[User]) -> None:
        is_weekend = self.at(days_ago, time(12)).weekday() >= 5
        busy = self.rng.randint(3, 6) if is_weekend else self.rng.randint(10, 17)
        for _ in range(busy):
            # Drawn in any case: what happens later must not depend on the hour of the day.
            at, user, fate = self._some_time(days_ago), people.pop(), self.rng.random()
            if self._is_past(at):
                self._opt_in(user, at, fate)
        times = sorted(self._some_time(days_ago) for _ in range(busy))
        for at in times:
            chance, fate = self.rng.random(), self.rng.random()
            known = [row for row in self.active if row.verified_at and row.verified_at < at]
            if known and self._is_past(at):
                self._sign_in(known[int(chance * len(known))], at, fate)

    def _is_past(self, at: datetime) -> bool:
        """Whether *at* is past, with all that follows from it within minutes."""
        return at < self.story.now - timedelta(minutes=15)

    def origin(self, user: User) -> Origin:
        """Everybody has one address and one browser."""
        n = zlib.crc32(user.username.encode())
        ip, agent = f"198.51.100.{n % 250 + 1}", AGENTS[n % len(AGENTS)]
        return Origin(Face.WEB, actor_id=user.pk, ip=ip, user_agent=agent)

    def _way(self, at: datetime) -> dict[str, str]:
        begins = self.at(OUTAGE, time(10))
        if begins <= at < begins + timedelta(hours=2):
            return {"gateway": "twilio", "failed": "kannel"}
        return {}

    def _opt_in(self, user: User, at: datetime, fate: float) -> None:
        number, file, origin = self.numbers.pop(), self.file_of[user.pk], self.origin(user)
        if fate > 0.97:  # a number from abroad
            self.story.tell(
                Kind.OPT_IN,
                "region_not_allowed",
                at,
                origin,
                user,
                number=f"+447700900{self.rng.randrange(1000):03d}",
                file=file,
                facts={"rule": "region_not_allowed", "count": 0, "limit": 0, "region": "GB"},
            )
            return
        state = State.FAILED if fate > 0.93 else State.SENT if fate > 0.86 else State.DELIVERED
        code = self.story.opt_in(user, number, file, at, origin, state=state, **self._way(at))
        if state is State.FAILED or fate < 0.06:
            return  # it never came, or they thought better of it
        at += timedelta(seconds=self.rng.randint(15, 90))
        if fate < 0.14:
            self.story.miss(code, at)
            at += timedelta(seconds=20)
        if fate < 0.10:
            self.story.miss(code, at)
            return  # and gave up
        self.story.verify(code, at)
        self.active.append(code.row)

    def _sign_in(self, row: ProviderUser, at: datetime, fate: float) -> None:
        origin = self.origin(row.user)
        if fate > 0.95:
            self.story.tell(Kind.SIGN_IN, "invalid_grant", at, origin, row.user)
            at += timedelta(seconds=25)
        code = self.story.sign_in(row, at, origin, **self._way(at))
        if fate < 0.03:
            return
        at += timedelta(seconds=self.rng.randint(10, 60))
        if fate < 0.10:
            self.story.miss(code, at)
            at += timedelta(seconds=15)
        self.story.verify(code, at)

    # -- the attack --------------------------------------------------------------------

    def _attack(self) -> None:
        """Somebody has texts sent to numbers in a row, to earn by them: the breaker stops it.

        New accounts, one after the other until each reaches its limit. Then their prefix is
        closed for an hour, and all that they ask for is refused.
        """
        at = self.at(ATTACK, NIGHT)
        names = [f"trial-{n}" for n in range(1, ATTACKERS + 1)]
        users = self.story.join(names, self.files[1], self.password, at - timedelta(hours=5))
        for n in range(conf.breaker_unproved):
            user = users[n * ATTACKERS // conf.breaker_unproved]
            number, origin = self.numbers.pop(), self._attacker(user)
            self.story.opt_in(user, number, self.files[1], at, origin)
            at += timedelta(seconds=4)
        closed_at = at
        self._close(closed_at)
        for n in range(ATTACKERS * 40):
            at = closed_at + timedelta(seconds=6 * n)
            self._refuse(users[n % ATTACKERS], at, closed_at)
        self.story.do(at + timedelta(hours=2), _tell_of_repeats)

    def _attacker(self, user: User) -> Origin:
        return Origin(Face.API, actor_id=user.pk, client=f"app:{self.client}", ip="203.0.113.66")

    def _close(self, at: datetime) -> None:
        until = at + timedelta(seconds=conf.breaker_seconds)
        self.story.add(
            Guard(
                kind=Guard.Kind.BREAKER,
                covers=Guard.Covers.PREFIX,
                key=Guard.prefix_of(self.numbers[-1]),
                region="AU",
                unverified=conf.breaker_unproved,
                made_at=at,
                until=until,
            )
        )

    def _refuse(self, user: User, at: datetime, closed_at: datetime) -> None:
        left = timedelta(seconds=conf.breaker_seconds) - (at - closed_at)
        facts = {
            "rule": Rule.PREFIX.value,
            "count": conf.breaker_unproved,
            "limit": conf.breaker_unproved,
            "retry_after": max(int(left.total_seconds()), 1),
        }
        self.story.tell(
            Kind.OPT_IN,
            "send_limit",
            at,
            self._attacker(user),
            user,
            number=self.numbers.pop(),
            file=self.files[1],
            facts=facts,
        )


def _tell_of_repeats(at: datetime) -> None:
    """As each hour does that has refusals which no event tells of yet."""
    AuditEvent.objects.tell_repeats(RefusalCount.objects.due(at), at)
