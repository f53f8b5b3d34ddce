"""A removal or a new address that waits, and many at once who want something of it (S-37)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from optin.models import (
    AuditEvent,
    EmailChange,
    File,
    Notice,
    ProviderUser,
    Purpose,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import State
from optin.operations import challenges, email_changes, own_removals, revocations
from optin.origin import Face, Origin
from tests.kit.people import make_user
from tests.kit.races import THREADS, at_once
from tests.races.ways import ROUNDS, events, is_on, opted_in, told

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

Kind = AuditEvent.Kind
Closed = Revocation.Closed
COMMAND = Origin(Face.COMMAND)
WEB = Origin(Face.WEB)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.OPTIN_RECOVERY_DELAY = 86_400


def lost(n: int, file: File) -> User:
    """Somebody who verified a number a while ago, and no code since."""
    with time_machine.travel(timezone.now() - 9 * DAY, tick=True):
        user = opted_in(n, file)
    found: User = User.objects.get(pk=user.pk)
    return found


def waiting(n: int, file: File, *, since: timedelta) -> Revocation:
    """One that was asked for so long ago; the person was told then, and a day ago."""
    user = lost(n, file)
    now = timezone.now()
    waits = Revocation.objects.create(
        user=user, actor_id=user.pk, asked_at=now - since, due_at=now - since + 2 * DAY
    )
    Revocation.objects.filter(pk=waits.pk).update(told_at=now - DAY)
    Notice.objects.create(
        user=user,
        kind=Notice.Kind.OWN_REMOVAL,
        about_id=waits.pk,
        created_at=waits.asked_at,
        sent_at=waits.asked_at,
        state="sent",
    )
    SmsMessage.objects.create(
        news_to=ProviderUser.objects.get(user=user, confirmed=True),
        about_id=waits.pk,
        created_at=waits.asked_at,
        sent_at=waits.asked_at,
        state="sent",
    )
    return waits


def planned(n: int, file: File) -> Revocation:
    """One that was asked for a day ago, of which the person was told."""
    user = opted_in(n, file)
    revocations.plan(user, reason="x", origin=COMMAND)
    ProviderUser.objects.filter(user=user).update(verified_at=timezone.now() - 2 * DAY)
    Notice.objects.filter(user=user).update(sent_at=timezone.now() - DAY)
    waits = Revocation.objects.filter(user=user)
    waits.update(asked_at=timezone.now() - DAY, due_at=timezone.now())
    return waits.get()


def new_address(n: int, file: File, address: str = "") -> EmailChange:
    """One that is due, of which the person was told."""
    user, now = make_user(f"user{n}"), timezone.now()
    change = EmailChange.objects.create(
        user=user,
        old_address=user.email,
        new_address=address or f"new{n}@example.org",
        asked_at=now - 2 * DAY,
        proved_at=now - DAY,
        due_at=now,
    )
    Notice.objects.create(
        user=user,
        kind=Notice.Kind.EMAIL_ASKED,
        about_id=change.pk,
        created_at=change.asked_at,
        sent_at=change.asked_at,
        state=State.SENT,
    )
    return change


def has_it(change: EmailChange) -> bool:
    found: bool = User.objects.filter(pk=change.user_id, email=change.new_address).exists()
    return found


@dataclass(frozen=True)
class Waits:
    """A kind of change that is due, what carries it out, and what tells how it ended."""

    due: Callable[[int, File], Any]
    operations: Any
    took_effect: Callable[[Any], bool]
    done: Notice.Kind
    off: Notice.Kind
    kinds: tuple[AuditEvent.Kind, ...]


def is_off(waits: Revocation) -> bool:
    return not is_on(waits.user)


REMOVAL = (Kind.REVOKE, Kind.REVOCATION)
KINDS = [
    pytest.param(
        Waits(planned, revocations, is_off, Notice.Kind.REVOKED, Notice.Kind.REVOKE_OFF, REMOVAL),
        id="removal by support",
    ),
    pytest.param(
        Waits(
            partial(waiting, since=2 * DAY),
            revocations,
            is_off,
            Notice.Kind.OWN_REMOVED,
            Notice.Kind.OWN_REMOVAL_OFF,
            REMOVAL,
        ),
        id="removal by the person",
    ),
    pytest.param(
        Waits(
            new_address,
            email_changes,
            has_it,
            Notice.Kind.EMAIL_CHANGED,
            Notice.Kind.EMAIL_OFF,
            (Kind.EMAIL,),
        ),
        id="address",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_16_workers_at_once_carry_it_out_once(kind: Waits, rounds: int, file: File) -> None:
    for n in range(rounds):
        waits = kind.due(n, file)

        carried = at_once([partial(kind.operations.carry_out, origin=COMMAND)] * THREADS)

        assert Counter((each.out, each.off) for each in carried) == {(1, 0): 1, (0, 0): THREADS - 1}
        assert kind.took_effect(waits)
        assert events(waits.user, *kind.kinds)["ok"] == 1
        assert told(waits.user, kind.done) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_cancelled_while_it_is_carried_out_it_is_one_of_the_two(
    kind: Waits, rounds: int, file: File
) -> None:
    """All or nothing: whoever has the lock first decides, and the person is told that alone.

    P-17, S-39a.
    """
    for n in range(rounds):
        waits = kind.due(n, file)
        both: list[Callable[[], object]] = [
            partial(kind.operations.cancel, waits, origin=WEB),
            partial(kind.operations.carry_out, origin=COMMAND),
        ]

        at_once(both * (THREADS // 2))

        waits.refresh_from_db()
        done = waits.closed_as == Closed.DONE
        assert done or waits.closed_as == Closed.CANCELLED
        assert kind.took_effect(waits) is done
        assert told(waits.user, kind.done) == int(done)
        assert told(waits.user, kind.off) == int(not done)
        decided = events(waits.user, *kind.kinds)
        assert (decided["ok"], decided["cancelled"]) == (int(done), int(not done))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_16_who_ask_at_once_one_plans_it(rounds: int, file: File) -> None:
    for n in range(rounds):
        user = opted_in(n, file)
        plan = partial(revocations.plan, user, reason="x", origin=COMMAND)

        answers = Counter(each.outcome for each in at_once([plan] * THREADS))

        assert answers == {"planned": 1, "unchanged": THREADS - 1}
        assert Revocation.objects.filter(user=user).count() == 1
        assert told(user, Notice.Kind.REVOKE_PLANNED) == 1
        assert events(user, Kind.REVOCATION) == answers


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_16_who_ask_at_once_one_is_told_once(rounds: int, file: File) -> None:
    for n in range(rounds):
        user = lost(n, file)

        answers = at_once([partial(own_removals.ask, user, origin=WEB)] * THREADS)

        assert Counter(each.outcome for each in answers) == {"asked": 1, "waits": THREADS - 1}
        assert told(user, Notice.Kind.OWN_REMOVAL) == 1
        assert SmsMessage.objects.filter(news_to__user=user).count() == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_16_workers_at_once_remind_once(rounds: int, file: File) -> None:
    for n in range(rounds):
        waits = waiting(n, file, since=DAY)

        reminded = at_once([partial(own_removals.remind, origin=COMMAND)] * THREADS)

        assert sorted(reminded) == [0] * (THREADS - 1) + [1]
        assert told(waits.user, Notice.Kind.OWN_REMOVAL) == 2
        assert SmsMessage.objects.filter(about_id=waits.pk).count() == 2


@pytest.mark.parametrize("rounds", ROUNDS)
def test_who_signs_in_while_it_is_carried_out_keeps_the_factor_or_comes_too_late(
    rounds: int, file: File
) -> None:
    """P-17. A right code, of a call too, and the removal: never both."""
    for n in range(rounds):
        waits = waiting(n, file, since=2 * DAY)
        challenges.challenge(waits.user, Purpose.SIGN_IN, origin=WEB)
        row = ProviderUser.objects.get(user=waits.user, confirmed=True)
        code = row.pending_otps.latest("pk").code()
        all_of_them: list[Callable[[], object]] = [
            partial(challenges.check, waits.user, Purpose.SIGN_IN, code, origin=WEB),
            *[partial(revocations.carry_out, origin=COMMAND)] * 3,
        ]

        at_once(all_of_them)

        waits.refresh_from_db()
        right = events(waits.user, Kind.CHECK)["ok"]
        assert waits.closed_as == (Closed.SIGNED_IN if right else Closed.DONE)
        assert is_on(waits.user) is bool(right)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_many_accounts_one_gets_the_address(rounds: int, file: File) -> None:
    """Each looks before the others have committed: the database decides, without regard to case."""
    for n in range(rounds):
        spellings = [f"New{n}@example.org", f"new{n}@example.org"]
        changes = [new_address(n * 4 + m, file, spellings[m % 2]) for m in range(4)]

        at_once([partial(email_changes.carry_out, origin=COMMAND)] * 4)

        ended = Counter(EmailChange.objects.get(pk=change.pk).closed_as for change in changes)
        assert ended == {"done": 1, "taken": 3}
        owners = [change for change in changes if has_it(change)]
        assert len(owners) == 1
        assert User.objects.filter(email__iexact=spellings[0]).count() == 1
