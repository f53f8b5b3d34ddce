"""The courtesy limit on requests: so that one client does not crowd out the others.

It protects nothing else; what must be exact is counted in the database (``limits``).
"""

import time
from datetime import timedelta
from functools import lru_cache

from django.conf import settings
from limits import RateLimitItemPerSecond
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter

from optin.conf import conf


def hit(user_id: int) -> timedelta | None:
    """Count one request of the user; return how long to wait if it is one too many.

    :raises StorageError: if Redis is configured and does not answer.
    """
    for rate in conf.requests_per_user:
        item = RateLimitItemPerSecond(rate.count, rate.seconds)
        if not _limiter().hit(item, str(user_id)):
            reset = _limiter().get_window_stats(item, str(user_id)).reset_time
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
