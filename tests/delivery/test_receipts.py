"""S-45: receipts late, twice, out of order, before the send returned, forged, or nonsense."""

import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any, NoReturn
from urllib.parse import urlencode

import pytest
import time_machine
from django.conf import LazySettings
from django.core import mail
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from optin import gateways
from optin.gateways import Fate, Http, Kannel, Receipt, Report, SmsError, Text
from optin.messaging import delivery, receipts
from optin.models import (
    AuditEvent,
    File,
    GatewayTry,
    Guard,
    Notice,
    ProviderUser,
    Purpose,
    SmsMessage,
    User,
)
from optin.models.messages import LEASE, State
from optin.operations import challenges, opt_ins
from optin.origin import Face, Origin
from optin.outcomes import WITHHELD, SendOutcome
from tests.kit.gateways import made
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone
from tests.kit.world import World

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cr" * 8
GATEWAY = Origin(Face.API, client="gateway:http")
JSON = "application/json"


class Taker(Http):
    """The gateway ``http``, whose texts the phone gets."""

    phone: Phone
    then: Callable[[], object] = staticmethod(lambda: None)

    def send(self, text: Text) -> str:
        self.phone.send(text)
        self.then()
        return "m-1"


@pytest.fixture
def http(settings: LazySettings, monkeypatch: pytest.MonkeyPatch, world: World) -> Taker:
    settings.OPTIN_RECEIPT_SECRET = SECRET
    settings.OPTIN_GATEWAYS = ("http", "kannel")
    gateway = made(
        Taker,
        url="https://sms.example.com/",
        body='{"to": "{to}", "b": "{body}"}',
        id="id",
        receipt_from="from",
    )
    gateway.phone = world.phone
    kannel = made(Kannel, url="http://k/", user="u", password="p")
    both = {"http": gateway, "kannel": kannel}
    monkeypatch.setattr(gateways, "for_region", lambda region: [gateway])
    monkeypatch.setattr(gateways, "make", lambda name: both[name])
    world.clock.shift(30)
    world.ask()
    return gateway


def newest() -> SmsMessage:
    return SmsMessage.objects.latest("pk")


def state() -> str:
    return newest().state


def post(body: object, **query: str) -> int:
    address = f"/receipts/http/{SECRET}?{urlencode(query)}"
    return Client().post(address, json.dumps(body), content_type=JSON).status_code


def send(form: str, facts: dict[str, str]) -> Any:
    """Send *facts* as JSON, as a form, or in the query of an address."""
    address = f"/receipts/http/{SECRET}"
    if form == "json":
        return Client().post(address, json.dumps(facts), content_type=JSON)
    written = "&".join(f"{name}={value}" for name, value in facts.items())
    if form == "form":
        return Client().post(address, written, "application/x-www-form-urlencoded")
    return Client().get(f"{address}?{written}")


def report(status: str, theirs: str = "m-1") -> int:
    return post({"id": theirs, "status": status})


# -- three ways to say it ----------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "form", "query"])
def test_delivered(http: Taker, form: str) -> None:
    answer = send(form, {"status": "Delivered", "reference": newest().reference})
    assert (answer.status_code, answer.content, answer["Cache-Control"]) == (200, b"ok", "no-store")
    assert (state(), newest().delivered_at) == (State.DELIVERED, timezone.now())


@pytest.mark.parametrize(
    ("report", "state", "reason"),
    [
        ("1", State.DELIVERED, ""),
        ("8", State.SENT, ""),
        ("16", State.FAILED, "the carrier: refused"),
    ],
)
def test_reports_of_kannel(http: Taker, report: str, state: State, reason: str) -> None:
    SmsMessage.objects.update(gateway="kannel")
    query = {"reference": newest().reference, "report": report}
    assert Client().get(f"/receipts/kannel/{SECRET}", query).status_code == 200
    assert (newest().state, newest().reason) == (state, reason)


@pytest.mark.parametrize("report", ["", "3", "\u0661"])
def test_no_report_of_kannel(http: Taker, report: str) -> None:
    query = {"reference": newest().reference, "report": report}
    assert Client().get(f"/receipts/kannel/{SECRET}", query).status_code == 400
    assert state() == State.SENT


# -- in any order ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        ("delivered failed", State.DELIVERED),
        ("failed delivered", State.DELIVERED),
        ("queued delivered sent", State.DELIVERED),
        ("failed sent", State.FAILED),
    ],
)
def test_twice_and_out_of_order(http: Taker, world: World, reports: str, state: State) -> None:
    """S-45. However late."""
    times = set()
    for word in reports.split():
        world.clock.shift(86_400)
        assert report(word) == 200
        times.add(newest().delivered_at)
    assert newest().state == state
    assert len(times - {None}) <= 1  # the first says when


