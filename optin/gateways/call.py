"""One HTTP request to a gateway that is not trusted: in time, or not at all."""

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from optin.conf import conf
from optin.gateways.protocol import TIMEOUT, Fate, SmsError

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; a longer one tells nothing."""


def public_trust() -> ssl.SSLContext:
    """Return what believes certificates of public authorities only."""
    return _trust("")


def trust() -> ssl.SSLContext:
    """Return what decides whose certificates of gateways are believed.

    Those of public authorities and of ``OPTIN_GATEWAY_CA``; not those of this machine's own store.
    """
    return _trust(conf.gateway_ca)


@lru_cache(maxsize=2)
def _trust(own: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    if own:
        context.load_verify_locations(own)
    return context


class Call:
    """One POST, ended after *patience* seconds, however slowly its bytes come.

    The time-outs of sockets are for each byte anew, and none is for looking a name up.
    So a thread of its own makes the call, and this one hangs up on it.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        reads: bool,
        patience: float = TIMEOUT,
        who: str = "the gateway",
    ) -> None:
        """*reads*: whether the body of an answer is of use; *who*: its name in faults."""
        self._who = who
        self._patience = min(patience, TIMEOUT)
        self._request = url, headers, body
        self._reads = reads
        self._status = 0
        self._answer = b""
        self._failure = ""
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._over = self._heard = False

    def run(self) -> tuple[int, bytes | None]:
        """Return the status and the body: None if it did not come in time, empty if of no use.

        :raises SmsError: if there was no status.
        """
        thread = threading.Thread(target=self._post, name="sms-gateway", daemon=True)
        thread.start()
        thread.join(self._patience)
        late = thread.is_alive()
        # Before hanging up: headers that break off then would pass for whole ones.
        status, answer = self._status, self._answer
        self._hang_up()
        # A status is the gateway's word: to send again would be to send twice.
        if status:
            return status, None if late else answer
        fate = Fate.UNKNOWN if self._heard else Fate.TRY_ANOTHER
        if late:
            raise SmsError(f"{self._who} did not answer within {self._patience:.2g} seconds", fate)
        raise SmsError(f"{self._who} could not be reached ({self._failure})", fate)

    def opened(self, line: socket.socket) -> None:
        """Hold a handle to the connection; refuse one that comes too late.

        :raises OSError: if the call is over, so that nothing is sent any more.
        """
        with self._lock:
            if self._over:
                line.close()
                raise OSError("the call is over")
            # A duplicate, since TLS takes the original over.
            self._line = line.dup()

    def secured(self) -> None:
        """Note that the request goes out next, so that it may be heard from now on."""
        self._heard = True

    def _hang_up(self) -> None:
        with self._lock:
            self._over = True
            if self._line:
                with suppress(OSError):  # where the gateway did first
                    self._line.shutdown(socket.SHUT_RDWR)
                self._line.close()

    def _post(self) -> None:
        url, headers, body = self._request
        try:
            with requests.Session() as session:
                # No proxy, no netrc and no bundle of certificates from the environment.
                session.trust_env = False
                session.headers.clear()
                session.mount("https://", _Adapter(self))
                session.mount("http://", _Adapter(self))
                with session.post(
                    url,
                    data=body,
                    headers=headers,
                    # Longer: whoever is late is hung up on as a whole, and said to be late.
                    timeout=self._patience + 1,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    self._status = response.status_code
                    answer = response.raw.read(MAX_ANSWER + 1) if self._reads else b""
                    self._answer = answer if len(answer) <= MAX_ANSWER else b""
        except Exception as exc:
            # Whatever an answer does to the client. Its words may hold the address, which
            # may hold a secret.
            self._failure = type(exc).__name__
            if "CERTIFICATE_VERIFY_FAILED" in str(exc):
                self._failure = "its certificate is not valid"


class _Adapter(HTTPAdapter):
    """Tells the call of each connection, while it can still be hung up."""

    def __init__(self, call: Call) -> None:
        self._call = call
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        call = self._call

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                call.opened(line)
                return line

            def connect(self) -> None:
                super().connect()
                call.secured()

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                call.opened(line)
                return line

            def connect(self) -> None:
                super().connect()
                call.secured()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        if conf.gateway_ca:  # otherwise the library has a context at hand
            kwargs["ssl_context"] = trust()
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
