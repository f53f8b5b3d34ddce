"""SMS gateways: one small module each, behind one protocol.

A gateway knows nothing of codes, settings of the domain or the database. A new one is a
module of its own, its settings in ``optin.conf``, and a line in ``_MAKERS``.
"""

from collections.abc import Callable

from django.conf import settings

from optin.conf import conf
from optin.gateways.http import Http
from optin.gateways.protocol import Gateway, SmsError
from optin.gateways.simulator import Simulator

__all__ = ["KNOWN", "Gateway", "Http", "Simulator", "SmsError", "first", "make"]

_MAKERS: dict[str, Callable[[], Gateway]] = {
    Simulator.name: lambda: Simulator(settings.DATA_DIR),
    Http.name: lambda: Http(
        url=conf.gateway_http_url,
        headers=conf.gateway_http_headers,
        body=conf.gateway_http_body,
        sender=conf.gateway_http_sender,
        id_path=conf.gateway_http_id,
        idempotency_header=conf.gateway_http_idempotency_header,
        https_only=not settings.DEBUG,
    ),
}

KNOWN = frozenset(_MAKERS)
"""The names that ``OPTIN_GATEWAYS`` may hold."""


def make(name: str) -> Gateway:
    """Return the gateway *name*, one of ``KNOWN``.

    :raises ValueError: if its settings do not fit, with a reason that holds no secret.
    """
    return _MAKERS[name]()


def first() -> Gateway:
    """Return the gateway that messages leave through."""
    return make(conf.gateways[0])
