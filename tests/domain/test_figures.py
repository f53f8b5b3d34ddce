"""The figures of the charts of staff say what happened, once each (P-20)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.conf import LazySettings
from django.db import OperationalError
from django.utils import timezone

from optin import limits
from optin.conf import Rate
from optin.gateways import Receipt, Report
from optin.messaging import receipts
from optin.models import Figure, File, PendingOtp, ProviderUser, SmsMessage, Span, User
from optin.operations import opt_ins, retention
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome
from optin.support import budgets, statistics
from optin.support.statistics import Amount
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

What = Figure.What
COMMAND = Origin(Face.COMMAND)
SYDNEY = ZoneInfo("Australia/Sydney")
TODAY = date(2026, 11, 2)  # at noon UTC it is 23:00 in Sydney
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
Clock = time_machine.Traveller

Told = dict[tuple[str, str], int]


NUMBERS = [f"+6149157{n}" for n in range(1000, 1010)]


def read(*whats: str, day: date | None = None) -> Told:
    """What was counted of *whats*, by what and name."""
    found = statistics.read(timezone.now())
    told: Told = {
        (what, name): found.of(what, name, days=[day] if day else ()).count
        for what, name in found.amounts
        if not whats or what in whats
    }
    return {key: count for key, count in told.items() if count}


def rolled_up(*whats: str, day: date | None = None) -> Told:
    statistics.roll_up(timezone.now())
    return read(*whats, day=day)


def kept() -> list[tuple[Any, ...]]:
    """All figures, as they are stored but for their ids."""
    fields = ("span__start", "day", "what", "name", "count", "cost")
    return sorted(Figure.objects.values_list(*fields))


def ask(user: User, file: File, number: str = NUMBER) -> SendOutcome:
    return opt_ins.opt_in(user, file, number, origin=ORIGIN).outcome


def prove(user: User, file: File, phone: Phone, number: str = NUMBER) -> CodeOutcome:
    row = ProviderUser.objects.get(user=user, last_three=number[-3:])
    code = phone.code_to(number)
    return opt_ins.verify_opt_in(user, file, row.pk, code, origin=ORIGIN).outcome


def fail(user: User, file: File, phone: Phone, times: int) -> None:
    """Enter wrong codes of an opt-in."""
    row = ProviderUser.objects.get(user=user)
    for _ in range(times):
        opt_ins.verify_opt_in(user, file, row.pk, wrong(phone.code()), origin=ORIGIN)


def receipt(reported: Report, message: SmsMessage | None = None) -> None:
    message = message or SmsMessage.objects.latest("pk")
    told = Receipt(reported, reference=message.reference)
    assert receipts.take("phone", told, timezone.now(), COMMAND)


# -- opt-ins -----------------------------------------------------------------------


def test_an_opt_in_waits_and_is_proved_or_runs_out(
    user: User, stranger: User, file: File, phone: Phone, clock: Clock
) -> None:
    assert ask(user, file) is SendOutcome.SENT
    ask(stranger, file, OTHER_NUMBER)
    assert rolled_up(What.OPT_IN) == {("opt_in", "waiting"): 2}

    clock.shift(61)
    assert prove(user, file, phone) is CodeOutcome.OK
    assert rolled_up(What.OPT_IN) == {("opt_in", "proved"): 1, ("opt_in", "waiting"): 1}

    clock.shift(600 - 61)
    assert rolled_up(What.OPT_IN) == {("opt_in", "proved"): 1, ("opt_in", "failed"): 1}


def test_a_number_of_somebody_else_is_a_failure(
    active: ProviderUser, stranger: User, file: File, phone: Phone, clock: Clock
) -> None:
    clock.shift(60)
    ask(stranger, file)
    assert prove(stranger, file, phone) is CodeOutcome.MOBILE_NUMBER_IN_USE
    assert rolled_up(What.OPT_IN) == {("opt_in", "proved"): 1, ("opt_in", "failed"): 1}


def test_asking_again_is_no_second_opt_in(
    user: User, file: File, phone: Phone, clock: Clock
) -> None:
    """Neither with the same code, nor with the one that takes its place."""
    ask(user, file)
    clock.shift(40)
    assert ask(user, file) is SendOutcome.RESENT
    clock.shift(660)
    assert ask(user, file) is SendOutcome.SENT
    prove(user, file, phone)
    assert rolled_up(What.OPT_IN) == {("opt_in", "proved"): 1}


# -- spend -------------------------------------------------------------------------


def test_texts_of_the_budget_and_their_cost(
    user: User, stranger: User, file: File, phone: Phone
) -> None:
    phone.price = Decimal("0.0450")
    ask(user, file)
    receipt(Report.DELIVERED)
    ask(stranger, file, OTHER_NUMBER)
    receipt(Report.FAILED)
    statistics.roll_up(timezone.now())

    found = statistics.read(timezone.now())
    assert found.of(What.BUDGET) == Amount(2, Decimal("0.0900"))


# -- locks ------------------------------------------------------------------------


def test_locks_are_counted_when_they_begin(
    user: User, file: File, phone: Phone, clock: Clock
) -> None:
    """The tenth wrong code locks; what is refused during the lock is none."""
    for _ in range(2):
        ask(user, file)
        fail(user, file, phone, 5)
        clock.shift(60)
    assert [ask(user, file), ask(user, file)] == [SendOutcome.LOCKED] * 2
    assert rolled_up(What.LOCK) == {("lock", "locked"): 1}


def test_a_disabling_is_counted(
    user: User, file: File, phone: Phone, settings: LazySettings
) -> None:
    settings.OPTIN_DISABLE_AFTER = 2
    ask(user, file)
    fail(user, file, phone, 2)
    assert rolled_up(What.LOCK) == {("lock", "disabled"): 1}


# -- again, at once, late ----------------------------------------------------------


def test_counting_again_changes_nothing_and_is_done_once_a_minute(
    pending: ProviderUser, clock: Clock
) -> None:
    assert statistics.roll_up(timezone.now()) == 1
    before = kept()
    assert before
    clock.shift(59)
    assert statistics.roll_up(timezone.now()) == 0
    clock.shift(1)
    assert statistics.roll_up(timezone.now()) == 1
    assert kept() == before


# -- days --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        pytest.param(
            "Australia/Sydney", "2026-11-02T12:59:59.999999Z", TODAY, id="before midnight"
        ),
        pytest.param("Australia/Sydney", "2026-11-02T13:00:00Z", TODAY + DAY, id="at midnight"),
        pytest.param("Australia/Adelaide", "2026-11-02T13:30:00Z", TODAY + DAY, id="half past, at"),
    ],
)
def test_a_day_begins_at_midnight_where_the_service_is(
    pending: ProviderUser, clock: Clock, settings: LazySettings, zone: str, at: str, day: date
) -> None:
    settings.TIME_ZONE = zone
    moment = datetime.fromisoformat(at)
    SmsMessage.objects.update(created_at=moment)
    PendingOtp.objects.update(issued_at=moment, expires_at=moment + 2 * HOUR)
    for now in (moment, moment + HOUR):
        clock.move_to(now)
        assert rolled_up(What.BUDGET, What.OPT_IN, day=day) == {
            ("budget", ""): 1,
            ("opt_in", "waiting"): 1,
        }


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        pytest.param(date(2026, 10, 4), 23, id="clocks go forward"),
        pytest.param(date(2026, 4, 5), 25, id="clocks go back"),
        pytest.param(date(2026, 11, 2), 24, id="any other"),
    ],
)
def test_hours_follow_each_other_without_a_gap(
    db: None, clock: Clock, day: date, hours: int
) -> None:
    moment = datetime(day.year, day.month, day.day, tzinfo=SYDNEY).astimezone(UTC)
    while statistics.day_of(moment) == day:
        clock.move_to(moment)
        statistics.roll_up(timezone.now())
        moment += timedelta(minutes=20)
    spans = list(Span.objects.order_by("start"))
    assert len(spans) == hours
    assert {span.day for span in spans} == {day}
    assert all(a.end == b.start for a, b in pairwise(spans))


# -- missed, and deleted -----------------------------------------------------------


def test_days_that_were_missed_are_caught_up_with(
    user: User, stranger: User, file: File, phone: Phone, clock: Clock
) -> None:
    """Nobody counted, nor purged, for five days: each day gets its own, and few spans do."""
    ask(user, file)
    prove(user, file, phone)
    statistics.roll_up(timezone.now())
    clock.shift(2 * DAY.total_seconds())
    ask(stranger, file, OTHER_NUMBER)
    clock.shift(3 * DAY.total_seconds())

    statistics.roll_up(timezone.now())
    assert read(What.OPT_IN, day=TODAY) == {("opt_in", "proved"): 1}
    assert read(What.OPT_IN, day=TODAY + DAY) == {}
    assert read(What.OPT_IN, day=TODAY + 2 * DAY) == {("opt_in", "failed"): 1}
    assert Span.objects.count() < 60
    assert Span.objects.unsettled().count() <= 25


@pytest.mark.parametrize("hours", [0, 23, 24, 25, 100])
def test_purge_loses_nothing_that_was_not_counted(
    user: User, file: File, phone: Phone, clock: Clock, hours: int
) -> None:
    """S-55: nobody ever called ``roll_up``; it is purged in time, or late."""
    ask(user, file)
    prove(user, file, phone)
    clock.shift(hours * 3600)
    retention.purge(origin=COMMAND)
    assert SmsMessage.objects.exists() is (hours < 24)
    for _ in range(3):
        clock.shift(9 * 3600)
        retention.purge(origin=COMMAND)
        told = rolled_up(What.BUDGET, What.OPT_IN, day=TODAY)
        assert told == {
            ("budget", ""): 1,
            ("opt_in", "proved"): 1,
        }
    assert not SmsMessage.objects.exists()


# -- budgets -----------------------------------------------------------------------


def test_budgets_are_those_that_are_enforced(
    user: User, stranger: User, file: File, other_file: File, settings: LazySettings
) -> None:
    settings.OPTIN_SENDS_TOTAL = (Rate(100, 86_400), Rate(3, 600))
    settings.OPTIN_SENDS_PER_FILE = (Rate(2, 86_400),)
    settings.OPTIN_OWN_SENDS_TOTAL = (Rate(50, 86_400),)
    settings.OPTIN_SIM_SWAP, settings.OPTIN_SIM_SWAP_BUDGET = "observe", (Rate(5, 86_400),)
    assert limits.reserve_sim_swap(timezone.now())
    ask(user, file)
    ask(stranger, file, OTHER_NUMBER)
    assert ask(make_user("cat", file), file, NUMBERS[0]) is SendOutcome.SEND_LIMIT
    found = budgets.running(timezone.now(), [777, 888])
    told = [(one.scope, one.file_id, one.used, one.limit, one.ends - NOON) for one in found]
    assert told == [
        ("total", None, 2, 100, 12 * HOUR),
        ("total", None, 2, 3, timedelta(minutes=10)),
        ("own-total", None, 0, 50, 12 * HOUR),
        ("file", 777, 2, 2, 12 * HOUR),
        ("file", 888, 0, 2, 12 * HOUR),
        ("sim-swap", None, 1, 5, 12 * HOUR),
    ]
    assert budgets.fullest(timezone.now()) == {
        "total": 2 / 3,
        "own-total": 0,
        "file": 1,
        "sim-swap": 0.2,
    }
    assert [one.file_id for one in budgets.near(timezone.now())] == [777]


def test_what_cannot_be_counted_keeps_nothing_from_being_purged(
    pending: ProviderUser,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S-55: what must go in time goes, and the log says what is missing."""

    def too_slow(now: datetime) -> int:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(statistics, "roll_up", too_slow)
    clock.shift(2 * DAY)
    retention.purge(origin=COMMAND)
    assert not SmsMessage.objects.exists()
    assert "figures could not be counted before a purge: OperationalError" in caplog.text
