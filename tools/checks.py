"""What is wrong with the settings, as far as the tools of this package can say."""

from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register

from optin.conf import CHECKS, Conf, conf
from optin.gateways import Twilio
from tools import lint


@register(CHECKS)
def check_texts(**kwargs: Any) -> list[CheckMessage]:
    """No text is too long, lacks what it must have, or comes from an unfit sender (G-06)."""
    if (
        Conf.service_name.fault(conf.service_name)
        or Conf.base_url.fault(conf.base_url)
        or Conf.senders.fault(conf.senders)
        or Twilio.sender.fault(Twilio.sender.value)
    ):
        return []  # check_settings tells
    return [
        Error(found.text, hint=found.do, id=f"optin.{found.check_id}")
        for found in lint.report()
        if found.is_error
    ]


@register(Tags.security, deploy=True)
def check_senders(**kwargs: Any) -> list[CheckMessage]:
    """Names that carriers mark, and texts without a ceiling (G-06)."""
    return [
        Warning(found.text, hint=found.do, id=f"optin.{found.check_id}")
        for found in lint.report()
        if not found.is_error
    ]
