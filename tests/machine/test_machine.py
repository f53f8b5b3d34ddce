"""Anything that people can do, in any order: the service against a small model of it.

It takes a dozen examples, always the same: ``MACHINE_EXAMPLES=5000 pytest tests/machine`` looks for
new ones. The moments that
matter most are lived through one by one beside it, so that none is left to chance.
"""

import os
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from pytest_django.fixtures import Settings

from tests.kit.phone import Phone
from tests.machine.machine import Machine, Waiting, somebody
from tests.machine.stories import STORIES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

STEPS = 50


class Telling:
    """A machine that now and then has somebody live through a whole story."""

    @rule(story=st.sampled_from(sorted(STORIES)), who=somebody)
    def live_through(self: Machine, story: str, who: int) -> None:
        STORIES[story](self, who)


class Anything(Telling, Machine):
    pass


class AnythingWaiting(Telling, Waiting):
    """With waits between texts."""


def run(machine: type[Machine], examples: int, *fixtures: Any) -> None:
    wanted = int(os.environ.get("MACHINE_EXAMPLES", "0"))
    run_state_machine_as_test(
        lambda: machine(*fixtures),  # type: ignore[arg-type]  # as its documentation has it
        settings=settings(
            max_examples=wanted or examples,
            stateful_step_count=STEPS,
            derandomize=not wanted,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def _settings_go_back(settings: Settings, password_clients: None) -> None:
    settings.OPTIN_OTP_DIGITS = 7  # what the machine sets later goes when this does


@pytest.mark.parametrize("machine", [Anything, AnythingWaiting])
def test_the_service_does_what_the_model_says(
    machine: type[Machine], phone: Phone, clock: time_machine.Traveller
) -> None:
    """What the model says of counts, locks, numbers and codes holds after each step."""
    run(machine, 12, phone, clock)


@pytest.mark.parametrize("machine", [Machine, Waiting])
@pytest.mark.parametrize("story", STORIES)
def test_no_moment_that_matters_is_left_to_chance(
    story: str, machine: type[Machine], phone: Phone, clock: time_machine.Traveller
) -> None:
    """Each story by itself, from the beginning."""
    alone = machine(phone, clock)
    STORIES[story](alone, 0)
    alone.holds()
