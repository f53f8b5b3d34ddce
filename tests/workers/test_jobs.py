"""What becomes of a message that is left to workers: a worker in this process does the jobs."""

import json
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any, NoReturn

import psycopg
import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from procrastinate.contrib.django import app
from pytest_django import Settings

from optin import gateways, tasks
from optin.gateways import Fate, SmsError
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    EmailChange,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.audit import AuditEventQuerySet
from optin.models.messages import LEASE, State
from optin.operations import email_changes, opt_ins, revocations
from optin.operations.factors import Standing
from tests.kit.clients import CONTROL, Api
from tests.kit.logs import Lines, lines
from tests.kit.people import NUMBER, ORIGIN, number
from tests.kit.phone import Phone, wrong
from tests.kit.server import database_url
from tests.workers.jobs import change_jobs, jobs, texts, work, work_later

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

AWAY = SmsError("the gateway could not be reached", Fate.TRY_ANOTHER)


@pytest.fixture
def message(file: File) -> SmsMessage:
    """A text that waits for a worker."""
    return texts(1, file)[0]


@pytest.fixture
def notice(user: User) -> Notice:
    """A mail that waits for a worker."""
    with transaction.atomic():
        delivery.notify(user, Notice.Kind.PASSWORD, timezone.now())
    return Notice.objects.get()


def state_of(row: SmsMessage | Notice) -> tuple[str, str]:
    row.refresh_from_db()
    return row.state, row.reason


# -- a job is there if, and only if, its operation is ------------------------------


def test_a_job_comes_with_the_commit_and_carries_an_id_only(
    user: User, file: File, phone: Phone
) -> None:
    """No request waits for a gateway."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    (job,) = jobs()
    assert job["task_name"] == "send_text"
    assert job["args"] == {"pk": SmsMessage.objects.get().pk}
    assert phone.messages == []
    work()
    assert (SmsMessage.objects.get().state, len(phone.messages), jobs()) == (State.SENT, 1, [])


def test_a_job_goes_with_the_operation_that_is_rolled_back(user: User) -> None:
    with transaction.atomic():
        delivery.notify(user, Notice.Kind.LOCKED, timezone.now())
        assert jobs()
        transaction.set_rollback(True)

    assert (jobs(), Notice.objects.count()) == ([], 0)


def test_database_that_goes_away_as_the_job_is_saved(access_key: str, client: Client) -> None:
    """The answer is the same as at any other statement, and nothing is left of the opt-in."""

    def end(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "procrastinate_defer" in sql:
            execute("SELECT pg_terminate_backend(pg_backend_pid())", None, False, context)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end):
        answer = client.post(
            f"/User/opt-in-to-2fa?FileId=777&WsAccessKey={access_key}",
            json.dumps({"MobileNumber": NUMBER}),
            content_type="application/json",
        )

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert (jobs(), SmsMessage.objects.count()) == ([], 0)


def test_a_right_code_takes_few_statements(
    access_key: str, user: User, file: File, phone: Phone
) -> None:
    """With the job of the mail that tells of it and the event for the feed."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    work()
    api, row = Api(key=access_key), ProviderUser.objects.get()
    # The first request writes the time at which the key was last used.
    api.verify(row.pk, wrong(phone.code()))

    with CaptureQueriesContext(connection) as captured:
        assert api.verify(row.pk, phone.code()).status == 200
    asked = [query["sql"] for query in captured if not query["sql"].startswith(CONTROL)]
    assert len(asked) <= 15, asked
    assert jobs(task_name="send_mail")


# -- tried again, and given up -----------------------------------------------------


def test_a_text_is_tried_again_ever_later(message: SmsMessage, phone: Phone) -> None:
    phone.fail_with = AWAY
    waits = []
    for attempt in range(1, 7):
        work_later()
        (job,) = jobs()
        assert (job["status"], job["attempts"]) == ("todo", attempt)
        waits.append(job["due_in"])

    assert waits == pytest.approx([2, 4, 8, 16, 30, 30], abs=1.5)
    assert state_of(message)[0] == State.QUEUED
    assert phone.messages == []


