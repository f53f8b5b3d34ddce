"""G-01: ``Retry-After`` comes from the limit that refused.

The quick run takes a few hundred traces, always the same. ``RETRY_AFTER_TRACES=10000 pytest
tests/promises/test_retry_after.py`` looks for new ones.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django.fixtures import Settings

from optin.conf import Rate, conf
from optin.limits import attempts
from optin.models import File, ProviderUser, Purpose, User
from optin.operations import opt_ins
from optin.outcomes import SendOutcome
from tests.kit.clients import Answer, Api, Tokens, bearer
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.world import World
from tests.promises.refusals import (
    CHOICES,
    Refusals,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SHORT, STEPS = 150, 15


@pytest.fixture
def settings_go_back(settings: Settings) -> None:
    for name in (*CHOICES, "DISABLE_AFTER"):
        setattr(settings, f"OPTIN_{name}", ())  # what a trace sets later goes when this does


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits that are no settings."""
    monkeypatch.setattr(attempts, "SEARCHES", (Rate(3, 3600), Rate(5, 86_400)))
    monkeypatch.setattr(attempts, "REVOCATIONS", (Rate(3, 86_400),))
    monkeypatch.setattr(attempts, "EMAILS", (Rate(3, 86_400),))
    monkeypatch.setattr(conf, "failed_sign_ins_per_new_network", (Rate(1, 3600),))
    monkeypatch.setattr(conf, "own_sends_reserve", 0)
    monkeypatch.setattr(conf, "breaker_share", 100)


@pytest.mark.usefixtures("settings_go_back")
def test_the_limit_refuses_no_more_when_the_wait_is_over(
    phone: Phone, clock: time_machine.Traveller, record_property: Any
) -> None:
    """G-01."""
    wanted = int(os.environ.get("RETRY_AFTER_TRACES", "0"))
    met: dict[str, int] = {}
    run_state_machine_as_test(
        lambda: Refusals(phone, clock, met),  # type: ignore[arg-type]  # as its documentation has it
        settings=settings(
            max_examples=wanted or SHORT,
            stateful_step_count=STEPS,
            derandomize=not wanted,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    record_property("waited out", met)
    print(f"Waited out: {dict(sorted(met.items()))}")


# -- the header --------------------------------------------------------------------

SHORT_AND_LONG = (Rate(2, 60), Rate(3, 600))


def _opt_in(world: World) -> Answer:
    return Api(token=bearer(User.objects.get(username="ben"))).opt_in(OTHER_NUMBER)


def _opt_out(world: World) -> Answer:
    return Api(token=bearer(world.user)).opt_out()


def _wrong_code(world: World) -> Answer:
    return Api(token=bearer(world.user)).opt_out(wrong(world.code()))


def _password(world: World) -> Answer:
    return Tokens().sign_in("ann", "wrong")


def _code_by_token_call(world: World) -> Answer:
    return Tokens(call="token-2fa").sign_in("ann")


def _page(world: World) -> Any:
    return Client().post("/sign-in/", {"username": "ann", "password": "wrong"})


def _oauth(world: World) -> Any:
    return Client().post("/o/token/", {"client_id": "x"})


DOORS = [
    pytest.param(_opt_in, {"SENDS_PER_CLIENT": SHORT_AND_LONG}, id="opt-in"),
    pytest.param(_opt_out, {"SENDS_PER_USER": SHORT_AND_LONG}, id="opt-out"),
    pytest.param(_wrong_code, {"LOCK_AFTER": 3, "LOCK_SECONDS": (60,)}, id="locked"),
    pytest.param(_opt_in, {"REQUESTS_PER_USER": SHORT_AND_LONG}, id="throttled"),
    pytest.param(_password, {"FAILED_SIGN_INS_PER_NAME": SHORT_AND_LONG}, id="token-call"),
    pytest.param(_code_by_token_call, {"SENDS_PER_IP": SHORT_AND_LONG}, id="code"),
    pytest.param(_password, {"REQUESTS_PER_NETWORK": SHORT_AND_LONG}, id="token-call-throttled"),
    pytest.param(_page, {"FAILED_SIGN_INS_PER_IP": SHORT_AND_LONG}, id="page"),
    pytest.param(_page, {"REQUESTS_PER_NETWORK": SHORT_AND_LONG}, id="page-throttled"),
    pytest.param(_oauth, {"REQUESTS_PER_NETWORK": SHORT_AND_LONG}, id="oauth"),
]


@pytest.mark.usefixtures("active", "stranger", "password_clients")
@pytest.mark.parametrize(("send", "limits"), DOORS)
def test_each_door_has_it_in_its_header(
    world: World,
    settings: Settings,
    clock: time_machine.Traveller,
    send: Callable[[World], Any],
    limits: dict[str, Any],
) -> None:
    """G-01: with two limits, of which the short one is used up first."""
    settings.OPTIN_RESEND_WAIT = (0,)
    for name, value in limits.items():
        setattr(settings, f"OPTIN_{name}", value)
    clock.shift(0.3)
    world.purpose = Purpose.OPT_OUT
    world.ask()

    answers = []
    for seconds in (0, 0, 60, 0, 0):
        clock.shift(seconds)
        answers.append(send(world))
    refused = answers[-1]
    assert _status(refused) == 429
    clock.shift(int(refused.headers["Retry-After"]))
    assert _status(send(world)) != 429


def _status(answer: Any) -> int:
    status: int = answer.status if isinstance(answer, Answer) else answer.status_code
    return status


def test_a_code_that_waits_to_be_entered_is_asked_for_though_no_other_leaves(
    active: ProviderUser, world: World, settings: Settings
) -> None:
    """The outcome is that of the resend wait, the wait that of the limit that stands longer."""
    settings.OPTIN_RESEND_WAIT = (30,)
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 600),)
    world.purpose = Purpose.SIGN_IN
    assert world.ask().outcome is SendOutcome.SENT
    refused = world.ask()
    assert (refused.outcome, refused.retry_after) == (SendOutcome.WAITING, timedelta(minutes=10))
    assert refused.data["rule"] == "own-user/600"


def test_what_others_did_makes_no_wait_longer(
    user: User, stranger: User, file: File, settings: Settings
) -> None:
    """S-38: the wait that is told is that of the person, though the number's own is longer.

    G-01.
    """
    settings.OPTIN_RESEND_WAIT = (0,)
    settings.OPTIN_SENDS_PER_NUMBER = (Rate(2, 3600),)
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 60),)
    for _ in range(2):
        opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
        settings.OPTIN_SENDS_PER_USER = ()
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 60),)
    opt_ins.opt_in(user, file, OTHER_NUMBER, origin=ORIGIN)
    refused = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert (refused.outcome, refused.retry_after) == (SendOutcome.SEND_LIMIT, timedelta(minutes=1))
    assert refused.data["rule"] == "asked-user/60"
