"""Against pumping (S-42): breakers, alarms, lists, the stop; each decision with its rule."""

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from optin import errors
from optin.conf import Rate, conf
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    File,
    Guard,
    ProviderUser,
    Purpose,
    SendCounter,
    SmsMessage,
    User,
)
from optin.models.messages import State
from optin.models.reasons import fit_reason
from optin.operations import challenges, opt_ins, retention, send_controls, staff_actions
from optin.operations.send_controls import Target
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import WITHHELD, CodeOutcome, SendOutcome, StaffOutcome
from optin.runtime import metrics
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World, nothing_happens

pytestmark = pytest.mark.django_db

STAFF = Origin(Face.COMMAND, client="test")
HOUR = timedelta(hours=1)
TOKEN = Origin(Face.TOKEN, ip="192.0.2.1")
WHY = "as the ticket says"


def mobile(n: int, prefix: int = 57) -> str:
    """The nth number of a prefix."""
    return f"+61491{prefix:02d}{n:04d}"


@dataclass
class Crowd:
    """People who opt in, each a new one with a number of their own."""

    file: File
    phone: Phone
    people: dict[str, User] = field(default_factory=dict)

    def ask(self, n: int, prefix: int = 57, origin: Origin | None = None) -> Sending:
        number = mobile(n, prefix)
        if number not in self.people:
            self.people[number] = make_user(f"u{prefix}-{n}", self.file)
        user = self.people[number]
        origin = origin or Origin(Face.API, client=f"key:{user.pk}")
        return opt_ins.opt_in(user, self.file, number, origin=origin)

    def prove(self, n: int, user: User | None = None, prefix: int = 57) -> CodeOutcome:
        number = mobile(n, prefix)
        user = user or self.people[number]
        pk = ProviderUser.objects.get(user=user).pk
        code = self.phone.code_to(number)
        return opt_ins.verify_opt_in(user, self.file, pk, code, origin=ORIGIN).outcome

    def ask_many(self, first: int, last: int, prefix: int = 57) -> set[SendOutcome]:
        return {self.ask(n, prefix).outcome for n in range(first, last)}


@pytest.fixture
def crowd(file: File, phone: Phone, settings: LazySettings) -> Crowd:
    """No waits: they have their own tests."""
    settings.OPTIN_RESEND_WAIT = (0,)
    return Crowd(file, phone)


@pytest.fixture
def closed(crowd: Crowd) -> Crowd:
    """Prefix 57 was closed at noon."""
    assert crowd.ask_many(0, 20) == {SendOutcome.SENT}
    assert crowd.ask(20).outcome is SendOutcome.SEND_LIMIT
    return crowd


# -- the breaker -------------------------------------------------------------------


def test_twenty_unproved_close_a_prefix_for_an_hour(
    crowd: Crowd, clock: time_machine.Traveller
) -> None:
    """S-42."""
    clock.shift(600)
    assert crowd.ask_many(0, 20) == {SendOutcome.SENT}
    said = {"rule": "prefix", "count": 20, "limit": 20, "retry_after": 3600}
    with one_event(AuditEvent.Kind.OPT_IN, SendOutcome.SEND_LIMIT, said):
        refused = crowd.ask(20)
    assert refused.retry_after == HOUR
    assert len(crowd.phone.messages) == 20
    # Over the edge of the window too; and with what was decided then.
    clock.shift(3599)
    with one_event(AuditEvent.Kind.OPT_IN, SendOutcome.SEND_LIMIT, {**said, "retry_after": 1}):
        crowd.ask(21)
    clock.shift(1)
    assert crowd.ask(20).outcome is SendOutcome.SENT


@pytest.mark.parametrize("proved", [4, 5], ids="{} of 25".format)
def test_the_share_that_keeps_a_prefix_open(crowd: Crowd, proved: int) -> None:
    """20 percent."""
    for n in range(proved):
        crowd.ask(n)
        assert crowd.prove(n) is CodeOutcome.OK
    assert crowd.ask_many(proved, 24) == {SendOutcome.SENT}
    # One more makes 25, of which at least 20 are unproved.
    outcome = SendOutcome.SEND_LIMIT if proved == 4 else SendOutcome.SENT
    assert [crowd.ask(n).outcome for n in (24, 25)] == [outcome] * 2


