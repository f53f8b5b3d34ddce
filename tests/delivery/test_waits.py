"""G-10: how long texts usually take, by the last receipts of each gateway."""

from datetime import timedelta

import pytest
from django.utils import timezone

from optin.messaging import waits
from optin.models import ProviderUser
from tests.kit.waits import receipts

pytestmark = pytest.mark.django_db(transaction=True)


def usual(gateway: str) -> float | None:
    wait = waits.usual(gateway, timezone.now())
    return wait.total_seconds() if wait is not None else None


def test_it_is_the_median_of_the_last_hundred(pending: ProviderUser) -> None:
    """G-10."""
    receipts(pending, "phone", [90] * 50, ago=300)
    receipts(pending, "phone", [4] * 49 + [6] * 2 + [600] * 49)

    assert usual("phone") == 6


@pytest.mark.parametrize(("count", "expected"), [(9, None), (10, 6)])
def test_fewer_than_ten_say_nothing(
    pending: ProviderUser, count: int, expected: float | None
) -> None:
    """G-10."""
    receipts(pending, "phone", [6] * count)
    receipts(pending, "other", [6] * 10)
    receipts(pending, "phone", [6] * 10, ago=int(timedelta(hours=1).total_seconds()))

    assert usual("phone") == expected


def test_a_receipt_before_the_answer_of_the_gateway_took_no_time(pending: ProviderUser) -> None:
    receipts(pending, "phone", [-1] * 10)

    assert usual("phone") == 0
