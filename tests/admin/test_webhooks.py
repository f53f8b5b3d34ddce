"""Webhook endpoints in the admin: an administrator sees the log of the attempts."""

import pytest
from django.utils import timezone

from optin.models import AuditEvent, File, Membership, User, WebhookEndpoint
from optin.operations import webhooks
from optin.origin import Face, Origin
from tests.kit.staff import In, ask

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "optin/webhookendpoint"


@pytest.fixture
def endpoint(file: File) -> WebhookEndpoint:
    origin = Origin(Face.WEB)
    return webhooks.make(file, "https://shop.example.com/hook", origin=origin)[0]


def test_switching_it_off_and_on(endpoint: WebhookEndpoint, signed_in: In) -> None:
    client = signed_in("administrator")
    assert "The endpoint is off." in ask(client, f"{LIST}/{endpoint.pk}/off/")
    assert "switched off by staff at" in ask(client, f"{LIST}/{endpoint.pk}/off/")
    assert "The endpoint is on." in ask(client, f"{LIST}/{endpoint.pk}/on/")
    events = AuditEvent.objects.filter(kind="webhook").order_by("pk")
    assert list(events.values_list("outcome", flat=True)) == [
        *("made", "switched_off", "unchanged", "switched_on"),
    ]
    last = events[3]
    assert (last.file_id, last.data) == (endpoint.file_id, {"endpoint": endpoint.pk})


def test_the_secret_is_not_shown(endpoint: WebhookEndpoint, signed_in: In) -> None:
    page = signed_in("administrator").get(f"/admin/{LIST}/{endpoint.pk}/change/").content.decode()
    assert endpoint.url in page
    assert endpoint.open_secrets()[0] not in page


@pytest.mark.parametrize("act", ["make", "edit", "secret", "test", "skip", "again", "remove"])
def test_all_else_is_left_to_the_file(endpoint: WebhookEndpoint, signed_in: In, act: str) -> None:
    where = LIST if act == "make" else f"{LIST}/{endpoint.pk}"
    assert signed_in("administrator").get(f"/admin/{where}/{act}/").status_code == 404


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
