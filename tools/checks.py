"""What is wrong with the settings, as far as the tools of this package can say."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from optin.conf import CHECKS, GUESS_BUDGET, MAX_GUESS_BUDGET, Conf, conf
from optin.gateways import Twilio
from tools import guesses, lint


@register(CHECKS)
def check_guesses(**kwargs: Any) -> list[CheckMessage]:
    """The chance of whoever knows a password and guesses at its codes for a year (G-03)."""
    if any(setting.fault(getattr(settings, setting.name)) for setting in guesses.COUNTED):
        return []  # check_settings tells
    chance = guesses.budget()[-1].chance
    words = f"A year of guesses at one account succeeds with a chance of {guesses.percent(chance)}"
    hint = "Run manage limits guesses to see the chance for each kind of code."
    if chance * 100 > MAX_GUESS_BUDGET:
        words = f"{words}: at most {MAX_GUESS_BUDGET} % are allowed."
        return [Error(words, hint=hint, id="optin.E119")]
    if chance * 100 > GUESS_BUDGET:
        words = f"{words}, above {GUESS_BUDGET} %."
        return [Warning(words, hint=hint, id="optin.W213")]
    return []


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
        for found in lint.report().findings
        if found.is_error
    ]


@register(Tags.security, deploy=True)
def check_senders_and_prices(**kwargs: Any) -> list[CheckMessage]:
    """Names that carriers mark, and texts without a price or a ceiling (G-06)."""
    return [
        Warning(found.text, hint=found.do, id=f"optin.{found.check_id}")
        for found in lint.report().findings
        if not found.is_error
    ]
