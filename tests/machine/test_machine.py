"""Anything that people can do, in any order: the service against a small model of it.

It takes some examples, always the same: ``MACHINE_EXAMPLES=5000 pytest tests/machine`` looks for
new ones.
"""

import os

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django.fixtures import Settings

from tests.kit.phone import Phone
from tests.machine.machine import Machine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def settings_go_back(settings: Settings) -> None:
    settings.OPTIN_RESEND_WAIT = ()  # what the machine sets later goes when this does


@pytest.mark.usefixtures("settings_go_back")
def test_the_service_does_what_the_model_says(phone: Phone, clock: time_machine.Traveller) -> None:
    """What the model says of counts, locks, numbers and codes holds after each step."""
    wanted = int(os.environ.get("MACHINE_EXAMPLES", "0"))
    run_state_machine_as_test(
        lambda: Machine(phone, clock),  # type: ignore[arg-type]  # as its documentation has it
        settings=settings(
            max_examples=wanted or 20,
            stateful_step_count=50,
            derandomize=not wanted,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
