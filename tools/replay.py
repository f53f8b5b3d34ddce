"""Decide the recorded requests for texts again, with other limits (G-04).

The audit trail has one event for each request: who asked, when, from where, for which number, and
what was decided. ``limits.policy`` decides them again, with counters in memory that begin a window
earlier and follow the new decisions: what is refused counts nowhere, as in the service.

What the trail does not hold stands as it was recorded (``FIXED``). Nothing is kept of an event once
it is decided, but the counters of open windows, and a line for each account that is refused.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import F, Sum
from django.db.models.functions import Lower

from optin.conf import Conf, Rate, Setting, conf
from optin.limits import Refused, Rule, Withheld, policy
from optin.limits.counters import Limit, Tally
from optin.limits.policy import Asked
from optin.limits.recent import YEAR, Sent, reach
from optin.limits.rules import is_observed
from optin.models import AuditEvent, Figure, Purpose, RefusalCount, User
from optin.origin import Face
from optin.outcomes import WITHHELD, By, CodeOutcome, SendOutcome

Kind = AuditEvent.Kind

REPLAYED: tuple[Setting[Any], ...] = (
    *(Conf.resend_wait, Conf.sends_per_number, Conf.sends_per_user, Conf.sends_per_ip),
    *(Conf.sends_per_client, Conf.sends_per_file, Conf.sends_total),
    *(Conf.own_sends_total, Conf.observe),
)
"""The settings that can be replayed with other values."""

OPEN_ENDED = {Rule.STOP, Rule.OPTED_OUT}
"""Rules whose end nobody knows."""

FIXED = {Rule.STOP, Rule.OPTED_OUT, Rule.PREFIX, Rule.DENY_NUMBER, Rule.DENY_PREFIX}
"""Rules that the trail does not hold enough of: lists and stops of staff and of owners, and the
prefix of a number."""

SENT: frozenset[str] = frozenset({SendOutcome.SENT, SendOutcome.RESENT})
REFUSED: frozenset[str] = frozenset({SendOutcome.WAITING, SendOutcome.SEND_LIMIT})
ASKED = (Kind.OPT_IN, Kind.CHALLENGE, Kind.RESEND)
DECIDED: frozenset[str] = frozenset({*SENT, *REFUSED, WITHHELD})
ENTERED = (Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT)

STEP = timedelta(hours=1)
"""How much of the trail one statement reads."""


class Recorded(NamedTuple):
    """The columns of an event that are read."""

    pk: int
    at: datetime
    kind: str
    outcome: str
    face: str
    client: str
    ip: str | None
    user_id: int
    file_id: int | None
    number_digest: str
    data: dict[str, Any]


class Verdict(NamedTuple):
    """The decision on a request: the rule that refuses it, if one does."""

    rule: str = ""  # as events have it, a rate with its seconds: ``own-user/600``
    is_withheld: bool = False

    @classmethod
    def of(cls, refused: Refused | None) -> "Verdict":
        if refused is None:
            return cls()
        return cls(str(refused.data["rule"]), isinstance(refused, Withheld))


SENT_ON = Verdict()

_RULES = {rule.value: rule for rule in Rule}


@dataclass(slots=True)
class Hurt:
    """One account that would have been refused."""

    user: int
    first_at: datetime
    refused: int = 0  # requests that were let through, and would not have been
    verified: int = 0  # how often the code of such a request was entered in time

    def plain(self) -> dict[str, Any]:
        first_at = self.first_at.isoformat(timespec="seconds")
        return {
            "account": self.user,
            "refused": self.refused,
            "verified": self.verified,
            "first_at": first_at,
        }


@dataclass(slots=True)
class Replay:
    """The result of a replay with other limits."""

    since: datetime
    until: datetime
    decided: int = 0  # requests that were decided again
    equal: int = 0  # of these, with the same result by the same rule
    fixed: int = 0  # stand as recorded: a rule of ``FIXED`` refused them, or would have
    counted: int = 0  # stand as recorded: the trail has only their number
    saved: int = 0  # texts that would not have left
    more: int = 0  # requests that would have got a text
    rules: Counter[str] = field(default_factory=Counter)  # what refuses the texts that are saved
    accounts: dict[int, Hurt] = field(default_factory=dict)
    price: Decimal | None = None  # of a text, on average; not known: None

    @property
    def cost(self) -> Decimal | None:
        """The cost of the texts saved, minus the cost of the extra texts."""
        return None if self.price is None else (self.saved - self.more) * self.price

    @property
    def verified(self) -> int:
        """Accounts of those refused that entered the code of such a text."""
        return sum(hurt.verified > 0 for hurt in self.accounts.values())

    @property
    def most_hurt(self) -> list[Hurt]:
        """The accounts, those first whose codes were entered most often."""
        return sorted(
            self.accounts.values(), key=lambda hurt: (-hurt.verified, -hurt.refused, hurt.user)
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "since": self.since.isoformat(timespec="seconds"),
            "until": self.until.isoformat(timespec="seconds"),
            "decided": self.decided,
            "equal": self.equal,
            "as_recorded": {"fixed": self.fixed, "counted": self.counted},
            "refused": {
                "requests": self.saved,
                "accounts": len(self.accounts),
                "verified": self.verified,
                "rules": dict(self.rules.most_common()),
            },
            "let_through": self.more,
            "texts_saved": self.saved - self.more,
            "money_saved": None if self.cost is None else f"{self.cost:.4f}",
            "accounts": [hurt.plain() for hurt in self.most_hurt],
        }


# -- what is counted ---------------------------------------------------------------


class Books:
    """The counters, and the texts of each number and of each user, in memory."""

    def __init__(self) -> None:
        # By the length of a window, then its start. Servers' clocks differ, so the window before
        # the newest is kept too.
        self._windows: dict[int, dict[int, Counter[tuple[Rule, str]]]] = {}
        # The newest first.
        self._texts: dict[str | int, deque[Sent]] = {}

    def tallies(self, limits: Iterable[Limit], at: datetime) -> list[Tally]:
        """Return what the counters come to with one text more."""
        stamp = int(at.timestamp())
        return [
            Tally(
                limit,
                self._window(limit.seconds, stamp)[limit.rule, limit.key] + 1,
                verified=0,
                frees_at=limit.window(at) + timedelta(seconds=limit.seconds),
            )
            for limit in limits
        ]

    def add(self, limits: Iterable[Limit], at: datetime) -> None:
        stamp = int(at.timestamp())
        for limit in limits:
            self._window(limit.seconds, stamp)[limit.rule, limit.key] += 1

    def _window(self, seconds: int, stamp: int) -> Counter[tuple[Rule, str]]:
        start = stamp - stamp % seconds
        windows = self._windows.setdefault(seconds, {})
        if start not in windows:
            windows[start] = Counter()
            for old in sorted(windows)[:-2]:
                del windows[old]
        return windows[start]

    def note(self, asked: Asked, at: datetime, *, is_withheld: bool) -> None:
        """Keep a text for the limits and the waits after it."""
        text = Sent(at, asked.user_id, asked.number_digest, asked.purpose, is_withheld, False)
        for key in (asked.user_id, *(() if is_withheld else (asked.number_digest,))):
            self._texts.setdefault(key, deque()).appendleft(text)

    def use(self, number_digest: str, purpose: Purpose, user: int) -> None:
        """Keep that the code of a user's last text was right: no wait goes back beyond it."""
        for text in self._texts.get(user, ()):
            if (text.number_digest, text.purpose) == (number_digest, purpose):
                text.is_used = True

    def texts(self, asked: Asked) -> list[Sent]:
        """``limits.recent.read``."""
        of_user = self._texts.get(asked.user_id, ())
        to_number = self._texts.get(asked.number_digest, ())
        others = (text for text in to_number if text.user_id != asked.user_id)
        return sorted([*of_user, *others], key=attrgetter("at"), reverse=True)

    def forget(self, at: datetime) -> None:
        """Drop texts so old that no limit counts them, and no wait."""
        oldest = at - reach()
        for key, texts in list(self._texts.items()):
            while texts and texts[-1].at <= oldest:
                texts.pop()
            if not texts:
                del self._texts[key]


