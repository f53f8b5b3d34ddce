"""How many guesses get through (G-03): what the owner sees of it, and what a guesser gets."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from optin.conf import Conf, Rate, conf
from optin.models import AuthenticatorApp, Passkey, Purpose, SimAnswer, User
from optin.operations import staff_actions
from optin.origin import Face, Origin
from optin.outcomes import By, CodeOutcome
from optin.passkeys import PasskeyResponse, authentication_options
from tests.kit import guesses
from tests.kit.authenticator import Authenticator, Key
from tests.kit.guesser import Guesser
from tests.kit.guesses import Plan
from tests.kit.trail import newest_event
from tests.kit.world import OTHER_PAGE, PAGE, Person

pytestmark = pytest.mark.django_db

OK, WRONG = CodeOutcome.OK, CodeOutcome.OTP_INCORRECT
FEW = Rate(3, 30 * 86_400)
DAY = guesses.DAY


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "app_failures", FEW)


@pytest.fixture
def attacked(person: Person, few: None) -> Person:
    """Somebody with the app alone, at whose account three wrong codes were entered."""
    person.set_up(By.APP)
    guess(person, 3)
    return person


def guess(person: Person, times: int = 1) -> None:
    for _ in range(times):
        assert person.check(person.wrong(By.APP), origin=OTHER_PAGE).outcome is WRONG
        person.clock.shift(60)  # else it is the same attempt


def enter(person: Person, *, after: float = 30) -> CodeOutcome:
    """Enter what the app shows, *after* so many seconds."""
    person.clock.shift(after)
    return person.check(person.app_code()).outcome


# -- the owner ---------------------------------------------------------------------


def test_two_codes_in_a_row_let_the_owner_in(attacked: Person) -> None:
    """She has nothing but the app, and is never shut out; each sign-in takes two."""
    assert [enter(attacked) for _ in range(4)] == [WRONG, OK, WRONG, OK]
    assert attacked.user.otp_failures == 0


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(29, WRONG), (30, OK), (300, OK), (330, WRONG)], ids=str
)
def test_the_second_code_is_a_later_one_within_five_minutes(
    attacked: Person, seconds: int, outcome: CodeOutcome
) -> None:
    attacked.clock.move_to(datetime(2026, 11, 3, 12, 10, tzinfo=timezone.get_current_timezone()))
    enter(attacked, after=0)
    assert enter(attacked, after=seconds) is outcome


def test_wrong_codes_between_take_nothing_from_the_first(attacked: Person) -> None:
    """Whoever guesses on cannot keep the owner out."""
    enter(attacked)
    guess(attacked, 2)
    assert enter(attacked) is OK


def test_the_first_code_is_no_failure(attacked: Person) -> None:
    """Else a guesser who waits at the ninth would have the owner's own code lock her out."""
    attacked.fail_before(9)
    assert [enter(attacked), attacked.user.otp_failures] == [WRONG, 9]
    assert newest_event().data == {"why": "the first of two", "purpose": "sign_in"}
    again = attacked.check(attacked.app_code())
    assert (again.outcome, again.repeated) == (WRONG, True)
    assert enter(attacked) is OK


@pytest.mark.parametrize(
    "elsewhere", [OTHER_PAGE, Origin(Face.TOKEN, ip="198.51.100.1")], ids=["page", "token call"]
)
def test_the_second_code_comes_from_the_same_place(attacked: Person, elsewhere: Origin) -> None:
    """Else somebody with the password would need to guess only one, after the owner's first."""
    enter(attacked)
    attacked.clock.shift(30)
    assert attacked.check(attacked.app_code(), origin=elsewhere).outcome is WRONG


def test_token_calls_from_one_network_are_one_place(attacked: Person) -> None:
    for ip, outcome in (("198.51.100.1", WRONG), ("198.51.100.2", OK)):
        attacked.clock.shift(30)
        origin = Origin(Face.TOKEN, ip=ip)
        assert attacked.check(attacked.app_code(), origin=origin).outcome is outcome


@pytest.mark.parametrize("by", [By.TEXT, By.RECOVERY])
def test_another_factor_lets_in_as_ever(full: Person, few: None, by: By) -> None:
    guess(full, 3)
    assert full.check(full.right(by)).outcome is OK


def test_one_code_is_enough_again_once_one_is_forgotten(attacked: Person) -> None:
    """Ten days of thirty for three; the guesses took three minutes of it."""
    attacked.clock.shift(timedelta(days=10, minutes=-4))
    assert enter(attacked) is WRONG
    attacked.clock.shift(timedelta(minutes=4))
    assert enter(attacked) is OK


