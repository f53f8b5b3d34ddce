"""Tokens where 2FA is active: none without a code, and what a wrong one costs."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from oauth2_provider.models import AccessToken

from optin.conf import Rate
from optin.models import AuditEvent, PendingOtp, ProviderUser, SendCounter, User
from optin.operations import staff_actions
from tests.kit.clients import BODIES, Tokens, error
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone, wrong

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients", "active"),
]

CODE_REQUIRED = (401, "2fa_code_required")
REFUSED = (400, "invalid_grant")
TOO_MANY = (429, "temporarily_unavailable")

Phones = Callable[[], str]


@pytest.fixture
def texted(phone: Phone) -> Phones:
    """Ask for a code by signing in without one; return it."""

    def ask() -> str:
        assert error(Tokens().sign_in()) == CODE_REQUIRED
        return phone.code()

    return ask


def guess_wrongly(phone: Phone, clock: time_machine.Traveller, times: int) -> None:
    """Guess *times* at codes for signing in, asking for a new one when it is used up."""
    code = ""
    for n in range(times):
        if n % 5 == 0:
            clock.shift(600)
            Tokens().sign_in()
            code = phone.code()
        assert error(Tokens().sign_in(verification_code=wrong(code))) == REFUSED


# -- no code -----------------------------------------------------------------------


@pytest.mark.parametrize("media_type", BODIES)
def test_no_token_without_a_code(phone: Phone, media_type: str) -> None:
    """S-30: the password alone gets a text, and no token; an empty code is none."""
    for code in (None, "", " ", "-", "\u00a0\u2014 "):
        answer = Tokens(media_type=media_type).sign_in(verification_code=code)

        assert error(answer) == CODE_REQUIRED
        assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert len(phone.messages) == 2  # the first one opted in
    assert phone.messages[1][0] == NUMBER
    assert not AccessToken.objects.exists()


def test_no_second_text_within_the_wait(phone: Phone, clock: time_machine.Traveller) -> None:
    first = Tokens().sign_in()
    clock.shift(29.9)
    second = Tokens(call="token-2fa").sign_in()
    code = phone.code()
    assert len(phone.messages) == 2
    clock.shift(0.1)
    third = Tokens().sign_in()

    assert len(phone.messages) == 3
    assert phone.code() == code
    assert first.content == second.content == third.content
    assert error(third) == CODE_REQUIRED


def test_wrong_password_sends_no_text(phone: Phone, texted: Phones) -> None:
    """... and its code is not looked at."""
    code = texted()
    plain = Tokens().sign_in(password="wrong")
    with_right_code = Tokens().sign_in(password="wrong", verification_code=code)
    with_wrong_code = Tokens().sign_in(password="wrong", verification_code=wrong(code))

    assert error(plain) == REFUSED
    assert plain.content == with_right_code.content == with_wrong_code.content
    assert len(phone.messages) == 2
    assert PendingOtp.objects.get(purpose="sign_in").tries == 0
    assert Tokens().sign_in(verification_code=code).status == 200


def test_scope_is_judged_first(phone: Phone) -> None:
    assert error(Tokens().sign_in(scope="unknown")) == (400, "invalid_scope")
    assert len(phone.messages) == 1


# -- a code ------------------------------------------------------------------------


def test_malformed_code_is_no_guess(user: User, phone: Phone, texted: Phones) -> None:
    """Nothing is looked at: neither the password nor the code. A code is cleaned first (S-10)."""
    right = texted()
    events = AuditEvent.objects.count()
    answers = [
        answer
        for code in (
            *("12345", "12345678", "0123456!", "12.3456", "\uff11\uff12\uff13\uff14\uff15\uff16"),
            *("0123-4567-89AB-CDEU", "0123-4567-89AB-CDE", "0123456789ABCDE\u0131"),
        )
        for answer in (
            Tokens().sign_in(verification_code=code),
            Tokens().sign_in(password="wrong", verification_code=code),
            Tokens().sign_in("nobody", verification_code=code),
        )
    ]

    assert {error(answer) for answer in answers} == {(400, "invalid_request")}
    assert len({answer.content for answer in answers}) == 1
    user.refresh_from_db()
    assert user.failures == 0
    assert AuditEvent.objects.count() == events
    spaced = f" {right[:3]}\u2011{right[3:]}\n"
    assert Tokens().sign_in(verification_code=spaced).status == 200
    assert len(phone.messages) == 2


def exhaust(user: User, code: str) -> None:
    for _ in range(5):
        Tokens().sign_in(verification_code=wrong(code))


# What happens before the right code comes.
REFUSALS: dict[str, Callable[[User, str], object]] = {
    "exhausted": exhaust,
    "used": lambda user, code: Tokens().sign_in(verification_code=code),
    "closed": lambda user, code: PendingOtp.objects.filter(closed_at=None).delete(),
    "suspended": lambda user, code: staff_actions.suspend(user, reason="test", origin=ORIGIN),
    "disabled": lambda user, code: User.objects.update(
        otp_failures=50, otp_disabled_at="2026-11-02T12:00Z"
    ),
}


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_one_body_for_all_that_is_wrong_with_a_code(
    user: User, texted: Phones, clock: time_machine.Traveller, accept: str
) -> None:
    tokens = Tokens(accept=accept)
    code = texted()
    answers = [
        tokens.sign_in(verification_code=wrong(code)),
        tokens.sign_in(verification_code=code[:-1]),
    ]
    clock.shift(600)
    answers.append(tokens.sign_in(verification_code=code))  # expired
    for happens in REFUSALS.values():
        User.objects.update(otp_failures=0, otp_disabled_at=None)
        ProviderUser.objects.update(suspended_at=None)
        clock.shift(1800)
        code = texted()
        happens(user, code)
        answers.append(tokens.sign_in(verification_code=code))

    assert {error(answer) for answer in answers} == {REFUSED}
    assert len({answer.content for answer in answers}) == 1


# -- counting ----------------------------------------------------------------------


def sign_ins_counted() -> int:
    counters = SendCounter.objects.filter(scope__regex="^sign-in-(name|ip)/")
    return sum(counters.values_list("count", flat=True))


def test_codes_and_passwords_are_counted_apart(user: User, texted: Phones) -> None:
    code = texted()
    for _ in range(4):
        Tokens().sign_in(verification_code=wrong(code))
    assert sign_ins_counted() == 0
    for _ in range(9):
        Tokens().sign_in(password="wrong", verification_code=code)

    user.refresh_from_db()
    assert user.failures == 4
    assert sign_ins_counted() == 18  # for the name and for the address
    assert Tokens().sign_in(verification_code=code).status == 200


def test_lock_shows_only_to_who_has_the_password(
    phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-38: a stranger gets the answers of an unknown name."""
    guess_wrongly(phone, clock, 10)
    known = Tokens("198.51.100.1").sign_in(password="wrong")
    unknown = Tokens("198.51.100.1").sign_in("nobody", "wrong")

    assert known.content == unknown.content
    assert error(known) == REFUSED


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_one_body_for_all_that_is_too_much(
    user: User, phone: Phone, clock: time_machine.Traveller, settings: Any, accept: str
) -> None:
    """Locked, too many failed sign-ins, no further text: and the same for unknown names."""
    tokens = Tokens(accept=accept)
    answers = {}
    guess_wrongly(phone, clock, 10)
    answers["locked"] = tokens.sign_in()
    answers["locked, a code"] = tokens.sign_in(verification_code=phone.code())
    assert answers["locked"].headers["Retry-After"] == "900"
    clock.shift(900)
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 86400),)
    answers["no further text"] = tokens.sign_in()
    for name in ("ann", "nobody"):
        for _ in range(10):
            tokens.sign_in(name, "wrong")
        answers[f"failed sign-ins of {name}"] = tokens.sign_in(name)
    settings.OPTIN_FAILED_SIGN_INS_PER_IP = (Rate(1, 300),)
    answers["failed sign-ins of an address"] = tokens.sign_in("another")

    assert {error(answer) for answer in answers.values()} == {TOO_MANY}
    # But for the seconds, which are those of the header.
    assert len({re.sub(rb"[0-9]+ ", b"", answer.content) for answer in answers.values()}) == 1
    for one, other in (
        ("locked", "locked, a code"),
        ("failed sign-ins of ann", "failed sign-ins of nobody"),
    ):
        assert answers[one].content == answers[other].content
        assert answers[one].headers["Retry-After"] == answers[other].headers["Retry-After"]
