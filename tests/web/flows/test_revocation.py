"""Cancelling what support was asked for: by the link of the mail, or signed in (S-37)."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from optin.models import AuditEvent, ProviderUser, Revocation, User
from optin.operations import revocations
from optin.origin import Face, Origin
from tests.kit.browser import Browser, link_in_mail, sign_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

COMMAND = Origin(Face.COMMAND)
CANCEL = "/account/cancel-revocation/"
DUE = "3 November 2026, 23:00 AEDT"
Clock = time_machine.Traveller


@pytest.fixture
def waits(user: User, active: ProviderUser) -> Revocation:
    """Support was asked to remove the number of ``user``."""
    revocations.plan(user, reason="test", origin=COMMAND)
    return Revocation.objects.get()


def ended_as(waits: Revocation) -> str:
    return Revocation.objects.get(pk=waits.pk).closed_as


def carry_out(clock: Clock) -> None:
    clock.shift(timedelta(days=1))
    revocations.carry_out(origin=COMMAND)


# -- the link ----------------------------------------------------------------------


def test_the_link_asks_and_a_post_cancels(
    waits: Revocation, browser: Browser, active: ProviderUser, clock: Clock
) -> None:
    """S-60: whatever fetches the link beforehand cancels nothing."""
    path = link_in_mail("/revocation/")
    for _ in range(3):
        browser.go(path)
    assert DUE in browser.page.text
    assert ended_as(waits) == ""

    browser.send()

    assert browser.trail == [f"https://2fa.example.com{path}"]
    assert browser.answer.status_code == 303
    assert browser.page.heading == "Two-factor sign-in stays on"
    assert browser.page.leads_to("/sign-in/")
    assert ended_as(waits) == "cancelled"
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.face) == ("revocation", "cancelled", "web")
    assert (event.actor_id, event.user_id) == (None, waits.user_id)
    carry_out(clock)
    active.refresh_from_db()
    assert active.confirmed


def test_a_late_link_says_what_to_do(waits: Revocation, browser: Browser, clock: Clock) -> None:
    path = link_in_mail("/revocation/")
    browser.go(path)
    press = browser.submission()
    carry_out(clock)
    events = AuditEvent.objects.count()

    press(browser)

    assert browser.page.heading == "Two-factor sign-in was turned off"
    assert browser.page.leads_to("/sign-in/")
    assert browser.page.leads_to("/account/two-factor/")
    assert ended_as(waits) == "done"
    assert AuditEvent.objects.count() == events


def test_a_used_link_says_that_another_removal_waits(
    waits: Revocation, user: User, browser: Browser
) -> None:
    """Who reads "not removed" there would not look for the newer email."""
    path = link_in_mail("/revocation/")
    revocations.cancel(waits, origin=COMMAND)
    revocations.plan(user, reason="again", origin=COMMAND)
    browser.go(path)
    assert browser.page.heading == "Two-factor sign-in will be turned off"
    assert DUE in browser.page.text
    assert browser.page.leads_to("/account/")
    assert "not removed" not in browser.page.html


# -- signed in ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/account/", "/account/activity/", "/account/two-factor/"])
def test_a_warning_with_a_button_while_it_waits(
    path: str, ann_on: Browser, user: User, clock: Clock
) -> None:
    assert CANCEL not in ann_on.go(path).html
    revocations.plan(user, reason="secret words", origin=COMMAND)
    ann_on.go(path)
    assert "Two-factor sign-in will be turned off" in ann_on.page.text
    assert "November 2026" in ann_on.page.text
    assert "secret words" not in ann_on.page.html

    ann_on.send(CANCEL)

    assert ann_on.path == "/account/"
    assert ann_on.page.flash == "The removal was cancelled. Nothing is removed."
    assert CANCEL not in ann_on.page.html
    assert Revocation.objects.get().closed_as == "cancelled"
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.actor_id) == ("revocation", "cancelled", user.pk)
    assert "Removal of two-factor sign-in cancelled" in ann_on.go("/account/").text


def test_nobody_cancels_for_another(
    waits: Revocation, stranger: User, browser: Browser, clock: Clock
) -> None:
    """The button is for one's own, whoever asks; signed out, it leads to the sign-in."""
    sign_in(browser, "ben")
    token = browser.page.forms[0].fields["csrfmiddlewaretoken"]
    headers = {"origin": "https://2fa.example.com"}
    body = {"csrfmiddlewaretoken": token, "user": str(waits.user_id), "pk": str(waits.pk)}
    answer: Any = browser.client.post(CANCEL, body, secure=True, headers=headers)
    assert (answer.status_code, answer["Location"]) == (303, "/account/")
    assert ended_as(waits) == ""
    browser.go("/account/")
    browser.send("/sign-out/")
    nobody = browser.client.post(CANCEL, body, secure=True, headers=headers)
    assert nobody.status_code in {303, 403}
    assert ended_as(waits) == ""