def test_proving_reopens_nothing_before_its_time(closed: Crowd, settings: LazySettings) -> None:
    """Closed for an hour, whatever happens: but staff may open it, or switch breakers off."""
    for n in range(10):
        assert closed.prove(n) is CodeOutcome.OK
    send_controls.unlist(Target.prefix(mobile(0)), reason=WHY, origin=STAFF)
    assert closed.ask(20).outcome is SendOutcome.SEND_LIMIT
    settings.OPTIN_BREAKER_UNPROVED = 0
    assert closed.ask(20).outcome is SendOutcome.SENT


@pytest.mark.slow
def test_a_hundred_texts_close_a_prefix_whatever_is_verified(
    crowd: Crowd, settings: LazySettings
) -> None:
    """S-42: else whoever verifies one in four could go on without an end."""
    settings.OPTIN_SENDS_PER_CLIENT = ()
    for n in range(100):
        assert crowd.ask(n).outcome is SendOutcome.SENT
        if n % 4 == 0:
            assert crowd.prove(n) is CodeOutcome.OK
    refused = crowd.ask(100)
    assert (refused.outcome, refused.data["rule"]) == (SendOutcome.SEND_LIMIT, "prefix")
    assert refused.retry_after == HOUR
    assert Guard.objects.filter(kind=Guard.Kind.BREAKER).count() == 1


