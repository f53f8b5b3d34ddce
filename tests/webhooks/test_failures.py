"""What becomes of an endpoint, and of its events, if its server fails."""

import json
import socket
from datetime import timedelta
from email.utils import format_datetime

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from optin.errors import OldSecretSigns
from optin.messaging.webhooks import give_numbers
from optin.models import AuditEvent, User, WebhookEndpoint, WebhookEvent
from optin.operations import webhooks as endpoints
from optin.outcomes import StaffOutcome
from tests.kit.people import ORIGIN
from tests.kit.wire import Answer, says
from tests.webhooks.kit import Client, claim, send, settle

pytestmark = pytest.mark.django_db(transaction=True)

Kind = WebhookEvent.Kind


def refuses(client: Client, *sequences: int, status: int = 500) -> Answer:
    """A server that fails for these events only."""

    def answer(line: socket.socket) -> None:
        event = json.loads(client.server.requests[-1].body)
        says(status if event["data"]["Sequence"] in sequences else 204)(line)

    return answer


def go_on(client: Client, clock: time_machine.Traveller, failures: int) -> None:
    """Send as often as it takes to fail *failures* times in a row, or to be switched off."""
    while not client.row.off_at and client.row.failures < failures:
        send()
        clock.move_to(client.row.due_at)


def arrived(client: Client) -> list[int]:
    return [made.sequence or 0 for made in client.tries if made.status == 204]


def recorded() -> list[tuple[str, int | None]]:
    rows = AuditEvent.objects.filter(kind="webhook").order_by("pk")
    return [(row.outcome, row.data.get("sequence")) for row in rows]


def skipped(client: Client) -> list[int | None]:
    return [made.sequence for made in client.tries if made.skipped]


# -- an event that always fails ----------------------------------------------------


def test_after_ten_failures_the_others_go_on(
    client: Client, user: User, clock: time_machine.Traveller
) -> None:
    """And the event can be sent again, once the server is repaired."""
    user.memberships.update(manages=True)
    WebhookEndpoint.objects.update(made_by=user)
    client.server.answer = refuses(client, 1)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 3)
    go_on(client, clock, 9)
    assert arrived(client) == []

    send()

    assert arrived(client) == [2, 3]
    assert (client.row.off_at, client.row.failures, client.row.cursor) == (None, 0, 3)
    assert skipped(client) == [1]
    assert recorded()[-1] == ("given_up", 1)
    assert AuditEvent.objects.latest("pk").user_id == user.pk

    client.server.answer = says(204)
    assert endpoints.send_again(client.row, 1, origin=ORIGIN) is StaffOutcome.OK
    assert send() == 3
    assert arrived(client) == [2, 3, 1, 2, 3]
    assert skipped(client) == []
    assert recorded()[-1] == ("sent_again", 1)


def test_where_all_fail_none_is_skipped(client: Client, clock: time_machine.Traveller) -> None:
    client.server.answer = says(500)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 3)
    go_on(client, clock, 11)

    assert [made.sequence for made in client.tries] == [1] * 10 + [2]
    assert (client.row.off_why, client.row.cursor) == ("failing", 0)
    assert skipped(client) == []
    client.server.answer = says(204)
    endpoints.switch(client.row, on=True, origin=ORIGIN)
    assert send() == 3


def test_a_second_one_is_tried_ten_times_too(client: Client, clock: time_machine.Traveller) -> None:
    client.server.answer = refuses(client, 1, 3)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 4)
    go_on(client, clock, 9)
    send()
    assert (client.row.failures, client.row.cursor, arrived(client)) == (1, 2, [2])
    go_on(client, clock, 9)
    send()
    assert (skipped(client), arrived(client)) == ([1, 3], [2, 4])


