"""What is told of texts, consents and ended removals: in the transaction of each, and no more."""

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from optin.conf import conf
from optin.events import News, news_of, reasons_of
from optin.gateways import Receipt, Report
from optin.messaging import delivery, receipts
from optin.models import (
    File,
    Guard,
    Notice,
    Purpose,
    Revocation,
    SmsMessage,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from optin.models.messages import LEASE, State
from optin.operations import (
    challenges,
    not_me,
    own_removals,
    passwords,
    revocations,
    sign_in,
    staff_actions,
)
from optin.operations import webhooks as endpoints
from optin.operations.authenticators import Removal
from optin.outcomes import By, CodeOutcome, RevocationOutcome, SendOutcome
from tests.kit.people import ORIGIN, PASSWORD
from tests.kit.phone import AWAY, REFUSED, SILENT, STOPPED, Phone
from tests.kit.world import PAGE, Person, World, proved

pytestmark = pytest.mark.django_db(transaction=True)

Told = tuple[str, str, int | None]


@pytest.fixture(autouse=True)
def endpoint(file: File) -> WebhookEndpoint:
    return endpoints.make(file, "https://shop.example/hook", origin=ORIGIN)[0]


def told() -> list[Told]:
    """The kinds, reasons and numbers of what is told, in its order.

    Clients know each reason: it is in the docs, in ``/Help`` and in the schema.
    """
    rows = WebhookEvent.objects.order_by("pk")
    found = list(rows.values_list("kind", "reason", "provider_user_id"))
    assert [(kind, why) for kind, why, _ in found if why not in reasons_of(News(kind))] == []
    return found


def activate(world: World) -> int:
    """Opt in; forget what that tells."""
    assert world.guess(world.code()).outcome is CodeOutcome.OK
    WebhookEvent.objects.all().delete()
    world.clock.shift(3600)
    number: int = world.row.pk
    return number


# -- texts that are refused --------------------------------------------------------


def test_a_limit(world: World) -> None:
    """Equal refusals are told once: asking again and again must not fill the queues."""
    for _ in range(3):
        assert world.ask().outcome is SendOutcome.SEND_LIMIT  # a text went out a moment ago

    assert told() == [("text.refused", "send_limit", world.row.pk)]
    assert WebhookEvent.objects.get().file_id == world.file.pk


def test_a_withheld_text_is_not_told(world: World, settings: Settings) -> None:
    """S-38: nobody may learn what others did with a number that they have not verified."""
    world.clock.shift(3600)
    digest = world.row.number_digest
    Guard.objects.opt_out(digest, "156", timezone.now())
    assert world.ask().is_withheld
    assert told() == []


@pytest.mark.parametrize(
    ("fails", "event"),
    [
        (REFUSED, ("text.refused", "gateway")),
        (SILENT, ("text.failed", "not_sent")),
        (STOPPED, ("text.refused", "opted_out")),
    ],
    ids=["refused", "silent", "stopped"],
)
def test_what_a_gateway_does_with_a_text(
    world: World, fails: Exception, event: tuple[str, str]
) -> None:
    number = activate(world)
    world.phone.fail_with = fails  # type: ignore[assignment]
    challenges.challenge(world.user, Purpose.SIGN_IN, origin=ORIGIN)
    while SmsMessage.objects.filter(state=State.QUEUED).exists():
        assert told() == []  # it is tried again
        delivery.send_due(timezone.now())
    assert told() == [(*event, number)]


@pytest.mark.parametrize("suspended", [False, True])
def test_a_text_that_could_not_leave_in_time(world: World, suspended: bool) -> None:
    """... is told, unless it was not to leave any more."""
    number = activate(world)
    world.phone.fail_with = AWAY
    challenges.challenge(world.user, Purpose.SIGN_IN, origin=ORIGIN)
    text = SmsMessage.objects.latest("pk")
    if suspended:
        staff_actions.suspend(world.user, reason="stolen", origin=ORIGIN)
    else:
        world.clock.shift(conf.otp_lifetime)
    for _ in range(2):
        delivery.send_due(timezone.now())
    text.refresh_from_db()
    assert text.state == State.EXPIRED
    assert told() == ([] if suspended else [("text.failed", "not_sent", number)])


@pytest.mark.parametrize("by", ["gateway", "receipt", "before"])
def test_a_stop_is_not_told_of_a_number_that_is_not_verified(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """S-38: it is the answer of its owner, who may be somebody else."""
    text = SmsMessage.objects.get()
    if by == "receipt":
        stop = Receipt(Report.OPTED_OUT, text.reference)
        assert receipts.take("phone", stop, timezone.now(), ORIGIN)
    else:
        world.clock.shift(3600)
        if by == "before":
            send = delivery._send

            def stop_first(message: SmsMessage, patience: float) -> bool:
                number = message.provider_user
                Guard.objects.opt_out(number.number_digest, number.last_three, timezone.now())
                return send(message, patience)

            monkeypatch.setattr(delivery, "_send", stop_first)
        else:
            world.phone.fail_with = STOPPED
        world.ask()
    assert SmsMessage.objects.latest("pk").state == State.FAILED
    assert told() == []


def test_a_receipt_of_failure_is_told_once(world: World) -> None:
    text = SmsMessage.objects.get()
    for _ in range(2):
        failed = Receipt(Report.FAILED, text.reference, reason="unknown subscriber")
        receipts.take("phone", failed, timezone.now(), ORIGIN)
    assert told() == [("text.failed", "not_delivered", world.row.pk)]


def test_a_sender_that_died_twice(world: World) -> None:
    text = SmsMessage.objects.filter(pk=SmsMessage.objects.get().pk)
    text.update(state=State.SENDING, claimed_at=timezone.now() - LEASE, tries=2, unknown_attempts=2)
    delivery.send_due(timezone.now())
    assert text.get().state == State.FAILED
    assert told() == [("text.failed", "not_sent", world.row.pk)]


def test_what_failed_and_its_event_are_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the event cannot be written, the text has not failed either: it is taken up again."""

    def no(*args: object) -> None:
        raise RuntimeError

    number = activate(world)
    with monkeypatch.context() as patch:
        patch.setattr(SmsMessage, "tell", no)
        world.phone.fail_with = REFUSED
        challenges.challenge(world.user, Purpose.SIGN_IN, origin=ORIGIN)
    assert SmsMessage.objects.latest("pk").state == State.QUEUED
    delivery.send_due(timezone.now())
    assert told() == [("text.refused", "gateway", number)]


def test_a_text_that_leaves_asks_for_no_endpoint(world: World) -> None:
    activate(world)
    with CaptureQueriesContext(connection) as statements:
        challenges.challenge(world.user, Purpose.SIGN_IN, origin=ORIGIN)
    assert not [each for each in statements if "webhook" in each["sql"]]


# -- consent -----------------------------------------------------------------------


def test_an_application_may_act_in_the_file(world: World) -> None:
    """Told of a person with a number, in the file of this, and only if they let it."""

    def consent(give: Any, *file_ids: int) -> None:
        how = {"standing": proved(), "origin": PAGE, "give": give, "file_ids": file_ids}
        sign_in.consent(present(world), client_id="shop", **how)

    file_id = world.file.pk
    consent(lambda: None, file_id)  # without a number
    number = activate(world)
    consent(lambda: None, file_id + 1)
    consent(None, file_id)
    assert told() == []
    consent(lambda: None, 1, file_id)
    assert told() == [("consent.given", "person", number)]


# -- an app ------------------------------------------------------------------------


def test_an_app_that_is_removed_is_no_number(
    user: User, file: File, phone: Phone, clock: time_machine.Traveller
) -> None:
    person = Person(user, file, phone, clock)
    person.set_up(By.TEXT, By.APP)
    WebhookEvent.objects.all().delete()
    assert person.turn_off(person.app_code(), Removal.APP).outcome is CodeOutcome.OK
    assert told() == []


# -- a removal that ends because the account is secured ----------------------------


def present(world: World) -> User:
    """The person as a session of now has them."""
    user: User = User.objects.get(pk=world.user.pk)
    return user


def choose_password(world: World) -> None:
    passwords.choose(
        present(world),
        "another horse battery",
        standing=proved(),
        origin=PAGE,
        keep_session=lambda user: None,
    )


@pytest.fixture
def asked(world: World, settings: Settings) -> int:
    """A removal that somebody asked for on the sign-in page waits; return the number."""
    settings.OPTIN_RECOVERY_DELAY = 3 * 86_400
    number = activate(world)
    way = own_removals.ask(present(world), origin=PAGE)
    assert way.outcome is RevocationOutcome.ASKED
    assert told() == [("revocation.planned", "person", number)]
    return number


def sign_in_with_a_factor(world: World) -> None:
    person = Person(world.user, world.file, world.phone, world.clock)
    assert person.check(person.text()).outcome is CodeOutcome.OK
    assert revocations.signed_in(present(world), origin=PAGE)


def say_not_me(world: World) -> None:
    not_me.disown(Notice.objects.get(kind=Notice.Kind.ACTIVATED), PASSWORD, origin=PAGE)
    assert Revocation.objects.get().closed_as == Revocation.Closed.SECURED


def suspend(world: World) -> None:
    staff_actions.suspend(world.user, reason="stolen", origin=ORIGIN)


@pytest.mark.parametrize(
    ("secure", "events"),
    [
        (choose_password, {("revocation.cancelled", "secured")}),
        (sign_in_with_a_factor, {("revocation.cancelled", "signed_in")}),
        (say_not_me, {("revocation.cancelled", "secured"), ("number.removed", "not_me")}),
        (suspend, {("revocation.cancelled", "secured")}),
    ],
)
def test_a_removal_that_ends(
    world: World, asked: int, secure: Callable[[World], None], events: set[tuple[str, str]]
) -> None:
    secure(world)
    assert set(told()[1:]) == {(*event, asked) for event in events}


# -- what depends on the facts of an event -----------------------------------------


@pytest.mark.parametrize(
    ("kind", "outcome", "data", "news"),
    [
        (
            "check",
            "otp_incorrect",
            {"disabled": True, "programs": True},
            ("factor.disabled", "wrong_codes_of_programs"),
        ),
        ("revoke", "untold", {"revocation": 1}, ("revocation.cancelled", "untold")),
    ],
    ids=["programs", "not carried out"],
)
def test_the_facts_decide(kind: str, outcome: str, data: Any, news: tuple[str, str]) -> None:
    assert [*news_of(kind, outcome, data)] == [news]
    assert news[1] in reasons_of(News(news[0]))
