"""Another email address, on the pages and by the mailed links (S-39a)."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from optin.limits import EMAILS
from optin.models import AuditEvent, EmailChange, User
from optin.operations import email_changes
from optin.origin import Face, Origin
from tests.kit.browser import Browser, link_in_mail, sign_in
from tests.kit.people import PASSWORD, make_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("user"),
    pytest.mark.slow,
]

COMMAND = Origin(Face.COMMAND)
EMAIL = "/account/email/"
CANCEL = "/account/cancel-email/"
OLD, NEW = "ann@example.com", "ann.new@example.org"
Clock = time_machine.Traveller


def email_of(user: User) -> str:
    address: str = User.objects.get(pk=user.pk).email
    return address


def ask(browser: Browser, address: str = NEW) -> None:
    browser.go("/account/")
    browser.click(EMAIL)
    browser.send(email=address)


def says(browser: Browser) -> str:
    """The words of the page, on one line."""
    return " ".join(browser.page.text.split())


def asked(browser: Browser, address: str = NEW) -> str:
    """Sign in and ask; return where the link to the new address leads."""
    sign_in(browser)
    ask(browser, address)
    return link_in_mail("/account/email/")


def proved(browser: Browser) -> None:
    browser.go(asked(browser))
    browser.send()


def carry_out() -> tuple[int, int]:
    carried = email_changes.carry_out(origin=COMMAND)
    return carried.out, carried.off


# -- the whole way -----------------------------------------------------------------


def test_from_the_account_page_to_the_new_address(
    user: User, browser: Browser, clock: Clock
) -> None:
    """S-39a."""
    path = asked(browser)

    assert browser.path == "/account/"
    assert browser.page.flash == "We sent the link."
    assert f"We sent a link to {NEW}." in browser.page.text
    assert "Confirm your new email address" in says(browser)
    assert [message.to for message in mail.outbox[-2:]] == [[NEW], [OLD]]
    for _ in range(2):  # a GET confirms nothing (S-60)
        browser.go(path)
        assert browser.page.heading == "Confirm your new email address"
    browser.send()
    assert browser.page.heading == "Your email address will change"
    browser.go("/account/")
    assert f"Your email address changes to {NEW} on 3 November 2026, 23:00 AEDT." in says(browser)
    assert carry_out() == (0, 0)
    assert email_of(user) == OLD

    clock.shift(timedelta(days=1))
    assert carry_out() == (1, 0)

    assert email_of(user) == NEW
    assert mail.outbox[-1].to == [OLD]
    assert mail.outbox[-1].subject == "The email address of your account was changed"
    sign_in(browser, NEW)
    assert browser.page.texts[".address"] == NEW
    browser.go(path)
    assert browser.page.heading == "Your email address was changed"


def test_the_link_is_sent_again_as_often_as_an_address_may_be_asked_for(
    browser: Browser, clock: Clock
) -> None:
    asked(browser)
    for _ in range(20):
        clock.shift(timedelta(minutes=1))
        browser.go("/account/")
        browser.send(EMAIL)
        if browser.path == EMAIL:
            break
    assert "too often today" in browser.page.errors
    sent = [message for message in mail.outbox if message.to == [NEW]]
    assert len(sent) == EMAILS[0].count
    browser.go(link_in_mail("/account/email/"))
    assert browser.page.heading == "Confirm your new email address"


# -- what is asked for first -------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("", "Enter your new email address."),
        ("ann@localhost", "That isn't an email address."),
        ("ann@ex\u0430mple.com", "Enter an address without letters like"),
        ("ANN@Example.com", "That's already your email address."),
    ],
    ids=["empty", "this-server", "look-alike", "present"],
)
def test_what_is_no_new_address_is_refused(ann: Browser, typed: str, error: str) -> None:
    mails = len(mail.outbox)
    ann.go(EMAIL)
    ann.send(email=typed)
    assert (ann.page.status, ann.path) == (422, EMAIL)
    assert error in ann.page.errors
    assert len(mail.outbox) == mails
    assert not EmailChange.objects.exists()


# -- the link to the new address ---------------------------------------------------


def test_a_locked_account_is_told_why_it_changes_no_address(user: User, browser: Browser) -> None:
    path = asked(browser)
    until = timezone.now() + timedelta(minutes=5)
    User.objects.filter(pk=user.pk).update(otp_failures=10, otp_locked_until=until)
    browser.go(path)
    browser.send()
    why = "Too many wrong codes. Your account is locked for a while. Try again later."
    assert browser.page.flash.startswith(why)
    assert EmailChange.objects.get().proved_at is None
    ask(browser, "other@example.org")
    assert why in says(browser)
    User.objects.filter(pk=user.pk).update(otp_locked_until=None, otp_disabled_at=timezone.now())
    browser.send(email="other@example.org")
    assert "codes by text message are switched off for your account." in says(browser)
    assert EmailChange.objects.count() == 1


@pytest.mark.parametrize("part", ["account/email", "email-stop"])
def test_a_link_cannot_be_altered(browser: Browser, part: str) -> None:
    asked(browser)
    path = link_in_mail(f"/{part}/")
    token = path.rstrip("/").rpartition("/")[2]
    pk, user_id, rest = token.split("-", 2)
    others = {"account/email": "email-stop", "email-stop": "account/email"}
    for altered in (
        f"/{part}/{int(pk) + 1}-{user_id}-{rest}/",
        f"/{part}/{pk}-{int(user_id) + 1}-{rest}/",
        path[:-2] + "/",
        f"/{others[part]}/{token}/",  # one link is not the other
        f"/{part}/nothing/",
    ):
        assert browser.go(altered).status == 404
    assert browser.go(path).status == 200


# -- the address of somebody else --------------------------------------------------


def test_nobody_learns_that_another_account_has_the_address(
    browser: Browser, stranger: User
) -> None:
    """S-38."""
    sign_in(browser)
    shown = []
    for address in ("Ben@example.com", "Bob@example.com"):
        ask(browser, address)
        page = says(browser).replace(address, "-").partition("Latest activity")[0]
        shown.append((page, browser.answer.status_code, browser.trail))
        browser.send(CANCEL)

    assert shown[0] == shown[1]


# -- stopped -----------------------------------------------------------------------


def test_the_link_to_the_old_address_stops_it(user: User, browser: Browser, clock: Clock) -> None:
    """S-39a."""
    proved(browser)
    nobody = Browser("Firefox")
    path = link_in_mail("/email-stop/")
    nobody.go(path)
    assert nobody.page.heading == "Keep your email address?"
    assert NEW not in nobody.page.html
    assert EmailChange.objects.get().is_open  # a GET stops nothing
    press = nobody.submission()
    press(nobody)
    press(nobody)
    assert nobody.page.heading == "Your email address doesn't change"
    assert nobody.page.leads_to("/sign-in/")
    browser.go(path)  # signed in already
    leads = [browser.page.leads_to(to) for to in ("/account/password/", "/sign-in/")]
    assert leads == [True, False]
    assert mail.outbox[-1].subject == "Your email address stays the same"
    assert [m.subject for m in mail.outbox].count(mail.outbox[-1].subject) == 1
    clock.shift(timedelta(days=2))
    assert carry_out() == (0, 0)
    assert email_of(user) == OLD


def test_it_says_what_became_of_it(browser: Browser, clock: Clock) -> None:
    proved(browser)
    path = link_in_mail("/email-stop/")
    ask(browser, "other@example.org")
    assert browser.go(path).heading == "Your email address may change"
    browser.go(link_in_mail("/account/email/"))
    browser.send()
    clock.shift(timedelta(days=1))
    carry_out()
    assert browser.go(link_in_mail("/email-stop/")).heading == "Your email address was changed"


def test_on_the_account_page_it_is_cancelled(browser: Browser) -> None:
    path = asked(browser)
    browser.go(CANCEL)
    assert EmailChange.objects.get().is_open
    browser.send(CANCEL)
    assert browser.page.flash == "The change was cancelled. Your email address doesn't change."
    assert NEW not in browser.page.html
    assert browser.go(path).status == 404
    event = AuditEvent.objects.filter(kind="email").latest("pk")
    assert (event.outcome, event.face) == ("cancelled", "web")


# -- afterwards --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "will", "did"),
    [
        (
            OLD,
            "we put your previous email address back;",
            "Your account has its previous email address again.",
        ),
        (
            "",
            "we remove the email address: your account had none before;",
            "Your account has no email address now, as before.",
        ),
    ],
    ids=["of before", "none before"],
)
def test_it_was_not_me_takes_the_change_back(
    address: str, will: str, did: str, user: User, browser: Browser, settings: Settings
) -> None:
    """By the link of the mail about it, and the password (S-39)."""
    settings.OPTIN_EMAIL_DELAY = 0
    User.objects.filter(pk=user.pk).update(email=address)
    proved(browser)
    nobody = Browser("Firefox")
    nobody.go(link_in_mail("/not-me/"))
    assert will in says(nobody)
    nobody.send(password=PASSWORD)
    assert nobody.page.heading == "We've undone the change"
    assert did in says(nobody)
    assert email_of(user) == address


@pytest.mark.parametrize("when", ["before the page", "after it"])
def test_it_was_not_me_does_not_promise_an_address_of_somebody_else(
    user: User, browser: Browser, settings: Settings, when: str
) -> None:
    settings.OPTIN_EMAIL_DELAY = 0
    proved(browser)
    other = make_user("other")
    nobody = Browser("Firefox")
    said = "Your previous email address can't be put back, because another account uses it"
    if when == "before the page":
        User.objects.filter(pk=other.pk).update(email=OLD)
    nobody.go(link_in_mail("/not-me/"))
    assert (said in says(nobody)) is (when == "before the page")
    assert ("put your previous email address back" in says(nobody)) is (when == "after it")
    User.objects.filter(pk=other.pk).update(email=OLD)
    nobody.send(password=PASSWORD)
    assert nobody.page.heading == "You've been signed out everywhere"
    assert said in says(nobody)
    assert email_of(user) == NEW