def test_somebody_skips_it_before(client: Client) -> None:
    client.server.answer = refuses(client, 1)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 2)
    assert endpoints.skip(client.row, 1, origin=ORIGIN) is StaffOutcome.UNCHANGED  # not tried
    send()
    failed = client.row.failed
    assert failed
    assert (failed.sequence, failed.status) == (1, 500)

    assert endpoints.skip(client.row, 1, origin=ORIGIN) is StaffOutcome.OK
    assert endpoints.skip(client.row, 1, origin=ORIGIN) is StaffOutcome.UNCHANGED
    assert endpoints.skip(client.row, 2, origin=ORIGIN) is StaffOutcome.UNCHANGED
    assert send() == 1
    assert (arrived(client), skipped(client)) == ([2], [1])
    assert recorded() == [
        *(("made", None), ("unchanged", 1), ("skipped", 1)),
        *(("unchanged", 1), ("unchanged", 2)),
    ]
    assert endpoints.send_again(client.row, 3, origin=ORIGIN) is StaffOutcome.UNCHANGED


def test_who_sends_meanwhile_changes_nothing(client: Client, clock: time_machine.Traveller) -> None:
    """Nor does anybody else begin before that one is over."""
    client.happen(*[Kind.NUMBER_ACTIVATED] * 2)
    assert send() == 2
    client.happen()
    settle()
    give_numbers()
    late = claim()
    assert late
    endpoints.send_again(client.row, 1, origin=ORIGIN)
    assert not late.finish(cursor=3)
    assert send() == 0
    clock.shift(30)
    assert send() == 3


# -- what an answer asks for -------------------------------------------------------


def test_gone_ends_it(client: Client, user: User) -> None:
    user.memberships.update(manages=True)
    WebhookEndpoint.objects.update(made_by=user)
    client.server.answer = says(410)
    client.happen(*[Kind.NUMBER_ACTIVATED] * 2)
    send()
    assert (client.row.off_why, client.row.cursor, len(client.tries)) == ("gone", 0, 1)
    assert recorded()[-1] == ("gone", None)
    (told,) = [each for each in mail.outbox if each.to == [user.email]]
    assert "server answered 410 Gone" in str(told.body).replace("\n", " ")
    assert "for three days" not in str(told.body)

    client.server.answer = says(204)
    endpoints.switch(client.row, on=True, origin=ORIGIN)
    assert send() == 2


def test_gone_to_a_test_changes_nothing(client: Client) -> None:
    client.server.answer = says(410)
    endpoints.send_test(client.row, origin=ORIGIN)
    send()
    assert not client.row.off_at


DAY = 86_400


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3600", 3600),
        ("1", 5),  # never sooner than without it
        ("9" * 400, DAY),
        ("Mon, 02 Nov 2026 13:00:00 GMT", 3600),
        ("Monday, 02-Nov-26 13:00:00 GMT", 3600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Sun, 01 Nov 2026 12:00:00 GMT", 5),
        ("-3600", 5),
        ("3600.5", 5),
        ("\u0661", 5),
        ("soon", 5),
        ("", 5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(client: Client, header: str, seconds: int, status: int) -> None:
    assert format_datetime(timezone.now(), usegmt=True) == "Mon, 02 Nov 2026 12:00:00 GMT"
    client.server.answer = says(status, "", f"Retry-After: {header}")
    client.happen()
    send()
    assert client.row.due_at - timezone.now() == timedelta(seconds=seconds)
    assert client.row.failures == 1


# -- secrets and samples -----------------------------------------------------------


def test_a_second_new_secret_within_a_day_must_be_confirmed(
    client: Client, clock: time_machine.Traveller
) -> None:
    first = endpoints.replace_secret(client.row, origin=ORIGIN)
    with pytest.raises(OldSecretSigns):
        endpoints.replace_secret(client.row, origin=ORIGIN)
    assert client.row.open_secrets() == [first, client.secret]
    second = endpoints.replace_secret(client.row, ends_old=True, origin=ORIGIN)
    assert client.row.open_secrets() == [second, first]
    clock.shift(DAY)
    endpoints.replace_secret(client.row, origin=ORIGIN)


def test_a_sample_of_each_kind(client: Client) -> None:
    """Nobody can take it for an event."""
    for kind in endpoints.TESTS:
        endpoints.send_test(client.row, kind, origin=ORIGIN)
        endpoints.send_test(client.row, kind, origin=ORIGIN)
    send()
    received = client.received()
    assert [each["type"] for each in received] == endpoints.TESTS
    about = {(each["data"]["Sequence"], each["data"]["ProviderUserId"]) for each in received}
    assert about == {(None, None)}
    assert received[1]["data"]["Reason"] == "verified"
