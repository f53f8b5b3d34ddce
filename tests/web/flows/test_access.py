"""What acts for a person: they see and end it, with the password; nobody else does."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.core import mail
from oauth2_provider.models import AbstractApplication

from optin.errors import PasswordNeeded
from optin.models import AccessKey, AuditEvent, File, SessionOwner, User
from optin.operations import access, erasure, retention, tenants
from optin.operations.factors import Standing
from optin.web.session_store import row_of
from tests.kit.browser import CONFIRM, NEW_PASSWORD, PROVE, Browser, prove, sign_in
from tests.kit.clients import Api, Tokens
from tests.kit.oauth import error, exchange, grant, refresh, works
from tests.kit.people import ORIGIN, PASSWORD
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ACCESS = "/account/access/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15"
MINUTE = timedelta(minutes=1)
PAGES = {"app", "key"}
"""What is revoked on a page of its own, by what its address has."""


def elsewhere(agent: str = FIREFOX, ip: str = "198.51.100.9", name: str = "ann") -> Browser:
    """Another browser, signed in."""
    browser = Browser(agent, ip)
    sign_in(browser, name)
    assert browser.path == "/account/"
    return browser


def is_in(browser: Browser) -> bool:
    browser.go("/account/")
    return browser.path == "/account/"


def named(browser: Browser, field: str) -> list[str]:
    """What the forms of the page would send as *field*, or what its links would revoke."""
    if field in PAGES:
        return re.findall(rf'"{ACCESS}{field}/(\d+)/"', browser.page.html)
    return [form.fields[field] for form in browser.page.forms if field in form.fields]


def post(browser: Browser, **fields: str) -> Any:
    where = "".join(f"{kind}/{fields[kind]}/" for kind in PAGES & fields.keys())
    return browser.post(ACCESS + where, **fields)


def press(browser: Browser, **fields: str) -> None:
    """Send a form of the page that has *fields*, and follow its answer."""
    assert all(value in named(browser, name) for name, value in fields.items())
    answer = post(browser, **fields)
    assert answer.status_code == 303
    browser.go(answer["Location"])


def events(kind: AuditEvent.Kind = AuditEvent.Kind.SESSION) -> list[str]:
    found = AuditEvent.objects.filter(kind=kind).order_by("pk")
    return list(found.values_list("outcome", flat=True))


def opens(key: str) -> bool:
    """Whether an access key does: the call gets as far as its number, which is none."""
    return Api(key=key).opt_in("12").status != 401


# -- browsers: seen ----------------------------------------------------------------


def test_each_browser_is_named(ann: Browser, clock: time_machine.Traveller) -> None:
    clock.shift(2 * MINUTE)
    firefox = elsewhere()
    clock.shift(5 * MINUTE)
    ann.go("/account/")
    ann.click(ACCESS)
    text = " ".join(ann.page.text.split())
    here = "Chrome on Android This device IP address 192.0.2.7"
    assert f"{here} Signed in since 2 November 2026, 23:00" in text
    other = "Firefox on Windows IP address 198.51.100.9"
    assert f"{other} Signed in since 2 November 2026, 23:02" in text
    assert text.count("This device") == 1
    assert len(named(ann, "session")) == 1
    assert "Access keys" not in text  # who has none reads nothing of them
    clock.shift(2 * MINUTE)
    firefox.client.defaults["REMOTE_ADDR"] = "203.0.113.80"
    firefox.go("/account/")
    ann.reload()
    text = " ".join(ann.page.text.split())
    assert "Firefox on Windows IP address 203.0.113.80" in text
    assert "Last used 2 November 2026, 23:09" in text


def test_browser_without_a_name(ann: Browser) -> None:
    elsewhere("<b>curl</b>")
    ann.go(ACCESS)
    assert "Unknown browser" in ann.page.text
    assert "<b>" not in ann.page.html


def test_nothing_on_the_page_opens_a_session(ann: Browser) -> None:
    """P-16. Neither an id nor the key of its row, nor what the session is known by in the trail."""
    other = elsewhere()
    ann.go(ACCESS)
    for browser in (ann, other):
        held = Session.objects.get(pk=row_of(browser.session)).get_decoded()
        for secret in (browser.session, row_of(browser.session), held["line"]):
            assert secret not in ann.page.html
    stranger = Browser()
    stranger.client.cookies["__Host-session"] = named(ann, "session")[0]
    assert not is_in(stranger)


def test_sessions_that_are_over_are_not_shown(ann: Browser, clock: time_machine.Traveller) -> None:
    """Idle ones; those that signed out, or ended with a password; those whose id is an old one."""
    elsewhere(SAFARI)
    clock.shift(29 * MINUTE)
    ann.go("/account/")
    left, renewed = elsewhere(), elsewhere()
    clock.shift(MINUTE)
    left.send("/sign-out/")
    renewed.go(CONFIRM)
    renewed.send(password=PASSWORD)
    ann.go(ACCESS)
    ann.send(password=PASSWORD)
    assert "Safari" not in ann.page.text
    assert len(named(ann, "session")) == 1
    ann.go("/account/password/")
    ann.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    ann.go(ACCESS)
    assert named(ann, "session") == []
    assert "This device" in ann.page.text


def test_no_browser_is_hidden_by_what_another_one_proves(
    ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optin.web.session_store._MOST_READ", 3)
    elsewhere()
    another = elsewhere(SAFARI)
    for _ in range(4):  # each gives it a new id
        another.go("/account/confirm/")
        another.send(password=PASSWORD)
    ann.go(ACCESS)
    assert len(named(ann, "session")) == 2


@pytest.mark.usefixtures("stranger")
def test_a_browser_keeps_the_name_that_its_user_gave_it(ann: Browser) -> None:
    """P-16. Nobody else who uses the browser reads it, and it hides no other words."""
    ann.go(ACCESS)
    ann.send(name="<b>\u202eWork l\u00e4ptop")
    ann.send("/sign-out/")
    sign_in(ann)
    ann.go(ACCESS)
    assert "&lt;b&gt; Work l\u00e4ptop" in ann.page.html
    text = " ".join(ann.page.text.split())
    assert "Work l\u00e4ptop This device Chrome on Android" in text
    other = elsewhere()
    other.go(ACCESS)
    assert "Work l\u00e4ptop" in other.page.text
    ann.send("/sign-out/")
    sign_in(ann, "ben")
    ann.go(ACCESS)
    assert ann.path == ACCESS
    assert "l\u00e4ptop" not in ann.page.text


def test_too_long_a_name_is_refused(ann: Browser) -> None:
    ann.go(ACCESS)
    ann.send(name="x" * 10_000)
    assert (ann.page.status, ann.path) == (422, ACCESS)
    assert "40" in ann.page.errors


# -- browsers: ended ---------------------------------------------------------------


def test_sign_out_of_one(ann: Browser, user: User, clock: time_machine.Traveller) -> None:
    one = elsewhere()
    clock.shift(2 * MINUTE)
    another = elsewhere(SAFARI)
    ann.go(ACCESS)
    assert ann.page.text.index("Safari") < ann.page.text.index("Firefox")
    press(ann, session=named(ann, "session")[1])
    assert ann.page.flash == "Signed out: Firefox on Windows."
    assert not is_in(one)
    assert is_in(another)
    assert is_in(ann)
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SESSION)
    assert (event.outcome, event.user_id, event.actor_id) == ("ended", user.pk, user.pk)
    ann.go("/account/activity/")
    assert "Signed out another device" in ann.page.text


def test_sign_out_of_all_others(ann: Browser) -> None:
    others = [elsewhere(), elsewhere(SAFARI)]
    ann.go(ACCESS)
    press(ann, others="all")
    assert ann.page.flash == "All other devices are signed out."
    assert named(ann, "session") == []
    assert [is_in(browser) for browser in (ann, *others)] == [True, False, False]
    assert events() == ["others_ended"]


@pytest.mark.parametrize("name", ["session", "others"])
def test_ending_a_browser_needs_a_code_each_time(name: str, ann_on: Browser, phone: Phone) -> None:
    """G-02: a stolen cookie has none. A sign-in that waits for its code stands."""
    another = Browser(SAFARI)
    sign_in(another)
    another.send(code=phone.code())
    waits = Browser(FIREFOX)
    sign_in(waits)
    enter = waits.submission(code=phone.code())
    ann_on.go(ACCESS)
    press(ann_on, **{name: named(ann_on, name)[0]})  # she has just turned it on with a code
    assert not is_in(another)
    enter(waits)
    assert is_in(waits)
    ann_on.go(ACCESS)
    press(ann_on, **{name: named(ann_on, name)[0]})
    assert ann_on.path == PROVE
    assert ann_on.page.flash == "Enter a code. Then press the button again."
    assert is_in(waits)
    prove(ann_on, phone)
    ann_on.go(ACCESS)
    press(ann_on, **{name: named(ann_on, name)[0]})
    assert not is_in(waits)


def test_session_that_was_renewed_meanwhile_ends_under_each_id(ann: Browser) -> None:
    other = elsewhere()
    ann.go(ACCESS)
    handle = named(ann, "session")[0]
    old = other.copy()
    other.go(CONFIRM)
    other.send(password=PASSWORD)
    assert old.session != other.session
    ann.go(ACCESS)
    assert named(ann, "session") == [handle]
    press(ann, session=handle)
    assert not is_in(other)
    assert not is_in(old)


# -- attacks -----------------------------------------------------------------------


def test_own_session_is_not_ended_here(ann: Browser) -> None:
    other = elsewhere()
    other.go(ACCESS)
    here = named(other, "session")[0]  # ann's, as another of hers sees it
    ann.go(ACCESS)
    post(ann, session=here)
    assert is_in(ann)
    assert events() == []


FORMS = pytest.mark.parametrize("name", ["session", "others", "app", "key"])


@pytest.fixture
def lives(ann: Browser, user: User, file: File, client_app: AbstractApplication) -> Any:
    """Something that each form would end; returns whether all of it lives."""
    other, tokens = elsewhere(), exchange(grant(user, client_app))
    key = tenants.make_access_key(user, file, origin=ORIGIN)
    ann.go(ACCESS)
    return lambda: is_in(other) and works(tokens) and opens(key)


def ended() -> list[str]:
    found = AuditEvent.objects.filter(kind__in=["session", "consent", "access_key"])
    return list(found.exclude(outcome="made").values_list("outcome", flat=True))


def test_nobody_ends_what_is_somebody_elses(
    ann: Browser, stranger: User, client_app: AbstractApplication, lives: Callable[[], bool]
) -> None:
    """P-16. Whatever they send; also where both let the same application act."""
    ben, of_ben = elsewhere(name="ben"), exchange(grant(stranger, client_app, "of ben"))
    ben.go(ACCESS)
    for name in ("session", "app", "key"):
        for asked in (*named(ann, name), "", "x", "9" * 30):
            assert post(ben, **{name: asked}).status_code in {303, 404}
    post(ben, others="all")
    assert not works(of_ben)
    assert lives()
    assert is_in(ann)


@pytest.mark.parametrize("name", ["session", "app", "key"])
def test_pressed_twice_it_ends_once(name: str, ann: Browser, lives: Callable[[], bool]) -> None:
    fields = {name: named(ann, name)[0]}
    press(ann, **fields)
    assert not lives()
    mails = len(mail.outbox)
    assert post(ann, **fields).status_code == 303
    ann.reload()
    assert "already" in ann.page.flash
    assert (len(ended()), len(mail.outbox)) == (1, mails)


@FORMS
def test_password_is_asked_for_first(
    name: str, ann: Browser, lives: Callable[[], bool], clock: time_machine.Traveller
) -> None:
    """S-36, P-16. After a while, and of who comes with an id from before it was entered."""
    fields = {name: named(ann, name)[0]}
    clock.shift(20 * MINUTE)
    assert post(ann, **fields)["Location"].split("?")[0] == CONFIRM
    thief = ann.copy()
    ann.go(ACCESS)
    assert ann.path == CONFIRM
    ann.send(password=PASSWORD)
    assert ann.path == ACCESS
    assert post(thief, **fields)["Location"].split("?")[0] == CONFIRM
    assert ended() == []
    assert lives()


@FORMS
def test_session_that_ends_while_the_form_is_on_its_way_ends_nothing(
    name: str, ann: Browser, user: User, lives: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the request came in, and is not under the lock (S-34)."""
    fields = {name: named(ann, name)[0]}
    demand = Standing.demand

    def end_first(standing: Standing, now: Any, **how: Any) -> None:
        monkeypatch.setattr(Standing, "demand", demand)
        User.objects.get(pk=user.pk).end_sessions(now)
        demand(standing, now, **how)

    monkeypatch.setattr(Standing, "demand", end_first)
    assert post(ann, **fields)["Location"].split("?")[0] == "/sign-in/"
    assert ended() == []