def test_what_is_used_up_is_used_up(attacked: Person) -> None:
    """Of the app, of what became of the first, and for the next app."""
    enter(attacked)
    used = attacked.app_code(1)
    assert enter(attacked) is OK
    assert attacked.check(used, origin=OTHER_PAGE).outcome is WRONG
    app = AuthenticatorApp.objects.get(user=attacked.user)
    assert app.first_step == 0


# -- what does not lift it ---------------------------------------------------------


def sign_in_by_recovery_code(person: Person) -> None:
    person.make_recovery_codes()
    assert person.check(person.recovery[0]).outcome is OK


def unlock(person: Person) -> None:
    staff_actions.unlock(person.user, reason="asked on the phone", origin=PAGE)


def another_app(person: Person) -> None:
    person.clock.shift(60)
    person.add_app()


def another_password(person: Person) -> None:
    user = User.objects.get(pk=person.user.pk)
    user.set_password("another one")
    user.save()


@pytest.mark.parametrize("event", [sign_in_by_recovery_code, unlock, another_app, another_password])
def test_nothing_but_time_gives_guesses_back(attacked: Person, event: Any) -> None:
    """G-03. Else the owner's own sign-ins would give a guesser all of them each day."""
    event(attacked)
    assert [enter(attacked, after=60), enter(attacked)] == [WRONG, OK]


def test_wrong_codes_beyond_put_the_end_off_no_further(attacked: Person) -> None:
    until = attacked.user.app_failures_until
    guess(attacked, 3)
    assert attacked.user.app_failures_until == until
    assert attacked.user.otp_failures == 6  # the count that locks goes on


def test_beyond_the_ceiling_no_single_code_is_compared(person: Person) -> None:
    """NIST: 100. What ``guess_budget`` prints for the app ends there, also beside the wait."""
    person.set_up(By.APP)
    person.fail_before(98)
    marks = []
    for _ in range(4):
        guess(person)
        marks.append("app_until" in newest_event().data)
        person.clock.shift(3600)
    assert marks == [True, True, False, False]
    assert enter(person) is WRONG


def test_texted_and_recovery_codes_do_not_count(full: Person) -> None:
    full.text()
    for by in (By.TEXT, By.RECOVERY):
        full.check(full.wrong(by))
    assert full.user.app_failures_until is None


def test_a_code_that_may_be_either_counts_for_both(
    full: Person, few: None, settings: LazySettings
) -> None:
    settings.OPTIN_OTP_DIGITS = 6
    full.text()
    guess(full, 1)
    assert {"try", "app_until", "failures"} <= newest_event().data.keys()
    guess(full, 2)
    assert full.check(full.phone.code()).outcome is OK


# -- the guesser -------------------------------------------------------------------

Given = Callable[[dict[str, Any]], None]


