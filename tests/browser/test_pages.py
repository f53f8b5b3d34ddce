"""Every page and every refusal, as it looks and to whom it speaks (P-10, P-11).

Each tour goes from page to page as people do, and has each looked at: by axe, at both
widths, in both schemes, and for what the browser complains about.
"""

from collections.abc import Callable

import pyotp
import pytest
from playwright.sync_api import expect

from optin.web.urls import urlpatterns
from tests.browser.crowd import Person, let_a_stranger_try
from tests.browser.hands import Tour, another

NO_PAGES = {
    "home": "leads on",
    "language": "leads on",
    "sign-out": "leads on",
    "sign-in-code-send": "leads on",
    "number-code-send": "leads on",
    "prove-send": "leads on",
    "off-send": "leads on",
    "texts": "leads on",
    "first": "leads on",
    "cancel-revocation": "leads on",
    "cancel-email": "leads on",
    "metrics": "for a machine",
    "livez": "for a machine",
    "readyz": "for a machine",
    "seen": "for a machine",
    "simulator": "see test_public",
}

Walk = Callable[[Tour], None]
TOURS: dict[str, tuple[Walk, set[str]]] = {}


def tour(*pages: str) -> Callable[[Walk], Walk]:
    """Mark a tour of the pages with these names of ``optin.web.urls``."""

    def mark(walk: Walk) -> Walk:
        TOURS[walk.__name__] = walk, set(pages)
        return walk

    return mark


@tour("sign-in", "password-reset", "password-reset-sent", "password-new", "not-me", "not-me-done")
def stranger(at: Tour) -> None:
    at.go("/sign-in/")
    at.look("sign-in", "Sign in")
    at.press("Sign in")
    at.look("sign-in-empty", "Sign in", error="Enter your password.")
    at.give_password(Person("nobody", "", ""), "guess")
    at.look("sign-in-wrong", "Sign in", error="The name or the password is not right.")
    at.follow("Forgotten your password?")
    at.look("reset", "Choose a new password")
    at.fill("E-mail address", "nobody")
    at.press("Send the link")
    at.look("reset-malformed", "Choose a new password", error="That is not an e-mail address.")
    at.fill("E-mail address", "nobody@example.com")
    at.press("Send the link")
    at.look("reset-sent", "Check your e-mail")
    at.go("/password-reset/MQ/c0-ffee/")
    at.look("reset-gone", "This link no longer works")
    at.go("/not-me/1:c0ffee/")
    at.look("not-me-gone", "This link no longer works")
    at.go("/not-me/done/")
    at.look("not-me-done", "Everybody was signed out")


@tour(
    "account",
    "two-factor",
    "number",
    "number-code",
    "number-code-help",
    "success",
    "recovery-codes",
    "activity",
)
def newcomer(at: Tour) -> None:
    person = at.crowd.new()
    at.sign_in(person)
    at.look("account-off", "Your account")
    at.follow("Turn it on")
    at.look("two-factor-off", "Two-factor sign-in is off")
    at.follow("Turn it on by text message")
    at.look("number", "Your mobile number")
    at.fill("Mobile number", "12")
    at.press("Text me a code")
    at.look("number-wrong", "Your mobile number", error="That number is too short.")
    code = at.ask_for_code(person.number)
    at.look("code", "Check your phone")
    at.give_code("12", "Turn it on")
    at.look("code-short", "Check your phone", error="That code is too short.")
    at.give_code("0" * 9, "Turn it on")
    at.look("code-long", "Check your phone", error="That code is too long.")
    at.give_code("12x4567", "Turn it on")
    at.look("code-letters", "Check your phone", error="A code has digits only.")
    wrong = code
    for _ in range(3):
        wrong = another(wrong)
        at.give_code(wrong, "Turn it on")
        at.says("That code is not right")
    at.look("code-wrong", "Check your phone", error="You have 2 tries left for this code.")
    at.follow("Not received a text message?")
    at.look("not-received", "Not received a text message?")
    at.follow("Back to the code")
    at.give_code(code, "Turn it on")
    at.look("success", "Two-factor sign-in is on")
    at.follow("Make recovery codes")
    at.look("recovery-codes-offer", "Recovery codes")
    at.press("Show my codes")
    at.look("recovery-codes", "Recovery codes")
    at.follow("I have saved them")
    at.look("two-factor-on", "Two-factor sign-in is on")
    at.go("/account/")
    at.look("account-on", "Your account")
    at.go("/account/activity/")
    at.look("activity", "Activity")


