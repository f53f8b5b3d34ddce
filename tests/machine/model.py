"""What the service should do, told again in plain Python: a small second opinion.

It knows no database and none of the service's code. Each method takes what was asked
and the time, changes the model, and returns the answer to expect.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# Small, so that a few steps lead everywhere.
TRIES = 2
LOCK_AFTER = 3
LOCK_SECONDS = (60, 120)
DISABLE_AFTER = 7
LIFETIME = timedelta(seconds=600)
REPEAT_WHILE = timedelta(seconds=120)
CLOCK_SLACK = timedelta(seconds=5)
SERIES_ENDS_AFTER = timedelta(seconds=600)

OPT_IN, SIGN_IN, OPT_OUT, CHANGE = "opt_in", "sign_in", "opt_out", "change"
MALFORMED = "malformed"


@dataclass(eq=False)
class Code:
    """An open code. Its digits are read on the phone: nobody else tells them."""

    file: int | None
    digits: int
    issued: datetime
    expires: datetime
    tries: int = 0
    text: str = ""

    def is_dead(self, now: datetime) -> bool:
        return now >= self.expires or now < self.issued - CLOCK_SLACK

    def is_good_for_another_text(self, now: datetime) -> bool:
        return not self.is_dead(now) and self.tries < TRIES and self.expires - now >= REPEAT_WHILE


@dataclass(eq=False)
class Row:
    """One number of one person."""

    number: str
    file: int
    id: int = 0
    active: bool = False
    suspended: bool = False
    codes: dict[str, Code] = field(default_factory=dict)  # open ones, by purpose


@dataclass
class Count:
    """Wrong codes in a row, and what they led to."""

    failures: int = 0
    locked_until: datetime | None = None
    disabled: bool = False


@dataclass(eq=False)
class Person:
    own: Count = field(default_factory=Count)
    programs: Count = field(default_factory=Count)
    rows: dict[str, Row] = field(default_factory=dict)  # by number

    @property
    def active(self) -> Row | None:
        return next((row for row in self.rows.values() if row.active), None)

    def bars(self, purpose: str) -> list[Count]:
        """The counts that can bar a code for *purpose*. The last is the one that it raises."""
        return [self.own, self.programs] if purpose in (OPT_IN, OPT_OUT) else [self.own]

    @property
    def is_counted(self) -> bool:
        return any(count.failures or count.disabled for count in (self.own, self.programs))

    def row(self, row_id: int) -> Row | None:
        return next((row for row in self.rows.values() if row.id == row_id), None)

    def codes(self) -> Iterator[tuple[Row, str, Code]]:
        for row in self.rows.values():
            for purpose, code in row.codes.items():
                yield row, purpose, code


@dataclass(frozen=True)
class Answer:
    outcome: str
    texted: tuple[Row, str] | None = None  # whose number, and for what purpose
    withheld: bool = False  # it was told so, and no text left

    @property
    def recorded(self) -> str:
        return "withheld" if self.withheld else self.outcome


@dataclass
class Waits:
    """How soon a number may have its next text, and how many: nothing where off."""

    seconds: tuple[int, ...] = ()
    per_window: int = 0
    window: int = 600
    series: dict[tuple[str, str], list[tuple[datetime, Code]]] = field(default_factory=dict)
    sent: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def must_wait(self, number: str, purpose: str, now: datetime) -> bool:
        if not self.seconds:
            return False
        series = self.series.get((number, purpose), [])
        if not series or now - series[-1][0] >= SERIES_ENDS_AFTER:
            return False
        nth = min(len(series), len(self.seconds))
        return now < series[-1][0] + timedelta(seconds=self.seconds[nth - 1])

    def are_spent(self, number: str, purpose: str, now: datetime) -> bool:
        window = self._window(number, purpose, now)
        return bool(self.per_window) and self.sent.get(window, 0) >= self.per_window

    def note_text(self, number: str, purpose: str, code: Code, now: datetime) -> None:
        series = self.series.setdefault((number, purpose), [])
        if series and now - series[-1][0] >= SERIES_ENDS_AFTER:
            series.clear()
        series.append((now, code))
        window = self._window(number, purpose, now)
        self.sent[window] = self.sent.get(window, 0) + 1

    def note_use(self, number: str, purpose: str, code: Code) -> None:
        """A used code ends the series that led to it."""
        series = self.series.get((number, purpose), [])
        last = max((n for n, (_, other) in enumerate(series) if other is code), default=-1)
        del series[: last + 1]

    def _window(self, number: str, purpose: str, now: datetime) -> tuple[str, str, int]:
        group = purpose if purpose in (OPT_IN, OPT_OUT) else "own"
        return number, group, int(now.timestamp()) // self.window


class Model:
    """Three people, some files and numbers."""

    def __init__(self, people: int, waits: Waits) -> None:
        self.people = [Person() for _ in range(people)]
        self.waits = waits
        self.digits = 7

    # -- texts -------------------------------------------------------------------

    def opt_in(self, person: Person, file: int, number: str, now: datetime) -> Answer:
        if barred := self._barred(person, OPT_IN, now):
            return Answer(barred)
        if person.active:
            return Answer("already_opted_in")
        mine = f"{number} of {self.people.index(person)}"
        if self._may_not_be_sent(mine, OPT_IN, now):
            return Answer("send_limit")
        withheld = self._may_not_be_sent(number, OPT_IN, now)
        row = person.rows.setdefault(number, Row(number, file))
        row.file = file
        answer = self._text(row, OPT_IN, file, now, withheld=withheld)
        self.waits.note_text(mine, OPT_IN, row.codes[OPT_IN], now)
        return answer

    def challenge(self, person: Person, purpose: str, now: datetime) -> Answer:
        if barred := self._barred(person, purpose, now):
            return Answer(barred)
        row = person.active
        if row is None:
            return Answer("not_opted_in")
        if self.waits.must_wait(row.number, purpose, now):
            return Answer("waiting")
        if self.waits.are_spent(row.number, purpose, now):
            return Answer("send_limit")
        return self._text(row, purpose, None, now)

    def _may_not_be_sent(self, number: str, purpose: str, now: datetime) -> bool:
        return self.waits.must_wait(number, purpose, now) or self.waits.are_spent(
            number, purpose, now
        )

    def _text(
        self, row: Row, purpose: str, file: int | None, now: datetime, *, withheld: bool = False
    ) -> Answer:
        code = row.codes.get(purpose)
        again = code is not None and code.file == file and code.is_good_for_another_text(now)
        if code is None or not again:
            code = row.codes[purpose] = Code(file, self.digits, now, now + LIFETIME)
        if not withheld:
            self.waits.note_text(row.number, purpose, code, now)
        return Answer("resent" if again else "sent", (row, purpose), withheld)

    # -- guesses -----------------------------------------------------------------

    def verify(self, person: Person, file: int, row_id: int, guess: str, now: datetime) -> str:
        if self._is_malformed(person, guess):
            return MALFORMED
        if barred := self._barred(person, OPT_IN, now):
            return barred
        row = person.row(row_id)
        if row is None or row.file != file:
            return "otp_incorrect"
        if OPT_IN not in row.codes:
            return "already_verified" if row.active else "otp_incorrect"
        code = row.codes[OPT_IN]
        outcome = self._guess(person, row, OPT_IN, guess, now)
        if outcome != "ok":
            return outcome
        for number in (row.number, f"{row.number} of {self.people.index(person)}"):
            self.waits.note_use(number, OPT_IN, code)
        others = [other for other in self.people if other is not person]
        if any(o.active and o.active.number == row.number for o in others):
            return "mobile_number_in_use"
        row.active = True
        for each in person.rows.values():
            each.codes.pop(OPT_IN, None)
        return "ok"

    def check(self, person: Person, purpose: str, guess: str, now: datetime) -> str:
        if not _could_be_a_code(guess):
            return MALFORMED
        if barred := self._barred(person, purpose, now):
            return barred
        row = person.active
        if row is None:
            return "not_opted_in"
        if purpose not in row.codes:
            return "otp_incorrect"
        code = row.codes[purpose]
        outcome = self._guess(person, row, purpose, guess, now)
        if outcome == "ok":
            self.waits.note_use(row.number, purpose, code)
        return outcome

    def opt_out(self, person: Person, guess: str, now: datetime) -> str:
        if self._is_malformed(person, guess):
            return MALFORMED
        row = person.active
        outcome = self.check(person, OPT_OUT, guess, now)
        if outcome == "ok" and row:
            self._release(row)
        return outcome

    def _guess(self, person: Person, row: Row, purpose: str, guess: str, now: datetime) -> str:
        code, count = row.codes[purpose], person.bars(purpose)[-1]
        if code.is_dead(now):
            return "otp_expired"
        if code.tries >= TRIES:
            return "otp_exhausted"
        if len(guess) != code.digits:
            return "otp_incorrect"
        if guess == code.text:
            del row.codes[purpose]
            count.failures, count.locked_until = 0, None
            return "ok"
        code.tries += 1
        count.failures += 1
        if count.failures >= DISABLE_AFTER:
            count.disabled = True
        elif count.failures % LOCK_AFTER == 0:
            nth = min(count.failures // LOCK_AFTER, len(LOCK_SECONDS))
            count.locked_until = now + timedelta(seconds=LOCK_SECONDS[nth - 1])
        return "otp_incorrect"

    def _is_malformed(self, person: Person, guess: str) -> bool:
        lengths = {self.digits, *(code.digits for *_, code in person.codes())}
        return not _could_be_a_code(guess) or len(guess) not in lengths

    def _barred(self, person: Person, purpose: str, now: datetime) -> str:
        bars = person.bars(purpose)
        if any(bar.disabled for bar in bars) or (person.active and person.active.suspended):
            return "factor_disabled"
        if any(bar.locked_until and now < bar.locked_until for bar in bars):
            return "locked"
        return ""

    # -- signing in, with the right password -------------------------------------

    def sign_in(self, person: Person, guess: str, now: datetime) -> tuple[str, str, Answer]:
        """Return the answer, and the kind and the outcome of what was decided."""
        if guess and not _could_be_a_code(guess):
            return MALFORMED, "", Answer(MALFORMED)
        if person.active is None:
            return "issued", "sign_in", Answer("issued")
        if not guess:
            answer = self.challenge(person, SIGN_IN, now)
            refused = answer.outcome in {"locked", "send_limit"}
            grant = "temporarily_unavailable" if refused else "2fa_code_required"
            return grant, "challenge", answer
        outcome = self.check(person, SIGN_IN, guess, now)
        grants = {"ok": "issued", "locked": "temporarily_unavailable"}
        return grants.get(outcome, "invalid_code"), "check", Answer(outcome)

    # -- staff -------------------------------------------------------------------

    def suspend(self, person: Person) -> str:
        return self._set_suspended(person, True)

    def resume(self, person: Person) -> str:
        return self._set_suspended(person, False)

    def _set_suspended(self, person: Person, suspended: bool) -> str:
        row = person.active
        if row is None:
            return "not_opted_in"
        if row.suspended == suspended:
            return "unchanged"
        row.suspended = suspended
        return "ok"

    def revoke(self, person: Person) -> str:
        if person.active is None:
            return "not_opted_in"
        self._release(person.active)
        return "ok"

    def unlock(self, person: Person) -> str:
        if not person.is_counted:
            return "unchanged"
        person.own, person.programs = Count(), Count()
        return "ok"

    @staticmethod
    def _release(row: Row) -> None:
        row.active = row.suspended = False
        row.codes.clear()


def _could_be_a_code(guess: str) -> bool:
    return guess.isascii() and guess.isdigit() and len(guess) in {6, 7}
