"""One count over every kind of code, what a lock bars, and what leads out (S-05 to S-07a)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.conf import MAX_FAILURES
from optin.errors import FactorNeeded
from optin.models import AuditEvent, Notice, PendingOtp, Purpose, RecoveryCode, User
from optin.operations import challenges, not_me, opt_ins, passwords
from optin.operations.authenticators import Removal
from optin.operations.verification import Verification
from optin.outcomes import By, CodeOutcome, FactorOutcome, SendOutcome
from tests.kit import grants
from tests.kit.people import ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.phone import wrong
from tests.kit.trail import newest_event, one_event, one_repeat
from tests.kit.world import CODES, OTHER_PAGE, PAGE, Person, notices, proved

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("password_clients"),
]

Kind = AuditEvent.Kind
THIRD_NUMBER = "+61491570158"

# -- every door to the count -------------------------------------------------------

Door = Callable[[Person, str], str]


def at_sign_in(person: Person, code: str) -> str:
    return person.check(code).outcome


def at_a_change(person: Person, code: str) -> str:
    return person.check(code, Purpose.CHANGE, OTHER_PAGE).outcome


def at_turning_off(person: Person, code: str) -> str:
    return person.turn_off(code).outcome


def at_the_clients_opt_out(person: Person, code: str) -> str:
    return challenges.opt_out(person.user, person.file, code, origin=ORIGIN).outcome


def at_a_new_number(person: Person, code: str) -> str:
    row = person.user.provider_users.get(confirmed=False)
    return person.prove_number(row.pk, code).outcome


def at_the_token_call(person: Person, code: str) -> str:
    outcome = grants.ask(person.user.username.upper(), code).outcome
    return {
        "invalid_code": CodeOutcome.OTP_INCORRECT,
        "temporarily_unavailable": CodeOutcome.LOCKED,
    }.get(outcome, outcome)


DOORS: list[tuple[Door, By, Purpose]] = [
    (at_sign_in, By.TEXT, Purpose.SIGN_IN),
    (at_sign_in, By.APP, Purpose.SIGN_IN),
    (at_sign_in, By.RECOVERY, Purpose.SIGN_IN),
    (at_a_change, By.APP, Purpose.CHANGE),
    (at_turning_off, By.TEXT, Purpose.OPT_OUT),
    (at_turning_off, By.RECOVERY, Purpose.OPT_OUT),
    (at_a_new_number, By.TEXT, Purpose.OPT_IN),
    (at_the_token_call, By.APP, Purpose.SIGN_IN),
    (at_the_token_call, By.TEXT, Purpose.SIGN_IN),
    (at_the_token_call, By.RECOVERY, Purpose.SIGN_IN),
]
NAMES = [f"{door.__name__}-{by}" for door, by, _ in DOORS]


@pytest.fixture
def texted(full: Person) -> dict[Purpose, str]:
    """A code on the phone for each purpose."""
    texts: dict[Purpose, str] = {}
    for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE):
        texts[purpose] = full.text(purpose)
    full.name_number()
    texts[Purpose.OPT_IN] = full.phone.code()
    return texts


def wrong_at(person: Person, by: By, purpose: Purpose, texted: dict[Purpose, str], n: int) -> str:
    """The n-th wrong code of its kind."""
    if by is not By.TEXT:
        return person.wrong(by)
    size = len(texted[purpose])
    return f"{(int(texted[purpose]) + n) % 10**size:0{size}d}"


def test_all_doors_move_one_count(full: Person, texted: dict[Purpose, str]) -> None:
    """S-05: it locks at the tenth, whatever the mix."""
    for n in range(1, 11):
        door, by, purpose = DOORS[n % len(DOORS)]
        assert door(full, wrong_at(full, by, purpose, texted, n)) == CodeOutcome.OTP_INCORRECT
        assert full.user.otp_failures == n

    assert full.user.otp_locked_until == timezone.now() + timedelta(seconds=900)
    for door, by, purpose in DOORS:
        right = texted[purpose] if by is By.TEXT else full.right(by)
        assert door(full, right) == CodeOutcome.LOCKED, (door.__name__, by)
    assert full.user.otp_failures == 10
    assert full.left() == 10


@pytest.mark.parametrize(("door", "by", "purpose"), DOORS, ids=NAMES)
def test_a_right_code_at_any_door_starts_the_count_again(
    full: Person, texted: dict[Purpose, str], door: Door, by: By, purpose: Purpose
) -> None:
    full.fail_before(7)
    door(full, texted[purpose] if by is By.TEXT else full.right(by))
    assert full.user.otp_failures == 0


# -- by access keys and tokens, which have a count of their own ----------------------


def test_what_a_call_counts_bars_no_sign_in(full: Person, texted: dict[Purpose, str]) -> None:
    """S-07: neither its lock nor its disabling. Nor can it use up the tries of another code."""
    for failures in (9, 49):
        User.objects.filter(pk=full.user.pk).update(
            program_failures=failures, program_locked_until=None
        )
        guess = wrong(texted[Purpose.OPT_OUT])
        assert at_the_clients_opt_out(full, guess) == CodeOutcome.OTP_INCORRECT
        assert newest_event().data["programs"] is True
        assert full.user.programs.bars(timezone.now())
        assert (full.user.otp_failures, full.user.own.bars(timezone.now())) == (0, False)
        assert full.check(full.right(By.RECOVERY)).outcome is CodeOutcome.OK
        full.recovery.pop(0)
    assert at_the_clients_opt_out(full, texted[Purpose.OPT_OUT]) == CodeOutcome.FACTOR_DISABLED
    sent = challenges.challenge(full.user, Purpose.OPT_OUT, origin=ORIGIN)
    assert (sent.outcome, sent.facts["count"]) == (SendOutcome.FACTOR_DISABLED, 50)
    assert full.check(texted[Purpose.SIGN_IN]).outcome is CodeOutcome.OK
    assert full.user.programs.failures == 50  # no sign-in starts it again
    assert notices(full.user)[-4:] == ["programs_locked", "recovered", "programs_off", "recovered"]


def test_what_bars_the_person_bars_their_programs(full: Person, texted: Any) -> None:
    """S-06."""
    full.lock(300)
    assert at_the_clients_opt_out(full, texted[Purpose.OPT_OUT]) == CodeOutcome.LOCKED
    full.clock.shift(300)
    assert at_the_clients_opt_out(full, texted[Purpose.OPT_OUT]) == CodeOutcome.OK
    assert full.user.otp_failures == 10  # a right code starts the count again that it moves


# -- beyond NIST's ceiling -----------------------------------------------------------


def test_one_code_of_an_app_is_enough_up_to_the_ceiling(full: Person) -> None:
    """NIST SP 800-63B-4 3.2.2: at most 100."""
    full.disable()
    full.fail_before(99)
    assert full.check(full.app_code()).by is By.APP
    assert (full.user.otp_failures, full.user.otp_disabled_at) == (0, None)


@pytest.mark.parametrize("programs", [0, 50])
def test_beyond_the_ceiling_two_codes_of_an_app_open(full: Person, programs: int) -> None:
    """G-03. The owner is not shut out, though somebody with the password guesses and guesses on."""
    assert MAX_FAILURES == 100
    full.disable()
    full.fail_before(99 - programs)
    User.objects.filter(pk=full.user.pk).update(program_failures=programs)
    for _ in range(3):
        assert full.check(full.wrong(By.APP), origin=OTHER_PAGE).outcome == "otp_incorrect"
        full.clock.shift(3600)  # past the lock of a tenth
    outcomes = []
    for _ in range(2):
        full.clock.shift(30)
        outcomes.append(full.check(full.app_code()).outcome)
    assert outcomes == [CodeOutcome.OTP_INCORRECT, CodeOutcome.OK]
    assert (full.user.otp_failures, full.user.otp_disabled_at) == (0, None)
    full.clock.shift(30)
    assert full.check(full.app_code()).by is By.APP


def test_a_recovery_code_never_ends(full: Person) -> None:
    full.disable()
    full.fail_before(1000)
    assert full.check(full.recovery[0]).by is By.RECOVERY
    assert full.user.otp_failures == 0


def test_the_count_locks_on_when_its_column_is_full(full: Person, settings: Settings) -> None:
    """Else a wrong code would fail, and not count."""
    settings.OPTIN_LOCK_AFTER = 2
    full.fail_before(32_766)
    for _ in range(2):
        assert full.check(full.wrong(By.RECOVERY)).outcome is CodeOutcome.OTP_INCORRECT
    assert full.user.otp_failures == 32_766
    assert full.user.own.locked_for(timezone.now())


# -- what resets nothing -----------------------------------------------------------


def password_again(person: Person) -> None:
    assert passwords.confirm(person.user, PASSWORD, origin=PAGE).outcome == "signed_in"


def reset_asked(person: Person) -> None:
    assert passwords.ask_reset(person.user.email, origin=PAGE)


def taken_back(person: Person) -> None:
    notice = Notice.objects.filter(kind=Notice.Kind.APP_ADDED).latest("pk")
    assert not_me.disown(notice, PASSWORD, origin=PAGE).outcome == "signed_in"


@pytest.mark.parametrize(
    "event",
    [
        password_again,
        reset_asked,
        Person.add_app,
        Person.make_recovery_codes,
        Person.name_number,
        taken_back,
    ],
)
def test_the_count_survives(full: Person, event: Callable[[Person], object]) -> None:
    """S-05."""
    full.fail_before(7)
    event(full)
    assert full.user.otp_failures == 7


# -- locked (S-06) -----------------------------------------------------------------


@pytest.mark.parametrize("by", CODES)
def test_locked_right_and_wrong_are_one(full: Person, by: By) -> None:
    """... and the right one is not used up."""
    right = full.right(by)
    full.lock(300)
    answers: list[Verification] = []
    for code, told in ((right, one_event), (full.wrong(by), one_repeat)):
        with told(Kind.CHECK, CodeOutcome.LOCKED):
            answers.append(full.check(code))

    assert answers[0] == answers[1]
    assert answers[0] == Verification(CodeOutcome.LOCKED, retry_after=timedelta(seconds=300))
    assert full.user.otp_failures == 10
    # The same code, or for the app the one of then, serves when the lock is over.
    full.clock.shift(300)
    assert full.check(full.app_code() if by is By.APP else right).by is by
    assert full.left() == 10 - (by is By.RECOVERY)


def test_password_change_works_while_locked(full: Person) -> None:
    """S-06."""
    full.lock()
    passwords.choose(full.user, "quite another one", origin=PAGE, standing=proved(None))
    assert full.user.check_password("quite another one")
    assert passwords.ask_reset(full.user.email, origin=PAGE)


# -- disabled and suspended (S-07a) ------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("by", CODES)
@pytest.mark.parametrize("purpose", [Purpose.SIGN_IN, Purpose.CHANGE, Purpose.OPT_OUT])
@pytest.mark.parametrize("state", [Person.disable, Person.suspend], ids=["disabled", "suspended"])
def test_what_leads_out(
    full: Person, state: Callable[[Person], None], purpose: Purpose, by: By
) -> None:
    """S-07a: a text does not, an app and a recovery code do."""
    code = full.right(by, purpose)
    state(full)
    number, texts = full.number, len(full.phone.messages)

    if purpose is Purpose.OPT_OUT:
        outcome = full.turn_off(code).outcome
    else:
        outcome = full.check(code, purpose).outcome

    if by is By.TEXT:
        assert outcome == CodeOutcome.FACTOR_DISABLED
        assert (full.number, full.has) == (number, {By.TEXT, By.APP})
        assert len(full.phone.messages) == texts
    else:
        assert outcome == CodeOutcome.OK
        assert full.user.otp_disabled_at is None


@pytest.mark.parametrize("by", [By.APP, By.RECOVERY])
def test_a_suspension_outlives_a_right_code(full: Person, by: By) -> None:
    """It is staff's to end; a disabling ends."""
    full.suspend()
    assert full.check(full.right(by)).outcome is CodeOutcome.OK
    assert full.number
    assert full.number.suspended_at
    assert (
        challenges.challenge(full.user, Purpose.SIGN_IN, origin=PAGE).outcome == "factor_disabled"
    )