def test_operations_ask_for_the_password_themselves(user: User) -> None:
    """Not only the page, and under the lock."""
    nobody: Any = {"standing": Standing(), "origin": ORIGIN}
    for end in (
        lambda: access.sign_out(user, **nobody, end=lambda: True),
        lambda: access.sign_out_others(user, **nobody, keep_session=lambda _user: None),
        lambda: access.revoke_application(user, None, **nobody),
        lambda: access.revoke_key(user, 1, **nobody),
    ):
        with pytest.raises(PasswordNeeded):
            end()
    assert ended() == []


# -- applications ------------------------------------------------------------------


@pytest.fixture
def allowed(client_app: AbstractApplication, user: User, clock: time_machine.Traveller) -> Any:
    """An application that ann let act for her, a while ago; its tokens."""
    tokens = exchange(grant(user, client_app))
    clock.shift(2 * MINUTE)
    return tokens


def test_applications_are_named(
    allowed: Any, browser: Browser, clock: time_machine.Traveller
) -> None:
    """Since the first of their tokens."""
    for _ in range(3):
        clock.shift(timedelta(days=5))
        allowed = refresh(allowed)
    sign_in(browser)
    browser.go(ACCESS)
    text = " ".join(browser.page.text.split())
    rights = "Turn your two-factor sign-in on and off, with the codes that you give it"
    since = "Since 2 November 2026, 23:00"
    assert f"Client {rights} In these organisations only: Harbour Books {since}" in text


