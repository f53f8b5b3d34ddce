"""G-10: how long texts take just now, by the receipts of each gateway."""

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.messaging import waits
from optin.models import ProviderUser
from tests.delivery.changing import listen
from tests.kit.waits import each_second, texts

pytestmark = pytest.mark.django_db(transaction=True)


def after(wait: waits.Wait | None) -> object:
    """What is said, in whole seconds."""
    if wait is None:
        return None
    return round(wait.median) if wait.median else (wait.least >= waits.SLOW, wait.most)


# -- the simulation ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("a_second", [1, 2])
def test_of_five_gateways_whose_delays_change_the_median_is_right_to_3_seconds(
    a_second: float,
) -> None:
    """G-10. At each step of the clock."""
    said = listen(1500, a_second, 1, 10)

    assert said.error < 3, said
    assert said.outside < 3, said
    assert said.late < said.blind_for, said
    assert said.figures > said.ranges + said.slow + said.nothing, said


# -- what is told, and what is not --------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(each_second(6), 6, id="quick"),
        pytest.param(each_second(44, 120), 44, id="slow"),
        pytest.param(each_second(6, 5), None, id="too few"),
        pytest.param(each_second(None), None, id="no receipts"),
        pytest.param(each_second(6, since=901), None, id="long ago"),
        # Those that came look as quick as ever.
        pytest.param(
            [*each_second(None, 50), *each_second(6, 120, since=50)], (True, None), id="became slow"
        ),
        # It may be slow, or report only some of them.
        pytest.param([*each_second(None, 90), *each_second(6, 80, since=90)], None, id="silent"),
    ],
)
def test_texts_without_a_receipt_count(
    pending: ProviderUser, seen: list[tuple[float, float | None]], expected: object
) -> None:
    """G-10."""
    texts(pending, "phone", seen)

    assert after(waits.usual("phone", timezone.now())) == expected


def test_each_gateway_speaks_for_itself(pending: ProviderUser) -> None:
    """G-10."""
    texts(pending, "quick", each_second(6))
    texts(pending, "slow", each_second(44, 120))

    now = timezone.now()
    assert [after(waits.usual(name, now)) for name in ("quick", "slow", "new")] == [6, 44, None]


def test_a_figure_is_read_once_in_5_seconds(
    pending: ProviderUser, clock: time_machine.Traveller
) -> None:
    texts(pending, "phone", each_second(6))
    read = []
    for _ in range(4):
        with CaptureQueriesContext(connection) as captured:
            waits.usual("phone", timezone.now())
        read.append(len(captured))
        clock.shift(2)

    assert read == [1, 0, 0, 1]