def test_a_change_that_a_text_began_ends_with_the_suspension(full: Person) -> None:
    """Its code was sent before; it lets nothing through after."""
    new = full.name_number(by=By.TEXT)
    code = full.phone.code()
    number = full.number
    full.suspend()

    assert full.prove_number(new, code).outcome is CodeOutcome.FACTOR_DISABLED

    assert full.number == number
    with pytest.raises(FactorNeeded):
        opt_ins.send_again(full.user, new, origin=PAGE, standing=proved(By.TEXT))
    assert not PendingOtp.objects.filter(provider_user=new).open().exists()


def test_an_app_alone_is_a_factor(person: Person) -> None:
    """No number: a texted code is nothing, and no failure."""
    person.set_up(By.APP)
    assert challenges.challenge(person.user, Purpose.SIGN_IN, origin=PAGE).outcome == "not_opted_in"
    data = {"why": "no number", "purpose": "sign_in"}
    with one_event(Kind.CHECK, CodeOutcome.OTP_INCORRECT, data):
        assert person.check("1234567").outcome is CodeOutcome.OTP_INCORRECT
    assert person.user.otp_failures == 0
    with one_event(Kind.OPT_OUT, CodeOutcome.NOT_OPTED_IN):
        assert at_the_clients_opt_out(person, "1234567") == CodeOutcome.NOT_OPTED_IN
    assert person.has == {By.APP}