@pytest.mark.usefixtures("password_clients")
def test_client_that_signs_in_with_the_password(ann: Browser) -> None:
    token = Tokens().sign_in().data["access_token"]
    assert Api(token=token).ping().status == 200
    ann.go(ACCESS)
    assert "Apps that sign in with your password" in ann.page.text
    assert "In these organisations only: Harbour Books" in " ".join(ann.page.text.split())
    press(ann, app=named(ann, "app")[0])
    assert Api(token=token).ping().status == 401


def test_revoked_application_can_do_nothing(
    allowed: Any, ann: Browser, user: User, client_app: AbstractApplication
) -> None:
    """Its access token, its refresh token, and a code that it has not used yet."""
    code = grant(user, client_app, "unused")
    ann.go(ACCESS)
    press(ann, app=str(client_app.pk))
    assert ann.page.flash == "Access ended: Client."
    assert named(ann, "app") == []
    assert "No app has access to your account." in ann.page.text
    assert not works(allowed)
    assert error(refresh(allowed)) == (400, "invalid_grant")
    assert error(exchange(code)) == (400, "invalid_grant")
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.CONSENT)
    assert (event.outcome, event.user_id, event.data) == (
        "revoked",
        user.pk,
        {"client_id": client_app.client_id},
    )
    ann.go("/account/activity/")
    assert "Access of an app ended" in ann.page.text


