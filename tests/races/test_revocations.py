"""A revocation that waits, and many at once who want something of it (S-37)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from optin.models import AuditEvent, File, Notice, ProviderUser, Revocation
from optin.operations import revocations
from optin.origin import Face, Origin
from tests.kit.races import THREADS, at_once
from tests.races.ways import ROUNDS, events, is_on, opted_in, told

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

Kind = AuditEvent.Kind
COMMAND = Origin(Face.COMMAND)
WEB = Origin(Face.WEB)
DAY = timedelta(days=1)


def due(n: int, file: File) -> Revocation:
    """One that was asked for a day ago, of which the person was told."""
    user = opted_in(n, file)
    revocations.plan(user, reason="x", origin=COMMAND)
    ProviderUser.objects.filter(user=user).update(verified_at=timezone.now() - 2 * DAY)
    Notice.objects.filter(user=user).update(sent_at=timezone.now() - DAY)
    waits = Revocation.objects.filter(user=user)
    waits.update(asked_at=timezone.now() - DAY, due_at=timezone.now())
    return waits.get()


@pytest.mark.parametrize("rounds", ROUNDS)
def test_16_workers_at_once_carry_it_out_once(rounds: int, file: File) -> None:
    for n in range(rounds):
        waits = due(n, file)

        carried = at_once([partial(revocations.carry_out, origin=COMMAND)] * THREADS)

        assert Counter((each.out, each.off) for each in carried) == {(1, 0): 1, (0, 0): THREADS - 1}
        assert not is_on(waits.user)
        assert events(waits.user, Kind.REVOKE) == {"ok": 1}
        assert told(waits.user, Notice.Kind.REVOKED) == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_cancelled_while_it_is_carried_out_it_is_one_of_the_two(rounds: int, file: File) -> None:
    """All or nothing: whoever has the lock first decides, and the person is told that alone."""
    ended: Counter[str] = Counter()
    for n in range(rounds):
        waits = due(n, file)
        both: list[Callable[[], object]] = [
            partial(revocations.cancel, waits, origin=WEB),
            partial(revocations.carry_out, origin=COMMAND),
        ]

        at_once(both * (THREADS // 2))

        waits.refresh_from_db()
        ended[waits.closed_as] += 1
        done = waits.closed_as == Revocation.Closed.DONE
        assert done or waits.closed_as == Revocation.Closed.CANCELLED
        assert is_on(waits.user) is not done
        assert told(waits.user, Notice.Kind.REVOKED) == int(done)
        assert told(waits.user, Notice.Kind.REVOKE_OFF) == int(not done)
        assert events(waits.user, Kind.REVOKE) == ({"ok": 1} if done else {})
        assert events(waits.user, Kind.REVOCATION)["cancelled"] == int(not done)
    assert ended.total() == rounds


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
