"""``GET /events``: what a client that cannot receive webhooks reads."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from pytest_django import Settings

from optin.conf import Rate
from optin.models import File, User, WebhookEvent
from optin.operations import retention
from optin.operations import webhooks as endpoints
from tests.kit.clients import NAMESPACES, Answer, Api, bearer
from tests.kit.people import ORIGIN
from tests.kit.world import World
from tests.webhooks.kit import Client, happen, send, settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reader(user: User) -> Api:
    user.memberships.update(manages=True)
    return Api(token=bearer(user, "events", lifetime=timedelta(days=90)))


def ask(reader: Api, query: str = "", **how: Any) -> Answer:
    settle()
    return reader.send("GET", "/events", query=f"FileId=777{query}", **how)


@pytest.mark.parametrize("change", [{"manages": False}, {"active": False}])
def test_who_does_not_manage_the_file_reads_nothing(
    reader: Api, user: User, change: dict[str, bool]
) -> None:
    """The events are about everybody in it."""
    assert ask(reader).status == 200
    user.memberships.update(**change)
    assert ask(reader).brief == (403, "file_access_denied")


def sequences(answer: Answer) -> list[int]:
    assert answer.status == 200
    return [each["data"]["Sequence"] for each in answer.data["events"]]


@pytest.mark.parametrize("path", ["/events", "/EVENTS/", "//Events"])
def test_in_json_and_xml(reader: Api, world: World, path: str) -> None:
    world.guess(world.code())
    settle()

    def read(after: int, accept: str) -> str:
        query = f"FILEID=777&AFTER={after}&Limit=1"
        answer = reader.send("GET", "/", query=query, PATH_INFO=path, accept=accept)
        assert answer.media_type == f"{accept}; charset=utf-8"
        return answer.content.decode()

    event = (
        '{"type":"number.activated","timestamp":"2026-11-02T12:00:00.000Z","data":{"FileId":777,'
        f'"ProviderUserId":{world.row.pk},"Sequence":1,"Reason":"verified","Reference":""}}}}'
    )
    assert read(0, "application/json") == f'{{"events":[{event}],"next":1}}'
    assert read(1, "application/json") == '{"events":[],"next":1}'
    event = (
        "<Event><type>number.activated</type><timestamp>2026-11-02T12:00:00.000Z</timestamp>"
        f"<data><FileId>777</FileId><ProviderUserId>{world.row.pk}</ProviderUserId>"
        "<Sequence>1</Sequence><Reason>verified</Reason><Reference></Reference></data></Event>"
    )
    listed = f"<EventList {NAMESPACES}><events>{{}}</events><next>1</next></EventList>"
    assert read(0, "text/xml") == listed.format(event)
    assert read(1, "text/xml") == listed.format("")
    head = reader.send("HEAD", "/events", query="FileId=777")
    assert (head.status, head.content) == (200, b"")


def test_it_has_the_bodies_of_the_webhooks(client: Client, reader: Api, world: World) -> None:
    """But not the tests of an endpoint. Of an erased person there is no id."""
    world.guess(world.code())
    endpoints.send_test(client.endpoint, origin=ORIGIN)
    send()
    assert ask(reader).data["events"] == client.received()[1:]

    WebhookEvent.objects.update(provider_user_id=None)  # as erasing does
    assert ask(reader).data["events"][0]["data"]["ProviderUserId"] is None
    # XmlSerializer cannot read an empty element as a number; it can do without it.
    assert b"ProviderUserId" not in ask(reader, accept="text/xml").content


def test_page_by_page(reader: Api, file: File, other_file: File) -> None:
    happen(other_file)
    for _ in range(103):
        happen(file)

    first = ask(reader)
    assert sequences(first) == list(range(1, 101))
    second = ask(reader, f"&after={first.data['next']}&limit=2")
    assert sequences(second) == [101, 102]
    assert sequences(ask(reader, f"&after={second.data['next']}")) == [103]


def test_a_new_reader_begins_now(reader: Api, file: File) -> None:
    assert ask(reader, "&after=latest").data == {"events": [], "next": 0}
    for _ in range(3):
        happen(file)
    answer = ask(reader, "&after=latest")
    assert answer.data == {"events": [], "next": 3}
    happen(file)
    assert sequences(ask(reader, f"&after={answer.data['next']}")) == [4]
    assert ask(reader, "&after=LATEST").brief == (400, "invalid_request")


@pytest.mark.slow
def test_a_cursor_that_is_gone(reader: Api, file: File, clock: time_machine.Traveller) -> None:
    """Nobody reads on in silence behind a gap."""
    for _ in range(3):
        happen(file)
    assert sequences(ask(reader)) == [1, 2, 3]
    clock.shift(timedelta(days=29))
    happen(file)
    assert sequences(ask(reader, "&after=3")) == [4]
    clock.shift(timedelta(days=1))
    retention.purge(origin=ORIGIN)

    assert ask(reader, "&after=2").brief == (410, "cursor_gone")
    assert ask(reader, "&after=9223372036854775807").brief == (410, "cursor_gone")
    assert sequences(ask(reader, "&after=3")) == [4]
    assert sequences(ask(reader)) == [4]

    clock.shift(timedelta(days=29))
    retention.purge(origin=ORIGIN)
    assert ask(reader, "&after=3").brief == (410, "cursor_gone")
    assert sequences(ask(reader, "&after=4")) == []
    assert sequences(ask(reader)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("after", value) for value in ("", "-1", "01", "%D9%A1", "9223372036854775808")),
        *(("limit", value) for value in ("0", "101", "1%20")),
    ],
)
def test_hostile_parameters(reader: Api, name: str, value: str) -> None:
    answer = ask(reader, f"&{name}={value}")
    assert answer.brief == (400, "invalid_request")
    assert answer.data["StatusMessage"].startswith(f"{name} must be a whole number from ")
    assert ask(reader, f"&{name}=1&{name.upper()}=1").brief == (400, "invalid_request")


def test_the_order_of_refusals(reader: Api, settings: Settings, user: User) -> None:
    nobody, calls = Api(), Api(token=bearer(user, "2fa"))
    bad = "FileId=0&after=x"
    assert reader.send("GET", "/events/1").brief == (404, "not_found")
    put = nobody.send("POST", "/events", query=bad)
    assert (put.brief, put.headers["Allow"]) == ((405, "method_not_allowed"), "GET, HEAD")
    assert nobody.send("GET", "/events", query=bad).brief == (401, "not_authenticated")
    assert calls.send("GET", "/events", query="FileId=777&after=x").brief == (
        400,
        "invalid_request",
    )
    assert calls.send("GET", "/events", query="FileId=777").brief == (403, "insufficient_scope")
    settings.OPTIN_REQUESTS_PER_USER = (Rate(1, 60),)
    kim = Api(token=bearer(User.objects.create(username="kim"), "full"))
    for _ in range(2):
        assert kim.send("GET", "/events", query="FileId=777").brief == (403, "file_access_denied")
    assert reader.send("GET", "/events", query="FileId=777").status == 200
    assert reader.send("GET", "/events", query="FileId=777").brief == (429, "throttled")