@pytest.fixture
def given(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Change settings, and constants beside them."""

    def change(values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name.isupper():
                setattr(settings, name, value)
            else:
                monkeypatch.setattr(conf, name, value)

    return change


SHORT = {
    "OPTIN_LOCK_AFTER": 4,
    "OPTIN_LOCK_SECONDS": (900, 3600),
    "OPTIN_DISABLE_AFTER": 10,
    "OPTIN_SENDS_PER_NUMBER": (),
    "OPTIN_SENDS_PER_USER": (),
    "app_failures": Rate(12, DAY),
}

LONG_FIRST = SHORT | {"OPTIN_LOCK_SECONDS": (7200, 2400)}
ONE_LOCK = SHORT | {"OPTIN_LOCK_AFTER": 7, "OPTIN_LOCK_SECONDS": (1800,)}
FEW_TEXTS = SHORT | {"OPTIN_SENDS_PER_USER": (Rate(1, DAY),), "OPTIN_OTP_TRIES": 2}
NO_CEILING = SHORT | {"app_failures": Rate(10_000, DAY)}
OWNER_SHUT_OUT = SHORT | {"OPTIN_LOCK_SECONDS": (50_000, 3600)}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param(By.TEXT, SHORT, id="texts"),
        pytest.param(By.TEXT, LONG_FIRST, id="texts, the first lock is the longest"),
        pytest.param(By.TEXT, ONE_LOCK, id="texts, all locks are as long"),
        pytest.param(guesses.PROGRAMS, SHORT, id="programs"),
        pytest.param(guesses.PROGRAMS, FEW_TEXTS, id="programs, few texts"),
        pytest.param(By.APP, SHORT, id="app"),
        pytest.param(By.APP, NO_CEILING, id="app without its ceiling"),
        pytest.param(By.RECOVERY, SHORT, id="recovery codes"),
        pytest.param(By.RECOVERY, OWNER_SHUT_OUT, id="recovery codes, the owner is shut out"),
    ],
)
@pytest.mark.slow
def test_a_guesser_gets_what_is_printed_and_no_more(
    full: Person, given: Given, kind: str, values: dict[str, Any]
) -> None:
    """G-03: at least nine tenths of it, or it would be no figure to go by."""
    given(values)
    for seconds in (guesses.HOUR, DAY, 2 * DAY):
        plan = guesses.plan(kind, seconds)
        compared = Guesser(full, kind).attack(plan, seconds)
        assert 0.9 * plan.guesses <= compared <= plan.guesses, (seconds, plan, compared)


def answer_with_passkeys(person: Person) -> None:
    """With nothing, with a key that claims to be hers, and with hers on another website."""
    (key,) = person.keys.keys
    forged = Authenticator(keys=[replace(key, private=Key("", b"").private)])
    elsewhere = replace(person.keys.clone(), origin="https://evil.example")
    asked = authentication_options(
        Purpose.SIGN_IN, Passkey.objects.of(person.user), session=OTHER_PAGE.session
    )
    for credential in ("{}", forged.get(asked.options), elsewhere.get(asked.options)):
        answer = PasskeyResponse(credential, asked.challenge)
        result = person.check(answer, origin=OTHER_PAGE)
        assert result.outcome is CodeOutcome.PASSKEY_REFUSED


def swap_the_sim(person: Person, *, for_long: bool) -> None:
    """A swap after which staff let a sign-in through, or which the provider soon takes back."""
    now = timezone.now()
    told = {"asked_at": now, "swapped_until": now + timedelta(hours=1), "let_through_until": None}
    SimAnswer.objects.update_or_create(number=person.number, defaults=told)
    assert person.check(person.wrong(By.TEXT)).outcome is CodeOutcome.FACTOR_DISABLED
    staff_actions.let_through(person.user, reason="asked on the phone", origin=PAGE)
    if not for_long:
        SimAnswer.objects.update(swapped_until=now, let_through_until=None)


@pytest.mark.slow
def test_passkeys_and_a_swapped_sim_give_a_guesser_nothing(full: Person, given: Given) -> None:
    """G-03. Failed assertions do not count, lock or start the count again."""
    given(SHORT | {"OPTIN_SIM_SWAP": "enforce"})
    full.set_up(By.PASSKEY)
    plan, times = guesses.plan(By.TEXT, DAY), count()

    def beside() -> None:
        time = next(times)
        assert time < 3 * plan.guesses  # else nothing ends the guesses
        answer_with_passkeys(full)
        swap_the_sim(full, for_long=time % 2 == 0)

    compared = Guesser(full, By.TEXT, beside).attack(plan, DAY)
    assert 0.5 * plan.guesses <= compared <= plan.guesses, (plan, compared)


@pytest.mark.parametrize("begins_at", [0, 3, 4, 8])
def test_no_other_plan_gets_more(full: Person, given: Given, begins_at: int) -> None:
    """What is printed is the best that a guesser can do."""
    given(NO_CEILING)
    most = guesses.plan(By.APP, guesses.HOUR).guesses
    for lasts in (0, 900, 2700, 3599):
        compared = Guesser(full, By.APP).attack(Plan(0, begins_at, lasts), guesses.HOUR)
        assert 0 < compared <= most


# -- the settings ------------------------------------------------------------------


def test_a_year_at_the_app_is_under_one_percent() -> None:
    """G-03. With the settings as they come."""
    rows = {row.kind: row for row in guesses.budget()}
    assert (rows[By.TEXT].day, rows[By.TEXT].year) == (100, 18_300)
    assert rows[By.APP].chance < 0.005
    assert rows[guesses.TOGETHER].chance < 0.01


def test_no_settings_let_a_year_succeed_with_five_percent(given: Given) -> None:
    """G-03. The worst of what each setting takes, with an app that is guessed at all year."""
    worst = {
        "OPTIN_OTP_DIGITS": 6,
        "OPTIN_OTP_TRIES": 10,
        "OPTIN_LOCK_AFTER": 100,
        "OPTIN_LOCK_SECONDS": (60,) * 9 + (900,),
        "OPTIN_DISABLE_AFTER": 50,
        "OPTIN_SENDS_PER_NUMBER": (),
        "OPTIN_SENDS_PER_USER": (),
    }
    given(worst)
    assert not Conf.lock_after.fault(conf.lock_after)
    assert not Conf.lock_seconds.fault(conf.lock_seconds)
    assert 0.01 < guesses.budget()[-1].chance < 0.05