@pytest.mark.slow
def test_an_attack_stops_while_honest_people_get_their_codes(
    crowd: Crowd, active: ProviderUser, clock: time_machine.Traveller
) -> None:
    """S-42. From 1000 accounts and networks, in two hours; one text in eight is verified."""
    texts: Counter[int] = Counter()  # of the attack, in each hour of the clock
    for n in range(1000):
        origin = Origin(Face.WEB, ip=f"20.{n // 250}.{n % 250}.9")
        if crowd.ask(n, origin=origin).outcome is SendOutcome.SENT:
            texts[n // 500] += 1
            if texts.total() % 8 == 0:
                assert crowd.prove(n) is CodeOutcome.OK
        if n % 50 == 0:
            assert crowd.ask(n, prefix=58).outcome is SendOutcome.SENT
            assert crowd.prove(n, prefix=58) is CodeOutcome.OK
        clock.shift(7.2)
    assert max(texts.values()) <= 25
    assert NUMBER.startswith("+6149157"), "the prefix of the attack"
    signs_in = challenges.challenge(active.user, Purpose.SIGN_IN, origin=TOKEN)
    assert signs_in.outcome is SendOutcome.SENT


def test_a_number_counts_as_proved_once_in_the_hour_of_its_code(
    crowd: Crowd, clock: time_machine.Traveller
) -> None:
    """One handset holds no prefix open: not under other accounts, and not in and out again."""

    def counted() -> list[tuple[int, int]]:
        rows = SendCounter.objects.filter(scope="prefix/3600").order_by("window_start")
        return [(row.count, row.verified) for row in rows]

    clock.shift(3540)
    crowd.ask(0)
    clock.shift(120)
    assert crowd.ask(0).outcome is SendOutcome.RESENT
    assert crowd.prove(0) is CodeOutcome.OK
    assert counted() == [(1, 1), (1, 0)]
    other = make_user("x", crowd.file)
    opt_ins.opt_in(other, crowd.file, mobile(0), origin=ORIGIN)
    assert crowd.prove(0, other) is CodeOutcome.MOBILE_NUMBER_IN_USE
    staff_actions.revoke(crowd.people[mobile(0)], reason=WHY, origin=ORIGIN)
    clock.shift(60)
    crowd.ask(0)
    assert crowd.prove(0) is CodeOutcome.OK
    assert counted() == [(1, 1), (3, 0)]


def test_what_is_closed_or_denied_concerns_opt_ins_only(
    active: ProviderUser, world: World, settings: LazySettings
) -> None:
    """S-07, S-42. The owner of an active number signs in, and out."""
    settings.OPTIN_BREAKER_UNPROVED = 1
    crowd = Crowd(world.file, world.phone)
    crowd.ask_many(1, 8)
    assert crowd.ask(9).outcome is SendOutcome.SEND_LIMIT
    assert NUMBER.startswith("+6149157")
    for target in (Target.number(NUMBER), Target.prefix(NUMBER)):
        send_controls.deny(target, HOUR, reason=WHY, origin=STAFF)
    for purpose in (Purpose.SIGN_IN, Purpose.CHANGE, Purpose.OPT_OUT):
        sent = challenges.challenge(world.user, purpose, origin=TOKEN, file=world.file)
        assert sent.outcome is SendOutcome.SENT


def test_texts_are_counted_not_people(crowd: Crowd, clock: time_machine.Traveller) -> None:
    """S-42: else ten texts to each of 19 numbers would leave."""
    for _ in range(4):
        crowd.ask_many(0, 6)
        clock.shift(60)
    assert len(crowd.phone.messages) == 20


def test_neither_counters_nor_entries_hold_a_number_or_a_prefix(closed: Crowd) -> None:
    """S-50. Digests are left out: one may have these five digits by chance."""
    send_controls.deny(Target.number(NUMBER), HOUR, reason=WHY, origin=STAFF)
    send_controls.keep_safe(Target.prefix(OTHER_NUMBER), HOUR, reason=WHY, origin=STAFF)
    for model in (SendCounter, Guard, AuditEvent):
        for row in model._default_manager.values():
            assert "49157" not in re.sub(r"\b[0-9a-f]{16,64}\b", "", str(row))


# -- staff open a prefix -----------------------------------------------------------


def test_staff_open_a_prefix_for_a_time(closed: Crowd, clock: time_machine.Traveller) -> None:
    """Who looks at the breaker need not know a number."""
    (breaker,) = Guard.objects.filter(kind=Guard.Kind.BREAKER)
    assert (breaker.region, breaker.unverified, breaker.last_three) == ("AU", 20, "")
    prefix, lasts = Target(Guard.Covers.PREFIX, breaker.key, breaker.region), timedelta(minutes=10)
    with one_event(AuditEvent.Kind.BREAKER, StaffOutcome.OK, reason=WHY, user_id=None):
        send_controls.lift_breaker(prefix, lasts, reason=f" {WHY} ", origin=STAFF)
    assert newest_event().data["until"] == "2026-11-02T12:10:00+00:00"
    assert closed.ask_many(20, 30) == {SendOutcome.SENT}
    clock.shift(599)
    assert closed.ask(30).outcome is SendOutcome.SENT
    clock.shift(1)
    assert closed.ask(31).outcome is SendOutcome.SEND_LIMIT


# -- lists -------------------------------------------------------------------------


@pytest.mark.parametrize("covers", ["number", "prefix"])
def test_a_denied_number_gets_no_opt_in(
    crowd: Crowd, clock: time_machine.Traveller, covers: str
) -> None:
    """G-01: the end that staff chose is told, however far it is."""
    target, lasts = getattr(Target, covers)(mobile(0)), timedelta(days=300)
    last_three = "000" if covers == "number" else ""
    with one_event(AuditEvent.Kind.DENY, StaffOutcome.OK, reason=WHY, last_three=last_three):
        send_controls.deny(target, lasts, reason=WHY, origin=STAFF)
    outcome = WITHHELD if covers == "number" else SendOutcome.SEND_LIMIT
    with one_event(AuditEvent.Kind.OPT_IN, outcome):
        refused = crowd.ask(0)
    data = newest_event().data
    assert (data["rule"], data["retry_after"]) == (f"deny-{covers}", lasts.total_seconds())
    assert (refused.retry_after == lasts) is (covers == "prefix")
    beside = SendOutcome.SENT if covers == "number" else SendOutcome.SEND_LIMIT
    assert crowd.ask(1).outcome is beside
    assert crowd.ask(0, prefix=58).outcome is SendOutcome.SENT
    clock.shift(lasts)
    assert crowd.ask(0).decided is SendOutcome.SENT


def test_the_newer_entry_for_a_target_counts_until_it_is_taken_off(crowd: Crowd) -> None:
    target = Target.number(mobile(0))
    send_controls.keep_safe(target, HOUR, reason=WHY, origin=STAFF)
    send_controls.deny(target, HOUR, reason=WHY, origin=STAFF)
    send_controls.deny(target, 2 * HOUR, reason="longer", origin=STAFF)
    (entry,) = Guard.objects.all()
    assert (entry.kind, entry.until) == (Guard.Kind.DENY, timezone.now() + 2 * HOUR)
    assert entry.reason == "longer"
    data = {"covers": "number", "key": entry.key, "listed": False, "guard": entry.pk}
    with one_event(AuditEvent.Kind.DENY, StaffOutcome.OK, data, last_three="000"):
        assert send_controls.unlist(target, reason=WHY, origin=STAFF) is StaffOutcome.OK
    assert crowd.ask(0).outcome is SendOutcome.SENT
    with one_event(AuditEvent.Kind.DENY, StaffOutcome.UNCHANGED):
        assert send_controls.unlist(target, reason=WHY, origin=STAFF) is StaffOutcome.UNCHANGED


def test_a_denial_that_lasts_longer_sounds_no_alarm(crowd: Crowd) -> None:
    """Nor is it still closed when they take that back."""
    assert crowd.ask_many(0, 20) == {SendOutcome.SENT}
    send_controls.deny(Target.prefix(mobile(0)), HOUR, reason=WHY, origin=STAFF)
    assert crowd.ask(20).outcome is SendOutcome.SEND_LIMIT
    assert not Guard.objects.filter(kind=Guard.Kind.BREAKER).exists()


@pytest.mark.parametrize("covers", ["number", "prefix"])
def test_the_safe_pass_a_closed_prefix(closed: Crowd, covers: str) -> None:
    target = getattr(Target, covers)(mobile(30))
    with one_event(AuditEvent.Kind.SAFE, StaffOutcome.OK, reason=WHY):
        send_controls.keep_safe(target, HOUR, reason=WHY, origin=STAFF)
    assert closed.ask(30).outcome is SendOutcome.SENT
    beside = SendOutcome.SEND_LIMIT if covers == "number" else SendOutcome.SENT
    assert closed.ask(31).outcome is beside


def test_the_safe_keep_to_the_other_limits(crowd: Crowd, settings: LazySettings) -> None:
    settings.OPTIN_SENDS_PER_NUMBER = (Rate(1, 600),)
    send_controls.keep_safe(Target.number(mobile(0)), HOUR, reason=WHY, origin=STAFF)
    assert crowd.ask(0).outcome is SendOutcome.SENT
    assert crowd.ask(0).outcome is SendOutcome.SEND_LIMIT


@pytest.mark.parametrize(
    ("number", "prefix", "outcome"),
    [
        pytest.param(
            send_controls.keep_safe, send_controls.deny, SendOutcome.SENT, id="safe-number"
        ),
        pytest.param(send_controls.deny, send_controls.keep_safe, WITHHELD, id="denied-number"),
    ],
)
def test_a_number_says_more_than_its_prefix(
    crowd: Crowd, number: Callable[..., Guard], prefix: Callable[..., Guard], outcome: str
) -> None:
    number(Target.number(mobile(0)), HOUR, reason=WHY, origin=STAFF)
    prefix(Target.prefix(mobile(0)), HOUR, reason=WHY, origin=STAFF)
    assert crowd.ask(0).decided == outcome


# -- the stop ----------------------------------------------------------------------


def test_no_text_of_any_kind_while_all_are_stopped(any_world: World) -> None:
    with one_event(AuditEvent.Kind.STOP, StaffOutcome.OK, {"stopped": True}, reason=WHY):
        send_controls.stop_texts(reason=WHY, origin=STAFF)
    texts = len(any_world.phone.messages)
    any_world.clock.shift(600)
    refused = any_world.ask()
    assert refused.outcome is SendOutcome.SEND_LIMIT
    assert refused.retry_after == timedelta(minutes=5)
    event = newest_event()
    stop = {"rule": "stop", "count": 0, "limit": 0, "retry_after": 300}
    assert event.data | stop == event.data
    assert set(event.data) <= {*stop, "purpose"}
    assert len(any_world.phone.messages) == texts

    with one_event(AuditEvent.Kind.STOP, StaffOutcome.OK, {"stopped": False}):
        send_controls.allow_texts(reason=WHY, origin=STAFF)
    assert any_world.ask().outcome is SendOutcome.SENT


def test_the_stop_and_its_end_happen_once(db: None) -> None:
    steps = [send_controls.allow_texts, *[send_controls.stop_texts] * 2, send_controls.allow_texts]
    outcomes = [step(reason=WHY, origin=STAFF) for step in steps]
    assert outcomes == [StaffOutcome.UNCHANGED, StaffOutcome.OK] * 2
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.STOP).count() == 4