@pytest.mark.parametrize("word", ["delivered", "failed"])
def test_before_the_send_returned(http: Taker, world: World, word: str) -> None:
    """S-45. By our reference; what the gateway then answers is kept beside it."""
    codes = []
    http.then = lambda: codes.append(post({"status": word}, reference=newest().reference))
    world.clock.shift(60)
    world.ask()
    assert codes == [200]
    message = newest()
    assert message.state == word
    assert (message.gateway_message_id, message.sent_at) == ("m-1", timezone.now())
    assert bool(message.reason) is (word == "failed")  # support's to see
    world.clock.shift(LEASE)
    assert delivery.send_due(timezone.now()) == 0


def test_before_the_send_returned_under_an_id_nobody_knows_yet(http: Taker, world: World) -> None:
    """The gateway sends it again, and then it counts."""
    codes = []
    GatewayTry.objects.all().delete()
    http.then = lambda: codes.append(report("delivered"))
    world.clock.shift(60)
    world.ask()
    assert codes == [409]
    assert report("delivered") == 200
    assert state() == State.DELIVERED


def test_of_a_text_that_waits_to_be_sent_again(
    http: Taker, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt was unknown, and it had left: it does not leave once more."""

    def silent(text: Text) -> NoReturn:
        raise SmsError("silent", Fate.UNKNOWN)

    world.clock.shift(60)
    with monkeypatch.context() as patch:
        patch.setattr(http, "send", silent)
        world.ask()
    assert state() == State.QUEUED
    post({"status": "failed"}, reference=newest().reference)
    assert state() == State.QUEUED
    post({"status": "delivered"}, reference=newest().reference)
    assert state() == State.DELIVERED
    assert delivery.send_due(timezone.now()) == 0


def test_a_gateway_speaks_for_its_own_texts_only(http: Taker, world: World) -> None:
    """S-45: another one, that knows the reference and the secret, cannot say it was delivered."""
    receipt = Receipt(Report.DELIVERED, newest().reference)
    assert not receipts.take("other", receipt, timezone.now(), GATEWAY)
    assert state() == State.SENT


def test_failed_at_a_gateway_that_gave_it_up(http: Taker) -> None:
    """Another was handed the text since: the first has no say any more."""
    SmsMessage.objects.update(gateway="kannel")
    assert report("failed") == 200
    assert state() == State.SENT
    assert report("delivered") == 200
    assert (state(), newest().gateway) == (State.DELIVERED, "http")


# -- not for us --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "secret"), [("http", SECRET[:-1]), ("http", SECRET.upper()), ("martian", SECRET)]
)
def test_forged(http: Taker, name: str, secret: str) -> None:
    """S-45."""
    answer = Client().post(
        f"/receipts/{name}/{secret}", '{"id": "m-1", "status": "delivered"}', content_type=JSON
    )
    nowhere = Client().post(f"/receipts/{name}/{secret}/nowhere")
    assert answer.status_code == 404
    assert _without_tokens(answer.content) == _without_tokens(nowhere.content)
    assert state() == State.SENT


def _without_tokens(page: bytes) -> bytes:
    """The page without the tokens of its forms and its request ID, which are others each time."""
    return re.sub(rb'name="csrfmiddlewaretoken" value="\w+"|[0-9a-f]{32}', b"", page)


def test_without_a_secret_of_ours_none_is_right(http: Taker, settings: LazySettings) -> None:
    settings.OPTIN_RECEIPT_SECRET = ""
    assert report("delivered") == 404
    assert state() == State.SENT


@pytest.mark.parametrize(
    "reference",
    ["sms-0-00000000000000000000", f"sms-{'9' * 400}-00000000000000000000", "\x00", "\ud800"],
    ids=ascii,
)
def test_of_a_text_that_is_none_of_ours(http: Taker, reference: str) -> None:
    forged = newest().reference[:-1] + ("0" if newest().reference[-1] != "0" else "1")
    assert post({"status": "delivered", "reference": forged}) == 200
    for body in ({"reference": reference}, {"id": reference}, {"id": "", "reference": reference}):
        assert post(body | {"status": "delivered"}) == 200
    assert state() == State.SENT


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"17", JSON, 400),
        (b'{"status": "delivered"}', JSON, 400),
        (b'{"id": ["m-1"], "status": "delivered"}', JSON, 400),
        (b"[" * 10_000, JSON, 400),
        (b'{"id": "\xff"}', JSON, 200),
        (b"a=1&" * 2000 + b"id=m-1", "application/x-www-form-urlencoded", 400),
        (b'{"id": "m-1", "status": "' + b"x" * 16_384 + b'"}', JSON, 413),
        (b'{"id": "m-1", "status": "' + b"x" * 16_000 + b'"}', JSON, 200),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_nonsense(http: Taker, body: bytes, kind: str, status: int) -> None:
    answer = Client().post(f"/receipts/http/{SECRET}", body, content_type=kind)
    assert answer.status_code == status
    assert state() == State.SENT


def test_other_methods(http: Taker) -> None:
    answer = Client().put(f"/receipts/http/{SECRET}")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, POST")


def test_a_gateway_whose_reading_is_broken(http: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(callback: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(http, "receipt", broken)
    assert report("delivered") == 400


def test_while_the_database_is_away(http: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-64: the gateway sends it again."""

    def away(*args: object) -> NoReturn:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(receipts, "take", away)
        answer = Client().get(f"/receipts/http/{SECRET}?id=m-1&status=delivered")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert report("delivered") == 200


# -- STOP and START ----------------------------------------------------------------


def test_stop(http: Taker, world: World) -> None:
    """The next text is refused, whoever asks for it; opting in under another user too."""
    assert report("stop") == 200
    assert state() == State.FAILED
    assert Guard.objects.has_opted_out(world.row.number_digest)
    world.clock.shift(121)
    refused = world.ask()
    assert (refused.decided, refused.data["rule"]) == (WITHHELD, "stopped")
    assert AuditEvent.objects.latest("pk").data["rule"] == "stopped"
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.NO_TEXTS)
    assert (event.client, event.outcome, event.last_three) == ("gateway:http", "stopped", "156")
    # Nobody's number yet: it is of who named it, and no mail says whose it is.
    assert (event.user_id, event.other_user_id) == (world.user.pk, None)
    assert not Notice.objects.exists()


