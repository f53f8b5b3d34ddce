"""Test texts of an operator: sent by each gateway, recorded, and reported by receipts."""

import json
from collections.abc import Callable

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from optin import phones
from optin.gateways import Receipt, Report
from optin.messaging import receipts, trials
from optin.models import AuditEvent, Guard, ProviderUser, SmsMessage
from optin.operations import send_controls
from tests.kit.commands import run
from tests.kit.people import NOON, NUMBER, ORIGIN
from tests.kit.phone import AWAY, Gateways, Stub

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind


def outcomes() -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(kind=Kind.TEST_TEXT).order_by("pk")
    return [(event.outcome, event.data["gateway"]) for event in events]


def report(gateway: str, receipt: Receipt) -> bool:
    return receipts.take(gateway, receipt, NOON, ORIGIN)


@pytest.fixture
def sent(use: Gateways) -> Stub:
    """A gateway that took a test text."""
    (stub,) = use(Stub("one"))
    number = phones.parse(NUMBER, home_region="AU")
    assert trials.send(number, stub, origin=ORIGIN).is_sent
    return stub


def test_each_gateway_for_the_region_sends_one(use: Gateways, settings: Settings) -> None:
    settings.OPTIN_RECEIPT_SECRET = "s" * 32
    one, away, elsewhere = use(
        Stub("one"), Stub("away", fails=AWAY), Stub("elsewhere", regions=("NZ",))
    )
    with pytest.raises(SystemExit):
        run("doctor", "--send-test", NUMBER, "--wait=0")
    (text,) = one.texts
    assert text.to == NUMBER
    assert "this is a test" in text.body
    assert text.receipt_url.endswith(f"?reference={text.reference}")
    assert len(away.texts) == 1
    assert elsewhere.texts == []
    assert outcomes() == [("asked", "one"), ("sent", "one"), ("asked", "away"), ("failed", "away")]
    assert not SmsMessage.objects.exists()
    event = AuditEvent.objects.filter(outcome="failed").get()
    assert event.number_digest == ProviderUser.digest_of(NUMBER)
    assert (event.last_three, event.data["reason"]) == (NUMBER[-3:], "away")
    assert NUMBER not in json.dumps(event.data)


def test_a_bug_of_a_gateway_is_a_failure(use: Gateways) -> None:
    (stub,) = use(Stub("one", fails=ValueError(NUMBER)))
    trial = trials.send(phones.parse(NUMBER, home_region="AU"), stub, origin=ORIGIN)
    assert (trial.is_sent, trial.reason) == (False, "ValueError in the gateway's module")


@pytest.mark.parametrize("by", ["reference", "gateway_message_id"])
def test_a_receipt_is_recorded_once(sent: Stub, by: str) -> None:
    name = sent.texts[0].reference if by == "reference" else "one-1"
    for _ in range(2):
        assert report("one", Receipt(Report.DELIVERED, **{by: name}))
    assert outcomes()[2:] == [("delivered", "one")]


def test_a_receipt_says_that_it_did_not_arrive(sent: Stub) -> None:
    reference = sent.texts[0].reference
    assert report("one", Receipt(Report.UNDER_WAY, reference))
    assert report("one", Receipt(Report.FAILED, reference, reason="refused"))
    assert outcomes()[2:] == [("undelivered", "one")]
    asked = AuditEvent.objects.filter(outcome="asked").get()
    assert trials.outcome_of(asked.pk) == "undelivered"


def test_another_receipt_is_for_no_text(sent: Stub) -> None:
    """Of another gateway, made up, of another text."""
    ours = sent.texts[0].reference
    made_up = ours[:-1] + ("0" if ours[-1] != "0" else "1")
    another = ours.replace("test-", "test-9")
    for gateway, theirs in (("other", ours), ("one", made_up), ("one", another)):
        assert not report(gateway, Receipt(Report.DELIVERED, theirs))
    assert len(outcomes()) == 2


def _stop_all(digest: str) -> None:
    send_controls.stop_texts(reason="Ticket 1. Jo", origin=ORIGIN)


def _opt_out(digest: str) -> None:
    Guard.objects.opt_out(digest, "156", NOON)


@pytest.mark.parametrize(
    ("number", "before", "why"),
    [
        ("+64211234567", None, "OPTIN_SMS_REGIONS does not allow NZ."),
        ("hello", None, "This is no mobile number."),
        (NUMBER, _stop_all, "All texts are stopped."),
        (NUMBER, _opt_out, "STOP came from this number."),
    ],
)
def test_some_numbers_get_none(
    use: Gateways,
    capsys: pytest.CaptureFixture[str],
    number: str,
    before: Callable[[str], None] | None,
    why: str,
) -> None:
    (stub,) = use(Stub("one"))
    if before:
        before(ProviderUser.digest_of(NUMBER))
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--send-test", number, "--json")
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["text"] == f"No text was sent: {why}"
    assert stub.texts == []
    assert outcomes() == []
