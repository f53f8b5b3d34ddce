"""The courtesy limits on requests: one client must not crowd out the others.

They protect nothing else. Limits that must be exact are counted in the database
(``optin.limits``). So while Redis is away, each process counts for itself. No request is refused
because of it.
"""

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from typing import cast

# limits imports it when the first request comes. If two come at once, the second thread would find
# half of it, and answer 500.
import redis
from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import RedisStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from optin.conf import Rate, conf
from optin.origin import network_of

logger = logging.getLogger(__name__)

ASK_AGAIN = 5.0
"""Seconds between two requests that ask a Redis that is away. Each may wait for a second."""


def hit(user_id: int) -> timedelta | None:
    """Count one call of the user; return how long to wait if it is one too many."""
    return _hit(conf.requests_per_user, str(user_id))


def hit_page(session: str) -> timedelta | None:
    """``hit`` for a page of one session: who has a key, a token or another session of the same user
    must not shut their pages.

    :param session: its digest, because Redis keeps it.
    """
    return _hit(conf.requests_per_user, f"page {session}")


def hit_network(ip: str) -> timedelta | None:
    """``hit`` for the address *ip* (IPv6: its /64), if nobody is signed in.

    Behind a Unix socket there is no address, and nothing to tell strangers apart by.
    """
    if not ip:
        return None
    return _hit(conf.requests_per_network, f"network {network_of(ip, 32)}")


def redis_is_away() -> bool:
    """Whether Redis is configured and does not answer: each process counts for itself then."""
    if not settings.REDIS_URL:
        return False
    if _redis.may_be_asked():
        if _shared().storage.check():
            _redis.answered()
        else:
            _redis.failed("no answer to a ping")
    return _redis.is_away


def _hit(rates: Iterable[Rate], who: str) -> timedelta | None:
    if settings.REDIS_URL and _redis.may_be_asked():
        try:
            wait = _count(_shared(), rates, who)
        except StorageError as exc:
            _redis.failed(type(exc.__cause__ or exc).__name__)
        else:
            _redis.answered()
            return wait
    return _count(_own(), rates, who)


def _count(limiter: FixedWindowRateLimiter, rates: Iterable[Rate], who: str) -> timedelta | None:
    items = [RateLimitItemPerSecond(rate.count, rate.seconds) for rate in rates]
    refuse: list[RateLimitItem] = []
    if len(items) > 1:
        # What one of them refuses must not use up another.
        refuse = [item for item in items if not limiter.test(item, who)]
    if not refuse:
        refuse = [item for item in items if not limiter.hit(item, who)]
    waits = [_left(limiter, item, who) for item in refuse]
    return timedelta(seconds=max(waits)) if waits else None


def _left(limiter: FixedWindowRateLimiter, item: RateLimitItem, who: str) -> float:
    """Return the seconds until the window of *item* ends; a little more, if it just ended."""
    key, storage = item.key_for(who), limiter.storage
    if isinstance(storage, RedisStorage):
        # ``get_window_stats`` rounds to whole seconds, which may be too soon.
        connection = cast("redis.Redis", storage.get_connection(True))
        left = cast(int, connection.pttl(storage.prefixed_key(key))) / 1000
    else:
        left = storage.get_expiry(key) - time.time()
    return max(left, 1)


class _Redis:
    """Remembers whether Redis answered, so that few requests wait for one that is away."""

    def __init__(self) -> None:
        self._ask_from: float | None = None  # time.monotonic; None: it answers

    @property
    def is_away(self) -> bool:
        return self._ask_from is not None

    def may_be_asked(self) -> bool:
        """Whether to ask it. While it is away, one request asks in ``ASK_AGAIN`` seconds."""
        if self._ask_from is None:
            return True
        now = time.monotonic()
        if now < self._ask_from:
            return False
        self._ask_from = now + ASK_AGAIN
        return True

    def failed(self, cause: str) -> None:
        if self._ask_from is None:
            logger.warning("Redis is away (%s): this process counts requests for itself", cause)
        self._ask_from = time.monotonic() + ASK_AGAIN

    def answered(self) -> None:
        if self._ask_from is not None:
            logger.warning("Redis is back: it counts requests for all processes")
        self._ask_from = None


_redis = _Redis()


@lru_cache(maxsize=1)
def _own() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(storage_from_string("memory://"))


@lru_cache(maxsize=1)
def _shared() -> FixedWindowRateLimiter:
    patience = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds
    return FixedWindowRateLimiter(
        storage_from_string(settings.REDIS_URL, wrap_exceptions=True, **patience)
    )