# -- deciding again ----------------------------------------------------------------


def decide(event: Recorded, asked: Asked, books: Books) -> Verdict:
    """Decide a request as ``limits.reserve_text`` does, by what is in *books*; count it there."""
    limits, texts = policy.limits_of(asked), books.texts(asked)
    tallies = policy.rates_of(asked, texts, event.at)
    tallies += books.tallies([limit for part in limits for limit in part], event.at)
    decided = policy.decide(asked, tallies, texts, event.at, about_number=_fixed(event))
    verdict = Verdict.of(decided.refused)
    _count(verdict, event, asked, books, limits)
    return verdict


def _count(
    verdict: Verdict, event: Recorded, asked: Asked, books: Books, limits: policy.Limits
) -> None:
    if verdict.rule and not verdict.is_withheld:
        return
    texts = [limits.own, limits.client] if verdict.is_withheld else limits
    books.add([limit for part in texts for limit in part], event.at)
    books.note(asked, event.at, is_withheld=verdict.is_withheld)


def _fixed(event: Recorded) -> Refused | None:
    """The rule that withheld a text, if it cannot be decided again."""
    rule = _rule_of(event)
    if event.outcome != WITHHELD or rule not in FIXED:
        return None
    wait = timedelta(seconds=int(event.data.get("retry_after", 0)))
    count, limit = int(event.data.get("count", 0)), int(event.data.get("limit", 0))
    return Refused(rule, count, limit, wait, is_open_ended=rule in OPEN_ENDED)


