"""G-02: the owner's promise. Strangers without her password cannot keep her out.

The quick run takes some traces, always the same. ``OWNER_TRACES=10000 pytest
tests/promises/test_owner.py`` looks for new ones.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django.fixtures import Settings

from optin import gateways
from optin.conf import Rate, conf
from tests.kit.browser import Browser, sign_in
from tests.kit.people import PASSWORD
from tests.kit.phone import Phone, wrong
from tests.promises.strangers import CHOICES, FIXED, WAYS_IN, Strangers, taker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("settings_go_back", "gateway", "password_clients"),
]

SHORT = 25
STEPS = 12


@pytest.fixture
def settings_go_back(settings: Settings) -> None:
    for name in (*CHOICES, *FIXED):
        setattr(settings, f"OPTIN_{name}", ())  # what a trace sets later goes when this does
    settings.TRUSTED_PROXIES = ()


@pytest.fixture
def gateway(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    http = taker(phone)
    monkeypatch.setattr(gateways, "for_region", lambda region: [http])
    monkeypatch.setattr(gateways, "make", lambda name: http)


@pytest.mark.slow
def test_she_gets_in_whatever_strangers_do(
    phone: Phone, clock: time_machine.Traveller, record_property: Any
) -> None:
    """G-02, S-07a."""
    wanted = int(os.environ.get("OWNER_TRACES", "0"))
    met: dict[str, int] = {}
    run_state_machine_as_test(
        lambda: Strangers(phone, clock, met),  # type: ignore[arg-type]  # as its documentation has it
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
    record_property("visits", met)
    print(f"Visits: {dict(sorted(met.items()))}")
    assert met.keys() >= {*WAYS_IN, "passkey alone", "waited", "no text", "a code from before"}


# -- what is left out --------------------------------------------------------------


def _wrong_passwords(at: Strangers, ip: str, times: int) -> None:
    for n in range(times):
        at.post("/sign-in/", ip, {"username": at.owner.username, "password": f"wrong {n}"})


def _own_sign_ins(at: Strangers, ip: str, times: int) -> None:
    """A stranger with a verified number of their own signs in."""
    for _ in range(times):
        name = at.strangers[2].username
        at.post("/sign-in/", ip, {"username": name, "password": PASSWORD})
        at.clock.shift(30)


def _a_stranger_in_her_network_tries_passwords(at: Strangers) -> str:
    _wrong_passwords(at, "192.0.2.99", 10)
    return at.visit()


def _a_stranger_at_her_address_sends_many_passwords(at: Strangers) -> str:
    at.set("REQUESTS_PER_NETWORK", (Rate(2, 60),))
    for n in range(2):
        at.post("/sign-in/", at.home, {"username": f"nobody {n}", "password": "wrong"})
    return at.visit()


def _a_stranger_at_her_address_is_sent_many_texts(at: Strangers) -> str:
    at.set("SENDS_PER_IP", (Rate(2, 300),))
    _own_sign_ins(at, at.home, 2)
    return at.visit("token")


def _a_stranger_beside_her_where_she_is_new(at: Strangers) -> str:
    at.set("FAILED_SIGN_INS_PER_NAME_TOTAL", (Rate(2, 3600),))
    _wrong_passwords(at, "2001:db8:9:1::1", 3)
    assert at.visit(ip="203.0.113.77") == ""  # new there too, but alone
    return at.visit(ip="2001:db8:9:2::1")


def _codes_are_guessed_with_her_password(at: Strangers) -> str:
    at.set("LOCK_AFTER", 2)
    assert at.visit(enters=False) == ""
    thief = Browser(ip="203.0.113.5")
    sign_in(thief, at.owner.username)
    for n in range(2):
        thief.send(code=wrong(wrong(at.phone.code()) if n else at.phone.code()))
    at.clock.shift(60)
    return at.visit("token")


def _her_texts_are_used_up_with_her_password(at: Strangers) -> str:
    at.set("SENDS_PER_USER", (Rate(2, 3600),))
    for _ in range(2):
        assert at.visit(enters=False) == ""
        at.clock.shift(60)
    return at.visit("token")


def _all_texts_and_then_hers_are_used_up(at: Strangers) -> str:
    at.set("OWN_SENDS_TOTAL", (Rate(2, 86_400),))
    _own_sign_ins(at, "203.0.113.5", 2)
    for _ in range(conf.own_sends_reserve):
        assert at.visit("token") == ""
    return at.visit("token")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (_a_stranger_in_her_network_tries_passwords, "429"),
        (_a_stranger_at_her_address_sends_many_passwords, "429"),
        (_a_stranger_at_her_address_is_sent_many_texts, "in 240 seconds"),
        (_a_stranger_beside_her_where_she_is_new, "429"),
        (_codes_are_guessed_with_her_password, "in 840 seconds"),
        (_her_texts_are_used_up_with_her_password, "in 3480 seconds"),
        (_all_texts_and_then_hers_are_used_up, "in 43140 seconds"),
    ],
)
def test_what_is_left_out_does_keep_her_out(
    left_out: Callable[[Strangers], str], words: str, phone: Phone, clock: time_machine.Traveller
) -> None:
    """G-02: where strangers can keep her out, as docs/guarantees.md has it."""
    at = Strangers(phone, clock, {})
    at.live_at(at.home)
    assert words in left_out(at)
