"""``keys redigest``: a new digest key, while the service stands still."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core.management import CommandError
from django.utils import timezone

from optin import keys
from optin.audit import seals
from optin.audit.seals import Content
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Canary,
    File,
    Guard,
    KnownNetwork,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    SendCounter,
    User,
)
from optin.operations import authenticators, challenges, send_controls
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome
from tests.keys.rings import DIGEST, NEW, NEW_DIGEST, OLD, add_numbers
from tests.kit.apps import WEB, add_app, standing
from tests.kit.commands import run
from tests.kit.people import NUMBER, OTHER_NUMBER
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World, nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = Origin(Face.COMMAND)


@pytest.fixture
def stopped(ring: LazySettings, world: World) -> World:
    """``NUMBER`` is active; the service is stopped for a while, and has a new digest key."""
    assert world.guess(world.code()).outcome is CodeOutcome.OK
    world.clock.shift(61)
    ring.OPTIN_DIGEST_KEY = NEW_DIGEST
    return world


def redigest(*options: str) -> str:
    return run("keys", "redigest", "--offline", *options)


def test_all_goes_on_with_the_new_key(stopped: World, stranger: User) -> None:
    """Found again, read again, opted out, opted in: nobody notices."""
    row = stopped.row
    with one_event(AuditEvent.Kind.KEYS, "redigested", face=Face.COMMAND, user_id=None):
        output = redigest()

    assert (
        output == "Made the digests of 1 numbers anew; 0 were left; 0 codes on their way ended.\n"
    )
    told = {"numbers": 1, "unreadable": 0, "codes_closed": 0, "seals": 0}
    assert newest_event().data == {**told, "sealed": Content().digest()}
    assert newest_event().key_id == keys.digest_key_id()
    assert (Canary.objects.get().has_digest(), Canary.objects.get().opens()) == (True, True)
    found = ProviderUser.objects.active_owner(ProviderUser.digest_of(NUMBER))
    assert found
    assert (found.pk, found.open_number()) == (row.pk, NUMBER)
    assert not ProviderUser.objects.active_owner(row.number_digest)
    for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.OPT_IN):
        stopped.purpose = purpose
        assert stopped.ask().outcome is SendOutcome.SENT
        assert stopped.guess(stopped.code()).outcome is CodeOutcome.OK
    assert stopped.row.pk == row.pk
    theirs = World(stranger, stopped.file, stopped.phone, stopped.clock)
    assert theirs.opt_in(NUMBER).outcome is SendOutcome.SENT
    assert theirs.guess(theirs.code()).outcome is CodeOutcome.MOBILE_NUMBER_IN_USE


def test_codes_and_counts_end(stopped: World, settings: LazySettings) -> None:
    """A code is bound to the old digest; counts and known networks are kept under it."""
    new, settings.OPTIN_DIGEST_KEY = settings.OPTIN_DIGEST_KEY, DIGEST
    KnownNetwork.objects.remember(stopped.user.pk, "192.0.2.0/24", timezone.now())
    stopped.purpose = Purpose.SIGN_IN
    stopped.ask()
    code = stopped.code()
    stopped.clock.shift(61)
    settings.OPTIN_DIGEST_KEY = new

    assert "1 codes on their way ended" in redigest()

    assert PendingOtp.objects.latest("pk").closed_as == PendingOtp.Closed.SUPERSEDED
    assert not SendCounter.objects.exists()
    assert not KnownNetwork.objects.exists()
    assert stopped.guess(code).outcome is CodeOutcome.OTP_INCORRECT
    assert stopped.failures == 0


def test_guards_follow_their_numbers(stopped: World, settings: LazySettings) -> None:
    """S-45: nobody else may remember a STOP. What is about numbers without a row ends."""
    new, settings.OPTIN_DIGEST_KEY = settings.OPTIN_DIGEST_KEY, DIGEST
    now, week = timezone.now(), timedelta(days=7)
    for number in (NUMBER, OTHER_NUMBER):
        assert Guard.objects.opt_out(ProviderUser.digest_of(number), number[-3:], now)
        send_controls.deny(
            send_controls.Target.number(number), week, reason="Ticket 1", origin=COMMAND
        )
        send_controls.keep_safe(
            send_controls.Target.prefix(number), week, reason="Ticket 1", origin=COMMAND
        )
    send_controls.stop_texts(reason="Ticket 1", origin=COMMAND)
    settings.OPTIN_DIGEST_KEY = new

    redigest()

    left = Guard.objects.order_by("kind").values_list("kind", "key", "last_three")
    digest = ProviderUser.digest_of(NUMBER)
    assert list(left) == [("deny", digest, "156"), ("no_texts", digest, "156"), ("stop", "", "")]


def test_the_trail_stays_as_it_was_written(stopped: World, settings: LazySettings) -> None:
    """It is append-only: with the old key, its events are found and proved."""
    before = list(AuditEvent.objects.order_by("pk").values())
    redigest()
    assert list(AuditEvent.objects.order_by("pk").values())[: len(before)] == before

    event = AuditEvent.objects.order_by("pk")[0]
    assert event.key_id != keys.digest_key_id()
    settings.OPTIN_DIGEST_KEY = b"d" * 32
    assert event.key_id == keys.digest_key_id()
    assert event.content_digest() == event.digest
    assert event.number_digest == ProviderUser.digest_of(NUMBER)


def test_apps_and_recovery_codes_go_on(stopped: World) -> None:
    """Their digests and secrets know nothing of the digest key."""
    app = add_app(stopped.user)
    user = User.objects.get(pk=stopped.user.pk)
    codes = authenticators.new_recovery_codes(user, standing=standing())
    authenticators.keep_recovery_codes(
        user,
        codes,
        instead_of=0,
        standing=standing(),
        origin=WEB,
    )
    stopped.clock.shift(61)
    before = list(RecoveryCode.objects.values()), list(AuthenticatorApp.objects.values())

    redigest()

    assert (list(RecoveryCode.objects.values()), list(AuthenticatorApp.objects.values())) == before
    stopped.purpose = Purpose.SIGN_IN
    for code in (app.code(), codes[0]):
        assert stopped.guess(code).outcome is CodeOutcome.OK
        assert stopped.guess(code).outcome is CodeOutcome.OTP_INCORRECT


def test_what_a_session_guessed_last_counts_no_more(stopped: World, settings: LazySettings) -> None:
    """It was digested with the old key, and counts for a minute: so long nothing was decided."""
    page = replace(WEB, session="one")

    def guess() -> Verification:
        user = User.objects.get(pk=stopped.user.pk)
        return challenges.check(user, Purpose.SIGN_IN, stopped.wrong(), origin=page)

    new, settings.OPTIN_DIGEST_KEY = settings.OPTIN_DIGEST_KEY, DIGEST
    stopped.purpose = Purpose.SIGN_IN
    stopped.ask()
    assert [guess().repeated, guess().repeated] == [False, True]
    settings.OPTIN_DIGEST_KEY = new
    stopped.clock.shift(59)
    with pytest.raises(CommandError, match="within the last minu"):
        redigest()
    stopped.clock.shift(1)
    redigest()

    stopped.ask()
    assert [guess().repeated, guess().repeated] == [False, True]
    assert stopped.failures == 2


def test_it_says_where_the_former_key_goes(stopped: World, settings: LazySettings) -> None:
    settings.OPTIN_DIGEST_KEY = DIGEST
    stopped.clock.shift(timedelta(minutes=6))
    assert seals.seal(timezone.now()) == 1
    settings.OPTIN_DIGEST_KEY = NEW_DIGEST
    assert "Put the former key into OPTIN_OLD_DIGEST_KEYS" in redigest()
    settings.OPTIN_OLD_DIGEST_KEYS = (DIGEST, NEW_DIGEST)
    settings.OPTIN_DIGEST_KEY = b"z" * 32
    stopped.clock.shift(61)
    assert "OPTIN_OLD_DIGEST_KEYS" not in redigest()


# -- refused -----------------------------------------------------------------------


def test_without_offline_or_the_ring(stopped: World, settings: LazySettings) -> None:
    with nothing_happens(stopped.phone), pytest.raises(CommandError, match="Stop every process"):
        run("keys", "redigest")
    settings.OPTIN_KEYS = {"new": NEW}
    with nothing_happens(stopped.phone), pytest.raises(CommandError, match="not the ring"):
        redigest()


def test_while_the_service_decides(stopped: World, settings: LazySettings) -> None:
    settings.OPTIN_DIGEST_KEY = b"d" * 32
    stopped.opt_in(OTHER_NUMBER)  # refused, and so decided
    settings.OPTIN_DIGEST_KEY = NEW_DIGEST
    stopped.clock.shift(59)
    with nothing_happens(stopped.phone), pytest.raises(CommandError, match="within the last minu"):
        redigest()
    stopped.clock.shift(2)
    assert "Made the digests of 1 numbers" in redigest()


def test_with_the_ring_rotated_at_the_same_time(stopped: World, settings: LazySettings) -> None:
    settings.OPTIN_KEYS = {"new": NEW, "old": OLD}
    redigest()
    assert stopped.row.number_encrypted.startswith("new:")
    assert stopped.row.open_number() == NUMBER
    stopped.clock.shift(61)
    with nothing_happens(stopped.phone):
        assert "already" in redigest()


def test_unreadable_numbers_are_left_only_when_told(
    stopped: World, other_file: File, settings: LazySettings
) -> None:
    settings.OPTIN_DIGEST_KEY = b"d" * 32
    (lost,) = add_numbers(other_file, 1)
    ProviderUser.objects.filter(pk=lost.pk).update(number_encrypted="gone:AAAA")
    settings.OPTIN_DIGEST_KEY = NEW_DIGEST
    with (
        nothing_happens(stopped.phone),
        pytest.raises(CommandError, match=f"1 numbers do not open .* {lost.pk}"),
    ):
        redigest()

    assert "of 1 numbers anew; 1 were left" in redigest("--leave-unreadable")
    assert ProviderUser.objects.get(pk=lost.pk).number_digest == lost.number_digest
