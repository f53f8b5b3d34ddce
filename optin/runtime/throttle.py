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


def hit_client(application_id: int) -> timedelta | None:
    """``hit`` for an application that acts for nobody: it is the server of many people."""
    return _hit(conf.requests_per_network, f"app {application_id}")


def hit_page(session: str) -> timedelta | None:
    """``hit`` for a page of one session: who has a key, a token or another session of the same user
    must not shut their pages.

    :param session: its digest, because Redis keeps it.
    """
    return _hit(conf.requests_per_user, f"page {session}")


def hit_network(ip: str, *, has_password: bool = False) -> timedelta | None:
    """``hit`` for the address *ip* (IPv6: its /64), if nobody is signed in.

    Requests with a password are counted apart: whoever has none must not use up what others at
    their address need to sign in. Behind a Unix socket there is no address, and nothing to tell
    strangers apart by.
    """
    if not ip:
        return None
    kind = "network password" if has_password else "network"
    return _hit(conf.requests_per_network, f"{kind} {network_of(ip, 32)}")


def redis_is_away() -> bool:
    """Whether Redis is configured and takes no counts: each process counts for itself then."""
    return bool(why_redis_is_away())


def why_redis_is_away() -> str:
    """Return the name of the error with which Redis refuses a count; "" if it takes them."""
    if settings.REDIS_URL and (not _redis.why or _redis.is_due()):
        _redis.try_to_write()
    return _redis.why if settings.REDIS_URL else ""


def _hit(rates: Iterable[Rate], who: str) -> timedelta | None:
    if settings.REDIS_URL and _redis.may_be_asked():
        try:
            return _count(_shared(), rates, who)
        except StorageError as exc:
            _redis.failed(exc)
    return _count(_own(), rates, who)


def _count(limiter: FixedWindowRateLimiter, rates: Iterable[Rate], who: str) -> timedelta | None:
    items = [RateLimitItemPerSecond(rate.count, rate.seconds) for rate in rates]
    refuse: list[RateLimitItem] = []
    if len(items) > 1:
        # A request that one limit refuses must not use up another.
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
    """Remembers whether Redis takes counts, so that few requests wait for one that does not.

    One that is full, or a read-only replica, still answers a ping and tells counts. So only a
    write shows that it is back.
    """

    def __init__(self) -> None:
        self.why = ""
        self._ask_from = 0.0  # time.monotonic

    def may_be_asked(self) -> bool:
        """Whether to count there. While it is away, one request in ``ASK_AGAIN`` seconds tries."""
        if self.why and self.is_due():
            self.try_to_write()
        return not self.why

    def is_due(self) -> bool:
        """Return whether to try Redis again now. Then let nobody try for ``ASK_AGAIN`` seconds."""
        now = time.monotonic()
        if now < self._ask_from:
            return False
        self._ask_from = now + ASK_AGAIN
        return True

    def try_to_write(self) -> None:
        storage = cast(RedisStorage, _shared().storage)
        connection = cast("redis.Redis", storage.get_connection())
        try:
            connection.set(storage.prefixed_key("a try"), "", ex=1)
        except redis.RedisError as exc:
            self.failed(exc)
        else:
            self.answered()

    def failed(self, exc: Exception) -> None:
        cause = exc.__cause__ if isinstance(exc, StorageError) else None
        why = type(cause or exc).__name__
        if not self.why:
            logger.warning("Redis takes no counts (%s): this process counts requests itself", why)
        self.why, self._ask_from = why, time.monotonic() + ASK_AGAIN

    def answered(self) -> None:
        if self.why:
            logger.warning("Redis is back: it counts requests for all processes")
        self.why = ""


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
