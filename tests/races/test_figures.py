"""Spans that many processes make at once."""

from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from django.utils import timezone

from optin.models import Span
from optin.support import statistics
from tests.kit.races import THREADS, at_once
from tests.races.ways import ROUNDS

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

DAY = timedelta(days=1)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_at_midnight_a_missed_day_is_cut_one_way(rounds: int) -> None:
    """To one process it is still one of hours, to the next a whole one: nothing counts twice."""
    midnight = statistics._midnight(statistics.day_of(timezone.now()))
    for _ in range(rounds):
        Span.objects.all().delete()
        begins, ends = midnight - 2 * DAY, midnight - 2 * DAY + timedelta(hours=4)
        Span.objects.create(start=begins, end=ends, day=statistics.day_of(begins), is_settled=True)
        before = partial(statistics._begin_spans, midnight - timedelta(milliseconds=1))
        at = partial(statistics._begin_spans, midnight)

        at_once([before, at] * (THREADS // 2))

        assert all(a.end == b.start for a, b in pairwise(Span.objects.order_by("start")))
