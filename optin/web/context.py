"""What every template may use."""

from django.conf import settings
from django.http import HttpRequest

from optin.conf import conf
from optin.gateways import Simulator


def service(request: HttpRequest) -> dict[str, str | bool]:
    return {"service_name": conf.service_name, "has_simulator": has_simulator()}


def has_simulator() -> bool:
    """Whether this start has the page of the simulated phone."""
    return settings.DEBUG and Simulator.name in conf.gateways
