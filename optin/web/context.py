"""What every template may use."""

from django.conf import settings
from django.http import HttpRequest

from optin.conf import conf
from optin.gateways import Simulator
from optin.web import sessions


def service(request: HttpRequest) -> dict[str, str | bool]:
    # Where a request was refused before its session was read, there is none.
    flash = sessions.take_flash(request) if hasattr(request, "session") else ""
    return {
        "service_name": conf.service_name,
        "support": conf.support,
        "has_simulator": has_simulator(),
        "flash": flash,
    }


def has_simulator() -> bool:
    """Whether this start has the page of the simulated phone."""
    return settings.DEBUG and Simulator.name in conf.gateways