def test_every_step_needs_a_reason_and_every_entry_ends(phone: Phone, db: None) -> None:
    target = Target.number(NUMBER)
    entries = [send_controls.deny, send_controls.keep_safe, send_controls.lift_breaker]
    steps: list[Callable[..., object]] = [send_controls.stop_texts, send_controls.allow_texts]
    steps.append(partial(send_controls.unlist, target))
    steps += [partial(entry, target, HOUR) for entry in entries]
    with nothing_happens(phone):
        for step in steps:
            with pytest.raises(errors.UnfitReason):
                step(reason="", origin=STAFF)
        for entry, seconds in product(entries, [-1, 59, 366 * 86_400 + 1]):
            with pytest.raises(errors.UnfitTime):
                entry(target, timedelta(seconds=seconds), reason=WHY, origin=STAFF)
    assert not Guard.objects.exists()


@pytest.mark.parametrize(
    "reason", ["  ", "r" * 501, f"asked by {NUMBER}.", "asked by (0491) 570-156,jo"]
)
def test_what_is_no_reason(reason: str) -> None:
    with pytest.raises(errors.UnfitReason):
        fit_reason(reason)


def test_queued_texts_wait_for_the_end_of_the_stop(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Counted and saved before the stop; its unknown attempts stay as they were."""
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_send", lambda *given: None)  # it died
        crowd.ask(0)
    clock.shift(31)
    send_controls.stop_texts(reason=WHY, origin=STAFF)
    for _ in range(3):
        assert delivery.send_due(timezone.now()) == 0
        clock.shift(31)
    text = SmsMessage.objects.get()
    assert (text.state, text.reason) == (State.QUEUED, "all texts are stopped")
    send_controls.allow_texts(reason=WHY, origin=STAFF)
    assert delivery.send_due(timezone.now()) == 1
    assert len(crowd.phone.messages) == 1


# -- what staff may not ask for ----------------------------------------------------


@pytest.mark.parametrize("reason", ["INC0491570156", "•••156", "2026-11-03 23:01, case 4915701567"])
def test_a_reason_may_have_other_digits(reason: str) -> None:
    assert fit_reason(reason) == reason


def test_entries_that_ended_are_purged_a_day_later(
    closed: Crowd, clock: time_machine.Traveller
) -> None:
    send_controls.stop_texts(reason=WHY, origin=STAFF)
    send_controls.deny(Target.number(NUMBER), 48 * HOUR, reason=WHY, origin=STAFF)
    clock.shift(25 * HOUR - timedelta(seconds=1))
    assert retention.purge(origin=STAFF)["guards"] == 0
    clock.shift(1)
    assert retention.purge(origin=STAFF)["guards"] == 1
    assert set(Guard.objects.values_list("kind", flat=True)) == {"stop", "deny"}


# -- the record --------------------------------------------------------------------


def decision() -> tuple[object, ...]:
    data = newest_event().data
    return data["rule"], data["count"], data["limit"]


def test_an_allowed_text_names_the_rule_that_was_nearest(
    crowd: Crowd, settings: LazySettings
) -> None:
    crowd.ask(0)
    assert set(newest_event().data) == {"message", "rule", "count", "limit"}
    assert decision() == ("asked-number/600", 1, 5)
    crowd.ask(0)
    assert decision() == ("asked-number/600", 2, 5)
    settings.OPTIN_SENDS_TOTAL = (Rate(4, 86_400),)
    crowd.ask(1)
    assert decision() == ("total/86400", 3, 4)
    settings.OPTIN_SENDS_TOTAL = (Rate(1000, 86_400),)
    for n in range(2, 10):
        crowd.ask(n)
    assert decision() == ("prefix", 11, 20)


def test_a_challenge_names_its_rule_too(active: ProviderUser, world: World) -> None:
    world.purpose = Purpose.SIGN_IN
    world.ask()
    event = newest_event()
    message = SmsMessage.objects.latest("pk").pk
    own = {"rule": "own-number/600", "count": 1, "limit": 5}
    assert event.data == {"message": message, "purpose": "sign_in", **own}


# -- alarms ------------------------------------------------------------------------


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The alarms in the log."""

    def alarms() -> list[dict[str, Any]]:
        records = [r for r in caplog.records if r.name == "optin.alarm"]
        assert {r.levelname for r in records} <= {"WARNING"}
        return [{"event": r.msg, **vars(r)["facts"]} for r in records]

    return alarms


Heard = Callable[[], list[dict[str, Any]]]


def mailed() -> list[mail.EmailMessage]:
    """The mails of alarms, once their threads are through."""
    for thread in threading.enumerate():
        if thread.name == "optin-alarm":
            thread.join(10)
    return [message for message in mail.outbox if "ops@example.com" in message.to]


def sounded(alarm: str) -> float:
    value = metrics.ALARMS.labels(alarm)._value.get()
    return float(value)


def test_a_closing_is_told_once(
    crowd: Crowd, settings: LazySettings, heard: Heard, clock: time_machine.Traveller
) -> None:
    settings.OPTIN_ALARM_EMAIL = ("ops@example.com",)
    before = sounded("prefix")
    crowd.ask_many(0, 30)
    (alarm,) = heard()
    breaker = Guard.objects.get()
    assert {name: alarm[name] for name in ("alarm", "breaker", "region", "unproved")} == {
        "alarm": "prefix",
        "breaker": breaker.pk,
        "region": "AU",
        "unproved": 20,
    }
    (letter,) = mailed()
    assert letter.subject.startswith("Two-Factor: a prefix was closed to opt-ins: too few are ver")
    assert f"breaker: {breaker.pk}" in letter.body
    assert "49157" not in letter.body
    assert sounded("prefix") == before + 1
    # And again when it is closed again.
    clock.shift(3600)
    crowd.ask_many(30, 60)
    assert [alarm["alarm"] for alarm in heard()] == ["prefix", "prefix"]
    assert len(mailed()) == 2


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("file", "OPTIN_SENDS_PER_FILE"),
        ("total", "OPTIN_SENDS_TOTAL"),
        ("own-total", "OPTIN_OWN_SENDS_TOTAL"),
    ],
)
def test_a_budget_is_told_at_80_percent_once(
    crowd: Crowd,
    active: ProviderUser,
    user: User,
    settings: LazySettings,
    heard: Heard,
    clock: time_machine.Traveller,
    name: str,
    setting: str,
) -> None:
    """S-07: what the owner asks for counts for no budget of what anybody can cause."""
    settings.OPTIN_ALARM_EMAIL = ("ops@example.com",)
    settings.OPTIN_SENDS_PER_USER = settings.OPTIN_SENDS_PER_NUMBER = ()

    def ask(n: int) -> SendOutcome:
        if name == "own-total":
            return challenges.challenge(user, Purpose.SIGN_IN, origin=TOKEN).outcome
        return crowd.ask(n).outcome

    SendCounter.objects.all().delete()
    setattr(settings, setting, (Rate(9, 86_400),))
    for n in range(7):
        ask(n)
    if name != "own-total":
        challenges.challenge(user, Purpose.CHANGE, origin=TOKEN)
    assert heard() == []
    ask(7)  # 7.2 are 80 %
    (alarm,) = heard()
    assert (alarm["alarm"], alarm["count"], alarm["limit"]) == (name, 8, 9)
    assert alarm.get("file") == ("777" if name == "file" else None)
    ask(8)
    assert ask(9) is SendOutcome.SEND_LIMIT
    assert len(heard()) == len(mailed()) == 1
    clock.shift(43_200)  # midnight
    for n in range(10, 18):
        ask(n)
    assert len(heard()) == 2