def test_a_client_opts_out_by_text_alone(full: Person) -> None:
    """Neither app nor recovery code: the call proves the phone. The app stays."""
    right = full.text(Purpose.OPT_OUT)
    with pytest.raises(Exception, match="digits of the text message"):
        at_the_clients_opt_out(full, full.recovery[0])
    with pytest.raises(Exception, match="digits of the text message"):
        at_the_clients_opt_out(full, full.app_code())
    assert at_the_clients_opt_out(full, wrong(right)) == CodeOutcome.OTP_INCORRECT
    assert at_the_clients_opt_out(full, right) == CodeOutcome.OK
    assert full.has == {By.APP}
    assert full.left() == 10


def test_the_last_number_takes_the_recovery_codes_along(person: Person) -> None:
    person.set_up(By.TEXT, By.RECOVERY)
    assert at_the_clients_opt_out(person, person.text(Purpose.OPT_OUT)) == CodeOutcome.OK
    assert not RecoveryCode.objects.exists()


# -- the same guess of one session (P-12) ------------------------------------------


def turn_number_off(person: Person, code: str, origin: object = PAGE) -> Verification:
    return person.turn_off(code, Removal.NUMBER, origin)  # type: ignore[arg-type]


REPEATS = [(by, purpose) for by in CODES for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT)]