@tour("sign-in-code", "sign-in-code-help", "sign-in-recovery", "number", "number-code", "success")
def somebody_without_the_phone(at: Tour) -> None:
    person = at.crowd.on()
    codes = at.about(person, "out['codes'] = apps.make_recovery_codes(user)")["codes"]
    at.sign_in(person)
    at.look("sign-in-code", "Check your phone")
    at.give_code(another(at.newest_code(person.number)), "Sign in")
    at.look("sign-in-code-wrong", "Check your phone", error="That code is not right.")
    at.follow("Not received a text message?")
    at.look("sign-in-not-received", "Not received a text message?")
    at.follow("Back to the code")
    at.follow("I do not have my phone")
    at.look("recovery", "Sign in without your phone")
    at.fill("Recovery code", "1234")
    at.press("Sign in")
    at.look("recovery-short", "Sign in without your phone", error="16 letters and digits")
    at.fill("Recovery code", codes[0])
    at.press("Sign in")
    at.look("number-change", "Change your mobile number")
    at.ask_for_code(person.other_number)
    at.look("number-change-code", "Check your phone")
    at.give_code(at.newest_code(person.other_number), "Use this number")
    at.look("number-changed", "Your mobile number was changed")


@tour("sign-in-code", "sign-in-code-help", "sign-in-recovery", "number", "two-factor")
def somebody_whose_texts_are_stopped(at: Tour) -> None:
    person = at.crowd.on()
    codes = at.about(
        person,
        "out['codes'] = apps.make_recovery_codes(user)\n"
        f"Guard.objects.opt_out(number.get().number_digest, {person.number[-3:]!r}, now)",
    )["codes"]
    at.go("/sign-in/")
    at.give_password(person)
    at.look("sign-in-stopped", "We cannot text you a code")
    at.go("/sign-in/code/not-received/")
    at.look("not-received-stopped", "Not received a text message?")
    at.follow("Back to the code")
    at.follow("Use a recovery code")
    at.look("recovery-stopped", "Sign in without your phone")
    at.fill("Recovery code", codes[0])
    at.press("Sign in")
    at.look("number-stopped", "Change your mobile number")
    at.go("/account/two-factor/")
    at.look("two-factor-stopped", "Two-factor sign-in is on")
    at.press("Turn text messages on again")
    at.look("two-factor-texts-on", "Two-factor sign-in is on")


@tour(
    "app", "success", "two-factor", "off", "off-help", "prove", "prove-help", "confirm", "password"
)
def somebody_with_an_app(at: Tour) -> None:
    person = at.crowd.on()
    at.sign_in(person)
    at.give_code(at.newest_code(person.number), "Sign in")
    at.sees("Your account")
    at.go("/account/two-factor/app/")
    at.look("prove", "Confirm it's you")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.give_code("12", "Continue")
    at.look("prove-wrong", "Confirm it's you", error="That code is too short.")
    at.follow("Not received a text message?")
    at.look("prove-not-received", "Not received a text message?")
    at.follow("Back to the code")
    at.give_code(at.newest_code(person.number), "Continue")
    at.look("app", "Authenticator app")
    at.press("Set it up")
    at.look("app-picture", "Authenticator app")
    app = pyotp.TOTP(at.page.locator(".key").inner_text().replace(" ", ""))
    at.give_code(another(app.now()), "Turn it on")
    at.look("app-wrong", "Authenticator app", error="That code is not right.")
    at.give_code(app.now(), "Turn it on")
    at.look("app-on", "Two-factor sign-in is on")
    at.go("/account/two-factor/")
    at.look("two-factor-both", "Two-factor sign-in is on")
    at.follow("Turn two-factor sign-in off")
    at.look("off", "Turn two-factor sign-in off")
    at.give_code("000000", "Turn it off")
    at.look("off-wrong", "Turn two-factor sign-in off", error="That code is not right.")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.follow("Not received a text message?")
    at.look("off-not-received", "Not received a text message?")
    at.go("/account/two-factor/off/?what=number")
    at.look("off-number", "Remove the mobile number")
    at.go("/account/confirm/")
    at.look("confirm", "Enter your password again")
    at.fill("Password", "guess")
    at.press("Continue")
    at.look("confirm-wrong", "Enter your password again", error="That password is not right.")
    at.go("/account/password/")
    at.look("password", "Change your password")
    at.fill("New password", "1234")
    at.fill("New password, once more", "1234")
    at.press("Change the password")
    at.look("password-weak", "Change your password", error="too short")


