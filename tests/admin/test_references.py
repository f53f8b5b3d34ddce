"""G-07: what is refused has a reference, and staff stand at that very event."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from optin.models import AuditEvent, File, RefusalCount, User
from optin.models.refusal_counts import RECENT
from optin.operations import retention
from optin.runtime import references
from tests.kit.clients import Api, bearer
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.staff import In, lead

pytestmark = pytest.mark.django_db(transaction=True)

ABROAD = "+447400123456"


@pytest.mark.slow
def test_each_of_equal_refusals_leads_to_their_entry(
    user: User, file: File, signed_in: In, clock: time_machine.Traveller
) -> None:
    """Only the first has an event; the others raise a count that stays small."""
    api, found = Api(token=bearer(user)), []
    for _ in range(RECENT + 4):
        found.append(api.opt_in(ABROAD).headers["Support-Reference"])
        clock.shift(10)
    assert AuditEvent.objects.count() == 1
    client = signed_in("support")
    for reference in (found[0], found[-1], found[-RECENT]):
        assert "country" in lead(client, reference)
    assert len(RefusalCount.objects.get().recent) == RECENT * (references.NAMED + 1)

    # Another event, and the closing one of the hour, which stands above that.
    clock.shift(timedelta(hours=2))
    api.opt_in(NUMBER)
    clock.shift(60)
    retention.purge(origin=ORIGIN)
    clock.shift(timedelta(days=20))
    retention.purge(origin=ORIGIN)
    assert "times" in lead(signed_in("support"), found[-1])
    clock.shift(timedelta(days=11))
    retention.purge(origin=ORIGIN)
    assert not RefusalCount.objects.exists()
    response = signed_in("support").post("/admin/find/", {"who": found[-1]})
    assert response.status_code == 200


def test_no_row_is_written_for_what_was_refused_before_a_decision(
    user: User, signed_in: In
) -> None:
    """Nobody can fill a table. ``tests.explained`` has the causes."""
    before = AuditEvent.objects.count(), RefusalCount.objects.count()
    answer = Api(token="unknown").opt_in(NUMBER)
    assert answer.brief == (401, "invalid_token")
    assert (AuditEvent.objects.count(), RefusalCount.objects.count()) == before
    reference = answer.headers["Support-Reference"]
    response = signed_in("support").post("/admin/find/", {"who": reference})
    assert response.status_code == 200
    said = " ".join(response.content.decode().split())
    assert "refused before anything was decided" in said
    assert "The token of the call is not valid." in said


@pytest.mark.parametrize("how", ["anonymous", "person"])
def test_nobody_else_can_look_one_up(user: User, file: File, signed_in: In, how: str) -> None:
    reference = Api(token=bearer(user)).opt_in(ABROAD).headers["Support-Reference"]
    client = signed_in(how)
    assert client.post("/admin/find/", {"who": reference}).status_code in {302, 403}
    with CaptureQueriesContext(connection) as asked:
        assert client.get(f"/Help/Errors?reference={reference}").status_code == 200
    assert not [query for query in asked if re.search("auditevent|refusalcount", query["sql"])]
