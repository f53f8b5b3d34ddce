"""The service and a small model of it, side by side: what people can do, and what holds."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeVar

import time_machine
from django.conf import settings as django_settings
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from optin.models import AuditEvent, File, PendingOtp, ProviderUser, Purpose, SmsMessage, User
from optin.operations import challenges, opt_ins, staff_actions
from optin.origin import Face, Origin
from tests.kit.people import NOON, ORIGIN, make_user
from tests.kit.phone import Phone
from tests.kit.trail import decisions
from tests.machine import model
from tests.machine.model import CHANGE, OPT_IN, OPT_OUT, SIGN_IN, Code, Count, Model, Person, Row

FROM = Origin(Face.TOKEN, ip="192.0.2.1")
OFF = (
    "SENDS_PER_NUMBER",
    "SENDS_PER_USER",
    "SENDS_PER_IP",
    "SENDS_PER_CLIENT",
    "SENDS_PER_FILE",
    "SENDS_TOTAL",
    "FAILED_SIGN_INS_PER_IP",
    "FAILED_SIGN_INS_PER_NAME",
    "FAILED_SIGN_INS_PER_NAME_TOTAL",
    "SIGN_INS_PER_IP",
)
WORDS = {OPT_IN: "turn ON", SIGN_IN: "sign in", OPT_OUT: "turn OFF", CHANGE: "CHANGE"}
# Around what the model measures: waits, locks, repeats, lifetimes; and a clock set back.
SHIFTS = (1, 29, 31, 59, 60, 119, 121, 361, 479.9, 480, 480.1, 599.9, 600, 3600, -3, -6)


anybody = st.integers(0, 2)  # the third is a stranger: a member who never opts in
somebody = st.integers(0, 1)
a_file = st.integers(0, 1)
a_number = st.integers(0, 2)
any_index = st.integers(0, 999)
a_purpose = st.sampled_from([SIGN_IN, OPT_OUT, CHANGE])
T = TypeVar("T")
digest_of = ProviderUser.digest_of
_serial = itertools.count(1)


class Machine(RuleBasedStateMachine):
    """New people, files and numbers for each example: nothing needs to be cleaned."""

    def __init__(self, phone: Phone, clock: time_machine.Traveller) -> None:
        super().__init__()
        self.phone, self.clock = phone, clock
        clock.move_to(NOON)
        n = next(_serial)
        self.files = [File.objects.create(id=2 * n + k, name=f"File {k}") for k in range(2)]
        self.users = [make_user(f"user{n}-{k}", *self.files) for k in range(3)]
        self.ids = [user.pk for user in self.users]
        self.numbers = [f"+6149{3 * n + k:07d}" for k in range(3)]
        self.model = Model(3)
        self._let_settings_be_small()
        self.seen: list[str] = []  # all codes that were ever texted
        self.texts = len(phone.messages)
        self.events: list[tuple[str, str, int, datetime]] = []
        self.told: Counter[tuple[str, str, int | None]] = Counter()
        self.failures = [0, 0, 0]
        self.may_forget: set[int] = set()
        self.codes: dict[int, tuple[object, ...]] = {}
        self.last_event: int = getattr(AuditEvent.objects.order_by("pk").last(), "pk", 0)

    def _let_settings_be_small(self) -> None:
        django_settings.OPTIN_OTP_TRIES = model.TRIES
        django_settings.OPTIN_LOCK_AFTER = model.LOCK_AFTER
        django_settings.OPTIN_LOCK_SECONDS = model.LOCK_SECONDS
        django_settings.OPTIN_DISABLE_AFTER = model.DISABLE_AFTER
        django_settings.OPTIN_BREAKER_UNPROVED = 0  # the people of the machine share a prefix
        django_settings.OPTIN_RESEND_WAIT = (0,)
        for name in OFF:
            setattr(django_settings, f"OPTIN_{name}", ())

    @initialize(active=st.integers(0, 2), rounds=st.sampled_from([0, 1, 2, 5]))
    def some_are_further_on(self, active: int, rounds: int) -> None:
        """Else few examples would come to active numbers, locks and disabled ones."""
        for who in range(active):
            self.ask_to_opt_in(who, file=0, number=2)
            self.ask_to_opt_in(who, file=0, number=who)
            self.enter_own_code(who)
            for _ in range(rounds):
                self.ask_for_a_code(who, SIGN_IN)
                self.enter_own_code(who, wrong_by=1)
                self.enter_own_code(who, wrong_by=2)
                self.time_passes(120)

    def enter_own_code(self, who: int, wrong_by: int = 0) -> None:
        """Enter the newest."""
        for row, purpose, _ in list(self.person(who).codes())[-1:]:
            self.enter_code_of(who, row, purpose, wrong_by)

    def enter_code_of(self, who: int, row: Row, purpose: str, wrong_by: int = 0) -> None:
        """Enter the code that was texted to *row* for *purpose*, or one close to it."""
        code = row.codes[purpose]
        guess = f"{(int(code.text) + wrong_by) % 10**7:07d}"
        self.enter(who, row.file, row.id, purpose, guess)

    # -- what people do ----------------------------------------------------------

    @rule(who=somebody, file=a_file, number=a_number)
    def ask_to_opt_in(self, who: int, file: int, number: int) -> None:
        mobile = self.numbers[number]
        expected = self.model.opt_in(self.person(who), self.files[file].pk, mobile, self.now)
        sending = opt_ins.opt_in(self.users[who], self.files[file], mobile, origin=ORIGIN)
        assert sending.outcome == expected.outcome
        if expected.texted and sending.provider_user_id:
            row = expected.texted[0]
            assert row.id in {0, sending.provider_user_id}, "one number of one user is one row"
            row.id = sending.provider_user_id
        self.decided("opt_in", expected.outcome, who)
        self.read_phone(expected)

    def somebody_is_active(self) -> bool:
        return any(person.active for person in self.model.people)

    @precondition(somebody_is_active)
    @rule(who=anybody, purpose=a_purpose)
    def ask_for_a_code(self, who: int, purpose: str) -> None:
        expected = self.model.challenge(self.person(who), purpose, self.now)
        origin = ORIGIN if purpose == OPT_OUT else FROM
        sending = challenges.challenge(self.users[who], Purpose(purpose), origin=origin)
        assert sending.outcome == expected.outcome
        self.decided("challenge", expected.outcome, who)
        self.read_phone(expected)

    def has_open_codes(self) -> bool:
        return bool(self.open_codes())

    @precondition(has_open_codes)
    @rule(nth=any_index)
    def enter_the_right_code(self, nth: int) -> None:
        who, row, purpose, _ = self.pick(self.open_codes(), nth)
        self.enter_code_of(who, row, purpose)

    @precondition(has_open_codes)
    @rule(nth=any_index, times=st.integers(1, 4))
    def enter_wrong_codes(self, nth: int, times: int) -> None:
        who, row, purpose, _ = self.pick(self.open_codes(), nth)
        for n in range(1, times + 1):
            self.enter_code_of(who, row, purpose, wrong_by=n)

    @rule(
        who=anybody,
        file=a_file,
        purpose=st.sampled_from([OPT_IN, OPT_IN, SIGN_IN, OPT_OUT, CHANGE]),
        nth_row=any_index,
        nth_code=any_index,
    )
    def enter_any_code(
        self, who: int, file: int, purpose: str, nth_row: int, nth_code: int
    ) -> None:
        """Old ones, those of others, for other things, other files."""
        rows = [row.id for person in self.model.people for row in person.rows.values()]
        row_id = self.pick([*rows, 2_000_000_000], nth_row)
        guess = self.pick([*self.seen, "0000000"], nth_code)
        self.enter(who, self.files[file].pk, row_id, purpose, guess)

    # -- what staff, operators and time do ---------------------------------------

    @precondition(somebody_is_active)
    @rule(who=anybody, action=st.sampled_from(["suspend", "resume", "resume", "revoke"]))
    def staff_act(self, who: int, action: str) -> None:
        expected: str = getattr(self.model, action)(self.person(who))
        operation = getattr(staff_actions, action)
        assert operation(self.users[who], reason="a test", origin=ORIGIN) == expected
        self.decided(action, expected, who)

    def somebody_failed(self) -> bool:
        return any(person.is_counted for person in self.model.people)

    @precondition(somebody_failed)
    @rule(who=anybody)
    def staff_unlock(self, who: int) -> None:
        expected = self.model.unlock(self.person(who))
        assert staff_actions.unlock(self.users[who], reason="a test", origin=ORIGIN) == expected
        self.may_forget.add(who)
        self.decided("unlock", expected, who)

    @rule(seconds=st.sampled_from(SHIFTS))
    def time_passes(self, seconds: float) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @precondition(lambda self: self.edges())
    @rule(nth=any_index, away=st.sampled_from([-0.1, 0, 0.1]))
    def time_passes_to_an_edge(self, nth: int, away: float) -> None:
        """To where a decision turns, or to the moment before or after."""
        edge = self.pick(self.edges(), nth) + timedelta(seconds=away)
        self.clock.move_to(max(edge, self.now))

    def edges(self) -> list[datetime]:
        """When a code dies, when it is no longer repeated, and when a lock ends."""
        lives = [code.expires for *_, code in self.open_codes()]
        counts = [count for p in self.model.people for count in (p.own, p.programs)]
        locks = [count.locked_until for count in counts if count.locked_until]
        edges = [*lives, *(end - model.REPEAT_WHILE for end in lives), *locks]
        return [edge for edge in edges if edge > self.now]

    # -- what always holds -------------------------------------------------------

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        """Read once for all people, as the invariants are most of what a step takes."""
        found: dict[int, set[tuple[object, ...]]] = {pk: set() for pk in self.ids}
        for row in ProviderUser.objects.filter(user__in=self.ids):
            suspended = bool(row.suspended_at)
            found[row.user_id].add(
                (row.pk, row.number_digest, row.file_id, row.confirmed, suspended)
            )
        self.read_people()
        for user, person in zip(self.users, self.model.people, strict=True):
            for found_in, count in ((user.own, person.own), (user.programs, person.programs)):
                assert found_in.failures == count.failures
                assert found_in.locked_for(self.now) == self.locked_for(count)
                assert bool(found_in.disabled_at) == count.disabled
            assert found[user.pk] == {
                (
                    row.id,
                    ProviderUser.digest_of(row.number),
                    row.file,
                    row.active,
                    row.suspended,
                )
                for row in person.rows.values()
            }

    @invariant()
    def the_open_codes_are_those_of_the_model(self) -> None:
        found = PendingOtp.objects.open().filter(provider_user__user__in=self.ids)
        fields = ("provider_user_id", "purpose", "file_id", "tries")
        assert Counter(found.values_list(*fields, "issued_at", "expires_at")) == Counter(
            (row.id, purpose, code.file, code.tries, code.issued, code.expires)
            for _, row, purpose, code in self.open_codes()
        )

    @invariant()
    def a_code_only_grows_old(self) -> None:
        """Expiry never moves, tries never come back, what is closed stays closed."""
        for otp in PendingOtp.objects.filter(provider_user__user__in=self.ids):
            before = self.codes.get(otp.pk)
            fixed = (otp.issued_at, otp.expires_at, otp.nonce, otp.key_id)
            if before:
                assert before[0] == fixed
                assert isinstance(before[1], int)
                assert otp.tries >= before[1]
                assert before[2] in {"", otp.closed_as}
            self.codes[otp.pk] = (fixed, otp.tries, otp.closed_as)

    @invariant()
    def failures_are_forgotten_for_a_right_code_or_by_staff_only(self) -> None:
        self.read_people()
        for who, user in enumerate(self.users):
            assert user.failures >= self.failures[who] or who in self.may_forget
            self.failures[who] = user.failures
        self.may_forget.clear()

    @invariant()
    def each_decision_is_told_or_counted(self) -> None:
        """Equal refusals within an hour are counted; all else is one event."""
        events = list(AuditEvent.objects.filter(pk__gt=self.last_event).order_by("pk"))
        made: Iterator[tuple[str, str, int | None, datetime]] = iter(self.events)
        for event in events:
            assert event.content_digest() == event.digest
            self.last_event = event.pk
            if "repeated" not in event.data:
                assert (event.kind, event.outcome, event.user_id, event.at) in made
        self.told.update((kind, outcome, user_id) for kind, outcome, user_id, _ in self.events)
        assert decisions(user_id__in=self.ids) == self.told
        self.events.clear()

    @invariant()
    def no_text_leaves_unasked(self) -> None:
        """A lock, a wrong code, a staff action: none of them makes one, nor tries to."""
        assert len(self.phone.messages) == self.texts
        made = SmsMessage.objects.filter(pending_otp__provider_user__user__in=self.ids)
        assert made.count() == len(self.seen)

    # -- words -------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return timezone.now()

    def read_people(self) -> None:
        """Let the objects have what the database has."""
        for user, values in zip(
            self.users, User.objects.filter(pk__in=self.ids).order_by("pk").values(), strict=True
        ):
            assert user.pk == values["id"]
            vars(user).update(values)

    def person(self, who: int) -> Person:
        return self.model.people[who]

    def locked_for(self, count: Count) -> timedelta | None:
        until = count.locked_until
        return until - self.now if until and self.now < until else None

    def open_codes(self) -> list[tuple[int, Row, str, Code]]:
        return [(n, *code) for n, p in enumerate(self.model.people) for code in p.codes()]

    @staticmethod
    def pick(choices: list[T], nth: int) -> T:
        return choices[nth % len(choices)]

    def enter(self, who: int, file_id: int, row_id: int, purpose: str, guess: str) -> None:
        """Enter a code where it belongs for *purpose*."""
        user, person = self.users[who], self.person(who)
        file = next(file for file in self.files if file.pk == file_id)
        if purpose == OPT_IN:
            kind = "verify_opt_in"
            expected = self.model.verify(person, file_id, row_id, guess, self.now)
            result = opt_ins.verify_opt_in(user, file, row_id, guess, origin=ORIGIN)
        elif purpose == OPT_OUT:
            kind = "opt_out"
            expected = self.model.opt_out(person, guess, self.now)
            result = challenges.opt_out(user, file, guess, origin=ORIGIN)
        else:
            kind = "check"
            expected = self.model.check(person, purpose, guess, self.now)
            result = challenges.check(user, Purpose(purpose), guess, origin=FROM)
        assert result.outcome == expected
        if expected in {"ok", "mobile_number_in_use"}:
            self.may_forget.add(who)
        self.decided(kind, expected, who)

    def decided(self, kind: str, outcome: str, who: int) -> None:
        """An event to find in the trail."""
        self.events.append((kind, outcome, self.ids[who], self.now))

    def read_phone(self, expected: model.Answer) -> None:
        """One text for what was sent, and none for anything else."""
        new = self.phone.messages[self.texts :]
        self.texts = len(self.phone.messages)
        if expected.texted is None:
            assert new == []
            return
        row, purpose = expected.texted
        code = row.codes[purpose]
        [(to, body)] = new
        text = body.split()[0]
        assert to == row.number
        assert WORDS[purpose] in body
        assert code.text in {"", text}, "a resend repeats the same code"
        code.text = text
        self.seen.append(text)
