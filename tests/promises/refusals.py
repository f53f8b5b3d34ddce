"""People, strangers, staff and operators, until something is refused; then the wait for it.

What is refused and waited out is asked for once more, when its ``Retry-After`` is over. In between
nobody does anything.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import time_machine
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from optin import limits
from optin.api.answers import ApiError
from optin.conf import Rate
from optin.limits import Rule
from optin.models import AuditEvent, File, Guard, ProviderUser, Purpose, SendCounter
from optin.operations import challenges, opt_ins, send_controls, sign_in
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome, SignInOutcome
from optin.runtime import throttle
from tests.kit.people import NOON, ORIGIN, make_user
from tests.kit.phone import Phone, wrong

WHY = "a test of the limits"
STAFF = Origin(Face.COMMAND)
FACES = (
    ORIGIN,
    Origin(Face.WEB, ip="192.0.2.1"),
    Origin(Face.TOKEN, ip="192.0.2.1"),
    Origin(Face.WEB, ip="198.51.100.7"),
    Origin(Face.ADMIN),  # sees a refusal where other faces get a withheld text
)
OPEN_ENDED = {Rule.STOP, Rule.OPTED_OUT}
"""Refusals whose end nobody knows."""

RATES: tuple[tuple[Rate, ...], ...] = (
    (),
    (Rate(2, 60),),
    (Rate(2, 600), Rate(3, 3600)),
    (Rate(3, 90), Rate(4, 700)),
    (Rate(1, 7), Rate(5, 86_400)),
)
OF_RATES = (
    *("SENDS_PER_NUMBER", "SENDS_PER_USER", "SENDS_PER_IP", "SENDS_PER_CLIENT", "SENDS_PER_FILE"),
    *("SENDS_TOTAL", "OWN_SENDS_TOTAL", "SIGN_INS_PER_IP", "FAILED_SIGN_INS_PER_NAME"),
    *("FAILED_SIGN_INS_PER_IP", "FAILED_SIGN_INS_PER_NAME_TOTAL"),
    "REQUESTS_PER_USER",
)
CHOICES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(OF_RATES, RATES),
    "RESEND_WAIT": ((30, 60, 120), (0,), (3600,), (1, 700)),
    "BREAKER_UNPROVED": (0, 2, 3),
    "BREAKER_TEXTS": (0, 2, 4),
    "LOCK_AFTER": (3, 5),
    "LOCK_SECONDS": ((60, 300), (7,), (86_400,)),
}
"""What operators may set: each setting by its name without ``OPTIN_``."""

REFUSED: set[str] = {SendOutcome.SEND_LIMIT, SendOutcome.WAITING, CodeOutcome.LOCKED}

# Around the waits and the ends of the windows; and fractions.
SHIFTS = (0.3, 1, 6.9, 29, 59.999999, 61, 594.5, 600, 3600, 40_000)

somebody = st.integers(0, 2)
an_origin = st.sampled_from(FACES)
some_times = st.integers(1, 6)
some_lasts = st.sampled_from([60, 61.5, 7200, 90_000])
_serial = itertools.count(1)


@dataclass(frozen=True)
class Refusal:
    """What an answer says that is refused."""

    rule: str
    wait: timedelta
    is_open_ended: bool = False

    @property
    def seconds(self) -> int:
        """``Retry-After``, as an answer has it."""
        seconds = ApiError("send_limit", retry_after=self.wait).wait
        assert seconds
        return seconds


Call = Callable[[], Refusal | None]


class Refusals(RuleBasedStateMachine):
    """New people, files and numbers for each trace. The counters of all begin anew."""

    def __init__(self, phone: Phone, clock: time_machine.Traveller, met: dict[str, int]) -> None:
        super().__init__()
        self.phone, self.clock, self.met = phone, clock, met
        clock.move_to(NOON)
        SendCounter.objects.all().delete()
        Guard.objects.all().delete()
        throttle._counts.cache_clear()
        n = next(_serial)
        self.file = File.objects.create(id=n, name="File")
        self.users = [make_user(f"user{n}-{k}", self.file) for k in range(3)]
        self.staff = make_user(f"staff{n}")
        self.numbers = [f"+6149{3 * n + k:07d}" for k in range(3)]
        for name in CHOICES:
            self.set(name, ())
        self.set("RESEND_WAIT", (0,))
        self.set("BREAKER_UNPROVED", 0)
        self.set("BREAKER_TEXTS", 0)
        self.set("LOCK_AFTER", 5)
        self.set("LOCK_SECONDS", (60,))
        self.set("DISABLE_AFTER", 99)
        self.opt_in(0, 0)  # the first has an active number

    def set(self, name: str, value: Any) -> None:
        setattr(django_settings, f"OPTIN_{name}", value)

    def opt_in(self, who: int, number: int) -> None:
        sending = opt_ins.opt_in(self.users[who], self.file, self.numbers[number], origin=ORIGIN)
        assert sending.provider_user_id
        code = self.phone.code_to(self.numbers[number])
        opt_ins.verify_opt_in(
            self.users[who], self.file, sending.provider_user_id, code, origin=ORIGIN
        )

    # -- what operators, staff and time do ---------------------------------------

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """With some limits: without, few traces would come to several at once."""
        for name, choices in CHOICES.items():
            if data.draw(st.booleans()):
                self.set(name, data.draw(st.sampled_from(choices)))

    @rule(name=st.sampled_from(sorted(CHOICES)), data=st.data())
    def change_a_setting(self, name: str, data: st.DataObject) -> None:
        self.set(name, data.draw(st.sampled_from(CHOICES[name])))

    @rule(seconds=st.sampled_from(SHIFTS))
    def time_passes(self, seconds: float) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @rule(number=somebody, of_all=st.booleans(), seconds=some_lasts)
    def deny(self, number: int, of_all: bool, seconds: float) -> None:
        target = self.target(number, of_all=of_all)
        send_controls.deny(target, timedelta(seconds=seconds), reason=WHY, origin=STAFF)

    @rule(number=somebody, of_all=st.booleans(), seconds=some_lasts)
    def keep_safe(self, number: int, of_all: bool, seconds: float) -> None:
        target = self.target(number, of_all=of_all)
        send_controls.keep_safe(target, timedelta(seconds=seconds), reason=WHY, origin=STAFF)

    @rule(number=somebody, seconds=some_lasts)
    def lift_breaker(self, number: int, seconds: float) -> None:
        target = self.target(number, of_all=True)
        send_controls.lift_breaker(target, timedelta(seconds=seconds), reason=WHY, origin=STAFF)

    @rule(number=somebody, seconds=some_lasts)
    def say_that_was_not_me(self, number: int, seconds: float) -> None:
        """Close it for less than the usual 30 days, so that it opens again within a trace."""
        digest, now = ProviderUser.digest_of(self.numbers[number]), timezone.now()
        Guard.objects.close_to_strangers(digest, "000", now, now + timedelta(seconds=seconds))

    def target(self, number: int, *, of_all: bool) -> send_controls.Target:
        named = self.numbers[number]
        return send_controls.Target.prefix(named) if of_all else send_controls.Target.number(named)

    @rule()
    def stop_or_allow_texts(self) -> None:
        do = send_controls.allow_texts if Guard.objects.is_stopped() else send_controls.stop_texts
        do(reason=WHY, origin=STAFF)

    @rule(number=somebody)
    def answer_stop_or_start(self, number: int) -> None:
        digest = ProviderUser.digest_of(self.numbers[number])
        if not Guard.objects.opt_in(digest):
            Guard.objects.opt_out(digest, "000", timezone.now())

    # -- what is refused ---------------------------------------------------------

    @rule(who=somebody, number=somebody, origin=an_origin, times=some_times, data=st.data())
    def ask_to_opt_in(
        self, who: int, number: int, origin: Origin, times: int, data: st.DataObject
    ) -> None:
        user, mobile = self.users[who], self.numbers[number]
        self.ask(
            lambda: of_text(opt_ins.opt_in(user, self.file, mobile, origin=origin)), times, data
        )

    @rule(
        purpose=st.sampled_from([Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE]),
        origin=an_origin,
        times=some_times,
        data=st.data(),
    )
    def ask_for_a_code(
        self, purpose: Purpose, origin: Origin, times: int, data: st.DataObject
    ) -> None:
        user, file = self.users[0], self.file if purpose is Purpose.OPT_OUT else None
        self.ask(
            lambda: of_text(challenges.challenge(user, purpose, origin=origin, file=file)),
            times,
            data,
        )

    @rule(times=some_times, data=st.data())
    def enter_wrong_codes(self, times: int, data: st.DataObject) -> None:
        guess = wrong(self.phone.code())
        self.ask(lambda: self.of_code(guess), times, data)

    @rule(
        name=st.sampled_from(["user", "nobody"]), origin=an_origin, times=some_times, data=st.data()
    )
    def try_passwords(self, name: str, origin: Origin, times: int, data: st.DataObject) -> None:
        known = self.users[0].username if name == "user" else name
        self.ask(lambda: self.of_password(known, origin), times, data)

    @rule(origin=an_origin, times=some_times, data=st.data())
    def ask_for_a_link(self, origin: Origin, times: int, data: st.DataObject) -> None:
        self.ask(lambda: of_limit(limits.reserve_reset, "ann", origin), times, data)

    @rule(times=some_times, data=st.data())
    def ask_for_another_address(self, times: int, data: st.DataObject) -> None:
        self.ask(lambda: of_limit(limits.reserve_email, self.users[0]), times, data)

    @rule(times=some_times, data=st.data())
    def search(self, times: int, data: st.DataObject) -> None:
        by = Origin(Face.ADMIN, actor_id=self.staff.pk)
        self.ask(lambda: of_limit(limits.reserve_search, by), times, data)

    @rule(times=some_times, data=st.data())
    def plan_removals(self, times: int, data: st.DataObject) -> None:
        by = Origin(Face.ADMIN, actor_id=self.staff.pk)
        self.ask(lambda: of_limit(limits.reserve_revocation, by), times, data)

    @rule(times=some_times, data=st.data())
    def send_requests(self, times: int, data: st.DataObject) -> None:
        self.ask(lambda: of_wait(throttle.hit(self.users[0].pk)), times, data)

    # -- what holds --------------------------------------------------------------

    def ask(self, call: Call, times: int, data: st.DataObject) -> None:
        """Make *call* until it is refused; and perhaps wait that out."""
        refusal = None
        for _ in range(times):
            before = self.last_event()
            refusal = call()
            if refusal:
                self.is_in_the_trail(refusal, before)
                break
        waits = refusal and not refusal.is_open_ended and data.draw(st.booleans())
        if refusal and waits and not self.exemption_ends_within(refusal.wait):
            self.wait_out(refusal, call)

    def wait_out(self, refusal: Refusal, call: Call) -> None:
        self.met[refusal.rule] = self.met.get(refusal.rule, 0) + 1
        self.clock.shift(timedelta(seconds=refusal.seconds))
        then = call()
        assert then is None or then.rule != refusal.rule, f"{refusal} was not over in time"

    def exemption_ends_within(self, wait: timedelta) -> bool:
        """Whether an exemption by staff ends within *wait*: a list or a breaker may refuse then."""
        kinds, now = [Guard.Kind.SAFE, Guard.Kind.LIFT], timezone.now()
        ends = now + wait + timedelta(seconds=1)
        return Guard.objects.filter(kind__in=kinds, until__gt=now, until__lte=ends).exists()

    def last_event(self) -> int:
        return getattr(AuditEvent.objects.order_by("pk").last(), "pk", 0)

    def is_in_the_trail(self, refusal: Refusal, before: int) -> None:
        """Unless the refusal is one of several that were counted, or none of an operation."""
        for event in AuditEvent.objects.filter(pk__gt=before):
            if "retry_after" in event.data and "repeated" not in event.data:
                assert event.data["retry_after"] == refusal.seconds
                assert str(event.data["rule"]).startswith(refusal.rule)

    def of_password(self, name: str, origin: Origin) -> Refusal | None:
        return of_sign_in(sign_in.sign_in(name, "x", origin=origin))

    def of_code(self, guess: str) -> Refusal | None:
        result = challenges.check(self.users[0], Purpose.SIGN_IN, guess, origin=ORIGIN)
        if result.outcome is not CodeOutcome.LOCKED:
            return None
        assert result.retry_after
        return Refusal("locked", result.retry_after)


def of_text(sending: Sending) -> Refusal | None:
    if sending.outcome not in REFUSED:
        return None
    assert sending.retry_after
    rule = str(sending.data.get("rule", sending.outcome))
    return Refusal(rule, sending.retry_after, is_open_ended=rule in OPEN_ENDED)


def of_sign_in(result: sign_in.SignIn) -> Refusal | None:
    return (
        of_wait(result.retry_after, "sign-in") if result.outcome is SignInOutcome.NOT_NOW else None
    )


def of_limit(reserve: Callable[..., limits.Refused | None], *who: Any) -> Refusal | None:
    with transaction.atomic():
        refused = reserve(*who, timezone.now())
    return Refusal(str(refused.data["rule"]), refused.retry_after) if refused else None


def of_wait(wait: timedelta | None, rule: str = "requests") -> Refusal | None:
    return Refusal(rule, wait) if wait else None
