"""One table is the truth about an attempt: what is answered, counted and recorded."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.errors import MalformedCode
from optin.models import AuditEvent, File, PendingOtp, ProviderUser, Purpose, User
from optin.operations import opt_ins, staff_actions
from optin.outcomes import CodeOutcome
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.trail import audit_trail_full, one_event
from tests.kit.world import World, nothing_happens, rows

pytestmark = pytest.mark.django_db

Given = Callable[[World], object]
Kind = AuditEvent.Kind
KIND_OF = {
    Purpose.OPT_IN: Kind.VERIFY_OPT_IN,
    Purpose.SIGN_IN: Kind.CHECK,
    Purpose.OPT_OUT: Kind.OPT_OUT,
    Purpose.CHANGE: Kind.CHECK,
}


def wait(seconds: float) -> Given:
    return lambda world: world.clock.shift(timedelta(seconds=seconds))


def fail(times: int) -> Given:
    return lambda world: world.guess_wrong(times)


def fail_and_wait(world: World) -> None:
    world.guess_wrong(5)
    world.clock.shift(600)


def lock_and_disable(world: World) -> None:
    world.lock()
    world.disable()


def end_the_lock(world: World) -> None:
    world.set_count(failures=10, locked_until=timezone.now())


def close(world: World) -> None:
    PendingOtp.objects.close(timezone.now(), PendingOtp.Closed.SUPERSEDED)


nothing = wait(0)
RIGHT, WRONG = World.code, World.wrong
FAILED_ONCE = {"try": 1, "failures": 1}


# A code for a change is judged as one for signing in.
@pytest.mark.parametrize(
    "any_world", [Purpose.OPT_IN, Purpose.SIGN_IN, Purpose.OPT_OUT], indirect=True
)
@pytest.mark.parametrize(
    ("given", "guess", "expected", "tries", "failures", "data"),
    [
        pytest.param(nothing, RIGHT, CodeOutcome.OK, 0, 0, {}, id="right"),
        pytest.param(nothing, WRONG, CodeOutcome.OTP_INCORRECT, 1, 1, FAILED_ONCE, id="wrong"),
        pytest.param(fail(4), RIGHT, CodeOutcome.OK, 4, 0, {}, id="right-at-the-last-try"),
        pytest.param(
            fail(4),
            WRONG,
            CodeOutcome.OTP_INCORRECT,
            5,
            5,
            {"try": 5, "failures": 5},
            id="fifth-wrong",
        ),
        pytest.param(fail(5), RIGHT, CodeOutcome.OTP_EXHAUSTED, 5, 5, {}, id="right-but-exhausted"),
        pytest.param(wait(599.9), RIGHT, CodeOutcome.OK, 0, 0, {}, id="right-at-599.9-s"),
        pytest.param(wait(600), RIGHT, CodeOutcome.OTP_EXPIRED, 0, 0, {}, id="right-at-600-s"),
        pytest.param(fail_and_wait, RIGHT, CodeOutcome.OTP_EXPIRED, 5, 5, {}, id="expired-first"),
        pytest.param(wait(-5), RIGHT, CodeOutcome.OK, 0, 0, {}, id="clock-5-s-back"),
        pytest.param(wait(-5.1), RIGHT, CodeOutcome.OTP_EXPIRED, 0, 0, {}, id="clock-jumped-back"),
        pytest.param(World.lock, RIGHT, CodeOutcome.LOCKED, 0, 10, {}, id="right-but-locked"),
        pytest.param(end_the_lock, RIGHT, CodeOutcome.OK, 0, 0, {}, id="right-when-the-lock-ends"),
        pytest.param(
            World.disable, RIGHT, CodeOutcome.FACTOR_DISABLED, 0, 50, {}, id="right-disabled"
        ),
        pytest.param(
            lock_and_disable,
            RIGHT,
            CodeOutcome.FACTOR_DISABLED,
            0,
            50,
            {},
            id="disabled-before-locked",
        ),
        pytest.param(
            close,
            WRONG,
            CodeOutcome.OTP_INCORRECT,
            0,
            0,
            {"why": "nothing pending"},
            id="superseded",
        ),
    ],
)
def test_outcome(
    any_world: World,
    given: Given,
    guess: Callable[[World], str],
    expected: CodeOutcome,
    tries: int,
    failures: int,
    data: dict[str, object],
) -> None:
    code = guess(any_world)
    given(any_world)
    purpose = any_world.purpose
    row = any_world.row
    active_before = row.confirmed
    if "failures" in data:
        data = data | any_world.marks
    if KIND_OF[purpose] == Kind.CHECK:
        by = {"by": "text"} if expected is CodeOutcome.OK else {}
        data = {**data, **by, "purpose": purpose}
    facts = {
        "user_id": any_world.user.pk,
        "provider_user_id": row.pk,
        "number_digest": row.number_digest,
        "last_three": "156",
        "face": ORIGIN.face,
        "client": ORIGIN.client,
        "ip": ORIGIN.ip,
        "at": timezone.now(),
    }

    with one_event(KIND_OF[purpose], expected, data, **facts):
        result = any_world.guess(code)

    assert result.outcome is expected
    assert (any_world.pending.tries, any_world.failures) == (tries, failures)
    row = any_world.row
    if expected is CodeOutcome.OK:
        assert any_world.pending.closed_as == PendingOtp.Closed.VERIFIED or not row.confirmed
        assert any_world.pending.closed_at == timezone.now()
        assert row.confirmed is (purpose is not Purpose.OPT_OUT)
    else:
        assert row.confirmed is active_before
    assert (result.retry_after is not None) is (expected is CodeOutcome.LOCKED)


# -- ids of others -----------------------------------------------------------------


@pytest.fixture
def foreign(world: World, stranger: User, file: File) -> ProviderUser:
    """A stranger's pending number under the same file."""
    opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    return ProviderUser.objects.get(user=stranger)


