"""Somebody who knows a password, and guesses at the codes of its owner as well as they can."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from optin import codes
from optin.conf import conf
from optin.models import AuditEvent, Purpose, User
from optin.models.users import WrongCodes
from optin.operations import challenges
from optin.origin import Face, Origin
from optin.outcomes import By, CodeOutcome, SendOutcome
from tests.kit import guesses
from tests.kit.guesses import DAY, Plan
from tests.kit.phone import wrong
from tests.kit.world import Person

# Without a session: in one, the same code again is the same attempt.
ORIGIN = Origin(Face.API, client="key:1")

AFTER_MIDNIGHT = 300
"""Seconds into a day, where codes of the day before still work."""

MARKS = {
    By.TEXT: "try",
    By.APP: "app_until",
    By.RECOVERY: "failures",
    guesses.PROGRAMS: "programs",
}
"""What the event of a guess has in its data if a right one would have let them in."""


class Guesser:
    """Guesses at codes of one *kind*; others only bring the count to where it is best."""

    def __init__(
        self, person: Person, kind: str, beside: Callable[[], object] = lambda: None
    ) -> None:
        """:param beside: what they do before each guess."""
        self.person, self.kind, self.beside = person, kind, beside
        self.by_program = kind == guesses.PROGRAMS
        self.purposes = (
            (Purpose.OPT_OUT,) if self.by_program else (Purpose.SIGN_IN, Purpose.OPT_OUT)
        )
        self.tries: dict[Purpose, int] = {}
        self.codes: dict[Purpose, str] = {}

    def attack(self, plan: Plan, seconds: int) -> int:
        """Do as *plan* says for *seconds*; return how many guesses were compared."""
        day = timedelta(days=1)
        midnight = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0) + 9 * day
        begin = midnight + timedelta(seconds=AFTER_MIDNIGHT)
        end = begin + timedelta(seconds=seconds)
        first = begin + timedelta(seconds=plan.lasts)
        comes = [first + n * day for n in range(seconds // DAY + 2)]
        if self.by_program:
            comes = []  # her sign-ins change nothing
        elif plan.shuts_out:
            comes = comes[:1] if plan.lasts else []
        self._climb(plan, begin)
        last = AuditEvent.objects.latest("pk").pk
        for moment in [one for one in comes if one < end]:
            self._guess_until(moment, let_in=True)
            self._owner_signs_in()
        self._guess_until(end)
        data = AuditEvent.objects.filter(pk__gt=last, outcome=CodeOutcome.OTP_INCORRECT)
        return sum(MARKS[self.kind] in event.data for event in data)

    # -- before the time begins ----------------------------------------------------

    def _climb(self, plan: Plan, begin: datetime) -> None:
        """Bring the count to where the plan begins, by guesses that cost no others."""
        ends = sum(guesses.lock(count) for count in range(plan.begins_at + 1))
        self._move_to(begin - timedelta(seconds=ends + 400))
        User.objects.filter(pk=self.person.user.pk).update(app_failures_until=None)
        self._owner_signs_in()
        if self.by_program:
            changes = {"program_failures": plan.begins_at, "program_disabled_at": None}
            User.objects.filter(pk=self.person.user.pk).update(**changes)
        while not self.by_program and self.person.user.otp_failures < plan.begins_at:
            self._wait_out_a_lock()
            self._enter(codes.new_recovery_code())
        self._wait_out_a_lock()
        self.tries = {}
        self._move_to(begin - timedelta(seconds=AFTER_MIDNIGHT + 60))
        if self.kind in {By.TEXT, guesses.PROGRAMS}:
            for purpose in self.purposes:
                self._ask(purpose)
        self._move_to(begin)

    # -- guessing ------------------------------------------------------------------

    def _guess_until(self, moment: datetime, *, let_in: bool = False) -> None:
        """Guess as often as can be; with *let_in*, let no lock stand in the owner's way."""
        while timezone.now() < moment or let_in:
            user = self.person.user
            count = self._count(user)
            if count.locked_for(timezone.now()):
                assert count.locked_until
                if count.locked_until > moment:
                    break
                self._wait_out_a_lock()
                continue
            lock = timedelta(seconds=guesses.lock(count.failures + 1))
            if let_in and timezone.now() + lock > moment:
                break
            wait = self._guess(user)
            if wait is None or timezone.now() + wait > moment:
                break
            self.person.clock.shift(wait)
        self._move_to(moment)

    def _guess(self, user: User) -> timedelta | None:
        """Guess once; or return how long to wait, nothing if that would not help."""
        now = timezone.now()
        if self.kind == By.RECOVERY:
            return self._enter(codes.new_recovery_code())
        if self.kind == By.APP:
            until = user.two_codes_until(now)
            if user.failures >= 100:
                return None
            return until - now if until else self._enter(self.person.wrong(By.APP))
        if self._count(user).disabled_at:
            return None
        if not any(self.tries.values()):  # what there is ends first
            waits = [self._ask(purpose) for purpose in self.purposes]
            if not any(self.tries.values()):
                return min(filter(None, waits))
        purpose = max(self.tries, key=self.tries.__getitem__)
        self.tries[purpose] -= 1
        return self._enter(wrong(self.codes[purpose]), purpose)

    def _ask(self, purpose: Purpose) -> timedelta | None:
        """Have a code sent for *purpose*; or return how long to wait."""
        sending = challenges.challenge(self.person.user, purpose, origin=ORIGIN)
        if sending.outcome is not SendOutcome.SENT:
            return sending.retry_after
        self.tries[purpose], self.codes[purpose] = conf.otp_tries, self.person.phone.code()
        return None

    def _enter(self, code: str, purpose: Purpose = Purpose.SIGN_IN) -> timedelta:
        self.beside()
        user, file = self.person.user, self.person.file
        if self.by_program:
            result = challenges.opt_out(user, file, code, origin=ORIGIN)
        else:
            result = challenges.check(user, purpose, code, origin=ORIGIN)
        if result.outcome is not CodeOutcome.OTP_INCORRECT:
            self.tries[purpose] = 0  # expired
        return timedelta()

    # -- time ----------------------------------------------------------------------

    def _owner_signs_in(self) -> None:
        """By a recovery code: it works at any count, so the guesser may bring it to the end."""
        result = self.person.check(self.person.recovery[-self.person.left()])
        assert result.outcome is CodeOutcome.OK
        if not self.person.left():
            self.person.make_recovery_codes()

    def _wait_out_a_lock(self) -> None:
        left = self._count(self.person.user).locked_for(timezone.now())
        self.person.clock.shift(left or timedelta())

    def _count(self, user: User) -> WrongCodes:
        return user.programs if self.by_program else user.own

    def _move_to(self, moment: datetime) -> None:
        assert timezone.now() <= moment
        self.person.clock.move_to(moment)
