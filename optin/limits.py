"""Who may be sent how many messages: counted in the database, exactly.

Counters are fixed windows. All counters of one send are raised in one statement,
inside a savepoint: if any of them is over its limit the savepoint goes back, so that
a refused send costs nothing. The statement takes the rows in one fixed order, so
that no two sends wait for each other.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from optin import keys
from optin.conf import Rate, conf
from optin.models import PendingOtp, Purpose, SmsMessage
from optin.origin import Face, Origin

SERIES_ENDS_AFTER = timedelta(minutes=10)
"""So long after the last text the waits start from the first again (design, section 4)."""

# Texts that anybody with a key can cause, and texts that only a right password causes.
# Each class has its own counters: the first cannot use up the owner's way in.
_ASKED_FOR = {Purpose.OPT_IN, Purpose.OPT_OUT}


_INSERT = "INSERT INTO optin_sendcounter (scope, key, window_start, count) VALUES "
_OR_ADD = """
ON CONFLICT (scope, key, window_start) DO UPDATE SET count =
CASE WHEN optin_sendcounter.count + %s < 0 THEN 0 ELSE optin_sendcounter.count + %s END
RETURNING count
"""

RESEND_WAIT = "resend-wait"
"""The rule that a text to a number waits a little for the one before it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One counter and its ceiling. ``count`` 0 counts without a ceiling."""

    scope: str
    key: str  # what is counted; stored as a keyed digest
    count: int
    seconds: int

    def window(self, now: datetime) -> datetime:
        """Return the start of the window that *now* is in."""
        stamp = int(now.timestamp())
        return datetime.fromtimestamp(stamp - stamp % self.seconds, tz=now.tzinfo)


@dataclass(frozen=True, slots=True)
class Refused:
    """The rule that said no, what it counted, and when asking again makes sense."""

    rule: str
    count: int
    limit: int
    retry_after: timedelta

    @property
    def data(self) -> dict[str, int | str]:
        """The facts, for the audit event."""
        seconds = int(self.retry_after.total_seconds())
        return {
            "rule": self.rule,
            "count": self.count,
            "limit": self.limit,
            "retry_after": seconds,
        }


def reserve_text(
    *,
    user_id: int,
    number_digest: str,
    purpose: Purpose,
    file_id: int | None,
    origin: Origin,
    now: datetime,
) -> Refused | None:
    """Count one text, or say why it may not be sent. Call inside a transaction.

    The counter of the number comes first and keeps its row until the transaction
    ends: two users who ask for a text to one number queue up here, and the second
    sees the text of the first in the resend wait.
    """
    limits = _text_limits(user_id, number_digest, purpose, file_id, origin)
    with transaction.atomic():
        over = _over(limits, _add(1, limits, now), now)
        refused = resend_wait(number_digest, purpose, now) or over
        if refused:
            transaction.set_rollback(True)
    return refused


def reserve_sign_in(name: str, origin: Origin, now: datetime) -> Refused | None:
    """Charge one failed sign-in before the password is looked at, or say why not.

    Charging first keeps the limit exact however many try at once; a right password
    gets it back (``refund_sign_in``). Call inside a transaction.
    """
    limits = _sign_in_limits(name, origin)
    with transaction.atomic():
        refused = _over(limits, _add(1, limits, now), now)
        if refused:
            transaction.set_rollback(True)
    return refused


def refund_sign_in(name: str, origin: Origin, charged_at: datetime) -> None:
    """Take back the charge of ``reserve_sign_in``. Call inside a transaction."""
    _add(-1, _sign_in_limits(name, origin), charged_at)


def _text_limits(
    user_id: int, number_digest: str, purpose: Purpose, file_id: int | None, origin: Origin
) -> list[Limit]:
    asked_for = purpose in _ASKED_FOR
    group = "asked" if asked_for else "own"
    # Counted also where its limit is switched off: its row is the lock of the number.
    limits = _each(f"{group}-number", number_digest, conf.sends_per_number) or [
        Limit(f"{group}-number/600", number_digest, 0, 600)
    ]
    limits += _each(f"{group}-user", str(user_id), conf.sends_per_user)
    if origin.face == Face.API:
        limits += _each(f"{group}-client", f"{origin.client} {file_id}", conf.sends_per_client)
    elif origin.ip:
        limits += _each(f"{group}-ip", _network(origin.ip, 32), conf.sends_per_ip)
    if asked_for:
        if file_id is not None:  # a page's request to turn off is under none
            limits += _each("file", str(file_id), conf.sends_per_file)
        limits += _each("total", "", conf.sends_total)
    return limits


def _sign_in_limits(name: str, origin: Origin) -> list[Limit]:
    from_there = f"{name} {_network(origin.ip, 24)}"
    return [
        *_each("sign-in-name", from_there, conf.failed_sign_ins_per_name),
        *_each("sign-in-ip", _network(origin.ip, 32), conf.failed_sign_ins_per_ip),
    ]


def _each(scope: str, key: str, rates: Iterable[Rate]) -> list[Limit]:
    return [Limit(f"{scope}/{r.seconds}", key, r.count, r.seconds) for r in rates]


def _network(ip: str, prefix_v4: int) -> str:
    """Return the network that stands for *ip*: one household has a whole IPv6 /64."""
    if not ip:
        return ""
    address = ipaddress.ip_address(ip)
    prefix = prefix_v4 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _add(delta: int, limits: Sequence[Limit], now: datetime) -> list[int]:
    """Add *delta* to each counter, in the order given, and return the new counts."""
    if not limits:
        return []
    sql = _INSERT + ", ".join(["(%s, %s, %s, %s)"] * len(limits)) + _OR_ADD
    params: list[Any] = []
    for limit in limits:
        start = connection.ops.adapt_datetimefield_value(limit.window(now))
        params += [limit.scope, keys.digest("counter", limit.key), start, max(delta, 0)]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, delta, delta])
        return [count for (count,) in cursor.fetchall()]


def _over(limits: Sequence[Limit], counts: Sequence[int], now: datetime) -> Refused | None:
    """Return the first limit that its count is over, if any."""
    for limit, count in zip(limits, counts, strict=True):
        if limit.count and count > limit.count:
            end = limit.window(now) + timedelta(seconds=limit.seconds)
            return Refused(limit.scope, count - 1, limit.count, end - now)
    return None


def resend_wait(number_digest: str, purpose: Purpose, now: datetime) -> Refused | None:
    """Say how long the number must wait for its next text for *purpose*, if it must."""
    waits = conf.resend_wait
    texts = SmsMessage.objects.filter(
        pending_otp__provider_user__number_digest=number_digest, pending_otp__purpose=purpose
    ).order_by("-id")[: len(waits)]
    newest: datetime | None = None
    length, later = 0, now
    for sent_at, closed_as in texts.values_list("created_at", "pending_otp__closed_as"):
        if later - sent_at >= SERIES_ENDS_AFTER or closed_as == PendingOtp.Closed.PROVED:
            break
        newest = newest or sent_at
        length, later = length + 1, sent_at
    if newest is None:
        return None
    wait = timedelta(seconds=waits[length - 1])
    # A clock that jumped back must not stretch the wait.
    left = min(newest + wait - now, wait)
    return Refused(RESEND_WAIT, length, length, left) if left > timedelta(0) else None
