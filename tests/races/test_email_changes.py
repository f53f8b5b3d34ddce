"""A new e-mail address that is due, and many at once who want something of it (S-39a)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from optin.models import AuditEvent, EmailChange, Notice, User
from optin.models.messages import State
from optin.operations import email_changes
from optin.origin import Face, Origin
from tests.kit.people import make_user
from tests.kit.races import THREADS, at_once
from tests.races.ways import ROUNDS

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

COMMAND = Origin(Face.COMMAND)
WEB = Origin(Face.WEB)
DAY = timedelta(days=1)


def due(n: int, address: str) -> EmailChange:
    user, now = make_user(f"user{n}"), timezone.now()
    change = EmailChange.objects.create(
        user=user,
        old_address=user.email,
        new_address=address,
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


def email_of(change: EmailChange) -> str:
    address: str = User.objects.get(pk=change.user_id).email
    return address


def told(change: EmailChange, kind: Notice.Kind) -> int:
    return Notice.objects.filter(user=change.user_id, kind=kind).count()


def events(change: EmailChange) -> Counter[str]:
    found = AuditEvent.objects.filter(user_id=change.user_id, kind=AuditEvent.Kind.EMAIL)
    return Counter(found.values_list("outcome", flat=True))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_16_workers_at_once_carry_it_out_once(rounds: int) -> None:
    for n in range(rounds):
        change = due(n, f"new{n}@example.org")

        carried = at_once([partial(email_changes.carry_out, origin=COMMAND)] * THREADS)

        assert Counter((each.out, each.off) for each in carried) == {(1, 0): 1, (0, 0): THREADS - 1}
        assert email_of(change) == f"new{n}@example.org"
        assert events(change) == {"ok": 1}
        assert told(change, Notice.Kind.EMAIL_CHANGED) == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_cancelled_while_it_is_carried_out_it_is_one_of_the_two(rounds: int) -> None:
    """S-39a."""
    for n in range(rounds):
        change = due(n, f"new{n}@example.org")
        both: list[Callable[[], object]] = [
            partial(email_changes.cancel, change, origin=WEB),
            partial(email_changes.carry_out, origin=COMMAND),
        ]

        at_once(both * (THREADS // 2))

        change.refresh_from_db()
        done = change.closed_as == EmailChange.Closed.DONE
        assert done or change.closed_as == EmailChange.Closed.CANCELLED
        assert (email_of(change) == change.new_address) is done
        assert told(change, Notice.Kind.EMAIL_CHANGED) == int(done)
        assert told(change, Notice.Kind.EMAIL_OFF) == int(not done)
        assert events(change)["ok" if done else "cancelled"] == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_many_accounts_one_gets_the_address(rounds: int) -> None:
    """Each looks before the others have committed: the database decides, without regard to case."""
    for n in range(rounds):
        spellings = [f"New{n}@example.org", f"new{n}@example.org"]
        changes = [due(n * 4 + m, spellings[m % 2]) for m in range(4)]

        at_once([partial(email_changes.carry_out, origin=COMMAND)] * 4)

        ended = Counter(EmailChange.objects.get(pk=change.pk).closed_as for change in changes)
        assert ended == {"done": 1, "taken": 3}
        owners = [change for change in changes if email_of(change) == change.new_address]
        assert len(owners) == 1
        assert User.objects.filter(email__iexact=spellings[0]).count() == 1
