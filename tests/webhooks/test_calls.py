"""``/endpoints``: what a program does in place of the page."""

from typing import Any

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from optin.conf import Rate
from optin.models import AccessKey, AuditEvent, File, Membership, User, WebhookEndpoint
from optin.operations import webhooks as endpoints
from tests.kit.clients import FORMATS, NAMESPACES, Answer, Api, bearer, write
from tests.kit.people import ORIGIN

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://hooks.example.com/hook"
ROOTS = {
    ("POST", False): "EndpointRequest",
    ("PUT", False): "EndpointChangeRequest",
    ("POST", True): "EndpointSecretRequest",
}


def ask(api: Api, method: str, path: str = "", query: str = "", **body: Any) -> Answer:
    root = ROOTS.get((method, path.endswith("/secret")), "")
    content = write(root, body, api.media_type) if root else b""
    return api.send(method, f"/endpoints{path}", content, query=query or "FileId=777")


@pytest.fixture
def manager(user: User) -> User:
    user.memberships.update(manages=True)
    return user


@pytest.fixture(params=FORMATS)
def api(manager: User, request: pytest.FixtureRequest) -> Api:
    return Api(token=bearer(manager, "events"), media_type=request.param)


@pytest.fixture
def endpoint(file: File) -> WebhookEndpoint:
    return endpoints.make(file, URL, description="<shop>\x01", origin=ORIGIN)[0]


def audited() -> list[tuple[str, str, int | None]]:
    events = AuditEvent.objects.filter(kind="webhook").order_by("id")
    return [(event.outcome, event.face, event.user_id) for event in events]


def test_the_life_of_an_endpoint(api: Api, manager: User, file: File) -> None:
    types = "number.removed number.activated"
    added = ask(api, "POST", Url=URL, Types=types, Description="shop")
    assert added.status == 200
    row = WebhookEndpoint.objects.get()
    secret = str(added.data["Secret"])
    assert (row.open_secrets(), secret in row.secrets_encrypted) == ([secret], False)
    assert (row.file, row.made_by, row.wanted) == (file, manager, types.split()[::-1])
    assert [(message.to, URL in str(message.body)) for message in mail.outbox] == [
        ([manager.email], True)
    ]

    listed = ask(api, "GET")
    assert b"whsec_" not in listed.content
    one = f"/{row.pk}"
    shown = ask(api, "PUT", one, Url=f"{URL}/2", Description="", State="off")
    assert shown.data.pop("EndpointId") in {row.pk, str(row.pk)}
    assert shown.data == {
        "Url": f"{URL}/2",
        "Types": "",
        "Description": "",
        "State": "off",
        "Reason": "member",
    }
    assert ask(api, "PUT", one, Url=f"{URL}/2", State=None).data["State"] == "off"
    assert ask(api, "PUT", one, Url=f"{URL}/2", State="on").data["State"] == "on"

    replaced = ask(api, "POST", f"{one}/secret").data["Secret"]
    row.refresh_from_db()
    assert row.secrets_at(timezone.now()) == [replaced, secret]
    assert ask(api, "POST", f"{one}/secret").brief == (409, "old_secret_signs")
    again = ask(api, "POST", f"{one}/secret", OldSecret="end").data["Secret"]
    row.refresh_from_db()
    assert row.secrets_at(timezone.now()) == [again, replaced]

    assert ask(api, "DELETE", one).brief == (200, "")
    assert ask(api, "DELETE", one).brief == (404, "not_found")
    outcomes = ["made", "changed", "switched_off", "changed", "changed", "switched_on"]
    outcomes += ["secret_replaced", "secret_replaced", "removed"]
    assert audited() == [(outcome, "api", manager.pk) for outcome in outcomes]


def test_a_list_in_json_and_xml(manager: User, endpoint: WebhookEndpoint) -> None:
    api = Api(token=bearer(manager, "full"))
    answer = api.send("GET", "//ENDPOINTS/", query="FileId=777", PATH_INFO="//ENDPOINTS/")
    (shown,) = answer.data["Endpoints"]
    assert shown == {
        "EndpointId": endpoint.pk,
        "Url": URL,
        "Types": "",
        "Description": "<shop>",
        "State": "on",
        "Reason": "",
    }
    answer = api.send("GET", "/endpoints", query="FileId=777", accept="text/xml")
    assert answer.content.decode() == (
        f"<EndpointList {NAMESPACES}><Endpoints><Endpoint><EndpointId>{endpoint.pk}</EndpointId>"
        f"<Url>{URL}</Url><Types></Types><Description>&lt;shop&gt;</Description><State>on</State>"
        "<Reason></Reason></Endpoint></Endpoints></EndpointList>"
    )


def test_a_paused_endpoint_goes_on_when_another_manager_says_so(
    manager: User, stranger: User, file: File, endpoint: WebhookEndpoint
) -> None:
    WebhookEndpoint.objects.update(made_by=stranger)
    api = Api(token=bearer(manager, "events"))
    (shown,) = ask(api, "GET").data["Endpoints"]
    assert (shown["State"], shown["Reason"]) == ("paused", "no_manager")
    assert ask(api, "PUT", f"/{endpoint.pk}", Url=URL, State="on").data["State"] == "on"
    assert WebhookEndpoint.objects.get().made_by == manager


