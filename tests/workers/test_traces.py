"""One trace from the request to the text of a worker, without anything secret."""

import json

import pytest
from django.test import Client

from optin.gateways import Fate, SmsError
from optin.models import File, ProviderUser, SmsMessage, User
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.traces import record, trace_of
from tests.workers.jobs import work, work_later

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NAMES = {
    *("method", "route", "status", "request_id", "error"),
    *("gateway", "outcome", "statements"),
}
"""Of all that is told of spans."""


def call(client: Client, operation: str, key: str, body: dict[str, object]) -> None:
    client.post(
        f"/User/{operation}?FileId=777&WsAccessKey={key}",
        json.dumps(body),
        content_type="application/json",
        headers={"User-Agent": "agent-of-the-client"},
    )


def test_one_trace_from_the_request_to_the_text(
    monkeypatch: pytest.MonkeyPatch,
    client: Client,
    access_key: str,
    user: User,
    file: File,
    phone: Phone,
) -> None:
    """The second try is in it, too. An opt-in, its text, and two codes tell no secret."""
    exporter = record(monkeypatch)
    phone.fail_with = SmsError(f"no route to {NUMBER}", Fate.UNKNOWN)
    call(client, "opt-in-to-2fa", access_key, {"MobileNumber": NUMBER})
    work()
    phone.fail_with = None
    work_later()
    code, row = phone.code(), ProviderUser.objects.get()
    for otp in (wrong(code), code):
        call(client, "verify-2fa-opt-in", access_key, {"ProviderUserId": row.pk, "Otp": otp})
    work()
    spans = exporter.get_finished_spans()

    parts = ["POST opt-in", "gateway", "gateway", "send_text", "send_text"]
    assert trace_of(spans, "POST opt-in") == parts
    assert [span.name for span in spans].count("send_mail") == 1
    assert any("statement" in span.name for span in spans)
    assert {name for span in spans for name in span.attributes or ()} <= NAMES
    assert not any(span.events or span.status.description for span in spans)
    told = "".join(span.to_json() for span in spans)
    message = SmsMessage.objects.get()
    for secret in (
        *(NUMBER, NUMBER[1:], row.number_digest, phone.body, code, wrong(code), access_key),
        *(user.username, user.email, message.reference),
        *("FileId", "WsAccessKey", "SELECT", "127.0.0.1", "agent-of-the-client", "no route"),
    ):
        assert secret not in told, secret