def test_another_gateway_takes_what_the_first_did_not(
    message: SmsMessage, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone.fail_with = AWAY
    work()
    assert state_of(message)[0] == State.QUEUED
    second = Phone(name="second")
    monkeypatch.setattr(gateways, "for_region", lambda region: [phone, second])

    work()
    assert second.references == []  # not before its time
    work_later()

    assert second.references == [message.reference]
    message.refresh_from_db()
    assert (message.state, message.gateway, message.tries) == (State.SENT, "second", 2)
    assert jobs() == []


def test_a_text_is_given_up_once_its_code_is_dead(message: SmsMessage, phone: Phone) -> None:
    phone.fail_with = AWAY
    work()
    hour = timedelta(hours=1)
    for otp in PendingOtp.objects.all():
        otp.issued_at, otp.expires_at = otp.issued_at - hour, otp.expires_at - hour
        otp.save()
    phone.fail_with = None

    work_later()

    assert state_of(message) == (State.EXPIRED, "its code was no longer open")
    assert (phone.messages, jobs()) == ([], [])


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConnectionRefusedError(), id="the server is away"),
        pytest.param(SMTPDataError(451, b"later"), id="the server says later"),
        pytest.param(SMTPRecipientsRefused({"a": (450, b"")}), id="the mailbox is busy"),
    ],
)
def test_a_mail_is_tried_again_until_it_leaves(
    notice: Notice, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    with monkeypatch.context() as patch:
        says_so = isinstance(error, SMTPDataError | SMTPRecipientsRefused)
        patch.setattr(EmailBackend, "send_messages" if says_so else "open", raising(error))
        for _ in range(5):
            work_later()
            assert state_of(notice) == (State.QUEUED, type(error).__name__)

    work_later()

    assert state_of(notice)[0] == State.SENT
    assert len(mail.outbox) == 1
    assert jobs() == []


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(SMTPDataError(554, b"spam"), id="the mail is refused"),
        pytest.param(SMTPRecipientsRefused({"a": (550, b"who?")}), id="the mailbox is unknown"),
    ],
)
def test_a_mail_that_is_refused_for_good_is_given_up(
    notice: Notice, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    monkeypatch.setattr(EmailBackend, "send_messages", raising(error))
    work()
    assert state_of(notice) == (State.FAILED, type(error).__name__)
    assert jobs() == []


def test_a_mail_that_may_have_left_is_tried_once_more(
    notice: Notice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-63: at most twice."""
    monkeypatch.setattr(EmailBackend, "send_messages", raising(TimeoutError()))
    work()
    assert state_of(notice)[0] == State.QUEUED
    work_later()
    assert state_of(notice) == (State.FAILED, "TimeoutError")


def test_a_mail_is_given_up_after_a_day(notice: Notice) -> None:
    Notice.objects.update(created_at=timezone.now() - timedelta(days=1, minutes=1))
    work()
    assert state_of(notice) == (State.FAILED, "it could not be sent for a day")
    assert (mail.outbox, jobs()) == ([], [])


def raising(error: Exception) -> Callable[..., NoReturn]:
    def send(*args: object, **kwargs: object) -> NoReturn:
        raise error

    return send


# -- done regularly ----------------------------------------------------------------


def a_dead_worker_takes(job: str, silent: timedelta = LEASE + timedelta(seconds=1)) -> None:
    """As if a worker had fetched *job*, and was never heard of again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - %s * interval '1 s') RETURNING id",
            [silent.total_seconds()],
        )
        (worker,) = cursor.fetchone()
    change_jobs(f"status = 'doing', worker_id = {worker} WHERE task_name = '{job}'")


def rescue() -> None:
    app.configure_task("rescue").defer(timestamp=0)
    work("upkeep")


def test_the_jobs_of_a_dead_worker_are_taken_up(message: SmsMessage, phone: Phone) -> None:
    a_dead_worker_takes("send_text", silent=LEASE / 2)
    rescue()
    work()
    assert phone.messages == []  # it may live

    change_jobs("status = 'todo'")
    a_dead_worker_takes("send_text")
    rescue()
    work()

    assert phone.references == [message.reference]


def test_a_text_that_a_worker_may_still_be_sending_is_left_to_it(
    message: SmsMessage, phone: Phone
) -> None:
    """S-63: until its lease runs out."""
    now = timezone.now()
    SmsMessage.objects.update(state=State.SENDING, claimed_at=now, tries=1, unknown_attempts=1)
    work()
    assert phone.messages == []
    assert jobs()[0]["due_in"] > 0

    SmsMessage.objects.update(claimed_at=now - LEASE)
    work_later()

    assert phone.references == [message.reference]


def test_a_dead_workers_regular_jobs_bar_nobody(message: SmsMessage) -> None:
    """The next of its kind waits already, and two may not."""
    app.configure_task("seal").defer(timestamp=0)
    a_dead_worker_takes("seal")
    a_dead_worker_takes("send_text")
    app.configure_task("seal").defer(timestamp=600)

    rescue()

    assert [job["args"]["timestamp"] for job in jobs(task_name="seal")] in ([], [600])
    assert jobs(task_name="send_text")[0]["status"] == "todo"


def test_a_message_without_a_job_gets_one(message: SmsMessage, phone: Phone) -> None:
    """As after a time with ``OPTIN_DELIVERY=inline``; also what was lost on its way."""
    change_jobs("status = 'doing'")  # an answer that never reached its worker
    tasks.sweep.func(timestamp=0)
    assert len(jobs()) == 1  # it may come yet
    SmsMessage.objects.update(created_at=timezone.now() - tasks.LEFT_AFTER)

    tasks.sweep.func(timestamp=0)
    tasks.sweep.func(timestamp=60)

    assert len(jobs(status="todo")) == 1
    work()
    assert phone.messages