@tour("access")
def somebody_who_is_signed_in_twice(at: Tour) -> None:
    person = at.crowd.new()
    at.sign_in(person)
    at.sees("Your account")
    at.page.context.clear_cookies()
    at.sign_in(person)
    at.follow("Where you are signed in, and what can act for you")
    at.look("access", "Access to your account")
    at.press("Sign out Chrome on Linux")
    at.about(
        person,
        "from oauth2_provider.models import AccessToken, get_application_model\n"
        "file = user.memberships.first().file\n"
        "tenants.make_access_key(user, file, origin=command)\n"
        "tenants.make_application('Payroll', 'https://a.example', by_code=True, origin=command)\n"
        "AccessToken.objects.create(user=user, application=get_application_model().objects.last(),"
        " scope=f'2fa fileid:{file.pk}', token='t', expires='2100-01-01T00:00Z')",
    )
    at.go("/account/access/")
    at.look("access-of-all", "Access to your account")
    at.press("Revoke Payroll")
    expect(at.page.get_by_role("status")).to_have_text("Access ended: Payroll.")


@tour("account", "integrations", "integration-add", "integration")
def somebody_who_manages_a_file(at: Tour) -> None:
    person = at.crowd.new()
    at.sign_in(person)
    at.sees("Your account")
    at.about(
        person,
        "Membership.objects.filter(user=user).update(manages=True)",
    )
    at.go("/account/")
    at.look("account-manager", "Your account")
    at.follow("Send events to your servers")
    at.look("integrations-none", "Integrations")
    at.follow("Add an endpoint Harbour Books")
    at.look("integration-add", "Add an endpoint")
    at.fill("Address", "https://127.0.0.1/")
    at.press("Add the endpoint")
    at.look("integration-add-wrong", "Add an endpoint", error="Enter an address that begins")
    at.about(
        person,
        "file = user.memberships.get().file\n"
        "secret = WebhookEndpoint.seal(WebhookEndpoint.new_secret(), file.pk)\n"
        "made = dict(file=file, secrets_encrypted=secret, created_at=now, due_at=now)\n"
        "url = 'https://hooks.shop.example.com/a/long/way/to/the/server/of/the/orders'\n"
        "words = dict(description='Orders', made_by=user)\n"
        "hook = WebhookEndpoint.objects.create(url=url, **words, **made)\n"
        "off = dict(off_at=now, off_why='failing', kinds='number.activated text.failed')\n"
        "WebhookEndpoint.objects.create(url='https://b.example.com/', **off, **made)\n"
        "for status, n in ((500, 1), (0, 2), (200, 3)):\n"
        "    hook.tries.create(at=now, status=status, sequence=n, kind='number.activated',\n"
        "        message_id='msg_' + 32 * '0', milliseconds=41,\n"
        "        answer='<html><title>' + 40 * 'wide' if status else '',\n"
        "        reason='the endpoint did not answer within 5 seconds')",
    )
    at.go("/account/integrations/")
    at.look("integrations", "Integrations")
    at.follow("https://hooks.shop.example.com/a/long/way/to/the/server/of/the/orders")
    at.look("integration", "Webhook endpoint")
    at.unfold("Change the endpoint")
    at.unfold("Send the events of a period again")
    at.unfold("Remove the endpoint")
    at.look("integration-open", "Webhook endpoint")
    at.press("Send again")
    at.look("integration-time-wrong", "Webhook endpoint", error="Enter a day and a time.")
    at.press("Replace the secret")
    at.look("integration-secret", "Secret of the endpoint")
    at.follow("I have saved it")
    at.unfold("Remove the endpoint")
    at.press("Remove")
    expect(at.page.get_by_role("status")).to_have_text("The endpoint was removed.")
    at.about(person, "WebhookEndpoint.objects.filter(url='https://b.example.com/').delete()")


