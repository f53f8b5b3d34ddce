"""The way back on the sign-in page, for people who have lost all their second factors."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from pytest_django import Settings

from optin.models import ProviderUser, Revocation, User
from optin.operations import revocations
from optin.origin import Face, Origin
from tests.kit.browser import Browser, link_in_mail, sign_in
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LOST = "/sign-in/lost/"
RECOVERY = "/sign-in/recovery/"
COMMAND = Origin(Face.COMMAND)
WAIT = timedelta(days=3)
DUE = "5 November 2026, 23:01 AEDT"
Clock = time_machine.Traveller


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.OPTIN_RECOVERY_DELAY = int(WAIT.total_seconds())


@pytest.fixture
def half(browser: Browser, active: ProviderUser, clock: Clock) -> Browser:
    """``user``, after the password and before the code."""
    clock.shift(timedelta(minutes=1))
    sign_in(browser)
    assert browser.path == "/sign-in/code/"
    return browser


def texted_link(phone: Phone) -> str:
    return "/r/" + phone.body.rpartition("/r/")[2]


def test_the_page_says_what_will_happen_and_asks(half: Browser) -> None:
    half.click(RECOVERY)
    assert "This takes effect on 5 November 2026." in half.page.text
    half.click(LOST)
    assert half.page.heading == "Get back into your account"
    assert f"We turn two-factor sign-in off on {DUE}, not before" in half.page.text
    assert "Until then we remind you every day, by email and by text message." in half.page.text
    assert "ann@example.com" not in half.page.text, "a thief with the password reads this page"
    assert not Revocation.objects.exists(), "a GET asks for nothing"

    half.send(LOST)

    assert half.answer.status_code == 303
    assert half.page.heading == "Two-factor sign-in will be turned off"
    assert DUE in half.page.text
    assert not half.page.forms or all(form.action != LOST for form in half.page.forms)
    assert Revocation.objects.get().is_own


@pytest.mark.parametrize("by", ["mail", "text"])
def test_who_reads_a_message_cancels_it_without_a_sign_in(
    half: Browser, phone: Phone, by: str
) -> None:
    """P-17."""
    half.go(LOST)
    half.send(LOST)
    path = link_in_mail("/revocation/") if by == "mail" else texted_link(phone)
    owner = Browser(ip="198.51.100.7")
    for _ in range(2):
        owner.go(path)
    assert owner.page.heading == "Keep two-factor sign-in on?"
    assert "Somebody who knows your password asked" in owner.page.text
    assert Revocation.objects.get().is_open, "a GET cancels nothing (S-60)"

    owner.send()

    assert owner.page.heading == "Two-factor sign-in stays on"
    assert owner.page.leads_to("/sign-in/")
    assert Revocation.objects.get().closed_as == "cancelled"
    # The thief cannot begin anew, and is told no more than from when.
    half.go(LOST)
    assert half.page.heading == "You can't ask for this again yet"
    assert DUE in half.page.text


def test_a_sign_in_with_a_code_cancels_it_at_once(half: Browser, phone: Phone) -> None:
    code = phone.code()
    half.go(LOST)
    half.send(LOST)
    half.go("/sign-in/code/")
    half.send(code=code)
    assert half.path == "/account/"
    assert "the request to turn it off was cancelled" in half.page.flash
    assert half.page.leads_to("/account/password/")
    assert Revocation.objects.get().closed_as == "signed_in"
    assert mail.outbox[-1].subject == "Two-factor sign-in stays on"


# -- who cannot ask ----------------------------------------------------------------


def test_where_it_cannot_work_it_is_not_offered(half: Browser, settings: Settings) -> None:
    half.go(LOST)  # the form was open before
    form = half.submission(LOST)
    settings.OPTIN_RECOVERY_DELAY = 0
    form(half)
    assert half.path == RECOVERY
    assert not half.page.leads_to(LOST)
    assert "Contact support." in half.page.text
    half.go(LOST)
    assert half.path == RECOVERY
    assert not Revocation.objects.exists()


def test_after_support_was_asked_the_page_says_so(half: Browser, user: User) -> None:
    revocations.plan(user, reason="x", origin=COMMAND)
    half.go(LOST)
    assert "Support was asked to do this." in half.page.text
    assert "3 November 2026, 23:01 AEDT" in half.page.text
    assert all(form.action != LOST for form in half.page.forms)
