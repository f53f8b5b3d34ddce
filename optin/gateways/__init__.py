"""SMS gateways: one small module each, behind one protocol.

A gateway knows nothing of codes, settings of the domain or the database. Its own settings are
attributes of its class. To add a gateway, write a class like ``protocol.Gateway`` that is made
without arguments; ``OPTIN_GATEWAYS`` names it by its dotted path.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from optin.conf import Conf, Setting, conf
from optin.gateways.http import Http, kept_id
from optin.gateways.kannel import Kannel
from optin.gateways.loading import load
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
from optin.gateways.sim_swap import Camara
from optin.gateways.simulator import Simulator
from optin.gateways.twilio import Twilio

__all__ = [
    "KNOWN",
    "SUBJECTS",
    "TIMEOUT",
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
    "Twilio",
    "every_setting",
    "for_region",
    "kept_id",
    "make",
    "named",
]

_SHIPPED: dict[str, Callable[[], Gateway]] = {
    gateway.name: gateway for gateway in (Simulator, Http, Kannel, Twilio)
}

KNOWN = frozenset(_SHIPPED)
"""The names that ``OPTIN_GATEWAYS`` may hold, beside dotted paths."""

SUBJECTS: tuple[type, ...] = (*Conf.__bases__, Http, Kannel, Twilio, Camara)
"""The classes that declare settings."""


def every_setting() -> Iterator[Setting[Any]]:
    """All settings, by subject."""
    for subject in SUBJECTS:
        yield from (value for value in vars(subject).values() if isinstance(value, Setting))


_PARTS = ("name", "regions", "price", "send", "receipt")
"""Attributes of every ``Gateway``."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def make(name: str) -> Gateway:
    """Return the gateway *name*: one of ``KNOWN``, or the dotted path of a class.

    :raises ValueError: if its settings do not fit, with a reason that holds no secret.
    """
    gateway = load(name, _SHIPPED)
    if name in KNOWN:
        return gateway
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