def guess(person: Person, code: str, purpose: Purpose, origin: object = PAGE) -> Verification:
    if purpose is Purpose.OPT_OUT:
        return turn_number_off(person, code, origin)
    return person.check(code, purpose, origin)  # type: ignore[arg-type]


@pytest.mark.parametrize(("by", "purpose"), REPEATS)
def test_a_wrong_code_sent_twice_is_one_guess(full: Person, by: By, purpose: Purpose) -> None:
    full.right(by, purpose)
    code = full.wrong(by)
    first = guess(full, code, purpose)
    events = AuditEvent.objects.count()

    second = guess(full, code, purpose)

    assert (first.outcome, first.repeated) == (CodeOutcome.OTP_INCORRECT, False)
    assert (second.outcome, second.repeated) == (CodeOutcome.OTP_INCORRECT, True)
    assert full.user.otp_failures == 1
    assert AuditEvent.objects.count() == events
    if by is By.TEXT and purpose is Purpose.SIGN_IN:
        assert first.tries_left == second.tries_left == 4


@pytest.mark.parametrize(("by", "purpose"), REPEATS)
def test_a_right_code_sent_twice_leads_on(full: Person, by: By, purpose: Purpose) -> None:
    """P-12."""
    code = full.right(by, purpose)
    first = guess(full, code, purpose)
    events, left = AuditEvent.objects.count(), full.left()

    second = guess(full, code, purpose)

    assert (first.outcome, first.by, first.repeated) == (CodeOutcome.OK, by, False)
    assert (second.outcome, second.by, second.repeated) == (CodeOutcome.OK, by, True)
    assert (AuditEvent.objects.count(), full.left(), full.user.otp_failures) == (events, left, 0)


