"""Webhook endpoints on the page of a member who manages the file; of nobody else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.models import (
    AuditEvent,
    File,
    Membership,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from optin.operations import tenants, webhooks
from tests.kit.browser import CONFIRM, PROVE, Browser, sign_in
from tests.kit.people import ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/account/integrations/"
URL = "https://shop.example.com/hook"
FORM = {"url": URL, "description": "Shop"}


@pytest.fixture
def manager(user: User, file: File) -> User:
    tenants.let_manage(user, file, manages=True, origin=ORIGIN)
    return user


@pytest.fixture
def mia(manager: User, browser: Browser) -> Browser:
    """``user``, who manages the file, signed in."""
    sign_in(browser)
    return browser


@pytest.fixture
def endpoint(file: File, user: User) -> WebhookEndpoint:
    made, _secret = webhooks.make(file, URL, origin=ORIGIN)
    return made


def path(endpoint: WebhookEndpoint) -> str:
    return f"{LIST}{endpoint.pk}/"


def outcomes() -> list[tuple[str, int | None]]:
    found = AuditEvent.objects.filter(kind="webhook").order_by("pk")
    return list(found.values_list("outcome", "user_id"))


def attempt(endpoint: WebhookEndpoint, sequence: int | None = 1, answer: str = "ok") -> str:
    """An event that the endpoint was sent; return its id."""
    event = WebhookEvent.objects.create(
        message_id=WebhookEvent.new_id(),
        file=endpoint.file,
        kind="factor.locked",
        at=timezone.now(),
        sequence=sequence,
    )
    WebhookEndpoint.objects.update(cursor=sequence or 0)
    endpoint.tries.create(
        message_id=event.message_id,
        kind=event.kind,
        sequence=sequence,
        at=timezone.now(),
        status=500,
        milliseconds=41,
        answer=answer,
    )
    return event.message_id


# -- a walk ------------------------------------------------------------------------


def test_from_the_account_to_an_endpoint_and_its_end(mia: Browser, user: User) -> None:
    mia.go("/account/")
    mia.click(LIST)
    mia.click(f"{LIST}add/777/")
    answer = mia.post(mia.path, **FORM, kinds=["text.failed"])
    endpoint = WebhookEndpoint.objects.get()
    (secret,) = endpoint.open_secrets()
    assert answer.status_code == 200
    assert secret in answer.content.decode()
    assert (endpoint.url, endpoint.description, endpoint.kinds) == (URL, "Shop", "text.failed")
    assert endpoint.made_by == user

    mia.go(LIST)
    page = mia.click(path(endpoint))
    assert secret not in page.html
    new = mia.post(path(endpoint), do="secret").content.decode()
    endpoint.refresh_from_db()
    assert endpoint.open_secrets()[0] in new
    for act in ("off", "off", "on"):
        assert mia.post(path(endpoint), do=act).status_code == 303
    assert mia.post(path(endpoint), do="test", kind="text.failed").status_code == 303
    changed: dict[str, Any] = {"url": f"{URL}/2", "description": "", "kinds": []}
    assert mia.post(path(endpoint), do="change", **changed).status_code == 303
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.description, endpoint.kinds) == (f"{URL}/2", "", "")
    assert WebhookEvent.objects.get().endpoint == endpoint
    assert mia.post(path(endpoint), do="remove")["Location"] == LIST
    assert outcomes() == [
        (outcome, user.pk)
        for outcome in (
            *("made", "secret_replaced", "switched_off", "unchanged", "switched_on"),
            *("tested", "changed", "removed"),
        )
    ]
    mia.go("/account/activity/")
    assert "Secret of a webhook endpoint replaced" in mia.page.html


def test_a_paused_endpoint_takes_no_test(mia: Browser, endpoint: WebhookEndpoint) -> None:
    page = mia.go(path(endpoint))
    assert "Send a test" in page.html
    WebhookEndpoint.objects.update(made_by=make_user("gone"))
    page = mia.go(path(endpoint))
    assert "Paused: whoever answers for it doesn't manage the organisation" in page.html
    assert "Send a test" not in page.html
    User.objects.filter(username="gone").update(is_active=False)
    assert "Paused: whoever answers for it is deactivated" in mia.go(path(endpoint)).html
    mia.post(path(endpoint), do="test", kind="endpoint.test")
    assert "The endpoint is paused: no test is sent to it." in mia.go(path(endpoint)).html
    assert not WebhookEvent.objects.exists()


def test_the_log(mia: Browser, endpoint: WebhookEndpoint) -> None:
    message_id = attempt(endpoint, answer="<b>call +61491570156</b>\u202e")
    page = mia.go(path(endpoint))
    for shown in (message_id, "factor.locked", "500", "41 ms"):
        assert shown in page.html
    for hidden in ("<b>call", "491570156", "\u202e"):  # S-51
        assert hidden not in page.html


def test_an_event_is_skipped_and_sent_again(mia: Browser, endpoint: WebhookEndpoint) -> None:
    attempt(endpoint, sequence=7, answer="it <breaks> me")
    WebhookEndpoint.objects.update(cursor=6, failures=1)
    page = mia.go(path(endpoint))
    assert "Other events wait for" in page.html
    assert "Skipped events" not in page.html
    (number,) = [form.fields["sequence"] for form in page.forms if "skip" in form.buttons.values()]
    assert mia.post(path(endpoint), do="skip", sequence=number).status_code == 303
    page = mia.go(path(endpoint))
    assert "The event was skipped." in page.html
    assert "Skipped events" in page.html
    assert page.html.count("it &lt;breaks&gt; me") == 2
    assert WebhookEndpoint.objects.get().cursor == 7
    mia.post(path(endpoint), do="skip", sequence=7)
    assert "wait for this event any more" in mia.go(path(endpoint)).html

    for sequence in (8, 0, 2**63, "x", ""):
        answer = mia.post(path(endpoint), do="again", sequence=sequence)
        assert answer.status_code == 422
    assert mia.post(path(endpoint), do="again", sequence=7).status_code == 303
    page = mia.go(path(endpoint))
    assert "The events will be sent again." in page.html
    assert "Skipped events" not in page.html
    assert WebhookEndpoint.objects.get().cursor == 6


def test_a_second_new_secret_must_be_confirmed(mia: Browser, endpoint: WebhookEndpoint) -> None:
    mia.go(path(endpoint))
    assert "ends_old" not in mia.page.html
    assert mia.post(path(endpoint), do="secret").status_code == 200
    assert "the old secret signs until" in mia.go(path(endpoint)).html
    before = WebhookEndpoint.objects.get().open_secrets()
    answer = mia.post(path(endpoint), do="secret")
    assert answer.status_code == 422
    assert "Tick this first" in answer.content.decode()
    assert WebhookEndpoint.objects.get().open_secrets() == before
    assert mia.post(path(endpoint), do="secret", ends_old="on").status_code == 200
    assert WebhookEndpoint.objects.get().open_secrets()[1] == before[0]


def test_the_log_page_by_page(mia: Browser, endpoint: WebhookEndpoint) -> None:
    for n in range(21):
        endpoint.tries.create(message_id=f"msg_{n:02}", at=timezone.now(), milliseconds=n)
    page = mia.go(path(endpoint))
    assert "msg_20" in page.html
    assert "msg_00" not in page.html
    older = mia.go(next(link for link in page.links if "before=" in link))
    assert "msg_00" in older.html
    assert "msg_01" not in older.html
    assert mia.go(f"{path(endpoint)}?before=%C2%B2").status == 200


# -- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "http://a.example.com/"}, "Enter an address that begins with https://"),
        ({"url": ""}, "Enter an address."),
        ({"url": URL, "kinds": ["endpoint.test"]}, "There's a problem"),
        ({"url": URL, "description": "x" * 101}, "There's a problem"),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["add", "change"])
def test_what_cannot_be_is_named(
    mia: Browser, endpoint: WebhookEndpoint, fields: dict[str, Any], says: str, way: str
) -> None:
    mia.go(LIST)
    to, do = (path(endpoint), {"do": "change"}) if way == "change" else (f"{LIST}add/777/", {})
    answer = mia.post(to, **fields, **do)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert WebhookEndpoint.objects.get().url == URL


def test_the_limits_are_named(mia: Browser, endpoint: WebhookEndpoint) -> None:
    for _ in range(4):
        webhooks.make(endpoint.file, URL, origin=ORIGIN)
    mia.go(LIST)
    assert not mia.page.leads_to(f"{LIST}add/777/")
    assert "Remove one first" in mia.post(f"{LIST}add/777/", **FORM).content.decode()


EVERY_ACT: list[dict[str, Any]] = [
    {"do": "secret"},
    {"do": "on"},
    {"do": "off"},
    {"do": "test", "kind": "endpoint.test"},
    {"do": "skip", "sequence": 1},
    {"do": "again", "sequence": 1},
    {"do": "remove"},
    {"do": "change", **FORM},
]


def ended(user: User, file: File) -> None:
    tenants.end_membership(user, file, origin=ORIGIN)


def no_manager(user: User, file: File) -> None:
    tenants.let_manage(user, file, manages=False, origin=ORIGIN)


def inactive(user: User, file: File) -> None:
    File.objects.update(active=False)


@pytest.mark.parametrize("what", [ended, no_manager, inactive])
def test_whoever_manages_the_file_no_more_finds_nothing(
    mia: Browser,
    endpoint: WebhookEndpoint,
    user: User,
    file: File,
    what: Callable[[User, File], None],
) -> None:
    mia.go(LIST)
    before = WebhookEndpoint.objects.values().get()
    what(user, file)
    events = AuditEvent.objects.count()
    huge = f"{LIST}{9**30}/"
    for address in (LIST, path(endpoint), f"{LIST}add/777/", huge):
        assert mia.client.get(address, secure=True).status_code == 404
    for fields in EVERY_ACT:
        assert mia.post(path(endpoint), **fields).status_code == 404
    assert mia.post(f"{LIST}add/777/", **FORM).status_code == 404
    assert WebhookEndpoint.objects.values().get() == before
    assert AuditEvent.objects.count() == events
    mia.go("/account/")
    assert not mia.page.leads_to(LIST)


@pytest.mark.parametrize("fields", [*EVERY_ACT, {}], ids=str)
def test_a_membership_that_ends_while_somebody_asks(
    mia: Browser,
    endpoint: WebhookEndpoint,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
) -> None:
    """... after the page was looked up: the operation asks again, under its lock."""
    mia.go(LIST)
    demand = webhooks.Member.demand

    def meanwhile(member: webhooks.Member, file_id: int) -> None:
        Membership.objects.filter(user=user).update(manages=False)
        demand(member, file_id)

    monkeypatch.setattr(webhooks.Member, "demand", meanwhile)
    to = path(endpoint) if fields else f"{LIST}add/777/"
    assert mia.post(to, **(fields or FORM)).status_code == 404
    assert outcomes() == [("made", None)]


def test_an_endpoint_that_is_removed_meanwhile(
    mia: Browser, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    mia.go(LIST)
    demand = webhooks.Member.demand

    def meanwhile(member: webhooks.Member, file_id: int) -> None:
        demand(member, file_id)
        WebhookEndpoint.objects.all().delete()

    monkeypatch.setattr(webhooks.Member, "demand", meanwhile)
    assert mia.post(path(endpoint), do="test", kind="endpoint.test").status_code == 404


def test_those_of_other_files_are_not_there(
    mia: Browser, other_file: File, endpoint: WebhookEndpoint
) -> None:
    other, _secret = webhooks.make(other_file, f"{URL}/other", origin=ORIGIN)
    Membership.objects.create(user=User.objects.get(), file=other_file)  # but manages it not
    mia.go(LIST)
    assert f"{URL}/other" not in mia.page.html
    assert mia.client.get(path(other), secure=True).status_code == 404
    for fields in EVERY_ACT:
        assert mia.post(path(other), **fields).status_code == 404
    assert mia.post(f"{LIST}add/{other_file.pk}/", **FORM).status_code == 404


def test_a_get_changes_nothing(mia: Browser, endpoint: WebhookEndpoint) -> None:
    mia.go(f"{path(endpoint)}?do=remove")
    assert outcomes() == [("made", None)]
    assert mia.post(path(endpoint), do="x").status_code == 303


def test_the_password_is_asked_for_again(
    mia: Browser, endpoint: WebhookEndpoint, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(minutes=21))
    for address in (LIST, path(endpoint), f"{LIST}add/777/"):
        mia.go(address)
        assert mia.path == CONFIRM
    assert mia.post(path(endpoint), do="secret")["Location"].startswith(CONFIRM)
    mia.send(password=PASSWORD)
    assert mia.path == f"{LIST}add/777/"


def test_so_is_the_second_factor(
    ann_on: Browser, manager: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(minutes=13))
    ann_on.go(LIST)
    ann_on.send(password=PASSWORD)
    assert ann_on.path == PROVE
    ann_on.send(f"{PROVE}send/")
    ann_on.send(code=phone.code())
    assert ann_on.path == LIST


# -- who manages -------------------------------------------------------------------


def test_a_membership_that_ended_gives_nothing_back(manager: User, file: File) -> None:
    tenants.end_membership(manager, file, origin=ORIGIN)
    tenants.add_member(manager, file, origin=ORIGIN)
    assert not File.objects.managed_by(manager).exists()
