"""The recent texts: how many went to a number and a person, and how long they wait for the next.

They are counted one by one, from the stored texts. So a limit holds in any span of its length: none
begins anew at midnight.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet

from optin.conf import CLOCK_SLACK, Rate, conf
from optin.database import Bound, Param, Select, run, run_later
from optin.limits.counters import Limit, Refused, Tally
from optin.limits.rules import Rule
from optin.models import PendingOtp, ProviderUser, Purpose, SmsMessage
from optin.models.messages import State

SERIES_ENDS_AFTER = timedelta(minutes=10)
"""This long after the last text to a number, the waits start again from the first."""

YEAR = 366 * 86_400
"""Seconds. Texts count for no longer, whatever the settings say."""


@dataclass(slots=True)
class Sent:
    """A text with a code."""

    at: datetime
    user_id: int
    number_digest: str
    purpose: Purpose
    is_withheld: bool
    is_used: bool  # somebody entered its code


def reach() -> timedelta:
    """How far back limits and waits look."""
    windows = map(_window, (*conf.sends_per_number, *conf.sends_per_user))
    return max(*windows, SERIES_ENDS_AFTER * len(conf.resend_wait), timedelta(0))


def lock_number(number_digest: str) -> None:
    """Let two users who ask for a text to one number queue up: the second sees the first one's.

    Until the transaction, or the savepoint that is open, is over. SQLite has one writer at a time.
    """
    if connection.vendor == "postgresql":
        key = int(number_digest[:15], 16)
        run_later(Bound("SELECT pg_advisory_xact_lock(%s)", [key]))


def reading(user_id: int, number_digest: str, now: datetime) -> Bound:
    """Return the statement that reads what ``sent`` takes.

    That is the texts that a user asked for, and those that left to a number, newest first.
    """
    since = now - reach()
    return _TEXTS.bind(user_id=user_id, number_digest=number_digest, since=since)


def sent(rows: Iterable[Any]) -> list[Sent]:
    """Return the texts that ``reading`` found."""
    return [
        Sent(
            row.created_at,
            row.asked_by,
            row.to,
            Purpose(row.purpose),
            row.state == State.WITHHELD,
            row.closed_as == PendingOtp.Closed.VERIFIED,
        )
        for row in rows
    ]


def rates(rule: Rule, limits: Iterable[Rate], texts: Sequence[Sent], now: datetime) -> list[Tally]:
    """Each limit as it is with one text more than *texts*, and when it lets that text through."""
    known = sorted((text.at for text in texts if not _is_ahead(text, now)), reverse=True)
    tallies = []
    for rate in limits:
        window = _window(rate)
        count = sum(now - at < window for at in known)
        frees_at = known[rate.count - 1] + window if count >= rate.count else None
        tallies.append(Tally(Limit(rule, "", rate.count, rate.seconds), count + 1, 0, frees_at))
    return tallies


def _window(rate: Rate) -> timedelta:
    return timedelta(seconds=min(rate.seconds, YEAR))


def resend_wait(
    user_id: int, number_digest: str, purpose: Purpose, now: datetime
) -> Refused | None:
    """Say how long the user must wait for the next text, if at all, as they are told."""
    texts = sent(*run([reading(user_id, number_digest, now)]))
    own = user_id if purpose is Purpose.OPT_IN else None
    return wait_after(texts, number_digest, purpose, now, own)


def wait_after(
    texts: Iterable[Sent],
    number_digest: str,
    purpose: Purpose,
    now: datetime,
    user_id: int | None = None,
) -> Refused | None:
    """Say how long the number must wait for its next text for *purpose*, if it must.

    :param texts: the newest first.
    :param user_id: count only the texts of this user, and withheld ones too: the user does not know
        that they were withheld.
    """
    found = [
        text
        for text in texts
        if (text.number_digest, text.purpose) == (number_digest, purpose)
        and (not text.is_withheld if user_id is None else text.user_id == user_id)
    ]
    return _wait_after(found[: len(conf.resend_wait)], now)


def _wait_after(texts: Sequence[Sent], now: datetime) -> Refused | None:
    waits = conf.resend_wait
    newest: datetime | None = None
    length, later = 0, now
    for text in texts:
        if _is_ahead(text, now):
            continue
        if later - text.at >= SERIES_ENDS_AFTER or text.is_used:
            break
        newest = newest or text.at
        length, later = length + 1, text.at
    if newest is None:
        return None
    wait = timedelta(seconds=waits[length - 1])
    left = newest + min(wait, SERIES_ENDS_AFTER) - now
    if not wait or left <= timedelta(0):
        return None
    return Refused(Rule.RESEND_WAIT, length, length, left)


def _is_ahead(text: Sent, now: datetime) -> bool:
    """Whether the clock was set back since: that must stretch no wait."""
    return text.at - now > CLOCK_SLACK


def _texts() -> QuerySet[SmsMessage]:
    number = "pending_otp__provider_user__number_digest"
    user = "pending_otp__provider_user__user"
    to_number = Q(**{number: Param("number_digest", ProviderUser)}) & ~Q(state=State.WITHHELD)
    of_user = Q(**{user: Param("user_id", ProviderUser, "user")})
    found = SmsMessage.objects.filter(
        of_user | to_number, created_at__gt=Param("since", SmsMessage, "created_at")
    )
    told = found.annotate(
        asked_by=F(user),
        to=F(number),
        purpose=F("pending_otp__purpose"),
        closed_as=F("pending_otp__closed_as"),
    )
    return told.only("created_at", "state").order_by("-id")


_TEXTS = Select(_texts)