def test_unknown_and_foreign_ids_answer_alike(
    world: World, foreign: ProviderUser, other_file: File
) -> None:
    """S-09: one answer, the same statements, no count; S-33: whatever the code."""
    shapes = []
    answers = []
    # The first refusal of an hour writes an event, whichever id it was.
    opt_ins.verify_opt_in(world.user, world.file, 1_000_000, "0000000", origin=ORIGIN)
    for file, pk in (
        (world.file, 2_147_483_647),
        (world.file, 0),
        (world.file, foreign.pk),
        (other_file, world.row.pk),
    ):
        for code in (world.phone.code_to(OTHER_NUMBER), world.phone.code_to(NUMBER)):
            with CaptureQueriesContext(connection) as queries:
                result = opt_ins.verify_opt_in(world.user, file, pk, code, origin=ORIGIN)
            answers.append((result.outcome, result.tries_left, result.retry_after))
            # Their values alone differ.
            shapes.append([re.sub("'[^']*'|[0-9]+", "?", query["sql"]) for query in queries])

    assert set(answers) == {(CodeOutcome.OTP_INCORRECT, None, None)}
    assert all(shape == shapes[0] for shape in shapes)
    assert world.failures == 0
    assert not ProviderUser.objects.filter(confirmed=True).exists()
    assert set(PendingOtp.objects.values_list("tries", flat=True)) == {0}


# -- spellings ---------------------------------------------------------------------


def test_a_wrong_code_in_two_spellings_is_two_guesses(world: World) -> None:
    """S-10: what was normalised is what is counted."""
    world.guess(" ".join(world.wrong()))
    world.guess("-".join(world.wrong()))
    assert world.failures == 2


def test_a_malformed_code_is_no_guess(any_world: World) -> None:
    """It leaves nothing: no count, no event, no closed code (S-12 for the empty ones)."""
    for text in ("", "-", "12345a7", "1234567\0", "+1234567", "123\u200b4567", "\ud800234567"):
        with nothing_happens(any_world.phone), pytest.raises(MalformedCode):
            any_world.guess(text)


@pytest.mark.parametrize("text", ["0000000", "       0000000", "000-0000"])
def test_zeros_never_equal_an_unset_code(world: World, text: str) -> None:
    """S-12, with nothing pending, with a code, and with a used one."""
    assert world.code() != "0000000"
    assert world.guess(text).outcome is CodeOutcome.OTP_INCORRECT
    close(world)
    assert world.guess(text).outcome is CodeOutcome.OTP_INCORRECT
    assert not world.row.confirmed


# -- audit -------------------------------------------------------------------------


def suspend(world: World) -> object:
    return staff_actions.suspend(world.user, reason="r", origin=ORIGIN)


def resume(world: World) -> object:
    return staff_actions.resume(world.user, reason="r", origin=ORIGIN)


def revoke(world: World) -> object:
    return staff_actions.revoke(world.user, reason="r", origin=ORIGIN)


def unlock(world: World) -> object:
    return staff_actions.unlock(world.user, reason="r", origin=ORIGIN)


def guess_right(world: World) -> object:
    return world.guess(world.code())


def guess_wrong(world: World) -> object:
    return world.guess(world.wrong())


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation", [guess_right, guess_wrong, World.ask, suspend, resume, revoke, unlock]
)
def test_without_its_event_nothing_happens(any_world: World, operation: Given) -> None:
    """S-52. That each operation does something otherwise is seen right after it."""
    any_world.clock.shift(60)  # past the resend wait
    with (
        audit_trail_full(),
        nothing_happens(any_world.phone),
        pytest.raises(DatabaseError),
    ):
        operation(any_world)

    before = rows()
    operation(any_world)
    assert rows() != before
