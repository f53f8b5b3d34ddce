"""The courtesy limits on requests: one client must not crowd out the others.

They protect nothing else. Limits that must be exact are counted in the database
(``optin.limits``).
"""

import time
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

# limits imports it when the first request comes. If two come at once, the second thread would find
# half of it, and answer 500.
import redis  # noqa: F401
from django.conf import settings
from limits import RateLimitItemPerSecond
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter

from optin.conf import Rate, conf
from optin.origin import network_of


def hit(user_id: int) -> timedelta | None:
    """Count one call of the user; return how long to wait if it is one too many.

    :raises StorageError: if Redis is configured and does not answer.
    """
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


def _hit(rates: Iterable[Rate], who: str) -> timedelta | None:
    for rate in rates:
        item = RateLimitItemPerSecond(rate.count, rate.seconds)
        if not _limiter().hit(item, who):
            reset = _limiter().get_window_stats(item, who).reset_time
            return timedelta(seconds=max(reset - time.time(), 1))
    return None


@lru_cache(maxsize=1)
def _limiter() -> FixedWindowRateLimiter:
    if not settings.REDIS_URL:
        return FixedWindowRateLimiter(storage_from_string("memory://"))
    patience = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds
    return FixedWindowRateLimiter(
        storage_from_string(settings.REDIS_URL, wrap_exceptions=True, **patience)
    )
