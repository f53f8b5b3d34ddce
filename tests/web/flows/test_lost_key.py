"""The key of something that waits has left the key ring: words, and a way on."""

from datetime import timedelta

import pytest
import time_machine
from django.conf import LazySettings

from optin.conf import KEY_BYTES
from optin.models import AuditEvent, User
from optin.models.second_factors import overview
from tests.kit.browser import APP, Browser, name_number, opt_in
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)


def lose_key(settings: LazySettings) -> None:
    settings.OPTIN_KEYS = {"new": b"n" * KEY_BYTES}


def test_of_a_number(
    ann: Browser,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
    settings: LazySettings,
) -> None:
    """It is entered again, and gets a code that can be sent."""
    name_number(ann)
    lose_key(settings)
    clock.shift(timedelta(seconds=61))

    ann.click("/account/two-factor/number/code/not-received/")
    ann.send("/account/two-factor/number/code/send/")

    assert "Enter it again" in ann.page.text
    assert len(phone.messages) == 1
    assert AuditEvent.objects.latest("pk").outcome == "unreadable"
    opt_in(ann, phone)
    assert overview(user).number


def test_of_an_app(ann: Browser, user: User, settings: LazySettings) -> None:
    """Its set-up begins again."""
    ann.go(APP)
    ann.send()
    submit = ann.submission(code="123456")
    lose_key(settings)

    submit(ann)

    assert "Start again" in ann.page.text
    assert ann.page.status == 200
    assert not overview(user).app
