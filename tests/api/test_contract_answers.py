"""The answers of the three calls, row by row (docs/contract.md, section 4)."""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from oauth2_provider.models import AccessToken
from pytest_django import Settings

from optin.api.views import VerifyView
from optin.conf import Rate
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Membership,
    PendingOtp,
    ProviderUser,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.operations import opt_ins, staff_actions
from tests.kit.clients import FORMATS, OF_ONE_REQUEST, Answer, Api, bearer
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["token", "key"])
def api(request: pytest.FixtureRequest, user: User, access_key: str) -> Api:
    """The user's client, with either credential."""
    return Api(key=access_key) if request.param == "key" else Api(token=bearer(user))


@pytest.fixture
def one(user: User) -> Api:
    """The user's client, where the credential is not the point."""
    return Api(token=bearer(user))


def audited() -> list[tuple[str, str]]:
    """What the audit trail tells, in its order; then what repeated and was only counted."""
    told = list(AuditEvent.objects.order_by("pk").values_list("kind", "outcome"))
    counted = RefusalCount.objects.untold().order_by("pk")
    return [*told, *((row.kind, row.outcome) for row in counted for _ in range(row.untold))]


# -- verify ------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", FORMATS)
def test_one_body_for_whatever_cannot_be_right(
    user: User,
    stranger: User,
    file: File,
    other_file: File,
    phone: Phone,
    clock: time_machine.Traveller,
    media_type: str,
) -> None:
    """S-09: wrong, unknown, foreign, other file, nothing pending, superseded, used."""
    for file_ in (file, other_file):
        Membership.objects.get_or_create(user=user, file=file_)
    api = Api(token=bearer(user), media_type=media_type)
    foreign = Api(token=bearer(stranger)).opt_in("0491 570 158").data["ProviderUserId"]
    foreign_code = phone.code()
    elsewhere = api.opt_in("0491 570 159", query="FileId=888").data["ProviderUserId"]
    elsewhere_code = phone.code()
    idle = api.opt_in(OTHER_NUMBER).data["ProviderUserId"]
    idle_code = phone.code()
    PendingOtp.objects.filter(provider_user=idle).close(
        timezone.now(), PendingOtp.Closed.SUPERSEDED
    )
    own = api.opt_in(NUMBER).data["ProviderUserId"]

    answers = {
        "wrong": api.verify(own, wrong(phone.code())),
        "a code of another number": api.verify(own, foreign_code),
        "unknown": api.verify(2147483647, phone.code()),
        "foreign": api.verify(foreign, wrong(foreign_code)),
        "foreign, right": api.verify(foreign, foreign_code),
        "other file, right": api.verify(elsewhere, elsewhere_code),
        "nothing pending": api.verify(idle, idle_code),
    }
    assert {name: answer.brief for name, answer in answers.items()} == dict.fromkeys(
        answers, (400, "otp_incorrect")
    )
    assert len({answer.content for answer in answers.values()}) == 1
    kept = [
        {n: v for n, v in answer.headers.items() if n not in OF_ONE_REQUEST}
        for answer in answers.values()
    ]
    assert all(headers == kept[0] for headers in kept)
    # Only what was compared counts.
    user.refresh_from_db()
    assert user.failures == 2
    assert not ProviderUser.objects.filter(confirmed=True).exists()
    # The four opt-ins and the seven guesses, each told or counted.
    assert len(audited()) == 11


def test_used_code_of_a_released_number(
    user: User, file: File, active: ProviderUser, phone: Phone, one: Api
) -> None:
    """S-09: a code that was used proves nothing again."""
    used = phone.code()
    staff_actions.revoke(user, reason="test", origin=ORIGIN)
    assert one.verify(active.pk, used).brief == (400, "otp_incorrect")


@pytest.mark.parametrize(
    ("seconds", "brief"),
    [(599.9, (200, "")), (600, (400, "otp_expired")), (9999, (400, "otp_expired"))],
)
def test_lifetime(
    user: User,
    pending: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
    seconds: float,
    brief: tuple[int, str],
) -> None:
    """S-01: dead at 600 s, for right and wrong codes, at no cost."""
    clock.shift(seconds)
    api = Api(token=bearer(user))
    if brief[0] != 200:
        assert api.verify(pending.pk, wrong(phone.code())).brief == brief
    assert api.verify(pending.pk, phone.code()).brief == brief
    user.refresh_from_db()
    assert user.failures == 0


