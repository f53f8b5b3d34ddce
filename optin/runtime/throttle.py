"""The courtesy limits on requests: one client must not crowd out the others.

They protect nothing else. Limits that must be exact are counted in the database
(``optin.limits``). So each process counts for itself.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from threading import Lock

from optin.conf import Rate, conf
from optin.origin import network_of


def hit(user_id: int) -> timedelta | None:
    """Count one call of the user; return how long to wait if it is one too many."""
    return _hit(conf.requests_per_user, str(user_id))


def hit_client(application_id: int) -> timedelta | None:
    """``hit`` for an application that acts for nobody: it is the server of many people."""
    return _hit(conf.requests_per_network, f"app {application_id}")


def hit_page(session: str) -> timedelta | None:
    """``hit`` for a page of one session: who has a key, a token or another session of the same user
    must not shut their pages.
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


def _hit(rates: Sequence[Rate], who: str) -> timedelta | None:
    wait = _counts().hit(rates, who) if rates else 0
    return timedelta(seconds=max(wait, 1)) if wait else None


@dataclass(slots=True)
class _Window:
    ends: float  # time.time
    count: int = 0


class _Counts:
    """The counts of this process. A window begins with a request, and is dropped after its end."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Those of one rate are equally long, so they end in the order in which they began.
        self._windows: dict[Rate, OrderedDict[str, _Window]] = defaultdict(OrderedDict)

    def hit(self, rates: Sequence[Rate], who: str) -> float:
        """Count a request of *who*, if each of *rates* allows it; return how many seconds to wait.

        A request that one rate refuses does not use up another.
        """
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


@cache
def _counts() -> _Counts:
    return _Counts()
