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

OPT_IN, SIGN_IN, OPT_OUT, CHANGE = "opt_in", "sign_in", "opt_out", "change"


@dataclass(eq=False)
class Code:
    """An open code. Its digits are read on the phone: nobody else tells them."""

    file: int | None
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


class Model:
    """Three people, some files and numbers."""

    def __init__(self, people: int) -> None:
        self.people = [Person() for _ in range(people)]

    # -- texts -------------------------------------------------------------------

    def opt_in(self, person: Person, file: int, number: str, now: datetime) -> Answer:
        if barred := self._barred(person, OPT_IN, now):
            return Answer(barred)
        if person.active:
            return Answer("already_opted_in")
        row = person.rows.setdefault(number, Row(number, file))
        row.file = file
        return self._text(row, OPT_IN, file, now)

    def challenge(self, person: Person, purpose: str, now: datetime) -> Answer:
        if barred := self._barred(person, purpose, now):
            return Answer(barred)
        row = person.active
        if row is None:
            return Answer("not_opted_in")
        return self._text(row, purpose, None, now)

    def _text(self, row: Row, purpose: str, file: int | None, now: datetime) -> Answer:
        code = row.codes.get(purpose)
        again = code is not None and code.file == file and code.is_good_for_another_text(now)
        if code is None or not again:
            code = row.codes[purpose] = Code(file, now, now + LIFETIME)
        return Answer("resent" if again else "sent", (row, purpose))

    # -- guesses -----------------------------------------------------------------

    def verify(self, person: Person, file: int, row_id: int, guess: str, now: datetime) -> str:
        if barred := self._barred(person, OPT_IN, now):
            return barred
        row = person.row(row_id)
        if row is None or row.file != file:
            return "otp_incorrect"
        if OPT_IN not in row.codes:
            return "already_verified" if row.active else "otp_incorrect"
        outcome = self._guess(person, row, OPT_IN, guess, now)
        if outcome != "ok":
            return outcome
        others = [other for other in self.people if other is not person]
        if any(o.active and o.active.number == row.number for o in others):
            return "mobile_number_in_use"
        row.active = True
        for each in person.rows.values():
            each.codes.pop(OPT_IN, None)
        return "ok"

    def check(self, person: Person, purpose: str, guess: str, now: datetime) -> str:
        if barred := self._barred(person, purpose, now):
            return barred
        row = person.active
        if row is None:
            return "not_opted_in"
        if purpose not in row.codes:
            return "otp_incorrect"
        return self._guess(person, row, purpose, guess, now)

    def opt_out(self, person: Person, guess: str, now: datetime) -> str:
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

    def _barred(self, person: Person, purpose: str, now: datetime) -> str:
        bars = person.bars(purpose)
        if any(bar.disabled for bar in bars) or (person.active and person.active.suspended):
            return "factor_disabled"
        if any(bar.locked_until and now < bar.locked_until for bar in bars):
            return "locked"
        return ""

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
