"""Gateways with settings of their own."""

from typing import Any, Protocol, TypeVar

from django.test import override_settings


class _WithSettings(Protocol):
    prefix: str


G = TypeVar("G", bound=_WithSettings)


def made(kind: type[G], **given: Any) -> G:
    """Return a gateway with these settings, named without their prefix. It may speak plain HTTP."""
    named = {f"OPTIN_{kind.prefix}{name.upper()}": value for name, value in given.items()}
    with override_settings(DEBUG=True, **named):
        gateway = kind()
    vars(gateway).update(given)  # in place of the settings, which it reads when it sends
    return gateway
