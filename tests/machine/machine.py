"""The service and a small model of it, side by side: what people can do, and what holds."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

import time_machine
from django.conf import settings as django_settings
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from optin.conf import Rate
from optin.errors import MalformedCode
from optin.models import (
    AuditEvent,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    SmsMessage,
    User,
)
from optin.models.factors import has_active_factor
from optin.operations import challenges, opt_ins, sign_in, staff_actions
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from tests.kit.people import NOON, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone
from tests.kit.trail import decisions
from tests.machine import model
from tests.machine.model import (
    CHANGE,
    MALFORMED,
    OPT_IN,
    OPT_OUT,
    SIGN_IN,
    Code,
    Count,
    Model,
    Person,
    Row,
)

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

# None of them can be a code, so none is a guess: the white space and dashes in the last are
# dropped, and leave eight digits.
NO_CODES = (
    "12345",
    "12345678",
    "12345a7",
    "\uff11\uff12\uff13\uff14\uff15\uff16\uff17",
    "123 456-78",
)

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

    waits: tuple[int, ...] = ()
    per_window = 0

    def __init__(self, phone: Phone, clock: time_machine.Traveller) -> None:
        super().__init__()
        self.phone, self.clock = phone, clock
        clock.move_to(NOON)
        n = next(_serial)
        self.files = [File.objects.create(id=2 * n + k, name=f"File {k}") for k in range(2)]
        self.users = [make_user(f"user{n}-{k}", *self.files) for k in range(3)]
        self.ids = [user.pk for user in self.users]
        self.numbers = [f"+6149{3 * n + k:07d}" for k in range(3)]
        self.model = Model(3, model.Waits(self.waits, self.per_window))
        self._let_settings_be_small()
        self.seen: list[str] = []  # all codes that were ever texted
        self.typed: set[str] = set()  # all that was entered as a code
        self.texts = len(phone.messages)
        self.events: list[tuple[str, str, int, datetime]] = []
        self.told: Counter[tuple[str, str, int | None]] = Counter()
        self.failures = [0, 0, 0]
        self.may_forget: set[int] = set()
        self.codes: dict[int, tuple[object, ...]] = {}
        self.read_until: dict[type, int] = {
            kind: getattr(kind.objects.order_by("pk").last(), "pk", 0)
            for kind in (AuditEvent, SmsMessage, Notice, PendingOtp)
        }
        self.first_event = self.last_event = self.read_until[AuditEvent]

    def _let_settings_be_small(self) -> None:
        django_settings.OPTIN_KEYS = {"first": b"1" * 32}
        django_settings.OPTIN_OTP_DIGITS = self.model.digits
        django_settings.OPTIN_OTP_TRIES = model.TRIES
        django_settings.OPTIN_LOCK_AFTER = model.LOCK_AFTER
        django_settings.OPTIN_LOCK_SECONDS = model.LOCK_SECONDS
        django_settings.OPTIN_DISABLE_AFTER = model.DISABLE_AFTER
        django_settings.OPTIN_BREAKER_UNPROVED = 0  # the people of the machine share a prefix
        django_settings.OPTIN_RESEND_WAIT = self.waits or (0,)
        for name in OFF:
            setattr(django_settings, f"OPTIN_{name}", ())
        if self.per_window:
            django_settings.OPTIN_SENDS_PER_NUMBER = (Rate(self.per_window, 600),)

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
        guess = f"{(int(code.text) + wrong_by) % 10**code.digits:0{code.digits}d}"
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
        self.decided("opt_in", expected.recorded, who)
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
        """Old ones, those of others, for other things, other files, other lengths."""
        rows = [row.id for person in self.model.people for row in person.rows.values()]
        row_id = self.pick([*rows, 2_000_000_000], nth_row)
        guess = self.pick([*self.seen, "000000", "0000000"], nth_code)
        self.enter(who, self.files[file].pk, row_id, purpose, guess)

    @rule(
        who=anybody,
        purpose=st.sampled_from([OPT_IN, SIGN_IN, OPT_OUT, CHANGE]),
        nth=any_index,
        times=st.integers(1, 3),
    )
    def enter_no_code(self, who: int, purpose: str, nth: int, times: int) -> None:
        """A malformed code is not a guess and costs no attempt; a wrong length is told."""
        row = next(iter(self.person(who).rows.values()), None)
        row_id, file_id = (row.id, row.file) if row else (2_000_000_000, self.files[0].pk)
        for n in range(times):
            self.enter(who, file_id, row_id, purpose, self.pick([*NO_CODES], nth + n))

    @rule(
        who=anybody,
        code=st.sampled_from(["", "right", "right", "old", "malformed", "no password"]),
        nth=any_index,
    )
    def sign_in(self, who: int, code: str, nth: int) -> None:
        person, guess = self.person(who), ""
        if code == "no password":
            # Whatever code comes with it.
            guess = self.pick([*self.seen, ""], nth)
            assert self.sign_in_with(who, "wrong", guess) == "invalid_grant"
            self.decided("sign_in", "invalid_grant", who)
            return
        if code == "old":
            guess = self.pick([*self.seen, "000000"], nth)
        if code == "malformed":
            guess = self.pick([*NO_CODES], nth)
        if code == "right" and person.active and SIGN_IN in person.active.codes:
            guess = person.active.codes[SIGN_IN].text
        grant, kind, expected = self.model.sign_in(person, guess, self.now)
        assert self.sign_in_with(who, PASSWORD, guess) == grant
        if kind == "check" and expected.outcome == "ok":
            self.may_forget.add(who)
        if grant != MALFORMED:
            self.decided(kind, expected.outcome, who)
        self.read_phone(expected)

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
        if self.waits and seconds < 0:
            return  # how a clock set back shortens waits is no business of the model
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

    @precondition(lambda self: len(django_settings.OPTIN_KEYS) < 4)
    @rule()
    def a_new_key_comes_first(self) -> None:
        ring = django_settings.OPTIN_KEYS
        name = f"key{len(ring)}"
        django_settings.OPTIN_KEYS = {name: name.encode().ljust(32, b"-"), **ring}

    @rule()
    def codes_get_another_length(self) -> None:
        django_settings.OPTIN_OTP_DIGITS = self.model.digits = 13 - self.model.digits

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
        fields = ("provider_user_id", "purpose", "file_id", "digits", "tries")
        assert Counter(found.values_list(*fields, "issued_at", "expires_at")) == Counter(
            (row.id, purpose, code.file, code.digits, code.tries, code.issued, code.expires)
            for _, row, purpose, code in self.open_codes()
        )

    @invariant()
    def a_code_only_grows_old(self) -> None:
        """Expiry never moves, tries never come back, what is closed stays closed."""
        for otp in PendingOtp.objects.filter(provider_user__user__in=self.ids):
            before = self.codes.get(otp.pk)
            fixed = (otp.issued_at, otp.expires_at, otp.nonce, otp.key_id, otp.digits)
            if before:
                assert before[0] == fixed
                assert isinstance(before[1], int)
                assert otp.tries >= before[1]
                assert before[2] in {"", otp.closed_as}
            self.codes[otp.pk] = (fixed, otp.tries, otp.closed_as)

    @invariant()
    def one_open_code_one_number_one_owner(self) -> None:
        mine = PendingOtp.objects.open().filter(provider_user__user__in=self.ids)
        active = ProviderUser.objects.filter(confirmed=True, user__in=self.ids)
        for keys in (
            mine.values_list("provider_user_id", "purpose"),
            active.values_list("user_id"),
            active.values_list("number_digest"),
        ):
            assert max(Counter(keys).values(), default=0) <= 1

    @invariant()
    def two_factor_sign_in_is_on_while_a_number_is(self) -> None:
        """Locked, disabled or suspended: only a release ends it."""
        for user, person in zip(self.users, self.model.people, strict=True):
            assert has_active_factor(user) == bool(person.active)

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

    @invariant()
    def no_row_holds_a_code(self) -> None:
        """Neither one that was texted nor what was typed; one of now in no row of then."""
        words = {re.escape(text) for text in (*self.seen, *self.typed) if len(text) > 5}
        if not words:
            return
        code = re.compile(rf"(?<![\w-])({'|'.join(words)})(?![\w-])")
        for kind, last in self.read_until.items():
            for values in kind.objects.filter(pk__gt=last).values():  # type: ignore[attr-defined]
                self.read_until[kind] = max(self.read_until[kind], values["id"])
                texts = [str(v) for v in values.values() if not isinstance(v, datetime)]
                assert not code.search("\n".join(texts)), kind.__name__

    def holds(self) -> None:
        """Check all that always holds, for who does not let Hypothesis do it."""
        self.the_rows_are_those_of_the_model()
        self.the_open_codes_are_those_of_the_model()
        self.a_code_only_grows_old()
        self.one_open_code_one_number_one_owner()
        self.two_factor_sign_in_is_on_while_a_number_is()
        self.failures_are_forgotten_for_a_right_code_or_by_staff_only()
        self.each_decision_is_told_or_counted()
        self.no_text_leaves_unasked()
        self.no_row_holds_a_code()
        self.teardown()

    def teardown(self) -> None:
        """The trail is whole to its first event."""
        for event in AuditEvent.objects.filter(pk__gt=self.first_event):
            assert event.content_digest() == event.digest

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
        self.typed.add(guess)
        file = next(file for file in self.files if file.pk == file_id)
        if purpose == OPT_IN:
            kind = "verify_opt_in"
            expected = self.model.verify(person, file_id, row_id, guess, self.now)
            outcome = heard(lambda: opt_ins.verify_opt_in(user, file, row_id, guess, origin=ORIGIN))
        elif purpose == OPT_OUT:
            kind = "opt_out"
            expected = self.model.opt_out(person, guess, self.now)
            outcome = heard(lambda: challenges.opt_out(user, file, guess, origin=ORIGIN))
        else:
            kind = "check"
            expected = self.model.check(person, purpose, guess, self.now)
            outcome = heard(lambda: challenges.check(user, Purpose(purpose), guess, origin=FROM))
        assert outcome == expected
        if expected in {"ok", "mobile_number_in_use"}:
            self.may_forget.add(who)
        digits = guess.replace(" ", "").replace("-", "")
        if expected != MALFORMED or (digits.isascii() and digits.isdecimal()):
            self.decided(kind, expected, who)

    def sign_in_with(self, who: int, password: str, code: str) -> str:
        client = sign_in.application()
        assert client
        self.typed.add(code)
        try:
            return sign_in.password_grant(
                self.users[who].username,
                password,
                scope="",
                verification_code=code,
                client=client,
                origin=FROM,
            ).outcome
        except MalformedCode:
            return MALFORMED

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
        if expected.withheld:
            assert new == []
            text = PendingOtp.objects.open().get(provider_user=row.id, purpose=purpose).code()
        else:
            [(to, body)] = new
            text = body.split()[0]
            assert to == row.number
            assert WORDS[purpose] in body
        assert len(text) == code.digits
        assert code.text in {"", text}, "a resend repeats the same code"
        code.text = text
        self.seen.append(text)


class Waiting(Machine):
    """The same with waits between texts, and five of them to a number in ten minutes."""

    waits = (30, 60, 120)
    per_window = 5


def heard(guess: Callable[[], Verification]) -> str:
    try:
        return guess().outcome
    except MalformedCode:
        return MALFORMED