def _rule_of(event: Recorded) -> Rule:
    name = str(event.data.get("rule", "")).partition("/")[0]
    return _RULES.get(name, Rule.NONE)  # an outcome, where no limit decided


def _asked(event: Recorded) -> Asked:
    purpose = Purpose.OPT_IN if event.kind == Kind.OPT_IN else Purpose(event.data["purpose"])
    return Asked(
        event.user_id,
        event.number_digest,
        purpose,
        event.file_id,
        Face(event.face),
        event.client,
        event.ip or "",
    )


def _recorded(event: Recorded) -> Verdict:
    if event.outcome in SENT:
        return SENT_ON
    return Verdict(str(event.data.get("rule", "")), event.outcome == WITHHELD)


def replay(since: datetime, until: datetime) -> Replay:
    """Decide what was asked for from *since* to *until*, under the settings as they are now."""
    report = Replay(since, until, price=_price(since, until))
    report.counted = _untold(since, until)
    for _ in verdicts(report):
        pass
    return report


def verdicts(report: Replay) -> Iterator[tuple[Recorded, Verdict]]:
    """Decide one request after the other, and enter it in *report*."""
    books, hopes = Books(), _Hopes()
    tests = set(User.objects.filter(is_test=True).values_list("pk", flat=True))
    # The oldest event has the lowest id, and nothing before it is there to read.
    oldest = AuditEvent.objects.order_by("pk").values_list("at", flat=True).first()
    begin = max(report.since - _memory(), oldest or report.until)
    for event in _events(begin, report.until):
        if event is None:
            books.forget(begin)
            hopes.forget(begin)
        elif event.user_id in tests or event.user_id is None:
            continue  # sandboxes have limits of their own
        elif event.kind in ENTERED:
            _enter(event, books, hopes)
        elif event.at < report.since:
            _warm_up(event, books)
        elif (again := _again(event, report, books)) is not None:
            hopes.judge(event, again, report)
            yield event, again
        begin = event.at if event else begin


def _again(event: Recorded, report: Replay, books: Books) -> Verdict | None:
    """Decide *event* again; ``None`` if it stands as it was recorded."""
    if "repeated" in event.data:
        report.counted += int(event.data["repeated"])
        return None
    if event.outcome in REFUSED and _rule_of(event) in FIXED:
        report.fixed += 1
        return None
    if Rule.PREFIX in event.data.get("observed", ()) and not is_observed(Rule.PREFIX):
        report.fixed += 1  # the breaker would have decided, of which the trail knows too little
        _warm_up(event, books)
        return None
    verdict, was = decide(event, _asked(event), books), _recorded(event)
    report.decided += 1
    report.equal += verdict == was
    return verdict


def _warm_up(event: Recorded, books: Books) -> None:
    asked, was = _asked(event), _recorded(event)
    _count(was, event, asked, books, policy.limits_of(asked))


def _memory() -> timedelta:
    """How far back counters and waits reach: a year at most."""
    values = [getattr(settings, setting.name) for setting in REPLAYED]
    rates = [each for value in values if isinstance(value, tuple) for each in value]
    longest = max((rate.seconds for rate in rates if isinstance(rate, Rate)), default=0)
    return max(timedelta(seconds=min(longest, YEAR)), reach())


