"""A code is bound to number, purpose, file, provider user and its own row (S-08)."""

from collections.abc import Callable
from itertools import permutations

import pytest
from django.conf import LazySettings

from optin.keys import UndecryptableError
from optin.models import File, ProviderUser, Purpose, User
from optin.operations import opt_ins
from optin.outcomes import CodeOutcome, SendOutcome
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.trail import sql
from tests.kit.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs(world: World, stranger: User) -> World:
    """A stranger with a code of their own for another number."""
    other = World(stranger, world.file, world.phone, world.clock)
    other.opt_in(OTHER_NUMBER)
    return other


def copy_number(mine: World, theirs: World) -> None:
    """Turn their number, with their pending code, into mine."""
    sql("DELETE FROM optin_gatewaytry")
    sql("DELETE FROM optin_smsmessage")
    sql("DELETE FROM optin_pendingotp WHERE id = %s", theirs.pending.pk)
    sql("DELETE FROM optin_provideruser WHERE id = %s", theirs.row.pk)
    copy_digest_of = ProviderUser.digest_of(OTHER_NUMBER)
    sql("UPDATE optin_provideruser SET number_digest = %s", copy_digest_of)


def copy_nonce(mine: World, theirs: World) -> None:
    """Give my pending code the nonce of one whose text I have."""
    nonce = theirs.pending.nonce
    sql("UPDATE optin_pendingotp SET nonce = %s WHERE id = %s", "0" * 40, theirs.pending.pk)
    sql("UPDATE optin_pendingotp SET nonce = %s WHERE id = %s", nonce, mine.pending.pk)


def hang_over(mine: World, theirs: World) -> None:
    """Hang their pending row, whose text I have, under my number."""
    pending = theirs.pending
    sql("DELETE FROM optin_gatewaytry")
    sql("DELETE FROM optin_smsmessage")
    sql("DELETE FROM optin_pendingotp WHERE id = %s", mine.pending.pk)
    sql(
        "UPDATE optin_pendingotp SET provider_user_id = %s WHERE id = %s",
        mine.row.pk,
        pending.pk,
    )


@pytest.mark.parametrize(
    ("swap", "number"),
    [
        (copy_nonce, OTHER_NUMBER),
        (hang_over, OTHER_NUMBER),
        (copy_nonce, NUMBER),
        (copy_number, NUMBER),
    ],
)
def test_no_code_of_before_is_right_after_a_swap(
    world: World, theirs: World, swap: Callable[[World, World], None], number: str
) -> None:
    code = world.phone.code_to(number)
    swap(world, theirs)
    assert world.guess(code).outcome is CodeOutcome.OTP_INCORRECT
    assert not world.row.confirmed


@pytest.mark.parametrize(
    ("purpose", "other"), list(permutations([Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE], 2))
)
def test_a_code_for_one_purpose_fails_for_another(
    active: ProviderUser, world: World, purpose: Purpose, other: Purpose
) -> None:
    """By request where both are pending, and by SQL that renames the purpose."""
    world.purpose = purpose
    world.ask()
    code = world.code()
    world.purpose = other
    assert world.guess(code).outcome is CodeOutcome.OTP_INCORRECT  # nothing pending
    sql("UPDATE optin_pendingotp SET purpose = %s WHERE closed_at IS NULL", other)
    assert world.guess(code).outcome is CodeOutcome.OTP_INCORRECT
    assert world.failures == 1
    sql("UPDATE optin_pendingotp SET purpose = %s WHERE closed_at IS NULL", purpose)
    world.purpose = purpose
    assert world.guess(code).outcome is CodeOutcome.OK


@pytest.mark.parametrize("file_id", [888, None])
def test_a_code_for_one_file_fails_under_another(
    world: World, other_file: File, file_id: int | None
) -> None:
    sql("UPDATE optin_pendingotp SET file_id = %s", file_id)
    assert world.guess(world.code()).outcome is CodeOutcome.OTP_INCORRECT
    assert not world.row.confirmed


