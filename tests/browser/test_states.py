"""Pages in rarer states than those of ``test_pages``: each is brought about in the database."""

import pytest
from django.template import engines
from playwright.sync_api import Request, Route

from tests.browser.application import CLIENT, authorize
from tests.browser.crowd import PASSWORD, Person, run
from tests.browser.hands import Tour, another
from tests.kit.apps import app_code
from tests.kit.chromium import Window, audit_everywhere


def with_app(at: Tour, person: Person) -> str:
    """Give *person* an app; return its secret. The code of now is used."""
    return str(at.about(person, "out['secret'] = apps.set_up_app(user)")["secret"])


def sign_in(at: Tour, person: Person) -> None:
    """All the way in, with the code of a text where one is asked for."""
    before = len(at.site.texts(person.number))
    at.sign_in(person)
    if "/sign-in/code/" in at.page.url:
        at.give_code(at.site.newest_text(person.number, after=before).split()[0], "Sign in")
    at.sees("Your account")


# -- what needs no account ---------------------------------------------------------


@pytest.mark.parametrize("name", ["400", "403_csrf", "429", "500", "503"])
def test_faults(name: str, open_page: Window) -> None:
    context = {"service_name": "Two-Factor", "support": "support@example.com", "wait": "2 minutes"}
    html = engines["django"].get_template(f"{name}.html").render(context)
    page = open_page()

    def answer(route: Route, request: Request) -> None:
        route.fulfill(body=html, content_type="text/html")

    page.route("**/fault", answer)
    page.goto("/fault")
    audit_everywhere(page, f"fault-{name}")


# -- the sign-in -------------------------------------------------------------------


def test_sign_in(at: Tour) -> None:
    at.go("/sign-in/?ended=1")
    at.look("sign-in-ended", "Sign in")
    person = at.crowd.new()
    sign_in(at, person)
    at.press("Sign out")
    at.look("sign-in-signed-out", "Sign in")
    at.go("/password-reset/")
    at.fill("E-mail address", person.email)
    at.press("Send the link")
    at.go(at.site.mailed_link(person.email, "password-reset"))
    for label in ("New password", "New password, once more"):
        at.fill(label, PASSWORD)
    at.press("Save the password")
    at.look("password-new-same", "Choose a new password", error="That is your current password.")
    for label in ("New password", "New password, once more"):
        at.fill(label, "another-harbour-7")
    at.press("Save the password")
    at.look("sign-in-new-password", "Sign in")


def test_sign_in_with_an_app(at: Tour) -> None:
    person = at.crowd.on()
    secret = with_app(at, person)
    at.sign_in(person)
    at.look("sign-in-app", "Open your authenticator app")
    at.give_code("123", "Sign in")
    at.look("sign-in-app-short", "Open your authenticator app", error="That code is too short.")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.look("sign-in-both", "Check your phone")
    at.about(person, "who.update(otp_failures=50, otp_disabled_at=now)")
    at.page.reload()
    at.look("sign-in-app-disabled", "Open your authenticator app")
    at.go("/sign-in/code/not-received/")
    at.look("not-received-disabled", "Not received a text message?")
    at.about(person, "who.update(otp_failures=10, otp_locked_until=now + timedelta(minutes=9))")
    at.go("/sign-in/recovery/")
    at.look("recovery-locked", "Sign in without your phone")
    at.about(person, "who.update(otp_failures=0, otp_locked_until=None, otp_disabled_at=None)")
    at.go("/sign-in/code/")
    at.give_code(app_code(secret, 1), "Sign in")
    at.sees("Your account")


# -- two-factor sign-in ------------------------------------------------------------