_Code = tuple[int, str, str]
"""Whose code it is, for which number, and what it is for."""


class _Hopes:
    """Requests that would be refused now, while the codes of their texts could be entered."""

    def __init__(self) -> None:
        self._open: dict[_Code, tuple[datetime, Hurt]] = {}
        # Until when a code of a text lives that is let through: a resend repeats it.
        self._lives: dict[_Code, datetime] = {}

    def judge(self, event: Recorded, verdict: Verdict, report: Replay) -> None:
        was_sent = event.outcome in SENT
        purpose = event.data.get("purpose", Purpose.OPT_IN)
        code = event.user_id, event.number_digest, purpose
        ends = event.at + timedelta(seconds=conf.otp_lifetime)
        if not verdict.rule:
            report.more += not was_sent
            self._lives[code] = ends
            return
        if not was_sent:
            return
        report.saved += 1
        report.rules[verdict.rule] += 1
        hurt = report.accounts.setdefault(event.user_id, Hurt(event.user_id, event.at))
        hurt.refused += 1
        self._open[code] = ends, hurt

    def fulfil(self, user: int, number_digest: str, purpose: str, at: datetime) -> None:
        code = user, number_digest, purpose
        ends, hurt = self._open.pop(code, (at, None))
        has_another = at < self._lives.pop(code, at)
        if hurt and at < ends and not has_another:
            hurt.verified += 1

    def forget(self, at: datetime) -> None:
        self._open = {key: one for key, one in self._open.items() if one[0] > at}
        self._lives = {key: ends for key, ends in self._lives.items() if ends > at}


def _enter(event: Recorded, books: Books, hopes: _Hopes) -> None:
    """Note a right texted code."""
    right = {CodeOutcome.OK, CodeOutcome.MOBILE_NUMBER_IN_USE}
    if event.outcome not in right or event.data.get("by", By.TEXT) != By.TEXT:
        return
    purpose = {Kind.VERIFY_OPT_IN: Purpose.OPT_IN, Kind.OPT_OUT: Purpose.OPT_OUT}.get(
        Kind(event.kind)
    ) or Purpose(event.data["purpose"])
    books.use(event.number_digest, purpose, event.user_id)
    hopes.fulfil(event.user_id, event.number_digest, purpose, event.at)


_OUTCOMES = {*DECIDED, CodeOutcome.OK.value, CodeOutcome.MOBILE_NUMBER_IN_USE.value}


def _events(begin: datetime, until: datetime) -> Iterator[Recorded | None]:
    """The events in the order of their times; ``None`` after each ``STEP``.

    A statement reads the events of one step only, also where the database has no cursors.
    """
    # By the index of times. For plain columns the database takes the index of kinds or outcomes,
    # and reads the whole trail in each step.
    events = AuditEvent.objects.alias(sort=Lower("kind"), result=Lower("outcome"))
    events = events.filter(sort__in=[*ASKED, *ENTERED], result__in=_OUTCOMES)
    rows = events.order_by("at", "pk").values_list(*Recorded._fields)
    while begin < until:
        end = min(begin + STEP, until)
        for row in rows.filter(at__gte=begin, at__lt=end).iterator():
            yield Recorded._make(row)
        yield None
        begin = end


def _untold(since: datetime, until: datetime) -> int:
    """Refusals of which no event tells yet."""
    counts = RefusalCount.objects.untold().filter(
        kind__in=ASKED, outcome__in=REFUSED, last_at__gte=since, last_at__lt=until
    )
    n: int = counts.aggregate(n=Sum(F("count") - F("told"), default=0))["n"]
    return n


def _price(since: datetime, until: datetime) -> Decimal | None:
    """The average cost of a text then, by the figures of staff's home page."""
    texts = Figure.objects.filter(
        what=Figure.What.TEXT, span__start__gte=since, span__start__lt=until
    )
    found = texts.aggregate(cost=Sum("cost", default=Decimal(0)), count=Sum("count", default=0))
    return found["cost"] / found["count"] if found["cost"] else None


@contextmanager
def under(numbers: Mapping[str, Any]) -> Iterator[None]:
    """Let settings have other values, in this process: for a command that does nothing else."""
    before = {name: getattr(settings, name) for name in numbers}
    try:
        for name, value in numbers.items():
            setattr(settings, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
