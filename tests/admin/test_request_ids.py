"""G-07: what is refused has a request id, and staff stand at that very event."""

import pytest
import time_machine

from optin.models import AuditEvent, File, User
from tests.kit.browser import Browser
from tests.kit.clients import Api, bearer
from tests.kit.people import NUMBER
from tests.kit.staff import REQUEST_ID, In, lead

pytestmark = pytest.mark.django_db(transaction=True)

ABROAD = "+447400123456"


def refused(user: User) -> str:
    """The id of a call that was refused by a decision."""
    return Api(token=bearer(user)).opt_in(ABROAD).headers["X-Request-Id"]


def test_a_request_id_leads_to_its_event(
    user: User, file: File, signed_in: In, clock: time_machine.Traveller
) -> None:
    request_id = refused(user)
    clock.shift(20 * 86_400)
    client = signed_in("support")
    for typed in (request_id, request_id[:12], f" {request_id.upper()}\n"):
        response = client.post("/admin/find/", {"who": typed})
        assert response.status_code == 303
        assert f"led={AuditEvent.objects.get().pk}" in response["Location"]
    assert "country" in lead(client, request_id)


@pytest.mark.parametrize("other", ["0" * 32, "f" * 32, "f" * 12])
def test_another_one_leads_nowhere(user: User, file: File, signed_in: In, other: str) -> None:
    refused(user)
    response = signed_in("support").post("/admin/find/", {"who": other})
    assert response.status_code == 200
    assert "The audit log has no event of the request" in response.content.decode()


def test_what_was_refused_before_a_decision_has_no_event(user: User, signed_in: In) -> None:
    """Nobody can fill a table. The log has its line."""
    before = AuditEvent.objects.count()
    answer = Api(token="unknown").opt_in(NUMBER)
    assert answer.brief == (401, "invalid_token")
    assert AuditEvent.objects.count() == before
    request_id = answer.headers["X-Request-Id"]
    response = signed_in("support").post("/admin/find/", {"who": request_id})
    assert response.status_code == 200
    assert "refused before anything was decided" in response.content.decode()


def test_a_page_that_refuses_shows_the_id_of_its_answer() -> None:
    browser = Browser()
    browser.go("/nothing-here/")
    found = REQUEST_ID.search(browser.page.text)
    assert found
    assert found[1] == browser.answer["X-Request-Id"]


@pytest.mark.parametrize("how", ["anonymous", "person"])
def test_nobody_else_can_look_one_up(user: User, file: File, signed_in: In, how: str) -> None:
    response = signed_in(how).post("/admin/find/", {"who": refused(user)})
    assert response.status_code in {302, 403}
