"""SMS gateways: one small module each, behind one protocol.

A gateway knows nothing of codes, settings of the domain or the database.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from optin.conf import conf
from optin.gateways.protocol import Gateway, SmsError
from optin.gateways.simulator import Simulator

__all__ = ["KNOWN", "Gateway", "Simulator", "SmsError", "first"]

KNOWN = frozenset({Simulator.name})
"""The names that ``OPTIN_GATEWAYS`` may hold."""


def first() -> Gateway:
    """Return the gateway that messages leave through."""
    name = conf.gateways[0]
    if name == Simulator.name:
        return Simulator(settings.DATA_DIR)
    raise ImproperlyConfigured(f"OPTIN_GATEWAYS names no known gateway: {name}.")
