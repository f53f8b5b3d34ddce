"""Refusals at the same time are counted each, and told once (S-52)."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from optin.audit import repeats
from optin.models import AuditEvent, RefusalCount, User
from optin.models import refusal_counts as counts
from optin.models.refusal_counts import SEVERAL, WINDOW
from optin.operations import tenants
from tests.kit.people import ORIGIN
from tests.kit.races import THREADS, at_once, within_an_hour

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

EACH = 20


def refuse(user: User) -> None:
    for n in range(EACH):
        tenants.refuse_access(user, n + 1, "file_access_denied", origin=ORIGIN)


def test_of_many_first_ones_one_is_first(user: User) -> None:
    at_once([lambda: refuse(user)] * THREADS)

    counts = RefusalCount.objects.values_list("count", flat=True)
    assert sum(counts) == EACH * THREADS
    # One event for each hour, if the full hour struck meanwhile.
    assert AuditEvent.objects.filter(data={}).count() == len(counts) <= 2


def test_networks_of_one_bucket_have_one_first(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BUCKETS", 1)

    def refuse_in(n: int) -> None:
        for _ in range(EACH):
            origin = replace(ORIGIN, ip=f"198.18.{n}.1")
            tenants.refuse_access(user, 1, "file_access_denied", origin=origin)

    at_once([partial(refuse_in, n) for n in range(THREADS)])

    rows = RefusalCount.objects.all()
    assert sum(row.count for row in rows) == EACH * THREADS
    assert SEVERAL in {row.network for row in rows}
    assert AuditEvent.objects.filter(data={}).count() == len(rows) <= 2


def test_each_refusal_is_told_once_by_many_who_tell(user: User) -> None:
    """While refusals of the hour that is over still come in."""
    within_an_hour()
    refuse(user)
    over = timezone.now() + WINDOW + timedelta(seconds=1)
    tell = [lambda: repeats.tell(over)] * (THREADS // 2)

    at_once([*tell, *[lambda: refuse(user)] * (THREADS // 2)])
    repeats.tell(over)

    events = AuditEvent.objects.values_list("data", flat=True)
    assert sum(data.get("repeated", 1) for data in events) == EACH * (1 + THREADS // 2)
    assert not RefusalCount.objects.untold().exists()


def test_whoever_is_held_is_left_to_others(user: User) -> None:
    """Rows are told by many at once, each by one."""
    within_an_hour()
    for pk in range(1, 201):
        for _ in range(2):
            tenants.refuse_access(User(pk=pk), 1, "file_access_denied", origin=ORIGIN)
    over = timezone.now() + WINDOW + timedelta(seconds=1)

    told = at_once([lambda: repeats.tell(over)] * THREADS)

    assert sum(told) == 200
    assert AuditEvent.objects.filter(data__repeated=1).count() == 200
