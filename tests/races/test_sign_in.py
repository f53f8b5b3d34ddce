"""Passwords and refresh tokens, tried by many at once."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import transaction
from oauth2_provider.models import RefreshToken
from pytest_django.fixtures import Settings

from optin import keys
from optin.conf import conf
from optin.models import AuditEvent, File, SendCounter, User
from optin.operations import sign_in
from optin.outcomes import TokenOutcome
from tests.kit import grants
from tests.kit.clients import FORM
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import wrong as wrong_for
from tests.kit.races import at_once, closing
from tests.kit.server import Site, serving
from tests.kit.trail import decisions
from tests.races.ways import ROUNDS, pend, rate

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
]

SPELLINGS = ["ann", "ANN", "Ann", "ａｎｎ"]  # noqa: RUF001  (full width letters: NFKC)


def checked(user: User) -> tuple[int, Counter[str]]:
    """How many failures are counted for the name, and what the audit trail tells."""
    counter = SendCounter.objects.get(scope__startswith="sign-in-name/")
    found = decisions(kind=AuditEvent.Kind.SIGN_IN, user_id=user.pk)
    return counter.count, Counter({outcome: count for (_, outcome, _), count in found.items()})


def test_of_100_wrong_passwords_at_once_exactly_ten_are_looked_at(
    user: User, settings: Settings
) -> None:
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = rate(10)

    def attempt(n: int) -> str:
        return grants.ask(SPELLINGS[n % len(SPELLINGS)], password=f"wrong {n}").outcome

    answers = Counter(at_once([partial(attempt, n) for n in range(100)]))

    assert answers == {"invalid_grant": 10, "temporarily_unavailable": 90}
    assert checked(user) == (10, answers)


def test_of_100_from_10_new_networks_at_once_one_of_each_is_looked_at(
    user: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-41: beyond the ceiling of the name, which 20 tries from elsewhere reach exactly."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL = rate(20)
    monkeypatch.setattr(conf, "failed_sign_ins_per_new_network", rate(1))

    def attempt(network: str, n: int) -> str:
        origin = replace(grants.FROM, ip=f"{network}.{n % 10}.1")
        return sign_in.sign_in("ann", f"wrong {n}", origin=origin).outcome

    before = at_once([partial(attempt, "203.0", n) for n in range(20)])
    answers = Counter(at_once([partial(attempt, "198.51", n) for n in range(100)]))

    assert Counter(before) == {"invalid_grant": 20}
    assert answers == {"invalid_grant": 10, "temporarily_unavailable": 90}
    assert SendCounter.objects.get(scope__startswith="sign-in-all/").count == 30


def test_right_passwords_at_once_cost_nothing(user: User, settings: Settings) -> None:
    """The charge of each is given back: the limit is one of failures."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = rate(16)

    answers = Counter(answer.outcome for answer in at_once([partial(grants.ask, "ann")] * 64))

    assert answers == {TokenOutcome.ISSUED: 64}
    assert checked(user) == (0, Counter(issued=64))


@pytest.mark.slow
@pytest.mark.parametrize("by_page", [False, True], ids=["token call", "page"])
def test_50_who_sign_in_at_once_are_all_served(
    user: User, file: File, tmp_path: Path, by_page: bool
) -> None:
    """... within 10 seconds, from one address. Codes do not wait for them."""
    hasher = PBKDF2PasswordHasher()
    hashed = hasher.encode(PASSWORD, hasher.salt(), hasher.iterations // 20)
    User.objects.bulk_create(User(username=f"{n}", password=hashed) for n in range(50))
    pending = pend(user, file, NUMBER)
    wrong = {"ProviderUserId": pending.provider_user_id, "Otp": wrong_for(pending.code())}
    token = grants.tokens(user.username).access_token
    env = {"DJANGO_SETTINGS_MODULE": "tests.races.slowly", "OPTIN_PASSWORD_HASHES": "2"}

    with serving(tmp_path, env, workers=2) as server, ThreadPoolExecutor(50) as pool:
        path = "/sign-in/" if by_page else "/authorisation/token"

        def enter(n: int) -> tuple[int, float]:
            body = {"grant_type": "password", "username": f"{n}", "password": PASSWORD}
            form = urlencode({**body, "csrfmiddlewaretoken": "a" * 32})
            answer = server.send(path, form, FORM, Cookie=f"csrf={'a' * 32}")
            return answer.status, time.monotonic()

        address = f"/User/verify-2fa-opt-in?FileId={file.pk}"
        server.post_json(address, wrong, token)  # it has started
        begun = time.monotonic()
        entering = [pool.submit(enter, n) for n in range(50)]
        took = []
        while not all(one.done() for one in entering):
            asked = time.monotonic()
            status, answer = server.post_json(address, wrong, token)
            assert status < 500, answer
            took.append(time.monotonic() - asked)
            time.sleep(0.05)
        answers = [one.result() for one in entering]

    assert Counter(status for status, _ in answers) == {303 if by_page else 200: 50}
    assert max(at for _, at in answers) - begun < 10
    assert median(took) < 1


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[Site]:
    """A server whose refresh tokens work once."""
    with serving(tmp_path, {"OPTIN_PASSWORD_CLIENTS_ROTATE": "True"}) as server:
        yield server


@pytest.mark.parametrize("rounds", ROUNDS)
def test_all_16_who_use_one_refresh_token_at_once_are_answered_and_one_of_them_goes_on(
    rounds: int, user: User, rotating: Site
) -> None:
    """S-34."""
    for _ in range(rounds):
        body = {"grant_type": "refresh_token", "refresh_token": grants.tokens("ann").refresh_token}
        refresh = partial(rotating.post_json, "/authorisation/refresh", body)

        answers = at_once([refresh] * 16)

        assert {status for status, _ in answers} == {200}
        used = RefreshToken.objects.get(token_checksum=keys.sha256(body["refresh_token"]))
        family = RefreshToken.objects.filter(token_family=used.token_family)
        assert family.filter(revoked=None, access_token__isnull=False).count() == 16
        body["refresh_token"] = answers[0][1]["refresh_token"]
        assert rotating.post_json("/authorisation/refresh", body)[0] == 200
        assert family.filter(revoked=None).count() == 1
        assert family.filter(access_token__isnull=False).count() == 1


def test_a_refresh_that_meets_a_password_change_gets_nothing(user: User) -> None:
    """S-34: it waits for the change, and finds its token revoked."""
    token = grants.tokens(user.username).refresh_token

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            user.set_password("another one")
            user.save()
            waiting = pool.submit(closing, partial(grants.refresh, token))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
        assert waiting.result(timeout=30).outcome is TokenOutcome.INVALID_REFRESH