CALLS = [("GET", ""), ("POST", ""), ("PUT", "/1"), ("DELETE", "/1"), ("POST", "/1/secret")]


def every(api: Api, endpoint: WebhookEndpoint, query: str = "") -> set[tuple[int, str]]:
    return {
        ask(api, method, path.replace("1", str(endpoint.pk)), query, Url=URL).brief
        for method, path in CALLS
    }


def test_who_may_not(
    manager: User, file: File, other_file: File, endpoint: WebhookEndpoint, settings: Settings
) -> None:
    """An access key stands in addresses, which are logged, and an endpoint outlives it."""
    narrow, denied = {(403, "insufficient_scope")}, {(403, "file_access_denied")}
    key = AccessKey.objects.make(manager, file, timezone.now())[1]
    assert every(Api(), endpoint) == {(401, "not_authenticated")}
    assert every(Api(), endpoint, f"FileId=777&WsAccessKey={key}") == narrow
    for scope in ("2fa", "modify", "view", ""):
        assert every(Api(token=bearer(manager, scope)), endpoint) == narrow
    assert every(Api(token=bearer(manager, "full fileid:888")), endpoint) == denied
    api = Api(token=bearer(manager, "events"))
    assert every(api, endpoint, "FileId=888") == denied
    for change in ({"manages": False}, {"active": False}):
        manager.memberships.update(**change)
        assert every(api, endpoint) == denied
        manager.memberships.update(manages=True, active=True)
    File.objects.filter(pk=777).update(active=False)
    assert every(api, endpoint) == denied
    File.objects.filter(pk=777).update(active=True)
    settings.OPTIN_REQUESTS_PER_USER = (Rate(1, 60),)
    ask(api, "GET")
    assert every(api, endpoint) == {(429, "throttled")}
    settings.OPTIN_REQUESTS_PER_USER = ()
    User.objects.filter(pk=manager.pk).update(is_active=False)
    assert every(api, endpoint) == {(401, "invalid_token")}
    assert [outcome for outcome, _, _ in audited()] == ["made"]


def test_an_endpoint_of_another_file_is_none(
    manager: User, other_file: File, endpoint: WebhookEndpoint
) -> None:
    Membership.objects.create(user=manager, file=other_file, manages=True)
    api = Api(token=bearer(manager, "events"))
    assert ask(api, "GET", query="FileId=888").data == {"Endpoints": []}
    for method, path in CALLS[2:]:
        path = path.replace("1", str(endpoint.pk))
        assert ask(api, method, path, "FileId=888", Url=URL).brief == (404, "not_found")
    for path in ("/0", "/x", f"/{endpoint.pk}/secrets", f"/{2**63}"):
        assert ask(api, "PUT", path, Url=URL).code in {"not_found", "method_not_allowed"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "body",
    [
        dict[str, Any](),
        *({"Url": url} for url in ("", "http://hooks.example.com/", "https://127.0.0.1/", 7)),
        *({"Url": URL, "Types": text} for text in ("endpoint.test", "number.removed,")),
        *({"Url": URL, "Types": None, "Description": other} for other in (7, "x" * 101)),
    ],
)
def test_hostile_bodies(
    manager: User, endpoint: WebhookEndpoint, method: str, body: dict[str, Any]
) -> None:
    api = Api(token=bearer(manager, "events"))
    path = f"/{endpoint.pk}" if method == "PUT" else ""
    assert ask(api, method, path, **body).brief == (400, "invalid_request")
    assert ask(api, "PUT", f"/{endpoint.pk}", Url=URL, State="paused").status == 400
    assert [row.url for row in WebhookEndpoint.objects.all()] == [URL]


def test_a_sixth_is_refused(manager: User) -> None:
    api = Api(token=bearer(manager, "events"))
    assert [ask(api, "POST", Url=URL).status for _ in range(6)] == [200] * 5 + [409]
    assert ask(api, "POST", Url=URL).brief == (409, "endpoint_limit")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("session_epoch", (401, "invalid_token")),
        ("manages", (403, "file_access_denied")),
        ("removed", (404, "not_found")),
    ],
)
def test_what_ends_while_a_call_is_made(
    manager: User,
    endpoint: WebhookEndpoint,
    change: str,
    expected: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever says "that was not me" is not too late for a thief's call."""
    demand = endpoints.Member.demand

    def late(member: endpoints.Member, file_id: int) -> None:
        if change == "session_epoch":
            User.objects.filter(pk=manager.pk).update(session_epoch=99)
        elif change == "manages":
            manager.memberships.update(manages=False)
        else:
            WebhookEndpoint.objects.all().delete()
        demand(member, file_id)

    monkeypatch.setattr(endpoints.Member, "demand", late)
    api = Api(token=bearer(manager, "events"))
    assert ask(api, "PUT", f"/{endpoint.pk}", Url=f"{URL}/thief").brief == expected
    assert not WebhookEndpoint.objects.filter(url=f"{URL}/thief").exists()