@tour("sandbox")
def developer_of_a_client(at: Tour) -> None:
    person = at.crowd.new()
    at.about(
        person,
        "who.update(is_test=True)\n"
        "user.memberships.all().delete()\n"
        "file = File.objects.create(id=900, name='Harbour Sandbox', is_sandbox=True)\n"
        "user.memberships.create(file=file)\n"
        "for number in ('0491 570 006', '0491 570 737', '0491 570 313'):\n"
        "    opt_ins.opt_in(user, file, number, origin=command)",
    )
    at.sign_in(person)
    at.follow("Texts of Harbour Sandbox")
    at.look("sandbox", "Harbour Sandbox")


@tour("not-me", "password-new")
def reader_of_mails(at: Tour) -> None:
    person = at.crowd.new()
    at.sign_in(person)
    at.sees("Your account")
    at.go("/account/two-factor/number/")
    at.give_code(at.ask_for_code(person.number), "Turn it on")
    at.sees("Two-factor sign-in is on")
    at.press("Sign out")
    at.go(at.site.mailed_link(person.email, "not-me"))
    at.look("not-me", "This was not me")
    at.fill("Password", "guess")
    at.press("Secure my account")
    at.look("not-me-wrong", "This was not me", error="That password is not right.")
    at.go("/password-reset/")
    at.fill("E-mail address", person.email)
    at.press("Send the link")
    at.go(at.site.mailed_link(person.email, "password-reset"))
    at.look("password-new", "Choose a new password")
    at.press("Save the password")
    at.look("password-new-empty", "Choose a new password", error="Enter a new password.")


@tour("account", "prove")
def somebody_who_was_not_there(at: Tour) -> None:
    person = at.crowd.on()
    let_a_stranger_try(at.site, person)
    at.sign_in(person)
    at.give_code(at.newest_code(person.number), "Sign in")
    at.look("account-since", "Your account")
    at.press("That was not me")
    at.look("prove-not-me", "Confirm it's you")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.give_code(at.newest_code(person.number), "Continue")
    at.press("That was not me")
    at.look("account-not-me", "Your account")


def _support_is_asked(at: Tour, person: Person) -> str:
    """Have the removal of all second factors planned; return the path of the mailed link."""
    path: str = at.about(
        person,
        "from optin.messaging import wording\n"
        "revocations.plan(user, reason='tour', origin=command)\n"
        "notice = Notice.objects.filter(user=user).latest('pk')\n"
        "body = wording.mail_for(notice).body\n"
        "out['path'] = '/revocation/' + body.split('/revocation/')[1].split()[0]",
    )["path"]
    return path


@tour("account", "two-factor", "activity", "revocation")
def somebody_whose_factors_support_is_to_remove(at: Tour) -> None:
    person = at.crowd.on()
    path = _support_is_asked(at, person)
    at.go(path)
    at.look("revocation", "Keep your second factors?")
    at.press("Cancel the removal")
    at.look("revocation-cancelled", "Your second factors are not removed")
    at.go("/revocation/1-1:c0ffee/")
    at.look("revocation-gone", "This link no longer works")
    _support_is_asked(at, person)
    at.sign_in(person)
    at.give_code(at.newest_code(person.number), "Sign in")
    at.look("account-revocation", "Your account")
    at.go("/account/two-factor/")
    at.look("two-factor-revocation", "Two-factor sign-in is on")
    at.go("/account/activity/")
    at.look("activity-revocation", "Activity")
    at.press("Cancel the removal")
    at.look("account-cancelled", "Your account")
    path = _support_is_asked(at, person)
    at.about(
        person,
        "Revocation.objects.open().update(closed_at=now, closed_as='done')",
    )
    at.go(path)
    at.look("revocation-done", "Your second factors were removed")