@pytest.mark.parametrize("media_type", FORMATS)
def test_tenth_failure_is_incorrect_and_then_locked(
    user: User,
    pending: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
    media_type: str,
) -> None:
    """S-05: a new code does not start the count again."""
    api = Api(token=bearer(user), media_type=media_type)
    for _ in range(5):
        assert api.verify(pending.pk, wrong(phone.code())).code == "otp_incorrect"
    clock.shift(30)
    assert api.opt_in(NUMBER).status == 200
    for _ in range(5):
        assert api.verify(pending.pk, wrong(phone.code())).code == "otp_incorrect"
    clock.shift(0.5)
    answers = [
        api.verify(pending.pk, phone.code()),
        api.verify(pending.pk, wrong(phone.code())),
        api.verify(pending.pk + 1000, phone.code()),
    ]
    assert [answer.brief for answer in answers] == [(429, "locked")] * 3
    assert len({answer.content for answer in answers}) == 1
    # Rounded up: who waits as long as told is let in.
    assert {answer.headers["Retry-After"] for answer in answers} == {"900"}


def test_too_many_failures_disable(
    api: Api, pending: ProviderUser, phone: Phone, settings: Settings
) -> None:
    settings.OPTIN_DISABLE_AFTER = 3
    for _ in range(3):
        assert api.verify(pending.pk, wrong(phone.code())).code == "otp_incorrect"
    texts = len(phone.messages)
    for answer in (api.verify(pending.pk, phone.code()), api.opt_in(NUMBER), api.opt_out()):
        assert answer.brief == (403, "factor_disabled")
        # The person still gets codes at sign-in.
        said = "This application can use no codes of this account. Contact support."
        assert answer.data["StatusMessage"] == said
    assert len(phone.messages) == texts


@pytest.mark.parametrize("media_type", FORMATS)
def test_number_of_another_user(
    user: User, stranger: User, active: ProviderUser, phone: Phone, media_type: str
) -> None:
    """It is told only once the code was proved; the code is used up, the count starts again."""
    api = Api(token=bearer(stranger), media_type=media_type)
    asked = api.opt_in(NUMBER, accept="application/json")
    assert asked.status == 200  # as for any number
    own = asked.data["ProviderUserId"]
    assert api.verify(own, wrong(phone.code())).brief == (400, "otp_incorrect")
    assert api.verify(own, phone.code()).brief == (409, "mobile_number_in_use")
    stranger.refresh_from_db()
    assert stranger.failures == 0
    assert api.verify(own, phone.code()).brief == (400, "otp_incorrect")
    assert ProviderUser.objects.get(confirmed=True) == active


# -- the order of decisions --------------------------------------------------------


@dataclass
class Guess:
    """A right guess, until faults are put into its surroundings."""

    user: User
    row: ProviderUser
    clock: time_machine.Traveller
    provider_user_id: int
    otp: str

    def change_user(self, **fields: object) -> None:
        User.objects.filter(pk=self.user.pk).update(**fields)

    def is_disabled(self) -> None:
        self.change_user(otp_disabled_at=timezone.now())

    def is_locked(self) -> None:
        self.change_user(otp_locked_until=timezone.now() + timedelta(hours=1))

    def is_unknown(self) -> None:
        self.provider_user_id += 1000

    def is_verified(self) -> None:
        self.is_idle()
        row = ProviderUser.objects.filter(pk=self.row.pk)
        row.update(confirmed=True, verified_at=timezone.now())

    def is_idle(self) -> None:
        codes = PendingOtp.objects.filter(provider_user=self.row)
        codes.close(timezone.now(), PendingOtp.Closed.SUPERSEDED)

    def is_expired(self) -> None:
        self.clock.shift(601)

    def is_exhausted(self) -> None:
        PendingOtp.objects.update(tries=5)

    def is_wrong(self) -> None:
        self.otp = wrong(self.otp)

    def is_right(self) -> None:
        """Nothing is in the way."""


State = Callable[[Guess], None]

# In the order of the contract.
DECISIONS: list[tuple[State, int, str]] = [
    (Guess.is_disabled, 403, "factor_disabled"),
    (Guess.is_locked, 429, "locked"),
    (Guess.is_unknown, 400, "otp_incorrect"),
    (Guess.is_verified, 409, "already_verified"),
    (Guess.is_idle, 400, "otp_incorrect"),
    (Guess.is_expired, 400, "otp_expired"),
    (Guess.is_exhausted, 400, "otp_exhausted"),
    (Guess.is_wrong, 400, "otp_incorrect"),
    (Guess.is_right, 200, ""),
]
DECISION_PAIRS = [
    # Something is either active with nothing pending, or not active with nothing pending.
    (first, second)
    for first, second in itertools.combinations(DECISIONS, 2)
    if (first[0], second[0]) != (Guess.is_verified, Guess.is_idle)
]


