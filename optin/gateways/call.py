"""One HTTP request to a gateway that is not trusted: in time, or not at all."""

import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from typing import Any

import certifi

from optin.conf import conf
from optin.gateways.protocol import TIMEOUT, Fate, SmsError
from optin.runtime.lines import Line, NoAnswer

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
    context = ssl.create_default_context(cafile=certifi.where())
    if own:
        context.load_verify_locations(own)
    return context


class Call:
    """One POST, ended after *patience* seconds, however slowly its bytes come."""

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
        """
        :param reads: whether the body of an answer is of use.
        :param who: the server, as faults name it.
        """
        self._request = headers, body
        self._line = Line(
            url,
            trust(),
            who=who,
            patience=min(patience, TIMEOUT),
            excerpt=MAX_ANSWER + 1 if reads else 0,
            dial=_dial,
        )

    def run(self) -> tuple[int, bytes | None]:
        """Return the status and the body: None if it did not come in time, empty if of no use.

        A status is the gateway's word: to send again would be to send twice.

        :raises SmsError: if there was no status.
        """
        with closing(self._line):
            try:
                status, answer = self._line.post(*self._request)
            except NoAnswer as exc:
                fate = Fate.UNKNOWN if self._line.may_be_heard else Fate.TRY_ANOTHER
                raise SmsError(str(exc), fate) from None
        return status, b"" if answer and len(answer) > MAX_ANSWER else answer


def facts_in(answer: bytes) -> dict[str, Any]:
    """Return the JSON object in *answer*; an empty one if there is none."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _dial(host: str, port: int, patience: float) -> socket.socket:
    return socket.create_connection((host, port), patience)