def test_two_factor_with_a_number(at: Tour) -> None:
    person = at.crowd.on()
    at.about(person, "apps.make_recovery_codes(user)")
    sign_in(at, person)
    at.go("/account/two-factor/recovery-codes/")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.give_code(at.newest_code(person.number), "Continue")
    at.look("recovery-codes-again", "Recovery codes")
    at.go("/account/two-factor/number/")
    code = at.ask_for_code(person.other_number)
    at.go("/account/two-factor/")
    at.look("two-factor-waiting", "Two-factor sign-in is on")
    at.follow("Enter it")
    at.give_code(another(code), "Use this number")
    at.look("number-change-code-wrong", "Check your phone", error="That code is not right.")
    at.about(person, "number.filter(confirmed=True).update(suspended_at=now)")
    at.go("/account/two-factor/")
    at.look("two-factor-suspended", "Two-factor sign-in is on")
    at.about(person, "number.update(suspended_at=None)")
    at.about(person, "who.update(otp_failures=50, otp_disabled_at=now)")
    at.go("/account/two-factor/")
    at.look("two-factor-disabled", "Two-factor sign-in is on")
    at.go("/account/two-factor/off/")
    at.look("off-disabled", "Turn two-factor sign-in off")
    at.fill("Recovery code", "1234")
    at.press("Use the recovery code")
    at.look("off-recovery-short", "Turn two-factor sign-in off", error="16 letters and digits")
    for name, heading in (
        ("number", "Change your mobile number"),
        ("app", "Authenticator app"),
        ("recovery-codes", "Recovery codes"),
    ):
        at.go(f"/account/two-factor/{name}/")
        at.look(f"{name}-disabled", heading)
    at.about(person, "who.update(otp_disabled_at=None, otp_locked_until=now + timedelta(hours=1))")
    at.go("/account/two-factor/off/")
    at.look("off-locked", "Turn two-factor sign-in off")
    at.go("/account/two-factor/number/")
    at.look("number-locked", "Change your mobile number")


def test_two_factor_with_an_app_alone(at: Tour) -> None:
    person = at.crowd.new()
    secret = with_app(at, person)
    at.sign_in(person)
    at.give_code(app_code(secret, 1), "Sign in")
    at.sees("Your account")
    at.go("/account/two-factor/")
    at.look("two-factor-app", "Two-factor sign-in is on")
    at.go("/account/two-factor/app/")
    at.look("app-another", "Authenticator app")
    at.go("/account/two-factor/on/")
    at.look("success-app", "Two-factor sign-in is on")
    at.go("/account/two-factor/off/")
    at.look("off-app-alone", "Turn two-factor sign-in off")
    at.about(person, "user.memberships.all().delete()")
    at.go("/account/two-factor/number/")
    at.look("number-no-file-app", "Your mobile number")


def test_two_factor_that_asks_for_the_text_first(at: Tour) -> None:
    person = at.crowd.on()
    at.about(person, "apps.set_up_app(user); who.update(text_first=True)")
    sign_in(at, person)
    at.go("/account/two-factor/")
    at.look("two-factor-text-first", "Two-factor sign-in is on")
    at.press("Ask for the app first")
    at.look("two-factor-app-first", "Two-factor sign-in is on")
    at.go("/account/two-factor/off/?what=app")
    at.look("off-app", "Remove the authenticator app")
    at.press(f"Text a code to ... {person.number[-3:]}")
    at.give_code(at.newest_code(person.number), "Remove it")
    at.look("two-factor-app-removed", "Two-factor sign-in is on")


def test_a_number_in_one_of_several_files_or_in_none(at: Tour) -> None:
    person = at.crowd.new()
    at.about(
        person,
        "for n in (41, 42): Membership.objects.create(user=user, "
        "file=File.objects.get_or_create(id=n, defaults={'name': f'Ridge Bakery {n}'})[0])",
    )
    sign_in(at, person)
    at.go("/account/two-factor/number/")
    at.look("number-files", "Your mobile number")
    at.press("Text me a code")
    at.look("number-files-wrong", "Your mobile number", error="Choose a file.")
    at.about(person, "user.memberships.all().delete()")
    at.go("/account/two-factor/")
    at.look("two-factor-no-file", "Two-factor sign-in is off")
    at.go("/account/two-factor/number/")
    at.look("number-no-file", "Your mobile number")