def test_a_region_alarms_once_and_is_never_closed(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, heard: Heard, clock: time_machine.Traveller
) -> None:
    monkeypatch.setattr(conf, "alarm_unproved", 12)
    outcomes = {crowd.ask(n % 4, prefix=57 + n // 4).outcome for n in range(12)}
    assert heard() == []
    outcomes |= {crowd.ask(n % 4, prefix=57 + n // 4).outcome for n in range(12, 24)}
    assert outcomes == {SendOutcome.SENT}
    (alarm,) = heard()
    assert (alarm["alarm"], alarm["region"], alarm["unproved"]) == ("region", "AU", 12)
    clock.shift(3600)
    crowd.ask_many(0, 13, prefix=70)
    assert len(heard()) == 2


def test_what_is_rolled_back_is_not_told(
    crowd: Crowd, settings: LazySettings, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPTIN_SENDS_TOTAL = (Rate(1, 86_400),)
    with monkeypatch.context() as patched:
        patched.setattr(AuditEvent.objects, "record", None)
        with pytest.raises(TypeError):
            crowd.ask(0)
    assert heard() == []
    assert crowd.ask(0).outcome is SendOutcome.SENT
    assert len(heard()) == 1


def test_a_mail_that_fails_costs_nobody_anything(
    crowd: Crowd,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(message: mail.EmailMessage) -> None:
        raise OSError("mail.example.com is away")

    monkeypatch.setattr(mail.EmailMessage, "send", fail)
    settings.OPTIN_ALARM_EMAIL = ("ops@example.com",)
    settings.OPTIN_SENDS_TOTAL = (Rate(1, 86_400),)
    assert crowd.ask(0).outcome is SendOutcome.SENT
    assert mailed() == []
    assert "mail.example.com" not in caplog.text
    assert [r.levelname for r in caplog.records if r.name == "optin.alarm"] == ["WARNING", "ERROR"]