@pytest.mark.parametrize(
    ("first", "second"),
    DECISION_PAIRS,
    ids=[f"{a[0].__name__}-{b[0].__name__}" for a, b in DECISION_PAIRS],
)
def test_of_two_decisions_the_first_answers(
    user: User,
    pending: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
    first: tuple[State, int, str],
    second: tuple[State, int, str],
) -> None:
    guess = Guess(user, pending, clock, pending.pk, phone.code())
    for state in (second[0], first[0]):
        state(guess)
    api = Api(token=bearer(user))
    answer = api.verify(guess.provider_user_id, guess.otp)
    assert answer.brief == first[1:]
    # Only a wrong code that was compared with an open one is a failure.
    user.refresh_from_db()
    assert user.failures == (first[0] is Guess.is_wrong)


# -- opt-in ------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", FORMATS)
def test_resend(api: Api, phone: Phone, clock: time_machine.Traveller, media_type: str) -> None:
    """Within the wait: nothing is sent and the pending code stays. After it: the same again."""
    api.media_type = media_type
    first = api.opt_in(NUMBER)
    code = phone.code()
    clock.shift(12.5)
    refused = api.opt_in("0491 570 156")
    assert refused.brief == (429, "send_limit")
    assert refused.headers["Retry-After"] == "18"
    assert len(phone.messages) == 1
    clock.shift(17.5)
    again = api.opt_in("+61 491-570-156")
    assert again.status == 200
    assert again.content == first.content
    assert len(phone.messages) == 2
    assert phone.code() == code
    assert audited() == [("opt_in", "sent"), ("opt_in", "send_limit"), ("opt_in", "resent")]
    pk = again.data["ProviderUserId"]
    assert api.verify(pk, code).status == 200


def test_nobody_learns_that_another_asked(
    one: Api, stranger: User, file: File, phone: Phone
) -> None:
    """The same answer, and no text: the number may be another person's."""
    other = Api(token=bearer(stranger), file_id=file.pk)
    assert one.opt_in(NUMBER).status == 200
    told = other.opt_in(NUMBER)
    assert (told.status, [*told.data]) == (200, ["ProviderUserId"])
    assert told.data["ProviderUserId"] == ProviderUser.objects.get(user=stranger).pk
    assert other.opt_in(NUMBER).brief == (429, "send_limit")
    assert len(phone.messages) == 1
    assert audited() == [("opt_in", "sent"), ("opt_in", "withheld"), ("opt_in", "send_limit")]


def test_per_ip_limit_is_not_for_integrators(one: Api, settings: Settings) -> None:
    """One integrator's server is one address for all its users."""
    settings.OPTIN_SENDS_PER_IP = (Rate(1, 300),)
    assert one.opt_in(NUMBER).status == one.opt_in(OTHER_NUMBER).status == 200


def test_requests_are_throttled(api: Api, phone: Phone, settings: Settings) -> None:
    settings.OPTIN_REQUESTS_PER_USER = (Rate(2, 60),)
    assert [api.opt_in("x").status for _ in range(2)] == [400, 400]
    answer = api.opt_in(NUMBER, media_type="text/csv")  # 415 comes later
    assert answer.brief == (429, "throttled")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert phone.messages == []
    assert audited() == [("opt_in", "malformed")] * 2


# -- opt-out -----------------------------------------------------------------------


@pytest.mark.parametrize("media_type", FORMATS)
def test_opt_out(
    user: User,
    active: ProviderUser,
    access_key: str,
    phone: Phone,
    media_type: str,
) -> None:
    """S-32: a credential alone cannot opt out."""
    token = bearer(user)
    api = Api(token=token, media_type=media_type)
    asked = api.opt_out()
    assert asked.brief == (401, "2fa_code_required")
    assert asked.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert "to turn OFF two-factor sign-in" in phone.body
    active.refresh_from_db()
    assert active.confirmed
    texts = len(phone.messages)
    # Within the wait: the same answer, without another text.
    again = api.opt_out("")
    assert again.content == asked.content
    assert len(phone.messages) == texts

    assert api.opt_out(wrong(phone.code())).brief == (400, "otp_incorrect")
    mail.outbox.clear()
    assert api.opt_out(phone.code()).brief == (200, "")
    active.refresh_from_db()
    assert not active.confirmed
    assert [message.to for message in mail.outbox] == [["ann@example.com"]]
    user.refresh_from_db()
    assert user.failures == 0
    # Keys and tokens stay as they are.
    assert AccessKey.objects.get().revoked_at is None
    assert AccessToken.objects.count() == 1
    for credential in (Api(token=token), Api(key=access_key)):
        assert credential.opt_out().brief == (409, "not_opted_in")
        assert credential.opt_out("1234567").brief == (409, "not_opted_in")
    assert audited()[2:] == [
        ("challenge", "sent"),
        ("challenge", "waiting"),
        ("opt_out", "otp_incorrect"),
        ("opt_out", "ok"),
        ("challenge", "not_opted_in"),
        ("opt_out", "not_opted_in"),
        ("challenge", "not_opted_in"),
        ("opt_out", "not_opted_in"),
    ]