def test_a_revocation_is_carried_out_and_told_by_job(
    user: User, file: File, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-37: by any number of workers, once. The job of the mail comes with the commit (S-63)."""
    others_see = []
    record = AuditEventQuerySet.record

    def look_and_record(*args: Any, **values: Any) -> AuditEvent:
        with psycopg.connect(database_url()) as elsewhere:
            counted = elsewhere.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'send_mail'"
            )
            others_see.append(counted.fetchone())
        return record(*args, **values)

    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    work()
    assert sending.provider_user_id
    opt_ins.verify_opt_in(user, file, sending.provider_user_id, phone.code(), origin=ORIGIN)
    work()  # or the two mails could leave in any order
    revocations.plan(user, reason="lost", origin=ORIGIN)
    work()
    assert mail.outbox[-1].subject.startswith("Two-factor sign-in will be turned off on ")
    tasks.revoke_due.func(timestamp=0)
    assert jobs() == []
    day, now = timedelta(days=1), timezone.now()
    ProviderUser.objects.update(verified_at=now - 2 * day)
    Revocation.objects.update(asked_at=now - day, due_at=now)
    Notice.objects.update(sent_at=now - day)

    app.configure_task("revoke_due").defer(timestamp=60)
    with monkeypatch.context() as patch:
        patch.setattr(AuditEventQuerySet, "record", look_and_record)
        work("upkeep")
    tasks.revoke_due.func(timestamp=120)

    assert others_see == [(0,)]
    assert not ProviderUser.objects.filter(confirmed=True).exists()
    assert AuditEvent.objects.latest("pk").client == "worker"
    assert [job["task_name"] for job in jobs()] == ["send_mail"]
    work()
    assert mail.outbox[-1].subject == "Two-factor sign-in was turned off by staff"


def test_a_new_address_is_put_to_use_and_told_by_job(user: User) -> None:
    """S-39a: each mail goes to its own mailbox, also when a worker sends it late."""
    old = user.email
    email_changes.ask(user, "new@example.org", standing=Standing(timezone.now()), origin=ORIGIN)
    change = EmailChange.objects.get()
    email_changes.prove(user, change, standing=Standing(timezone.now()), origin=ORIGIN)
    tasks.revoke_due.func(timestamp=0)
    now = timezone.now()
    EmailChange.objects.update(proved_at=now, due_at=now)  # without a wait no mail has to be first

    tasks.revoke_due.func(timestamp=60)
    tasks.revoke_due.func(timestamp=120)

    user.refresh_from_db()
    assert user.email == "new@example.org"
    work()
    sent = sorted((message.to[0], message.subject) for message in mail.outbox)
    assert sent == [
        (old, "Somebody asked to change your email address"),
        (old, "The email address of your account was changed"),
        ("new@example.org", "Confirm your new email address"),
    ]


# -- to workers and back -----------------------------------------------------------


def test_a_change_to_inline_and_back_loses_nothing(
    user: User, file: File, stranger: User, phone: Phone, settings: Settings
) -> None:
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    settings.OPTIN_DELIVERY = "inline"
    phone.fail_with = AWAY
    opt_ins.opt_in(stranger, file, "+61491570158", origin=ORIGIN)
    phone.fail_with = None
    assert SmsMessage.objects.filter(state=State.QUEUED).count() == 2
    first = SmsMessage.objects.order_by("pk")[:1]

    # Inline, the command sends what no worker is there for.
    SmsMessage.objects.exclude(pk__in=first.values("pk")).update(created_at=timezone.now())
    assert delivery.send_due(timezone.now()) == 2
    settings.OPTIN_DELIVERY = "worker"
    work()

    assert len(phone.references) == len(set(phone.references)) == 2
    assert jobs() == []


# -- in the log ----------------------------------------------------------------------

written = pytest.fixture(lambda: (yield from lines("json")), name="written")


def of_jobs(written: Lines) -> list[str]:
    """The lines of Procrastinate that operators see, without those about a stop."""
    return [
        line["event"]
        for line in written.all
        if line["logger"].startswith("procrastinate")
        and line["level"] != "debug"
        and not line["event"].startswith("Waiting")
    ]


def test_a_job_leaves_two_lines_with_ids(file: File, phone: Phone, written: Lines) -> None:
    """S-50."""
    (message,) = texts(1, file)
    work()
    lines = [line for line in of_jobs(written) if "send_text" in line]
    assert len(lines) == 2
    assert all(f"(pk={message.pk})" in line for line in lines)
    for secret in (number(0), number(0)[3:], phone.code()):
        assert secret not in written.text


def test_a_job_that_is_to_be_tried_again_has_no_frames(
    file: File, phone: Phone, written: Lines
) -> None:
    phone.fail_with = SmsError("the gateway could not be reached", Fate.TRY_ANOTHER)
    texts(1, file)
    work()
    assert any("Error, to retry" in line for line in of_jobs(written))
    assert "NotYet" not in written.text


def test_a_job_that_fails_has_frames(
    file: File, written: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> bool:
        raise ValueError("of a bug, with a secret")

    texts(1, file)
    monkeypatch.setattr(delivery, "send_one", fail)
    work()
    assert "builtins.ValueError" in written.text
    assert "with a secret" not in written.text


def test_what_is_done_each_minute_is_not_told(db: None, written: Lines) -> None:
    app.configure_task("sweep").defer(timestamp=0)
    work("upkeep")
    assert not [line for line in of_jobs(written) if "sweep" in line]
