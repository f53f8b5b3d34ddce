"""The answers of the three calls, row by row (docs/contract.md, section 4)."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from pytest_django import Settings

from optin.api.views import VerifyView
from optin.conf import Rate
from optin.models import File, Membership, PendingOtp, ProviderUser, User
from optin.operations import opt_ins
from tests.kit.clients import FORMATS, OF_ONE_REQUEST, Answer, Api, bearer
from tests.kit.faults import failing
from tests.kit.people import NUMBER, OTHER_NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.world import nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_tenth_failure_is_incorrect_and_then_locked(
    api: Api, pending: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-05: a new code does not start the count again."""
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


def test_number_of_another_user(stranger: User, active: ProviderUser, phone: Phone) -> None:
    """It is told only once the code was proved."""
    api = Api(token=bearer(stranger))
    asked = api.opt_in(NUMBER)
    assert asked.status == 200  # as for any number
    own = asked.data["ProviderUserId"]
    assert api.verify(own, wrong(phone.code())).brief == (400, "otp_incorrect")
    assert api.verify(own, phone.code()).brief == (409, "mobile_number_in_use")


# -- the order of decisions --------------------------------------------------------


def test_of_several_decisions_the_first_answers(
    user: User, pending: ProviderUser, phone: Phone, clock: time_machine.Traveller, api: Api
) -> None:
    """Each fault comes on top of those that are decided after it."""
    people, rows = User.objects.filter(pk=user.pk), ProviderUser.objects.filter(pk=pending.pk)
    codes, right, unknown = PendingOtp.objects.all(), phone.code(), pending.pk + 1000
    hour = timezone.now() + timedelta(hours=1)

    assert api.verify(pending.pk, wrong(right)).code == "otp_incorrect"
    codes.update(tries=5)
    assert api.verify(pending.pk, wrong(right)).code == "otp_exhausted"
    clock.shift(601)
    expired = api.verify(pending.pk, right)
    assert (expired.code, len(expired.links)) == ("otp_expired", 2)  # a new code, and help
    codes.close(timezone.now(), PendingOtp.Closed.SUPERSEDED)
    assert api.verify(pending.pk, right).code == "otp_incorrect"
    rows.update(confirmed=True, verified_at=timezone.now())
    assert api.verify(pending.pk, right).code == "already_verified"
    assert api.verify(unknown, right).code == "otp_incorrect"
    people.update(otp_locked_until=hour)
    assert api.verify(unknown, right).code == "locked"
    people.update(otp_disabled_at=timezone.now())
    assert api.verify(unknown, right).code == "factor_disabled"
    # Only a wrong code that was compared with an open one is a failure.
    assert people.get().failures == 1


# -- opt-in ------------------------------------------------------------------------


def test_resend(api: Api, phone: Phone, clock: time_machine.Traveller) -> None:
    """Within the wait: nothing is sent and the pending code stays. After it: the same again."""
    first = api.opt_in(NUMBER)
    code = phone.code()
    clock.shift(12.5)
    refused = api.opt_in("0491 570 156")
    assert refused.brief == (429, "send_limit")
    assert refused.headers["Retry-After"] == "18"
    assert len(phone.messages) == 1
    clock.shift(17.5)
    assert api.opt_in("+61 491-570-156").content == first.content
    assert len(phone.messages) == 2
    assert api.verify(first.data["ProviderUserId"], code).status == 200


def test_nobody_learns_that_another_asked(
    api: Api, stranger: User, file: File, phone: Phone
) -> None:
    """The same answer, and no text: the number may be another person's."""
    other = Api(token=bearer(stranger), file_id=file.pk)
    assert api.opt_in(NUMBER).status == 200
    told = other.opt_in(NUMBER)
    assert (told.status, [*told.data]) == (200, ["ProviderUserId"])
    assert told.data["ProviderUserId"] == ProviderUser.objects.get(user=stranger).pk
    assert other.opt_in(NUMBER).brief == (429, "send_limit")
    assert len(phone.messages) == 1


def test_requests_are_throttled(api: Api, phone: Phone, settings: Settings) -> None:
    settings.OPTIN_REQUESTS_PER_USER = (Rate(2, 60),)
    assert [api.opt_in("x").status for _ in range(2)] == [400, 400]
    answer = api.opt_in(NUMBER, media_type="text/csv")  # 415 comes later
    assert answer.brief == (429, "throttled")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert phone.messages == []


# -- opt-out -----------------------------------------------------------------------


def test_opt_out(api: Api, active: ProviderUser, access_key: str, phone: Phone) -> None:
    """S-32: a credential alone cannot opt out. Keys and tokens stay as they are."""
    asked = api.opt_out()
    assert asked.brief == (401, "2fa_code_required")
    texts = len(phone.messages)
    # Within the wait: the same answer, without another text.
    assert api.opt_out("").content == asked.content
    assert len(phone.messages) == texts
    active.refresh_from_db()
    assert active.confirmed

    mail.outbox.clear()
    assert api.opt_out(phone.code()).brief == (200, "")
    assert [message.to for message in mail.outbox] == [["ann@example.com"]]
    for credential in (api, Api(key=access_key)):
        assert credential.opt_out().brief == (409, "not_opted_in")
        assert credential.opt_out("1234567").brief == (409, "not_opted_in")


# -- what nobody can help ----------------------------------------------------------

Attempt = Callable[[Api, int, str], Answer]

ATTEMPTS: dict[str, Attempt] = {
    "opt-in": lambda api, pk, code: api.opt_in(OTHER_NUMBER),
    "right code": lambda api, pk, code: api.verify(pk, code),
    "wrong code": lambda api, pk, code: api.verify(pk, wrong(code)),
    "opt-out": lambda api, pk, code: api.opt_out(),
    "file refused": lambda api, pk, code: api.verify(pk, code, query="FileId=999"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_audit_trail_that_cannot_be_written(
    api: Api, pending: ProviderUser, phone: Phone, attempt: str
) -> None:
    """S-52, S-64: 503, and nothing happened: nothing counted, nothing sent."""
    with nothing_happens(phone), failing(OperationalError("disk I/O error"), "optin_auditevent"):
        answer = ATTEMPTS[attempt](api, pending.pk, phone.code())
    assert answer.brief == (503, "unavailable")
    assert b"disk" not in answer.content
    # It recovers without a restart.
    assert api.verify(pending.pk, phone.code()).status == 200


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_database_that_is_away(
    api: Api, access_key: str, accept: str, error: type[Exception]
) -> None:
    with failing(error("could not connect to 192.0.2.5")):
        answers = [
            api.verify(1, "1234567", accept=accept),
            api.ping(accept=accept),
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
    api: Api,
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
        answer = api.verify(pending.pk, phone.code(), accept=accept)
    assert answer.brief == (500, "internal_error")
    assert answer.media_type == f"{accept}; charset=utf-8"
    assert b"secret" not in answer.content
    assert b"RuntimeError" not in answer.content
    assert answer.headers["X-Request-Id"]
    (record,) = (record for record in caplog.records if record.name == "optin.api")
    assert record.exc_info
    assert phone.code() not in caplog.text
