"""Providers that say whether the SIM of a number was swapped: ``camara`` speaks the API of CAMARA.

A provider knows nothing of codes or the database. To add one, write a class like ``SimSwap`` that
takes no arguments, and set ``OPTIN_SIM_SWAP_PROVIDER`` to its dotted path.
"""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import quote_plus, urlencode
from uuid import uuid4

from django.conf import settings

from optin.conf import conf
from optin.conf.faults import header_word, remote
from optin.conf.kinds import text
from optin.gateways.call import Call, facts_in
from optin.gateways.loading import load
from optin.gateways.protocol import SmsError

PATIENCE = 1.0
"""Seconds for one question, together with a new token if it needs one."""

_CODE = re.compile(r"[A-Z][A-Z_.]{2,60}")
_OF_NUMBER = {400, 404, 422}  # CAMARA: out of range, unknown number, not applicable
_MARGIN = 30  # a token is replaced so many seconds before it expires


class SimUnknown(Exception):
    """The provider does not say whether the SIM was swapped.

    The reason holds no number and no words of the provider.
    """

    def __init__(self, reason: str, *, is_fault: bool = True) -> None:
        """:param is_fault: False if the provider works, but does not know this number."""
        super().__init__(reason)
        self.is_fault = is_fault


class SimSwap(Protocol):
    name: str

    def swapped(self, number: str, *, hours: int, patience: float) -> bool:
        """Return whether *number* (E.164) got a new SIM in the last *hours* (1 to 2400).

        Must return within *patience* seconds.

        :raises SimUnknown: if that is not known.
        """


class Camara:
    """A provider with the CAMARA SIM Swap API (sim-swap v2).

    It gives tokens for client credentials (RFC 6749, 4.4). Each process keeps its own.
    """

    name = "camara"
    prefix = "SIM_SWAP_"

    url = text(145, "The apiRoot of the provider: its address without /sim-swap/v2.", remote)
    token_url = text(146, "The provider's token endpoint, for client credentials.", remote)
    client_id = text(147, "The client id at the provider.", header_word)
    client_secret = text(148, "The client secret at the provider.", header_word)
    scope = text(
        149,
        "The scope of the token. Some providers want a purpose before it.",
        header_word,
        default="sim-swap:check",
    )

    def __init__(self) -> None:
        """:raises ValueError: if a setting is missing or wrong. Its sentence holds no value."""
        for name in ("url", "token_url", "client_id", "client_secret"):
            if not getattr(self, name):
                raise ValueError(f"OPTIN_{self.prefix}{name.upper()} is not set.")
        if not settings.DEBUG and not all(
            url.lower().startswith("https://") for url in (self.url, self.token_url)
        ):
            raise ValueError("OPTIN_SIM_SWAP_URL and _TOKEN_URL must begin with https://.")

    def swapped(self, number: str, *, hours: int, patience: float) -> bool:
        """Ask ``/check``; see ``SimSwap.swapped``. A refused token is replaced once."""
        ends = time.monotonic() + patience
        is_kept = self._kept_token() is not None
        status, answer = self._check(number, hours, ends)
        if status == 401 and is_kept:
            _TOKENS.pop(self._account, None)
            status, answer = self._check(number, hours, ends)
        found = facts_in(answer)
        said = found.get("swapped")
        if status == 200 and isinstance(said, bool):
            return said
        code = found.get("code")
        named = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        is_fault = status not in _OF_NUMBER
        raise SimUnknown(f"the provider answered {status}{named}", is_fault=is_fault)

    def _check(self, number: str, hours: int, ends: float) -> tuple[int, bytes]:
        token = self._kept_token() or self.new_token(ends)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "x-correlator": str(uuid4()),
        }
        body = json.dumps({"phoneNumber": number, "maxAge": hours}).encode()
        return _post(f"{self.url.rstrip('/')}/sim-swap/v2/check", headers, body, ends)

    def _kept_token(self) -> str | None:
        token, expires = _TOKENS.get(self._account, ("", 0.0))
        return token if time.monotonic() < expires else None

    def new_token(self, ends: float) -> str:
        """Fetch a token, and keep it until shortly before it expires.

        :param ends: when it must have come, by ``time.monotonic``.
        :raises SimUnknown: if the provider gives none.
        """
        known_as = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        headers = {
            "Authorization": f"Basic {b64encode(known_as.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", "scope": self.scope}
        status, answer = _post(self.token_url, headers, urlencode(form).encode(), ends)
        found = facts_in(answer)
        token, seconds = found.get("access_token"), found.get("expires_in", 0)
        if status != 200 or not isinstance(token, str) or header_word(token) or not token:
            raise SimUnknown(f"the provider gives no token: it answered {status}")
        if isinstance(seconds, int | float):
            _TOKENS[self._account] = token, time.monotonic() + seconds - _MARGIN
        return token

    @property
    def _account(self) -> tuple[str, str, str]:
        return self.token_url, self.client_id, self.scope


class Stub:
    """For development and tests: the last two digits of a number decide."""

    name = "stub"

    def swapped(self, number: str, *, hours: int, patience: float) -> bool:
        match number[-2:]:
            case "91":
                return True
            case "49":
                raise SimUnknown("the stub does not know the number", is_fault=False)
            case "65":
                time.sleep(patience)
                raise SimUnknown(f"the stub did not answer within {patience:.2g} seconds")
            case "83":
                raise SimUnknown("the stub fails")
        return False


_TOKENS: dict[tuple[str, str, str], tuple[str, float]] = {}
"""The token of each account, and when it is to be replaced, by ``time.monotonic``."""

_SHIPPED: dict[str, Callable[[], SimSwap]] = {Camara.name: Camara, Stub.name: Stub}


def provider() -> SimSwap:
    """Return the provider in ``OPTIN_SIM_SWAP_PROVIDER``.

    :raises ValueError: if its settings are missing or wrong, with a reason that holds no secret.
    """
    return load(conf.sim_swap_provider, _SHIPPED)


def _post(url: str, headers: Mapping[str, str], body: bytes, ends: float) -> tuple[int, bytes]:
    """Return the status and the body; "" if it did not come in time.

    :raises SimUnknown: if there was no status.
    """
    left = ends - time.monotonic()
    if left <= 0:
        raise SimUnknown("the provider did not answer in time")
    headers = {**headers, "User-Agent": "optin", "Accept-Encoding": "identity"}
    try:
        status, answer = Call(
            url, headers, body, reads=True, patience=left, who="the provider"
        ).run()
    except SmsError as exc:
        raise SimUnknown(str(exc)) from None
    return status, answer or b""
