"""How long texts take just now, by the receipts of each gateway (G-10).

A text without a receipt counts too: it takes longer than it has waited. Otherwise a gateway that
has become slow would look as quick as before, by the few texts that it has delivered since.

The estimate is that of Kaplan and Meier: for each second, of the texts that had waited so long, how
many came in it. It uses the newest texts for which that is known. It doubles their number as long
as the result agrees with that of the fewer, newer texts (Lepski). So it is exact while nothing
changes, and reacts quickly when something does.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise

from optin import gateways, keys, phones
from optin.models import GatewayHealth, ProviderUser, SmsMessage
from optin.models.messages import State

LOOKS_BACK = timedelta(minutes=15)

FRESH = timedelta(seconds=5)
"""How long a figure is shown again: each process needs one statement for a gateway."""

LONGEST = 120
"""Seconds up to which the time is worth a figure; a longer one is only said to be longer."""

SLOW = 30.0
"""Seconds from which a text is slow, and a person may think that it is lost."""

_SIZES = (6, 12, 24, 48, 96, 192)
"""How many texts one look may use."""

_SPAN = 150.0
"""Seconds that a look of more than the fewest may reach back: it is late by half of that."""

_ENOUGH = 24
"""Texts for a figure with an error under 3 seconds; fewer give a range."""

_NARROW = 2.0
"""Seconds from the lower to the upper end, for a figure instead of a range."""

_AT_RISK = 4
"""Fewer texts that have waited so long say nothing of the next second."""

_READ = 1000
"""Texts that are read, at most: the newest."""

Curve = list[float]
"""For each second, the share of the texts that take at least so long."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How long half of the texts take: from the gateway's answer to its receipt, in seconds."""

    least: float
    most: float | None  # nothing: nobody knows yet
    median: float | None = None  # where it is known to 3 seconds
    nine_in_ten: float | None = None

    @property
    def is_slow(self) -> bool:
        return (self.median or self.least) >= SLOW


def expected(
    text: SmsMessage, number: ProviderUser, now: datetime, *, open_to_anybody: bool
) -> Wait | None:
    """Return how long *text* to *number* may take, or nothing if too little is known.

    :param open_to_anybody: whether a stranger may have asked for it. Then it is the gateway that
        would take it now, sent or withheld: which one did take it would tell them apart (S-38).
    """
    if text.gateway and not open_to_anybody:
        return usual(text.gateway, now)
    try:
        region = phones.region_of(number.open_number())
    except keys.UndecryptableError:
        return None  # no gateway can be handed it
    health = GatewayHealth.objects.all_known()
    able = (
        each.name
        for each in gateways.for_region(region)
        if each.name not in health or not health[each.name].is_tripped(now)
    )
    gateway = next(able, "")
    return usual(gateway, now) if gateway else None


def usual(gateway: str, now: datetime) -> Wait | None:
    """Return how long the texts of *gateway* take, some seconds old at most."""
    if gateway in _known:
        at, wait = _known[gateway]
        if timedelta(0) <= now - at < FRESH:
            return wait
    wait = estimate(_texts(gateway, now))
    _known[gateway] = now, wait
    return wait


def forget() -> None:
    """Read the texts again, whenever it was done."""
    _known.clear()


_known: dict[str, tuple[datetime, Wait | None]] = {}


def _texts(gateway: str, now: datetime) -> list[tuple[float, float | None]]:
    sent = SmsMessage.objects.filter(
        gateway=gateway,
        state__in=[State.SENT, State.DELIVERED],
        created_at__gt=now - LOOKS_BACK,
        sent_at__isnull=False,
    )
    times = sent.order_by("-created_at").values_list("sent_at", "delivered_at")[:_READ]
    return [
        (
            (now - sent_at).total_seconds(),
            # The receipt may have come before the gateway's answer.
            max((came - sent_at).total_seconds(), 0.0) if came else None,
        )
        for sent_at, came in times
        if sent_at
    ]


# -- the estimate ------------------------------------------------------------------


def estimate(texts: Sequence[tuple[float, float | None]]) -> Wait | None:
    """Return how long texts take, by *texts*: the age of each, and how long it took, if it came.

    Nothing, if fewer than half came: the gateway reports too few of them, or none for too long.
    """
    came = sum(took is not None for _, took in texts)
    if came < _SIZES[0] or 2 * came < len(texts):
        return None
    chosen: Wait | None = None
    least, most = 0.0, math.inf
    for size, curve in _curves(sorted(texts, key=lambda text: text[0])).items():
        look = _look(size, curve)
        if look.least > most or (look.most or math.inf) < least:
            break  # the older texts were of another time
        middle = _when(curve, 0.5) or float(len(curve) - 1)
        if chosen and not least <= middle <= most:
            break
        chosen = look
        least, most = max(least, look.least), min(most, look.most or math.inf)
    # Nothing is known, not even that it is slow.
    return None if chosen is None or (chosen.most is None and not chosen.is_slow) else chosen


def _look(size: int, curve: Curve) -> Wait:
    """Say what *curve*, of *size* texts, tells with 95 % of certainty."""
    error = 1 / math.sqrt(size)  # of the share that came, two standard deviations
    least, median, most = (_when(curve, 0.5 + by) for by in (error, 0.0, -error))
    if least is None:
        return Wait(float(len(curve) - 1), None)
    is_known = size >= _ENOUGH and most is not None and most - least <= _NARROW
    return Wait(least, most, *((median, _when(curve, 0.1)) if is_known else ()))


def _curves(texts: Sequence[tuple[float, float | None]]) -> dict[int, Curve]:
    """Return the curve of the newest texts for each size of a look, of *texts* newest first."""
    curves: dict[int, Curve] = {}
    for second in range(LONGEST):
        # Those of which it is known, by their age, whether they came in this second.
        at_risk = [
            (age, took is not None and took < second + 1)
            for age, took in texts
            if age >= second + 1 and (took is None or took >= second)
        ]
        if second == 0:
            curves = {size: [1.0] for size in _sizes([age for age, _ in at_risk])}
        came = list(accumulate(is_in for _, is_in in at_risk))
        grows = False
        for size, curve in curves.items():
            known = min(size, len(at_risk))
            if len(curve) == second + 1 and known >= _AT_RISK and curve[-1] > _REST:
                curve.append(curve[-1] * (1 - came[known - 1] / known))
                grows = True
        if not grows:
            break
    return curves


_REST = 0.05
"""The share of the slowest texts, which no figure tells of."""


def _sizes(ages: Sequence[float]) -> Iterable[int]:
    return [
        size
        for size in _SIZES
        if size <= len(ages) and (size == _SIZES[0] or ages[size - 1] <= _SPAN)
    ]


def _when(curve: Curve, share: float) -> float | None:
    """Return the second from which on no more than *share* of the texts are waited for."""
    for second, (before, after) in enumerate(pairwise(curve)):
        if after <= share:
            return second + (before - share) / (before - after)
    return None
