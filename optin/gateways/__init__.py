"""SMS gateways: one small module each, behind one protocol.

A gateway knows nothing of codes, settings of the domain or the database. To add a
gateway, write a class like ``protocol.Gateway`` that is made without arguments;
``OPTIN_GATEWAYS`` names it by its dotted path.
"""

import re
from collections.abc import Callable

from django.conf import settings
from django.utils.module_loading import import_string

from optin.conf import conf
from optin.gateways.http import Http, kept_id
from optin.gateways.kannel import Kannel
from optin.gateways.protocol import (
    TIMEOUT,
    Callback,
    Fate,
    Forged,
    Gateway,
    Malformed,
    Receipt,
    Report,
    SmsError,
    Text,
)
from optin.gateways.sandbox import Sandbox
from optin.gateways.simulator import Simulator

__all__ = [
    "KNOWN",
    "TIMEOUT",
    "TWILIO",
    "Callback",
    "Fate",
    "Forged",
    "Gateway",
    "Http",
    "Kannel",
    "Malformed",
    "Receipt",
    "Report",
    "Sandbox",
    "Simulator",
    "SmsError",
    "Text",
    "for_region",
    "kept_id",
    "make",
    "named",
]

TWILIO = "twilio"
"""Its name here, where its class is unknown unless it is in use."""


def _twilio() -> Gateway:
    try:
        maker: Callable[..., Gateway] = import_string("optin.gateways.twilio.Twilio")
    except ImportError:
        raise ValueError(
            "the package twilio is not installed: "
            "pip install --require-hashes -r requirements-twilio.txt."
        ) from None
    return maker(
        url=conf.gateway_twilio_url,
        account=conf.gateway_twilio_account,
        token=conf.gateway_twilio_token,
        key=conf.gateway_twilio_key,
        key_secret=conf.gateway_twilio_key_secret,
        sender=conf.gateway_twilio_sender,
        service=conf.gateway_twilio_service,
        receipt_secret=conf.receipt_secret,
        regions=conf.gateway_twilio_regions,
        price=conf.gateway_twilio_price,
        https_only=not settings.DEBUG,
    )


_MAKERS: dict[str, Callable[[], Gateway]] = {
    Simulator.name: lambda: Simulator(settings.DATA_DIR),
    Http.name: lambda: Http(
        url=conf.gateway_http_url,
        headers=conf.gateway_http_headers,
        body=conf.gateway_http_body,
        sender=conf.gateway_http_sender,
        id_path=conf.gateway_http_id,
        taken=conf.gateway_http_taken,
        idempotency_header=conf.gateway_http_idempotency_header,
        receipt_secret=conf.receipt_secret,
        receipt_id=conf.gateway_http_receipt_id,
        receipt_state=conf.gateway_http_receipt_state,
        receipt_from=conf.gateway_http_receipt_from,
        regions=conf.gateway_http_regions,
        price=conf.gateway_http_price,
        https_only=not settings.DEBUG,
    ),
    Kannel.name: lambda: Kannel(
        url=conf.gateway_kannel_url,
        user=conf.gateway_kannel_user,
        password=conf.gateway_kannel_password,
        sender=conf.gateway_kannel_sender,
        receipt_secret=conf.receipt_secret,
        regions=conf.gateway_kannel_regions,
        price=conf.gateway_kannel_price,
    ),
    TWILIO: _twilio,
}

KNOWN = frozenset(_MAKERS)
"""The names that ``OPTIN_GATEWAYS`` may hold, beside dotted paths."""

_PARTS = ("name", "regions", "price", "send", "receipt")
"""Attributes of every ``Gateway``."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def make(name: str) -> Gateway:
    """Return the gateway *name*: one of ``KNOWN``, or the dotted path of a class.

    :raises ValueError: if its settings do not fit, with a reason that holds no secret.
    """
    if name in _MAKERS:
        return _MAKERS[name]()
    try:
        gateway: Gateway = import_string(name)()
    except ImportError as exc:
        raise ValueError(f"it cannot be imported: {exc}.") from None
    if missing := [part for part in _PARTS if not hasattr(gateway, part)]:
        raise ValueError(
            f"it has no {', '.join(missing)}; see class Gateway in optin/gateways/protocol.py."
        )
    if not _NAME.fullmatch(str(gateway.name)) or gateway.name in KNOWN | {Sandbox.name}:
        raise ValueError("its name must be its own: small letters, digits and hyphens, up to 32.")
    return gateway


def for_region(region: str) -> list[Gateway]:
    """Return the gateways for numbers of *region*, in the order to try them."""
    every = [make(name) for name in conf.gateways]
    return [gateway for gateway in every if region in gateway.regions or not gateway.regions]


def named(name: str) -> Gateway | None:
    """Return the gateway that is in use under this name."""
    return next((gateway for gateway in map(make, conf.gateways) if gateway.name == name), None)
