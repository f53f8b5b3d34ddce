"""What every template may use."""

from django.http import HttpRequest

from optin.conf import conf


def service(request: HttpRequest) -> dict[str, str]:
    return {"service_name": conf.service_name}