def test_a_number_of_another_account_and_one_without_texts(at: Tour) -> None:
    person, other = at.crowd.new(), at.crowd.on()
    sign_in(at, person)
    at.go("/account/two-factor/number/")
    code = at.ask_for_code(other.number)
    at.give_code(code, "Turn it on")
    at.look("number-taken", "Use another number", error="another account uses this number")
    at.page.reload()
    at.look("number-taken-again", "Use another number")


# -- the account -------------------------------------------------------------------


def test_the_account(at: Tour) -> None:
    person = at.crowd.new()
    at.about(person, "who.update(is_staff=True, email='')")
    at.sign_in(person)
    at.look("account-staff", "Your account")
    at.about(
        person,
        "from optin.operations import tenants\n"
        "from optin.origin import Face, Origin\n"
        "by = Origin(Face.WEB, ip='203.0.113.5')\n"
        "for n in range(45): tenants.refuse_access(user, n, f'refused_{n % 2}', origin=by)",
    )
    at.go("/account/activity/")
    at.look("activity-long", "Activity")
    at.follow("Older activity")
    at.look("activity-older", "Activity")
    at.follow("Newest activity")
    at.go("/account/password/")
    for label in ("New password", "New password, once more"):
        at.fill(label, "another-harbour-7")
    at.press("Change the password")
    at.look("account-new-password", "Your account")


def test_consent(at: Tour) -> None:
    client, person = str(run(at.site, CLIENT)["id"]), at.crowd.new()
    sign_in(at, person)
    at.page.goto(authorize(client, "v" * 64))
    at.sees("Allow Ledger to act for you?")
    audit_everywhere(at.page, "consent")
    at.page.goto(authorize("nobody", "v" * 64))
    at.sees("We cannot process this request")
    audit_everywhere(at.page, "consent-error")


# -- behind mailed links -----------------------------------------------------------

LINK = """
from urllib.parse import urlsplit
from optin.messaging import wording
def link(kind, **more):
    notice = Notice.objects.create(user=user, kind=kind, created_at=now, state="sent", **more)
    return urlsplit(wording._link_of(notice)).path
"""
NOT_ME = {
    "app": "apps.set_up_app(user)\nout['path'] = link('app_added')",
    "gone-stuck": "out['path'] = link('app_added')",
    "suspended": "out['path'] = link('activated', about_id=number.get().pk)\n"
    "number.update(suspended_at=now)",
}


@pytest.mark.parametrize("case", NOT_ME)
def test_this_was_not_me(case: str, at: Tour) -> None:
    at.go(at.about(at.crowd.on(), LINK + NOT_ME[case])["path"])
    at.look(f"not-me-{case}", "This was not me")
    at.fill("Password", PASSWORD)
    at.press("Secure my account")
    at.look(
        f"not-me-done-{case}",
        "The change was taken back" if case == "app" else "Everybody was signed out",
    )


def test_links_about_something_that_is_over(at: Tour) -> None:
    person = at.crowd.on()
    paths = at.about(
        person,
        LINK + "change = EmailChange.objects.create(user=user, old_address=user.email,"
        " new_address='a@example.net', asked_at=now, closed_at=now, closed_as='cancelled')\n"
        "EmailChange.objects.create(user=user, old_address=user.email,"
        " new_address='b@example.net', asked_at=now)\n"
        "stop = wording._email_link(wording._STOP_LINKS, 'email-stop', change)\n"
        "out['stop'] = urlsplit(stop).path\n"
        "later = now + timedelta(days=1)\n"
        "old = Revocation.objects.create(user=user, reason='x', asked_at=now, due_at=later,"
        " closed_at=now, closed_as='cancelled')\n"
        "Revocation.objects.create(user=user, reason='x', asked_at=now, due_at=later)\n"
        "out['cancel'] = urlsplit(wording._cancel_link(old)).path",
    )
    at.go(paths["stop"])
    at.look("email-stop-newer", "Your e-mail address may change")
    at.go(paths["cancel"])
    at.look("revocation-newer", "Your second factors will be removed")
    at.sign_in(person)
    at.go("/sign-in/lost/")
    at.look("lost-by-support", "Your second factors will be removed")
