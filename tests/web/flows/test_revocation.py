"""Cancelling what support was asked for: by the link of the mail, or signed in (S-37)."""

from datetime import timedelta

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


def test_a_late_link_says_what_to_do(waits: Revocation, browser: Browser, clock: Clock) -> None:
    path = link_in_mail("/revocation/")
    browser.go(path)
    assert f"Support was asked to turn two-factor sign-in off. This happens on {DUE}." in (
        browser.page.text
    )
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
def test_a_warning_with_a_button_while_it_waits(path: str, ann_on: Browser, user: User) -> None:
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


def test_nobody_cancels_for_another(waits: Revocation, stranger: User, browser: Browser) -> None:
    """The button is for one's own, whoever asks; signed out, it leads to the sign-in."""
    sign_in(browser, "ben")
    body = {"user": str(waits.user_id), "pk": str(waits.pk)}
    answer = browser.post(CANCEL, **body)
    assert (answer.status_code, answer["Location"]) == (303, "/account/")
    assert ended_as(waits) == ""
    browser.go("/account/")
    browser.send("/sign-out/")
    assert browser.post(CANCEL, **body)["Location"].startswith("/sign-in/")
    assert ended_as(waits) == ""
