"""Webhook endpoints in the admin: an administrator keeps them, with the log of the attempts."""

from typing import Any

import pytest
from django.utils import timezone

from optin.models import AuditEvent, File, Membership, User, WebhookEndpoint, WebhookEvent
from tests.kit.staff import In, ask

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "optin/webhookendpoint"


@pytest.fixture
def endpoint(file: File, signed_in: In) -> WebhookEndpoint:
    ask(
        signed_in("administrator"),
        f"{LIST}/make/",
        200,
        file_id=file.pk,
        url="https://shop.example.com/hook",
    )
    return WebhookEndpoint.objects.get()


def test_a_wrong_address_is_named(file: File, signed_in: In) -> None:
    page = ask(
        signed_in("administrator"), f"{LIST}/make/", 422, file_id=file.pk, url="https://127.0.0.1/"
    )
    assert "must contain a host name, not an IP address" in page
    assert not WebhookEndpoint.objects.exists()


def test_replacing_switching_testing_and_removing(endpoint: WebhookEndpoint, signed_in: In) -> None:
    client, before = signed_in("administrator"), endpoint.open_secrets()[0]
    page = ask(client, f"{LIST}/{endpoint.pk}/secret/", 200)
    endpoint.refresh_from_db()
    new, old = endpoint.open_secrets()
    assert old == before
    assert new in page

    assert "The endpoint is off." in ask(client, f"{LIST}/{endpoint.pk}/off/")
    assert "switched off by staff at" in ask(client, f"{LIST}/{endpoint.pk}/off/")
    assert "The endpoint is on." in ask(client, f"{LIST}/{endpoint.pk}/on/")
    assert "Tick this first: The old" in ask(client, f"{LIST}/{endpoint.pk}/secret/", 422)
    ask(client, f"{LIST}/{endpoint.pk}/secret/", 200, ends_old="on")
    test = ask(client, f"{LIST}/{endpoint.pk}/test/", kind="number.removed")
    assert "The test is on its way." in test
    assert WebhookEvent.objects.get().endpoint_id == endpoint.pk
    assert "The endpoint was removed." in ask(client, f"{LIST}/{endpoint.pk}/remove/")
    assert not WebhookEndpoint.objects.exists()
    outcomes = AuditEvent.objects.filter(kind="webhook").order_by("pk")
    assert list(outcomes.values_list("outcome", flat=True)) == [
        *("made", "secret_replaced", "switched_off", "unchanged", "switched_on"),
        *("secret_replaced", "tested", "removed"),
    ]


def test_the_page_shows_each_attempt(endpoint: WebhookEndpoint, signed_in: In) -> None:
    endpoint.tries.create(
        message_id="msg_1",
        kind="number.activated",
        sequence=7,
        at=timezone.now(),
        status=503,
        milliseconds=41,
        answer="<b>call +61491570156</b>",
    )
    page = signed_in("administrator").get(f"/admin/{LIST}/{endpoint.pk}/change/").content.decode()
    for shown in ("number.activated", ">7</td>", ">503</td>", ">41</td>"):
        assert shown in page
    assert "<b>call" not in page
    assert "491570156" not in page  # S-51


def test_an_event_is_skipped_and_sent_again(endpoint: WebhookEndpoint, signed_in: In) -> None:
    client, page = signed_in("administrator"), f"{LIST}/{endpoint.pk}"
    address = f"/admin/{page}/"
    assert f"{address}skip/" not in client.get(f"{address}change/").content.decode()
    event = WebhookEvent.objects.create(
        message_id="msg_1", file=endpoint.file, kind="text.failed", at=timezone.now(), sequence=7
    )
    endpoint.tries.create(
        message_id=event.message_id,
        kind=event.kind,
        sequence=7,
        at=timezone.now(),
        status=500,
        milliseconds=41,
        answer="boom",
    )
    WebhookEndpoint.objects.update(failures=1)
    assert f"{address}skip/" in client.get(f"{address}change/").content.decode()
    assert "text.failed (7): 500, boom" in client.get(f"{address}skip/").content.decode()
    assert "does not wait there" in ask(client, f"{page}/skip/", sequence=8)
    assert "The event was skipped." in (told := ask(client, f"{page}/skip/", sequence=7))
    assert "Skipped events" in told
    assert "was not sent this event yet" in ask(client, f"{page}/again/", sequence=8)
    assert "will be sent again" in (told := ask(client, f"{page}/again/", sequence=7))
    assert "Skipped events" not in told
    endpoint.refresh_from_db()
    assert endpoint.cursor == 6


def test_the_home_page_leads_to_one_that_was_switched_off(
    endpoint: WebhookEndpoint, signed_in: In
) -> None:
    WebhookEndpoint.objects.update(off_at=timezone.now(), off_why="failing")
    address = f"/admin/{LIST}/{endpoint.pk}/change/"
    page = signed_in("administrator").get("/admin/").content.decode()
    assert "A webhook endpoint of file 777 is switched off" in page
    assert address in page
    page = signed_in("auditor").get("/admin/").content.decode()
    assert "A webhook endpoint of file 777 is switched off" in page
    assert address not in page


def test_changing_it(endpoint: WebhookEndpoint, signed_in: In) -> None:
    client, page = signed_in("administrator"), f"{LIST}/{endpoint.pk}"
    new: dict[str, Any] = {"url": "https://new.example.com/", "description": "Shop"}
    assert "added later): choose one" in ask(
        client, f"{page}/edit/", 422, **new, kinds=["endpoint.test"]
    )
    ask(client, f"{page}/edit/", **new, kinds=["text.failed", "factor.locked"])
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.description) == (new["url"], "Shop")
    assert endpoint.wanted == ["factor.locked", "text.failed"]


def test_an_administrator_decides_who_manages_a_file(user: User, file: File, signed_in: In) -> None:
    client, of = signed_in("administrator"), Membership.objects.get(user=user)
    page = f"optin/membership/{of.pk}"
    assert "Changed." in ask(client, f"{page}/manager/")
    assert File.objects.managed_by(user).get() == file
    assert "Already set." in ask(client, f"{page}/manager/")
    assert "Changed." in ask(client, f"{page}/no-manager/")
    assert not File.objects.managed_by(user).exists()
    events = AuditEvent.objects.filter(kind="member").order_by("pk")
    assert list(events.values_list("outcome", "user_id")) == [
        (outcome, user.pk) for outcome in ("manager", "manager", "manager_ended")
    ]


def test_the_secret_is_shown_once(file: File, signed_in: In) -> None:
    client = signed_in("administrator")
    page = ask(client, f"{LIST}/make/", 200, file_id=file.pk, url="https://shop.example.com/hook")

    endpoint = WebhookEndpoint.objects.get()
    (secret,) = endpoint.open_secrets()
    assert secret in page
    assert secret not in client.get(f"/admin/{LIST}/{endpoint.pk}/change/").content.decode()
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.file_id) == ("webhook", "made", file.pk)
    assert event.data == {"endpoint": endpoint.pk}