def test_stop_after_delivered_and_twice(http: Taker, world: World) -> None:
    """It outlives the text, too."""
    assert [report(word) for word in ("delivered", "stop", "stop")] == [200] * 3
    assert state() == State.DELIVERED
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.NO_TEXTS).count() == 1
    digest = world.row.number_digest
    world.clock.shift(1000 * 86_400)
    call_command("purge", stdout=StringIO())
    assert not SmsMessage.objects.exists()
    assert Guard.objects.has_opted_out(digest)


def test_of_two_stops_at_once_one_is_told(
    http: Taker, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-52: each looked before the other wrote."""
    monkeypatch.setattr(type(Guard.objects.all()), "has_opted_out", lambda *args: False)
    assert [report("stop", "m-1"), post({"status": "stop"}, reference=newest().reference)] == [
        200,
        200,
    ]
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.NO_TEXTS).count() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "written"), [("json", NUMBER), ("form", "0491 570 156"), ("query", NUMBER)]
)
def test_start_takes_it_back_when_the_text_is_long_gone(
    http: Taker, world: World, written: str, form: str
) -> None:
    """No other text could be named: none has left since."""
    report("stop")
    world.clock.shift(3 * 86_400)
    call_command("purge", stdout=StringIO())
    assert not SmsMessage.objects.exists()
    said = {"id": "m-1", "status": "start"}
    assert post(said) == 200
    assert Guard.objects.exists()
    assert send(form, said | {"from": written}).status_code == 200
    assert not Guard.objects.exists()
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.user_id) == ("no_texts", "allowed", None)
    assert (event.last_three, event.number_digest) == ("156", ProviderUser.digest_of(NUMBER))


@pytest.mark.parametrize(
    "said", [{}, {"id": "martian"}, {"reference": "sms-1-0"}], ids=["alone", "id", "reference"]
)
def test_a_stop_counts_by_its_number(http: Taker, world: World, said: dict[str, str]) -> None:
    """Also while a text is on its way to the gateway, whose id nobody knows yet."""
    codes = []
    http.then = lambda: codes.append(post({"status": "stop", "from": NUMBER, **said}))
    world.clock.shift(60)
    world.ask()
    assert codes == [200]
    assert Guard.objects.has_opted_out(ProviderUser.digest_of(NUMBER))
    assert newest().state == State.SENT  # what became of that text it does not say


def test_a_stop_from_a_number_of_another_country(http: Taker) -> None:
    """Many gateways leave the plus out, and an address makes a blank of it."""
    assert post({"id": "martian", "status": "stop", "from": " 64211234567"}) == 200
    assert Guard.objects.has_opted_out(ProviderUser.digest_of("+64211234567"))


def test_another_receipt_with_a_number_waits_for_its_text(http: Taker, world: World) -> None:
    """Only STOP and START can do without."""
    codes = []
    said = {"id": "martian", "status": "delivered", "from": NUMBER}
    http.then = lambda: codes.append(post(said))
    world.clock.shift(60)
    world.ask()
    assert codes == [409]


@pytest.mark.parametrize(
    "number", ["+", "HarbourBks", "\x00", "\ud800", "+" + "9" * 5000, "+61298765432"], ids=ascii
)
def test_a_stop_from_what_is_no_mobile_number(http: Taker, number: str) -> None:
    assert post({"id": "martian", "status": "stop", "from": number}) == 200
    assert not Guard.objects.exists()
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.NO_TEXTS).exists()


def test_a_number_counts_for_stop_and_start_only(http: Taker, world: World) -> None:
    """That of the sender may be there in other receipts."""
    assert post({"id": "m-1", "status": "delivered", "from": OTHER_NUMBER}) == 200
    assert state() == State.DELIVERED
    assert post({"id": "m-1", "status": "stop", "from": OTHER_NUMBER}) == 200
    assert Guard.objects.get().key == world.row.number_digest


def test_the_number_of_a_receipt_stays_untold(
    http: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    """S-50."""
    caplog.set_level("DEBUG")
    for status in ("stop", "start", "delivered"):
        post({"id": "martian", "status": status, "from": OTHER_NUMBER})
    assert OTHER_NUMBER[-9:] not in caplog.text
    assert OTHER_NUMBER[-9:] not in repr(Receipt(Report.OPTED_OUT, number=OTHER_NUMBER))
    tables = [Guard, AuditEvent, SmsMessage, GatewayTry]
    stored = [list(table._default_manager.values()) for table in tables]
    assert OTHER_NUMBER[-9:] not in str(stored)


# As gateways send again what was answered too late for them.
@pytest.mark.parametrize(
    ("said", "stopped"),
    [
        ("stop1 start1 stop1", False),
        ("stop1 start1 stop2 start1", True),
        ("stop1 start1 stop2 start2", False),
        ("stop1 start1 stop2 start1 stop1 start2 stop2", False),
    ],
)
def test_what_was_recorded_once_counts_no_more(http: Taker, said: str, stopped: bool) -> None:
    """Each known by the gateway's id for what the person wrote."""
    for each in said.split():
        assert post({"id": each, "status": each[:-1], "from": NUMBER}) == 200
    assert Guard.objects.exists() is stopped


def test_a_repeated_receipt_of_a_text_counts_no_more(http: Taker, world: World) -> None:
    """The same, named by the text."""
    for word in ("stop", "start", "stop"):
        report(word)
    assert not Guard.objects.exists()
    world.clock.shift(121)
    world.ask()
    again = newest().reference
    post({"status": "stop"}, reference=again)
    report("start")
    assert Guard.objects.exists()
    post({"status": "start"}, reference=again)
    assert not Guard.objects.exists()


def test_a_stop_is_its_owners_whoever_had_the_text_sent(
    active: ProviderUser, stranger: User, file: File, phone: Phone, clock: time_machine.Traveller
) -> None:
    """A text that she did not ask for: she learns why no code comes, the other learns nothing."""
    clock.shift(121)
    opt_ins.opt_in(stranger, file, NUMBER, origin=Origin(Face.API, client="test:2"))
    receipt = Receipt(Report.OPTED_OUT, newest().reference)
    assert newest().provider_user.user == stranger
    mail.outbox.clear()
    assert receipts.take("phone", receipt, timezone.now(), GATEWAY)
    assert receipts.take("phone", receipt, timezone.now(), GATEWAY)

    event = AuditEvent.objects.get(kind=AuditEvent.Kind.NO_TEXTS)
    assert (event.user_id, event.other_user_id) == (active.user_id, stranger.pk)
    (message,) = mail.outbox
    assert message.to == [active.user.email]
    assert "ending in 156" in message.body
    assert "570" not in message.body

    start = Receipt(Report.OPTED_IN, newest().reference)
    assert receipts.take("phone", start, timezone.now(), GATEWAY)
    assert AuditEvent.objects.latest("pk").user_id == active.user_id
    assert len(mail.outbox) == 1


def test_a_stop_holds_for_texts_of_every_purpose(
    active: ProviderUser, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = SmsMessage.objects.get()
    receipt = Receipt(Report.OPTED_OUT, message.reference)
    assert receipts.take("phone", receipt, timezone.now(), GATEWAY)
    result = challenges.challenge(active.user, Purpose.SIGN_IN, origin=ORIGIN)
    assert (result.outcome, result.data["rule"]) == (SendOutcome.SEND_LIMIT, "stopped")
    assert len(phone.messages) == 1
