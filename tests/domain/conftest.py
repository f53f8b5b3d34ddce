"""Worlds: a user with a code on the phone, for each purpose."""

import pytest
import time_machine

from optin.models import File, ProviderUser, Purpose, User
from optin.outcomes import By
from tests.kit.phone import Phone
from tests.kit.world import Person, World


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
def person(user: User, file: File, phone: Phone, clock: time_machine.Traveller) -> Person:
    """``user`` with no factor yet."""
    return Person(user, file, phone, clock)


@pytest.fixture
def full(person: Person) -> Person:
    """``user`` with every factor."""
    person.set_up(*By)
    assert person.has == {By.TEXT, By.APP}
    return person