# -- access keys -------------------------------------------------------------------


@pytest.fixture
def key(user: User, file: File) -> str:
    return tenants.make_access_key(user, file, name="Payroll", origin=ORIGIN)


def test_access_keys_are_named(key: str, browser: Browser, clock: time_machine.Traveller) -> None:
    clock.shift(2 * MINUTE)
    sign_in(browser)
    browser.go(ACCESS)
    text = " ".join(browser.page.text.split())
    assert (
        f"Payroll Harbour Books: {key[:6]}… Made 2 November 2026, 23:00 AEDT Not used yet" in text
    )
    assert key not in browser.page.html
    assert opens(key)
    browser.reload()
    assert "Last used 2 November 2026, 23:02" in browser.page.text.split("Access keys")[1]


def test_the_page_that_revokes_a_key_names_it(key: str, ann: Browser, stranger: User) -> None:
    """P-16. To its owner only; a GET revokes nothing."""
    ann.go(ACCESS)
    where = f"{ACCESS}key/{named(ann, 'key')[0]}/"
    ben = elsewhere(name="ben")
    ben.go(where)
    assert (ben.path, ben.page.flash) == (ACCESS, "This access has ended already.")
    ann.go(where)
    text = " ".join(ann.page.text.split())
    assert f"Payroll Begins with {key[:6]} Organisation Harbour Books Last used Not used" in text
    assert opens(key)


def test_revoked_key_opens_nothing(key: str, ann: Browser, user: User, file: File) -> None:
    """P-16. Also one of staff, who may not revoke their own in the admin."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    other = tenants.make_access_key(user, file, origin=ORIGIN)
    ann.go(ACCESS)
    press(ann, key=str(AccessKey.objects.get(prefix=key[:6]).pk))
    assert ann.page.flash == "Access key revoked."
    assert not opens(key)
    assert opens(other)
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.ACCESS_KEY, outcome="revoked")
    assert (event.user_id, event.actor_id, event.file_id) == (user.pk, user.pk, file.pk)
    assert "An access key of your account" in str(mail.outbox[-1].body)
    ann.go("/account/activity/")
    assert "An access key was revoked" in ann.page.text


# -- rows --------------------------------------------------------------------------


def test_purge_and_erase_delete_whose_a_session_was(
    ann: Browser, user: User, stranger: User, clock: time_machine.Traveller
) -> None:
    elsewhere(name="ben")
    assert SessionOwner.objects.count() == 2
    erasure.erase(user, reason="asked for", origin=ORIGIN)
    assert list(SessionOwner.objects.values_list("user_id", flat=True)) == [stranger.pk]
    retention.purge(origin=ORIGIN)
    assert SessionOwner.objects.count() == 1
    clock.shift(timedelta(hours=12, seconds=1))
    retention.purge(origin=ORIGIN)
    assert not SessionOwner.objects.exists()
