"""``Client-Reference``: what a client calls the number of an opt-in, in the events about it."""

import logging

import pytest
import time_machine
from django.core import serializers

from optin.models import AuditEvent, Membership, ProviderUser, SmsMessage, User, WebhookEvent
from optin.operations import erasure, staff_actions
from optin.runtime import metrics
from optin.support.timeline import timeline
from tests.kit.clients import Answer, Api
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.webhooks.kit import Client, send, settle

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "customer-4711/b"


@pytest.fixture
def api(access_key: str) -> Api:
    Membership.objects.update(manages=True)
    return Api(key=access_key)


def opt_in(api: Api, reference: str | None = None, number: str = NUMBER) -> Answer:
    sent = {} if reference is None else {"Client-Reference": reference}
    return api.opt_in(number, headers=sent)


def activate(api: Api, phone: Phone, answer: Answer) -> None:
    assert api.verify(answer.data["ProviderUserId"], phone.code()).status == 200


def told(api: Api) -> list[str]:
    """The references in the events of the file."""
    settle()
    answer = api.send("GET", "/events", query=api.query())
    return [each["data"]["Reference"] for each in answer.data["events"]]


def test_it_is_in_each_event_about_the_number(
    client: Client, api: Api, user: User, phone: Phone
) -> None:
    """Until the person is erased."""
    answer = opt_in(api, OURS)
    assert list(answer.data) == ["ProviderUserId"]
    activate(api, phone, answer)
    staff_actions.revoke(user, reason="lost", origin=ORIGIN)

    assert told(api) == [OURS] * 3
    send()
    assert [each["data"]["Reference"] for each in client.received()] == [OURS] * 3
    erasure.erase(user, reason="asked", origin=ORIGIN)
    kept = WebhookEvent.objects.values_list("reference", "provider_user_id")
    assert {*kept} == {("", None)}


@pytest.mark.parametrize(
    "reference", ["", "x" * 65, "two words", "tab\tbed", "caf\xe9", "\x7f", "\x00"]
)
def test_what_it_cannot_be(api: Api, phone: Phone, reference: str) -> None:
    answer = opt_in(api, reference)
    assert answer.brief == (400, "invalid_request")
    assert answer.data["StatusMessage"] == (
        "Client-Reference must be 1 to 64 visible ASCII characters."
    )
    assert not SmsMessage.objects.exists()
    assert not ProviderUser.objects.exists()
    activate(api, phone, opt_in(api, "~" * 64))
    assert told(api) == ["~" * 64]


def test_its_place_in_the_order_of_refusals(api: Api) -> None:
    """After the body, before what the operation decides."""
    bad = {"Client-Reference": ""}
    assert Api().opt_in("12", headers=bad).brief == (401, "not_authenticated")
    text = api.post("opt-in-to-2fa", "x", media_type="text/plain", headers=bad)
    assert text.brief == (415, "unsupported_media_type")
    assert "JSON" in api.post("opt-in-to-2fa", "{", headers=bad).data["StatusMessage"]
    assert "Client-Reference" in opt_in(api, "", number="12").data["StatusMessage"]
    assert opt_in(api, OURS, number="12").brief == (400, "mobile_number_invalid")


def test_the_last_one_counts_and_stays(
    api: Api, phone: Phone, clock: time_machine.Traveller
) -> None:
    opt_in(api, "first")
    clock.shift(300)
    opt_in(api, OURS)
    clock.shift(300)
    answer = opt_in(api)
    assert api.opt_in(NUMBER, headers={"Client-Reference": "refused"}).brief == (429, "send_limit")
    activate(api, phone, answer)
    assert told(api) == ["", OURS]  # of the text that was refused, and of the number


def test_staff_see_it_and_neither_trail_nor_logs_nor_metrics_do(
    api: Api, user: User, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    activate(api, phone, opt_in(api, OURS))

    shown = [detail for entry in timeline(user).entries for detail in entry.details]
    assert f"Client-Reference: {OURS}" in shown
    assert OURS not in serializers.serialize("json", AuditEvent.objects.all())
    assert OURS not in caplog.text + str([vars(record) for record in caplog.records])
    assert OURS not in metrics.exposition("").decode()
