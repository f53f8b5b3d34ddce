"""The courtesy limits on requests: one client must not crowd out the others.

They protect nothing else. Limits that must be exact are counted in the database
(``optin.limits``). So while Redis is away, each process counts for itself. No request is refused
because of it.
"""

import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from threading import Lock
from typing import cast

import redis
from django.conf import settings

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


def _hit(rates: Sequence[Rate], who: str) -> timedelta | None:
    wait = _counted(rates, who) if rates else 0
    return timedelta(seconds=max(wait, 1)) if wait else None


def _counted(rates: Sequence[Rate], who: str) -> float:
    """Count a request of *who*, if each of *rates* allows it; return how many seconds to wait.

    A request that one rate refuses does not use up another.
    """
    if settings.REDIS_URL and _redis.may_be_asked():
        try:
            return _redis.hit(rates, who)
        except redis.RedisError as exc:
            _redis.failed(exc)
    return _own().hit(rates, who)


@dataclass(slots=True)
class _Window:
    ends: float  # time.time
    count: int = 0


class _Own:
    """The counts of this process. A window begins with a request, and is dropped after its end."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Those of one rate are equally long, so they end in the order in which they began.
        self._windows: dict[Rate, OrderedDict[str, _Window]] = defaultdict(OrderedDict)

    def hit(self, rates: Sequence[Rate], who: str) -> float:
        now = time.time()
        with self._lock:
            mine = [(rate, self._window(rate, who, now)) for rate in rates]
            waits = [window.ends - now for rate, window in mine if window.count >= rate.count]
            if not waits:
                for _, window in mine:
                    window.count += 1
        return max(waits, default=0)

    def _window(self, rate: Rate, who: str, now: float) -> _Window:
        windows = self._windows[rate]
        while windows and next(iter(windows.values())).ends <= now:
            windows.popitem(last=False)
        found = windows.get(who)
        if found is None or found.ends <= now:  # the latter only after a clock jumped back
            found = windows[who] = _Window(now + rate.seconds)
        return found


# Redis runs the whole script before any other command.
_COUNT = """
local wait = 0
for n, key in ipairs(KEYS) do
  if tonumber(redis.call('get', key) or 0) >= tonumber(ARGV[2 * n - 1]) then
    if redis.call('pttl', key) < 0 then  -- somebody took the end of the window away
      redis.call('expire', key, ARGV[2 * n])
    end
    wait = math.max(wait, redis.call('pttl', key))
  end
end
if wait > 0 then
  return wait
end
for n, key in ipairs(KEYS) do
  if redis.call('incr', key) == 1 then
    redis.call('expire', key, ARGV[2 * n])
  end
end
return 0
"""


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

    def hit(self, rates: Sequence[Rate], who: str) -> float:
        keys = [f"optin {who}/{rate.count}/{rate.seconds}" for rate in rates]
        limits = [number for rate in rates for number in (rate.count, rate.seconds)]
        milliseconds = _client().eval(_COUNT, len(keys), *keys, *map(str, limits))
        return cast(int, milliseconds) / 1000

    def try_to_write(self) -> None:
        try:
            _client().set("optin a try", "", ex=1)
        except redis.RedisError as exc:
            self.failed(exc)
        else:
            self.answered()

    def failed(self, exc: Exception) -> None:
        why = type(exc).__name__
        if not self.why:
            logger.warning("Redis takes no counts (%s): this process counts requests itself", why)
        self.why, self._ask_from = why, time.monotonic() + ASK_AGAIN

    def answered(self) -> None:
        if self.why:
            logger.warning("Redis is back: it counts requests for all processes")
        self.why = ""


_redis = _Redis()


@lru_cache(maxsize=1)
def _own() -> _Own:
    return _Own()


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    patience = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds
    return redis.from_url(settings.REDIS_URL, **patience)