def test_an_opt_in_under_another_file_supersedes(world: World, other_file: File) -> None:
    """The row moves there with its counts; the first text's code is dead everywhere."""
    first, code = world.row, world.code()
    world.guess_wrong()
    world.clock.shift(30)
    moved = opt_ins.opt_in(world.user, other_file, NUMBER, origin=ORIGIN)

    assert (moved.outcome, moved.provider_user_id) == (SendOutcome.SENT, first.pk)
    assert world.code() != code
    assert world.row.file == other_file
    assert world.guess(world.code()).outcome is CodeOutcome.OTP_INCORRECT  # under the old file
    world.file = other_file
    assert world.failures == 1
    assert world.guess(code).outcome is CodeOutcome.OTP_INCORRECT
    assert world.failures == 2
    assert world.guess(world.code()).outcome is CodeOutcome.OK


def test_a_refused_opt_in_under_another_file_moves_nothing(world: World, other_file: File) -> None:
    waiting = opt_ins.opt_in(world.user, other_file, NUMBER, origin=ORIGIN)
    assert waiting.outcome is SendOutcome.SEND_LIMIT
    assert world.row.file == world.file
    assert world.guess(world.code()).outcome is CodeOutcome.OK


def test_a_number_opens_only_in_its_own_users_row(world: World, theirs: World) -> None:
    """S-51."""
    sealed = world.row.number_encrypted
    assert NUMBER not in sealed
    sql(
        "UPDATE optin_provideruser SET number_encrypted = %s WHERE id = %s",
        sealed,
        theirs.row.pk,
    )
    with pytest.raises(UndecryptableError):
        theirs.row.open_number()
    assert world.row.open_number() == NUMBER


def test_a_number_copied_to_another_user_gets_no_text(world: World, theirs: World) -> None:
    """Whoever writes the database cannot have their code sent to a number of another."""
    sql(
        "UPDATE optin_provideruser SET number_encrypted = %s WHERE id = %s",
        world.row.number_encrypted,
        theirs.row.pk,
    )
    theirs.clock.shift(30)
    before = len(world.phone.messages)
    assert theirs.opt_in(OTHER_NUMBER).outcome is SendOutcome.RESENT
    assert len(world.phone.messages) == before


# -- in mid-challenge (S-65) -------------------------------------------------------


def test_a_rotated_ring_breaks_no_pending_code(any_world: World, settings: LazySettings) -> None:
    """S-65."""
    code = any_world.code()
    settings.OPTIN_KEYS = {"new": b"n" * 32, **settings.OPTIN_KEYS}

    any_world.clock.shift(30)
    assert any_world.ask().outcome is SendOutcome.RESENT
    assert any_world.code() == code
    assert any_world.guess(code).outcome is CodeOutcome.OK


@pytest.mark.parametrize(("before", "after"), [(7, 6), (6, 7)])
def test_a_new_length_breaks_no_pending_code(
    world: World, settings: LazySettings, before: int, after: int
) -> None:
    """S-65."""
    world.clock.shift(600)
    settings.OPTIN_OTP_DIGITS = before
    world.opt_in()
    code = world.code()
    assert len(code) == before
    settings.OPTIN_OTP_DIGITS = after

    assert world.guess(world.wrong()).outcome is CodeOutcome.OTP_INCORRECT
    assert world.failures == 1
    world.clock.shift(30)
    assert world.opt_in().outcome is SendOutcome.RESENT
    assert world.code() == code
    # The new length is well-formed, but could not be right: it costs nothing.
    assert world.guess("0" * after).outcome is CodeOutcome.OTP_INCORRECT
    assert (world.failures, world.pending.tries) == (1, 1)
    assert world.guess(code).outcome is CodeOutcome.OK


def test_a_ciphertext_belongs_to_its_own_number(world: World) -> None:
    """Copied to another row of the same user, it does not open there."""
    world.opt_in(NUMBER)
    world.opt_in(OTHER_NUMBER)
    first, second = ProviderUser.objects.filter(user=world.user).order_by("pk")
    ProviderUser.objects.filter(pk=second.pk).update(number_encrypted=first.number_encrypted)
    second.refresh_from_db()

    with pytest.raises(UndecryptableError):
        second.open_number()


def test_a_code_whose_key_is_gone_has_expired(world: World, settings: LazySettings) -> None:
    code = world.code()
    settings.OPTIN_KEYS = {"new": b"n" * 32}

    assert world.guess(code).outcome is CodeOutcome.OTP_EXPIRED