def after(seconds: float) -> Callable[[Person], None]:
    return lambda person: person.clock.shift(seconds)


def sessions_ended(person: Person) -> None:
    person.user.end_sign_ins(timezone.now())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "origin", "purpose", "repeated"),
    [
        pytest.param(after(59.9), PAGE, Purpose.SIGN_IN, True, id="59.9-s-later"),
        pytest.param(after(60), PAGE, Purpose.SIGN_IN, False, id="60-s-later"),
        pytest.param(after(-5), PAGE, Purpose.SIGN_IN, True, id="asked-before-the-lock"),
        pytest.param(after(-5.1), PAGE, Purpose.SIGN_IN, False, id="clock-went-back"),
        pytest.param(after(0), OTHER_PAGE, Purpose.SIGN_IN, False, id="other-session"),
        pytest.param(after(0), ORIGIN, Purpose.SIGN_IN, False, id="client"),
        pytest.param(after(0), PAGE, Purpose.CHANGE, False, id="other-purpose"),
        pytest.param(after(0), PAGE, Purpose.OPT_OUT, False, id="turning-off"),
        pytest.param(sessions_ended, PAGE, Purpose.SIGN_IN, False, id="sessions-ended"),
    ],
)
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_what_is_a_repetition(
    full: Person,
    given: Callable[[Person], None],
    origin: object,
    purpose: Purpose,
    repeated: bool,
    right: bool,
) -> None:
    code = full.recovery[0] if right else full.wrong(By.RECOVERY)
    full.check(code)
    failures = full.user.otp_failures
    given(full)

    result = guess(full, code, purpose, origin)

    assert result.repeated is repeated
    if not repeated:
        assert result.outcome is CodeOutcome.OTP_INCORRECT
        assert full.user.otp_failures == failures + 1


def test_another_removal_is_another_guess(full: Person) -> None:
    """... or it would be said to be done and is not."""
    code = full.app_code()
    assert full.turn_off(code, Removal.NUMBER).outcome is CodeOutcome.OK
    again = full.turn_off(code, Removal.APP)
    assert (again.outcome, again.repeated) == (CodeOutcome.OTP_INCORRECT, False)
    assert full.has == {By.APP}


def test_another_number_is_another_guess(person: Person) -> None:
    """The code of the first number, entered for the second, is still right for the first."""
    first = person.name_number(OTHER_NUMBER)
    code = person.phone.code()
    second = person.name_number(THIRD_NUMBER)
    assert person.prove_number(second, code).outcome is CodeOutcome.OTP_INCORRECT
    assert person.prove_number(second, code).repeated
    assert person.prove_number(first, code).outcome is CodeOutcome.OK
    assert person.prove_number(first, code).repeated


def test_an_app_confirmed_twice_leads_on_in_its_session_only(person: Person) -> None:
    """Else the last code, seen over a shoulder, would be a proof that costs no guess."""
    person.begin_app()
    code = person.app_code()
    assert person.confirm_app(code).repeated is False
    events = AuditEvent.objects.count()
    again = person.confirm_app(code)
    assert (again.outcome, again.repeated) == (FactorOutcome.OK, True)
    assert AuditEvent.objects.count() == events
    elsewhere = person.confirm_app(code, OTHER_PAGE)
    assert (elsewhere.outcome, elsewhere.repeated) == (FactorOutcome.NOTHING_WAITING, False)
