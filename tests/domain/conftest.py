"""Worlds: a user with a code on the phone, for each purpose; and who asks for texts."""

import pytest
import time_machine
from django.conf import LazySettings
from hypothesis import HealthCheck
from hypothesis import settings as examples

from optin.models import File, ProviderUser, Purpose, User
from tests.domain.asking import LIMITS, Asker
from tests.kit.people import make_user
from tests.kit.phone import Phone
from tests.kit.world import World

# How long an example takes says nothing beside other tests.
examples.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("untimed")


@pytest.fixture(params=[Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE])
def challenged(
    request: pytest.FixtureRequest,
    user: User,
    file: File,
    active: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
) -> World:
    """``user`` has a number, was challenged, and the phone has the code."""
    world = World(user, file, phone, clock, request.param)
    assert world.ask().outcome == "sent"
    return world


@pytest.fixture
def alone(settings: LazySettings) -> LazySettings:
    """No limit and no wait, but the one that a test switches on."""
    for name in LIMITS:
        setattr(settings, name, ())
    settings.OPTIN_RESEND_WAIT = (0,)
    settings.OPTIN_BREAKER_UNPROVED = 0
    return settings


@pytest.fixture
def asker(file: File, other_file: File) -> Asker:
    return Asker(file, other_file, [make_user(f"u{n}", file, other_file) for n in range(6)])
