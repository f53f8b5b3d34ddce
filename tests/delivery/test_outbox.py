"""From the outbox to the gateway: never lost, never more than twice."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from django.utils import timezone

from optin import gateways
from optin.gateways import Fate, Simulator, SmsError, Text
from optin.messaging import delivery
from optin.models import Notice, SmsMessage, User
from optin.models.messages import LEASE, State
from optin.outcomes import CodeOutcome, SendOutcome
from tests.kit.people import NUMBER
from tests.kit.phone import Phone
from tests.kit.world import World, rows

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = SmsError("timed out", Fate.UNKNOWN)
BUSY = SmsError("too busy")
REFUSED = SmsError("no such subscriber", Fate.REFUSED)


def newest() -> SmsMessage:
    return SmsMessage.objects.latest("pk")


def send_due() -> int:
    return delivery.send_due(timezone.now())


def left(phone: Phone) -> list[str]:
    """What the messages of the newest reference were sent as."""
    return [reference for reference in phone.references if reference == newest().reference]


@contextmanager
def killed_while_sending(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the process after the commit, before the gateway takes the text."""

    def kill(text: Text) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phone, "send", kill)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture
def abandoned(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A text whose sender died before it sent it."""
    world.clock.shift(30)
    with killed_while_sending(world.phone, monkeypatch):
        world.ask()
    assert newest().state == State.SENDING
    return world


# -- inline ------------------------------------------------------------------------


def test_a_sent_text_is_recorded(world: World) -> None:
    message = newest()
    assert (message.state, message.tries, message.sent_at) == (State.SENT, 1, timezone.now())
    assert (message.gateway, message.gateway_message_id, message.segments) == ("phone", "gw-1", 1)
    assert world.phone.references == [message.reference]


def test_a_reference_is_of_one_message_only(world: World) -> None:
    """A copy of the database goes on with the same ids: its texts are other texts."""
    message = newest()
    copy = SmsMessage(pk=message.pk, created_at=message.created_at + timedelta(seconds=1))
    assert message.reference == newest().reference
    assert copy.reference != message.reference


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        pytest.param(BUSY, State.QUEUED, "too busy", id="transient"),
        pytest.param(RuntimeError(f"to {NUMBER}"), State.QUEUED, "RuntimeError", id="bug"),
        pytest.param(SmsError("x" * 500), State.QUEUED, "x" * 200, id="long-reason"),
    ],
)
def test_a_failing_gateway_does_not_change_the_answer(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    state: State,
    reason: str,
) -> None:
    def fail(text: Text) -> NoReturn:
        raise error

    monkeypatch.setattr(world.phone, "send", fail)
    world.clock.shift(30)
    caplog.set_level(logging.DEBUG)

    assert world.ask().outcome is SendOutcome.RESENT

    message = newest()
    assert (message.state, message.reason, message.tries) == (state, reason, 1)
    assert message.sent_at is None
    assert NUMBER not in caplog.text  # S-50: nor the words of an error nobody foresaw
    assert world.pending.code() not in caplog.text


def test_nothing_leaves_when_the_transaction_rolls_back(world: World) -> None:
    """No network inside a transaction, and none for what did not happen."""
    before = rows(), len(world.phone.messages)
    with transaction.atomic():
        message = SmsMessage(pending_otp=world.pending, created_at=timezone.now())
        delivery.dispatch(message)
        assert len(world.phone.messages) == before[1]
        transaction.set_rollback(True)
    assert (rows(), len(world.phone.messages)) == before
    assert send_due() == 0


# -- once more ---------------------------------------------------------------------


def test_a_text_whose_sender_died_is_sent_once_more(abandoned: World) -> None:
    """S-63; not before its lease is over, for its sender may live."""
    abandoned.clock.shift(LEASE - timedelta(seconds=0.1))
    assert send_due() == 0
    abandoned.clock.shift(0.1)
    assert send_due() == 1

    message = newest()
    assert (message.state, message.tries) == (State.SENT, 2)
    assert left(abandoned.phone) == [message.reference]
    assert abandoned.guess(abandoned.code()).outcome is CodeOutcome.OK
    assert send_due() == 0


def test_a_text_whose_sender_died_twice_is_given_up(
    abandoned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandoned.clock.shift(LEASE)
    with killed_while_sending(abandoned.phone, monkeypatch):
        send_due()
    assert (newest().state, newest().tries) == (State.SENDING, 2)

    abandoned.clock.shift(LEASE)
    assert send_due() == 0

    assert (newest().state, newest().tries) == (State.FAILED, 2)
    assert newest().reason == "its sender stopped, twice"
    assert left(abandoned.phone) == []


@pytest.mark.parametrize(
    ("second", "state", "sent"),
    [
        pytest.param(None, State.SENT, 1, id="then-it-works"),
        pytest.param(SLOW, State.FAILED, 0, id="then-slow-again"),
        pytest.param(REFUSED, State.FAILED, 0, id="then-refused"),
    ],
)
def test_a_queued_text_is_tried_once_more(
    world: World, second: SmsError | None, state: State, sent: int
) -> None:
    world.phone.fail_with = SLOW
    world.clock.shift(30)
    world.ask()
    assert newest().state == State.QUEUED
    world.phone.fail_with = second

    assert send_due() == sent

    assert (newest().state, newest().tries) == (state, 2)
    assert len(left(world.phone)) == sent
    world.phone.fail_with = None
    world.clock.shift(LEASE)
    assert send_due() == 0
    assert len(left(world.phone)) == sent


def close(world: World) -> None:
    world.guess(world.code())


def lock(world: World) -> None:
    """The person, not only their programs."""
    world.set_user(otp_failures=10, otp_locked_until=timezone.now() + timedelta(seconds=900))


def disable(world: World) -> None:
    world.set_user(otp_failures=50, otp_disabled_at=timezone.now())


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(lambda world: world.clock.shift(570), id="expired"),
        pytest.param(close, id="used"),
        pytest.param(lock, id="locked"),
        pytest.param(disable, id="disabled"),
    ],
)
def test_a_text_that_is_no_use_any_more_is_not_sent(
    world: World, then: Callable[[World], None]
) -> None:
    """S-07a for the last ones."""
    world.phone.fail_with = SLOW
    world.clock.shift(30)
    world.ask()
    world.phone.fail_with = None
    then(world)

    assert send_due() == 0

    assert newest().state == State.EXPIRED
    assert left(world.phone) == []


def test_one_broken_message_stops_no_other(
    abandoned: World, stranger: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that does not open any more, and a text after it."""
    other = World(stranger, abandoned.file, abandoned.phone, abandoned.clock)
    with killed_while_sending(abandoned.phone, monkeypatch):
        other.opt_in("+61491570158")
    row = abandoned.row
    row.number_encrypted = "gone:AAAA"
    row.save()
    abandoned.clock.shift(LEASE)

    assert send_due() == 1

    good, broken = SmsMessage.objects.order_by("-pk")[:2]
    assert (broken.state, broken.reason) == (State.FAILED, "UndecryptableError")
    assert good.state == State.SENT


def test_a_text_that_was_sent_late_keeps_its_lease(
    abandoned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease begins with the claim, however long the ones before it took."""
    SmsMessage.objects.create(pending_otp=abandoned.pending, created_at=timezone.now())
    abandoned.clock.shift(LEASE)
    claimed = []

    def slow(text: Text) -> str:
        (message,) = (m for m in SmsMessage.objects.all() if m.reference == text.reference)
        claimed.append(message.claimed_at == timezone.now())
        abandoned.clock.shift(LEASE)
        return "gw"

    monkeypatch.setattr(abandoned.phone, "send", slow)
    assert send_due() == 2
    assert claimed == [True, True]


# -- mails -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConnectionRefusedError(), ValueError("bug")], ids=repr)
def test_a_failing_mail_does_not_break_the_operation(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "open", fail)
        assert world.guess(world.code()).outcome is CodeOutcome.OK
    assert world.row.confirmed
    notice = Notice.objects.get()
    assert (notice.state, notice.reason) == (State.QUEUED, type(error).__name__)

    assert send_due() == 1
    assert len(mail.outbox) == 1
    notice.refresh_from_db()
    assert (notice.state, notice.tries) == (State.SENT, 2)


def test_a_slow_mail_is_not_sent_by_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail server may take its time for each of a dozen replies."""
    sent: list[int] = []

    def slow(self: EmailBackend, mails: list[EmailMessage]) -> int:
        world.clock.shift(60)
        sent.append(send_due())
        return len(mails)

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    assert world.guess(world.code()).outcome is CodeOutcome.OK
    assert sent == [0]
    assert Notice.objects.get().state == State.SENT


def test_a_mail_of_the_next_release_waits_for_it(user: User) -> None:
    """Both run during an upgrade. Here its kind is unknown, and it would fail twice."""
    notice = Notice.objects.create(user=user, kind="of_tomorrow", created_at=timezone.now())
    send_due()
    notice.refresh_from_db()
    assert (notice.state, notice.tries) == (State.QUEUED, 0)


def test_a_mail_that_another_took_meanwhile_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender waited too long for the server: S-63."""

    def slow(self: EmailBackend) -> None:
        world.clock.shift(60)
        Notice.objects.update(tries=2)

    monkeypatch.setattr(EmailBackend, "open", slow)
    assert world.guess(world.code()).outcome is CodeOutcome.OK
    assert mail.outbox == []
    assert Notice.objects.get().state == State.SENDING


def test_a_user_without_an_address_gets_no_mail(world: World) -> None:
    world.set_user(email="")
    assert world.guess(world.code()).outcome is CodeOutcome.OK
    notice = Notice.objects.get()
    assert (notice.state, notice.reason) == (State.FAILED, "the user has no email address")
    assert mail.outbox == []


def test_no_row_of_the_outbox_holds_the_code(any_world: World) -> None:
    """S-50: a text's words are made when it is sent."""
    stored = str(list(SmsMessage.objects.values())) + str(list(Notice.objects.values()))
    assert any_world.code() not in stored
    assert NUMBER[3:] not in stored


# -- the simulator -----------------------------------------------------------------


def test_the_simulator_writes_one_line_a_message(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    assert simulator.latest(5) == []
    for n in range(3):
        text = Text(to=NUMBER, body=f"{n} \u00e9\n@x #1", reference=f"sms-{n}")
        assert simulator.send(text) == f"sms-{n}"

    lines = simulator.path.read_text().splitlines()
    assert simulator.path.name == "sms.jsonl"
    assert simulator.path.stat().st_mode & 0o777 == 0o600
    assert [list(json.loads(line)) for line in lines] == [["at", "to", "body", "reference"]] * 3
    assert [text.reference for text in simulator.latest(2)] == ["sms-2", "sms-1"]
    assert simulator.latest(1)[0].body == "2 \u00e9\n@x #1"


def test_a_simulator_that_cannot_write_fails_like_a_gateway(tmp_path: Path) -> None:
    with pytest.raises(SmsError) as caught:
        Simulator(tmp_path / "missing").send(Text(NUMBER, "1234567", "sms-1"))
    assert caught.value.fate is Fate.TRY_ANOTHER
    assert "1234567" not in str(caught.value)


def test_every_known_gateway_can_be_made(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real ``for_region``, not the fixture's phone
    settings.OPTIN_GATEWAY_HTTP_URL = "https://sms.example.com/"
    settings.OPTIN_GATEWAY_HTTP_BODY = '{"to": "{to}", "text": "{body}"}'
    settings.OPTIN_GATEWAY_KANNEL_URL = "http://127.0.0.1:13013/cgi-bin/sendsms"
    settings.OPTIN_GATEWAY_KANNEL_USER = settings.OPTIN_GATEWAY_KANNEL_PASSWORD = "optin"
    settings.OPTIN_GATEWAY_TWILIO_ACCOUNT = f"AC{'0' * 32}"
    settings.OPTIN_GATEWAY_TWILIO_TOKEN = settings.OPTIN_GATEWAY_TWILIO_SENDER = "optin"
    for name in gateways.KNOWN:
        settings.OPTIN_GATEWAYS = (name,)
        assert [gateway.name for gateway in gateways.for_region("AU")] == [name]
