"""How many statements a call takes: few, and the same however many rows there are."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from bench import round_trips
from optin.models import (
    AccessKey,
    File,
    ProviderUser,
    Purpose,
    SimAnswer,
    User,
)
from optin.operations import challenges, opt_ins
from tests.api.crowd import make_crowd
from tests.kit import oauth
from tests.kit.clients import CONTROL, Api, bearer
from tests.kit.people import ORIGIN, PASSWORD, make_user, number
from tests.kit.phone import Phone, wrong

Ask = Callable[[], bool]
"""Sends the call; returns whether it did what it should."""

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Caller:
    """One person, and what they send."""

    user: User
    number: str
    key: str
    file: File
    phone: Phone
    browser: Client = field(default_factory=Client)

    def pending(self) -> ProviderUser:
        opt_ins.opt_in(self.user, self.file, self.number, origin=ORIGIN)
        return ProviderUser.objects.get(user=self.user)

    def active(self, purpose: Purpose) -> str:
        """Activate the number; return a code for *purpose*."""
        row = self.pending()
        opt_ins.verify_opt_in(self.user, self.file, row.pk, self._code(), origin=ORIGIN)
        challenges.challenge(self.user, purpose, origin=ORIGIN, file=self.file)
        return self._code()

    def _code(self) -> str:
        return self.phone.code_to(self.number)

    def ping(self) -> Ask:
        api = Api(token=bearer(self.user))
        return lambda: api.ping().status == 200

    def wrong_code(self) -> Ask:
        return self._verify(self.pending(), wrong(self._code()), 400)

    def wrong_code_by_token(self) -> Ask:
        row, api = self.pending(), Api(token=bearer(self.user))
        return lambda: api.verify(row.pk, wrong(self._code())).status == 400

    def tenth_wrong_code(self) -> Ask:
        """It locks the person, who gets a mail."""
        ask = self.wrong_code()
        User.objects.filter(pk=self.user.pk).update(program_failures=9)
        return ask

    def right_code(self) -> Ask:
        return self._verify(self.pending(), self._code(), 200)

    def _verify(self, row: ProviderUser, code: str, status: int) -> Ask:
        return lambda: Api(key=self.key).verify(row.pk, code).status == status

    def opt_in(self) -> Ask:
        return lambda: Api(key=self.key).opt_in(self.number).status == 200

    def opt_in_with_key(self) -> Ask:
        sent = {"Idempotency-Key": self.number[1:]}
        return lambda: Api(key=self.key).opt_in(self.number, headers=sent).status == 200

    def ask_to_opt_out(self) -> Ask:
        self.active(Purpose.SIGN_IN)
        return lambda: Api(key=self.key).opt_out().status == 401

    def opt_out(self) -> Ask:
        code = self.active(Purpose.OPT_OUT)
        return lambda: Api(key=self.key).opt_out(code).status == 200

    def token(self) -> Ask:
        return lambda: "access_token" in self._token_call("token", **self._password)

    def token_with_code(self) -> Ask:
        code = self.active(Purpose.SIGN_IN)
        sent = self._password | {"verification_code": code}
        return lambda: "access_token" in self._token_call("token-2fa", **sent)

    def refresh(self) -> Ask:
        token = self._token_call("token", **self._password)["refresh_token"]
        sent = {"grant_type": "refresh_token", "refresh_token": token}
        return lambda: "access_token" in self._token_call("refresh", **sent)

    def refresh_of_an_application(self) -> Ask:
        model = oauth.Application
        client = model.objects.filter(client_id="client").first() or oauth.make_client(
            model.GRANT_AUTHORIZATION_CODE
        )
        given = oauth.exchange(oauth.grant(self.user, client, f"code of {self.user}"))
        return lambda: oauth.refresh(given).status_code == 200

    def sign_in(self) -> Ask:
        return lambda: self._page("/sign-in/", "/account/", **self._name)

    def sign_in_with_number(self) -> Ask:
        self.active(Purpose.OPT_OUT)
        return lambda: self._page("/sign-in/", "/sign-in/code/", **self._name)

    def question_about_sim(self) -> Ask:
        """The provider is asked before the text."""
        ask, verified_at = self.sign_in_with_number(), timezone.now() - timedelta(hours=2)
        ProviderUser.objects.filter(user=self.user).update(verified_at=verified_at)
        return override_settings(OPTIN_SIM_SWAP="enforce", OPTIN_SIM_SWAP_PROVIDER="stub")(ask)

    def kept_answer_about_sim(self) -> Ask:
        ask, now = self.question_about_sim(), timezone.now()
        number = ProviderUser.objects.get(user=self.user)
        SimAnswer.objects.create(number=number, asked_at=now, swapped_until=now)
        return ask

    def code_page(self) -> Ask:
        assert self.sign_in_with_number()()
        code = self._code()
        return lambda: self._page("/sign-in/code/", "/account/", code=code)

    def _page(self, path: str, then: str, **form: str) -> bool:
        return self.browser.post(path, form)["Location"] == then

    @property
    def _name(self) -> dict[str, str]:
        return {"username": self.user.username, "password": PASSWORD}

    @property
    def _password(self) -> dict[str, str]:
        return {"grant_type": "password", **self._name}

    def _token_call(self, call: str, **body: str) -> dict[str, str]:
        answer = Client().post(f"/authorisation/{call}", body, content_type="application/json")
        found: dict[str, str] = answer.json()
        return found


COSTS = {
    "ping": (1, 1),
    "wrong_code": (6, 3),
    "wrong_code_by_token": (6, 3),
    "tenth_wrong_code": (8, 3),
    "right_code": (13, 4),
    "opt_in": (19, 12),
    "opt_in_with_key": (21, 13),
    "ask_to_opt_out": (16, 10),
    "opt_out": (12, 4),
    "token": (14, 8),
    "token_with_code": (16, 8),
    "refresh": (8, 4),
    "refresh_of_an_application": (19, 22),
    "sign_in": (13, 8),
    "sign_in_with_number": (24, 17),
    "question_about_sim": (28, 19),
    "kept_answer_about_sim": (26, 18),
    "code_page": (18, 12),
}
"""For each call: its statements, not counting transaction control, and its round trips."""


@pytest.mark.parametrize("ask", COSTS)
def test_a_call_takes_few_statements_and_round_trips(
    ask: str, file: File, phone: Phone, password_clients: None
) -> None:
    first, *asks = _asks(ask, file, phone, 3)
    assert first()
    assert_costs(ask, *asks)


@pytest.mark.slow
@pytest.mark.postgresql
@override_settings(OPTIN_SENDS_PER_CLIENT=(), OPTIN_SENDS_PER_IP=())
def test_a_call_takes_the_same_in_a_crowd(file: File, phone: Phone, password_clients: None) -> None:
    """It reads nothing row by row, and no table from end to end. ``CROWD=100000`` makes it larger.

    The server chooses the way to the rows of a prepared statement at its sixth run once more.
    """
    prepared = {ask: _asks(ask, file, phone, 8) for ask in COSTS}
    assert all(first() for first, *_ in prepared.values())
    make_crowd()
    for ask, (_, *asks, last) in prepared.items():
        assert_costs(ask, *asks[:2])
        assert all(more() for more in asks[2:])
        before = rows_read()
        assert last()
        assert {name: rows for name, rows in (rows_read() - before).items() if rows > 300} == {}


def assert_costs(ask: str, one: Ask, other: Ask) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert one()
        sent = [query["sql"] for query in captured if not query["sql"].startswith(CONTROL)]
    with round_trips.counted() as waits:
        assert other()

    statements, trips = COSTS[ask]
    assert len(sent) == statements, sent
    if hasattr(connection, "has_pipeline"):
        assert len(waits) == trips, " ".join(waits)


def rows_read() -> Counter[str]:
    """How many rows were read of each table from end to end, and by each index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT relname, seq_tup_read FROM pg_stat_user_tables "
            "UNION ALL SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes"
        )
        return Counter(dict(cursor.fetchall()))


def _asks(ask: str, file: File, phone: Phone, count: int) -> list[Ask]:
    """Prepare the call for *count* people."""
    asks = []
    for n in range(count):
        user, now = make_user(f"{ask}{n}", file), timezone.now()
        key, text = AccessKey.objects.make(user, file, now)
        # Otherwise the first call would also update ``last_used_at``.
        AccessKey.objects.filter(pk=key.pk).update(last_used_at=now)
        mobile = number(10_000 * n + list(COSTS).index(ask))
        asks.append(getattr(Caller(user, mobile, text, file, phone), ask)())
    return asks