@tour("account", "email", "email-confirm", "email-stop")
def somebody_with_a_new_address(at: Tour) -> None:
    person = at.crowd.new()
    new = f"{'long.' * 6}{person.name}@{'mail.' * 4}example.org"
    at.sign_in(person)
    at.follow("Change")
    at.look("email", "Change your e-mail address")
    at.fill("New e-mail address", "nobody")
    at.press("Send the link")
    at.look("email-wrong", "Change your e-mail address", error="That is not an e-mail address.")
    at.fill("New e-mail address", new)
    at.press("Send the link")
    at.look("account-email-asked", "Your account")
    at.go(at.site.mailed_link(new, "account/email"))
    at.look("email-confirm", "Confirm your new e-mail address")
    at.press("Confirm the address")
    at.look("email-confirmed", "Your e-mail address will change")
    at.follow("Go to your account")
    at.look("account-email-waits", "Your account")
    at.go("/account/email/1-1-1:c0ffee/")
    at.look("email-confirm-gone", "This link no longer works")
    stop = at.site.mailed_link(person.email, "email-stop")
    at.go(stop)
    at.look("email-stop", "Keep your e-mail address?")
    at.press("Cancel the change")
    at.look("email-stopped", "Your e-mail address does not change")
    at.go("/email-stop/1-1-1:c0ffee/")
    at.look("email-stop-gone", "This link no longer works")
    at.about(
        person,
        "EmailChange.objects.filter(user=user).update(closed_as='done')",
    )
    at.go(stop)
    at.look("email-stop-late", "Your e-mail address was changed")
    at.about(person, "who.update(email='')")
    at.go("/account/")
    at.follow("Add an e-mail address")
    at.look("email-first", "Add an e-mail address")


@tour("sign-in-recovery", "sign-in-lost", "revocation", "revocation-texted", "account")
def somebody_who_lost_everything(at: Tour) -> None:
    """Asked for, it waits; the links of the mail and of the text lead to the same page."""
    person = at.crowd.on()
    at.sign_in(person)
    code = at.newest_code(person.number)
    at.follow("I do not have my phone")
    at.look("recovery-lost", "Sign in without your phone")
    at.follow("I have lost my phone, my app and my recovery codes")
    at.look("lost", "Remove your second factors")
    at.press("Ask to remove my second factors")
    at.look("lost-waits", "Your second factors will be removed")
    texted = at.site.newest_text(person.number).split()[-1]
    at.go(at.site.mailed_link(person.email, "revocation"))
    at.look("revocation-own", "Keep your second factors?")
    at.go(texted)
    at.look("revocation-own-texted", "Keep your second factors?")
    at.press("Cancel the removal")
    at.look("revocation-own-cancelled", "Your second factors are not removed")
    at.go("/sign-in/lost/")
    at.look("lost-again", "You cannot ask for a removal yet")
    at.about(
        person,
        "ended = Revocation.objects.filter(closed_as='cancelled')\n"
        "ended.update(closed_as='nothing', told_at=None)",
    )
    at.go("/sign-in/lost/")
    at.press("Ask to remove my second factors")
    at.follow("Back to the code")
    at.give_code(code, "Sign in")
    at.look("account-way-back-cancelled", "Your account")


@tour("number-code", "number-code-help", "sign-in-code")
def somebody_unlucky(at: Tour) -> None:
    """Used up, too late, locked out, suspended: each page says what to do next."""
    person = at.crowd.new()
    at.sign_in(person)
    at.sees("Your account")
    at.go("/account/two-factor/number/")
    wrong = at.ask_for_code(person.number)
    for _ in range(5):
        wrong = another(wrong)
        at.give_code(wrong, "Turn it on")
        at.says("That code is not right")
    at.look("code-used-up", "There is no code to enter", error="Ask for a new one")
    late = "now - timedelta(hours=1)"
    at.about(
        person,
        f"PendingOtp.objects.update(issued_at={late}, expires_at={late} + timedelta(minutes=1))",
    )
    at.page.reload()
    at.look("code-expired", "There is no code to enter")
    at.go(at.page.url.replace("/code/", "/code/not-received/"))
    at.look("not-received-expired", "Not received a text message?")
    suspended, locked = at.crowd.on(), at.crowd.on()
    at.about(suspended, "number.update(suspended_at=now)")
    later = "now + timedelta(minutes=15)"
    at.about(locked, f"who.update(otp_failures=10, otp_locked_until={later})")
    at.press("Sign out")
    at.give_password(suspended)
    at.look("sign-in-suspended", "We cannot text you a code")
    at.go("/sign-in/")
    at.give_password(locked)
    at.look("sign-in-locked", "Too many wrong codes")


@pytest.mark.parametrize("name", TOURS)
def test_pages_can_be_used_by_everybody(name: str, at: Tour) -> None:
    """P-10, P-11: every page on the way."""
    walk, pages = TOURS[name]
    walk(at)
    assert at.seen == pages


def test_no_page_was_left_out() -> None:
    toured = set[str]().union(*(pages for _, pages in TOURS.values()))
    names = {pattern.name for pattern in urlpatterns if pattern.name}
    assert toured | set(NO_PAGES) == names