def test_opt_out_works_under_any_file_of_the_user(
    user: User, active: ProviderUser, other_file: File, phone: Phone, one: Api
) -> None:
    Membership.objects.create(user=user, file=other_file)
    there = Api(token=one.token, file_id=888)
    assert one.opt_out().code == "2fa_code_required"
    assert there.opt_out(phone.code()).status == 200


# -- what nobody can help ----------------------------------------------------------

Attempt = Callable[[Api, int, str], Answer]

ATTEMPTS: dict[str, Attempt] = {
    "opt-in": lambda api, pk, code: api.opt_in(OTHER_NUMBER),
    "right code": lambda api, pk, code: api.verify(pk, code),
    "wrong code": lambda api, pk, code: api.verify(pk, wrong(code)),
    "unknown id": lambda api, pk, code: api.verify(pk + 1000, code),
    "opt-out": lambda api, pk, code: api.opt_out(),
    "opt-out with a code": lambda api, pk, code: api.opt_out(code),
    "file refused": lambda api, pk, code: api.verify(pk, code, query="FileId=999"),
}


def state_of_everything() -> list[object]:
    return [
        list(rows.order_by("pk").values())
        for rows in (
            User.objects.all(),
            ProviderUser.objects.all(),
            PendingOtp.objects.all(),
            SmsMessage.objects.all(),
            AuditEvent.objects.all(),
        )
    ]


@contextmanager
def failing(table: str, error: Exception) -> Iterator[None]:
    """Let each statement that names *table* fail; "" is in every one."""

    def fail(execute: Callable[..., object], sql: str, *args: object) -> object:
        if table in sql:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        yield


@pytest.mark.parametrize("error", [OperationalError("disk I/O error"), InterfaceError("gone")])
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_audit_trail_that_cannot_be_written(
    one: Api, pending: ProviderUser, phone: Phone, attempt: str, error: Exception
) -> None:
    """S-52, S-64: 503, and nothing happened: nothing counted, nothing sent."""
    before, texts, mails = state_of_everything(), len(phone.messages), len(mail.outbox)
    with failing("optin_auditevent", error):
        answer = ATTEMPTS[attempt](one, pending.pk, phone.code())
    assert answer.brief == (503, "unavailable")
    assert str(error).encode() not in answer.content
    assert state_of_everything() == before
    assert (len(phone.messages), len(mail.outbox)) == (texts, mails)
    # It recovers without a restart.
    assert one.verify(pending.pk, phone.code()).status == 200


@pytest.mark.parametrize("accept", FORMATS)
def test_database_that_is_away(one: Api, access_key: str, accept: str) -> None:
    with failing("", OperationalError("could not connect to 192.0.2.5")):
        answers = [
            one.verify(1, "1234567", accept=accept),
            one.ping(accept=accept),
            Api(key=access_key).opt_out(accept=accept),
        ]
    for answer in answers:
        assert answer.brief == (503, "unavailable")
        assert answer.media_type == f"{accept}; charset=utf-8"
        assert b"192.0.2.5" not in answer.content


@pytest.mark.parametrize(
    "where",
    [(opt_ins, "verify_opt_in"), (VerifyView, "finalize_response")],
    ids=["within", "after"],
)
@pytest.mark.parametrize("accept", FORMATS)
def test_unforeseen_exception(
    where: tuple[object, str],
    one: Api,
    pending: ProviderUser,
    phone: Phone,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    accept: str,
) -> None:
    """500: negotiated, logged with its traceback, and the client is told nothing of it."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(*where, fail)
    with caplog.at_level(logging.ERROR, "optin.api"):
        answer = one.verify(pending.pk, phone.code(), accept=accept)
    assert answer.brief == (500, "internal_error")
    assert answer.media_type == f"{accept}; charset=utf-8"
    assert b"secret" not in answer.content
    assert b"RuntimeError" not in answer.content
    assert answer.headers["X-Request-Id"]
    (record,) = (record for record in caplog.records if record.name == "optin.api")
    assert record.exc_info
    assert phone.code() not in caplog.text
