"""Whoever waited for the lock of the user is judged by the time when they had it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from optin.errors import PasswordNeeded
from optin.models import File, ProviderUser, Purpose, User
from optin.operations import authenticators, challenges, opt_ins, passwords
from optin.operations.factors import Standing
from optin.outcomes import By
from tests.kit import grants
from tests.kit.people import NOON, ORIGIN
from tests.kit.phone import Phone, wrong
from tests.kit.races import closing, waiting
from tests.kit.server import until

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
]

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """It stands still, and jumps while somebody waits."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def verify_a_number(user: User, phone: Phone) -> Callable[[], str]:
    file = File.objects.get()
    sent = opt_ins.opt_in(user, file, "0491570157", origin=ORIGIN)
    number, code = sent.provider_user_id or 0, phone.code()
    return lambda: opt_ins.verify_opt_in(user, file, number, code, origin=ORIGIN).outcome


def check_a_code(user: User, phone: Phone) -> Callable[[], str]:
    opt_ins.opt_in(user, File.objects.get(), "0491570156", origin=ORIGIN)
    row = ProviderUser.objects.get()
    opt_ins.verify_opt_in(user, row.file, row.pk, phone.code(), origin=ORIGIN)
    User.objects.filter(pk=user.pk).update(otp_failures=9)
    challenges.challenge(user, Purpose.SIGN_IN, origin=ORIGIN)
    code = phone.code()
    challenges.check(user, Purpose.SIGN_IN, wrong(code), origin=ORIGIN)
    return lambda: challenges.check(user, Purpose.SIGN_IN, code, origin=ORIGIN).outcome


def begin_an_app(user: User, phone: Phone) -> Callable[[], str]:
    standing = Standing(password_at=timezone.now())
    return lambda: authenticators.begin_app(user, standing=standing, origin=ORIGIN).outcome


def allow_texts(user: User, phone: Phone) -> Callable[[], str]:
    now = timezone.now()
    standing = Standing(password_at=now, factor_at=now, factor_by=By.APP)
    return lambda: authenticators.allow_texts(user, standing=standing, origin=ORIGIN).outcome


def choose_a_password(user: User, phone: Phone) -> Callable[[], str]:
    standing = Standing(password_at=timezone.now())

    def choose() -> str:
        passwords.choose(user, "another one", standing=standing, origin=ORIGIN)
        return "changed"

    return choose


def refresh(user: User, phone: Phone) -> Callable[[], str]:
    token = grants.tokens(user.username).refresh_token
    return lambda: grants.refresh(token).outcome


@pytest.mark.parametrize(
    ("prepare", "passes", "expected"),
    [
        pytest.param(verify_a_number, 10 * MINUTE, "otp_expired", id="code"),
        pytest.param(check_a_code, 15 * MINUTE, "otp_expired", id="lock"),
        pytest.param(begin_an_app, 20 * MINUTE, "password_needed", id="proof"),
        pytest.param(allow_texts, 20 * MINUTE, "password_needed", id="proof for texts"),
        pytest.param(choose_a_password, 20 * MINUTE, "password_needed", id="proof of password"),
        pytest.param(refresh, timedelta(days=30), "invalid_refresh", id="refresh token"),
    ],
)
def test_time_passes_while_an_operation_waits(
    prepare: Callable[[User, Phone], Callable[[], str]],
    passes: timedelta,
    expected: str,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """The lock after wrong codes is over by then, and so is the code (not ``locked``)."""
    operation = prepare(user, phone)

    def outcome() -> str:
        try:
            return operation()
        except PasswordNeeded:
            return "password_needed"

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            User.objects.locked(user.pk)
            answer = pool.submit(closing, outcome)
            until(lambda: waiting() == 1)
            clock.shift(passes)
        assert answer.result(timeout=30) == expected
