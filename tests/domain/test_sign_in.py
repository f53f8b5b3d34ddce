"""Passwords on pages: signing in, again before a change, anew, lost, and "this was not me"."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
from pytest_django.fixtures import Settings

from optin.conf import Rate
from optin.errors import SamePassword
from optin.messaging import delivery, wording
from optin.models import AccessKey, AuditEvent, File, Notice, RefusalCount, SendCounter, User
from optin.models.factors import has_active_factor
from optin.operations import not_me, passwords, sign_in
from optin.operations.authenticators import Removal
from optin.outcomes import By, SignInOutcome
from tests.kit import grants
from tests.kit.apps import add_passkey
from tests.kit.clients import bearer
from tests.kit.people import OTHER_NUMBER, PASSWORD
from tests.kit.trail import one_event, one_repeat
from tests.kit.world import PAGE, Person, nothing_happens, notices, proved

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind
NEW = "quite another one"


def failed_sign_ins() -> int:
    counters = SendCounter.objects.filter(scope__startswith="sign-in-name")
    return sum(counters.values_list("count", flat=True))


# -- signing in on a page ----------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "kind", "outcome", "grant", "texts"),
    [
        pytest.param((), Kind.SIGN_IN, "signed_in", SignInOutcome.SIGNED_IN, 0, id="no-factor"),
        pytest.param(
            (By.TEXT,), Kind.CHALLENGE, "sent", SignInOutcome.CODE_REQUIRED, 1, id="number"
        ),
        pytest.param(
            (By.APP,), Kind.SIGN_IN, "2fa_code_required", SignInOutcome.CODE_REQUIRED, 0, id="app"
        ),
        pytest.param(
            (By.TEXT, By.APP),
            Kind.SIGN_IN,
            "2fa_code_required",
            SignInOutcome.CODE_REQUIRED,
            0,
            id="number-and-app",
        ),
    ],
)
def test_a_right_password(
    person: Person,
    kinds: tuple[By, ...],
    kind: AuditEvent.Kind,
    outcome: str,
    grant: SignInOutcome,
    texts: int,
) -> None:
    """S-30: with a factor on it gets no further than to the code. One event."""
    person.set_up(*kinds)
    before = len(person.phone.messages)

    with one_event(kind, outcome, user_id=person.user.pk):
        result = sign_in.sign_in("ANN", PASSWORD, origin=PAGE)

    assert (result.outcome, result.user) == (grant, person.user)
    assert len(person.phone.messages) - before == texts
    assert failed_sign_ins() == 0


def deactivated(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize(
    ("name", "password", "given"),
    [
        ("ann", "wrong", None),
        ("ann", "", None),
        ("nobody", PASSWORD, None),
        ("ann", PASSWORD, deactivated),
    ],
    ids=["wrong", "empty", "unknown", "deactivated"],
)
def test_a_refused_password(
    user: User, name: str, password: str, given: Callable[[User], None] | None
) -> None:
    """S-38: one answer."""
    if given:
        given(user)
    with one_event(Kind.SIGN_IN, SignInOutcome.INVALID_GRANT, {}):
        result = sign_in.sign_in(name, password, origin=PAGE)
    assert result == sign_in.SignIn(SignInOutcome.INVALID_GRANT)
    assert failed_sign_ins() == 1


def test_too_many_passwords(user: User, settings: Settings) -> None:
    """... on one page are too many on the other; the right one is not looked at."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(2, 300),)
    sign_in.sign_in("ann", "wrong", origin=PAGE)
    passwords.confirm(user, "wrong", origin=PAGE)
    with one_event(Kind.SIGN_IN, SignInOutcome.NOT_NOW):
        refused = sign_in.sign_in("ann", PASSWORD, origin=PAGE)
    assert refused.outcome is SignInOutcome.NOT_NOW
    assert refused.retry_after
    with one_repeat(Kind.SIGN_IN, SignInOutcome.NOT_NOW):
        assert passwords.confirm(user, PASSWORD, origin=PAGE).outcome is SignInOutcome.NOT_NOW


@pytest.mark.parametrize(
    ("password", "grant"),
    [(PASSWORD, SignInOutcome.SIGNED_IN), ("wrong", SignInOutcome.INVALID_GRANT)],
)
def test_the_password_again(user: User, password: str, grant: SignInOutcome) -> None:
    with one_event(Kind.PASSWORD, grant, {}, user_id=user.pk):
        result = passwords.confirm(user, password, origin=PAGE)
    assert result.outcome is grant
    assert bool(result.factors) is (grant is SignInOutcome.SIGNED_IN)


# -- a new password ----------------------------------------------------------------


def test_a_new_password_ends_what_was_signed_in(person: Person, password_clients: None) -> None:
    """S-34: access tokens live on for their hour; the session at work goes on."""
    grants.tokens("ann")
    epoch, kept = person.user.session_epoch, []
    with one_event(Kind.PASSWORD, "changed", {}, user_id=person.user.pk):
        passwords.choose(
            person.user,
            NEW,
            origin=PAGE,
            standing=proved(None),
            keep_session=lambda user: kept.append(user.get_session_auth_hash()),
        )
    assert person.user.check_password(NEW)
    assert person.user.session_epoch == epoch + 1
    assert kept == [person.user.get_session_auth_hash()]
    assert not RefreshToken.objects.filter(revoked=None).exists()
    assert AccessToken.objects.count() == 1
    assert notices(person.user) == [Notice.Kind.PASSWORD]


@pytest.mark.parametrize("way", ["with the session", "by a mailed link"])
def test_the_same_password_again_is_refused(way: str, person: Person) -> None:
    """Somebody who fears a thief would believe that the thief cannot know it any more."""
    link = default_token_generator.make_token(person.user)
    proof: dict[str, Any] = {"link": link}
    if way == "with the session":
        proof = {"standing": proved(None)}
    epoch = person.user.session_epoch
    with nothing_happens(person.phone), pytest.raises(SamePassword):
        passwords.choose(person.user, PASSWORD, origin=PAGE, **proof)
    assert person.user.session_epoch == epoch
    passwords.choose(person.user, NEW, origin=PAGE, **proof)
    assert notices(person.user) == [Notice.Kind.PASSWORD]


def test_nobody_deactivated_gets_a_new_password(user: User, person: Person) -> None:
    deactivated(user)
    with nothing_happens(person.phone), pytest.raises(Exception, match="deactivated"):
        passwords.choose(user, NEW, origin=PAGE, standing=proved(None))


# -- a lost password ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "fields"),
    [
        pytest.param("nobody@example.com", {"email": "ann@example.com"}, id="unknown"),
        pytest.param("ann", {"email": "ann@example.com"}, id="user-name"),
        pytest.param("", {"email": ""}, id="no-address"),
        pytest.param(
            "ann@example.com",
            {"password": "!unusable", "is_staff": True},
            id="no-password-of-staff",
        ),
        pytest.param("ann@example.com", {"is_active": False}, id="deactivated"),
    ],
)
def test_no_link_for(user: User, email: str, fields: dict[str, Any]) -> None:
    """S-38: nothing tells why."""
    User.objects.filter(pk=user.pk).update(**fields)
    with one_event(Kind.PASSWORD, "refused", {}):
        assert not passwords.ask_reset(email, origin=PAGE)
    assert notices(user) == []


def test_a_link_works_for_72_hours_while_its_owner_is_active(person: Person) -> None:
    """S-39."""
    activated(person)
    notice = notice_of(person, Notice.Kind.ACTIVATED)
    link, ends = link_of(notice), notice.created_at + timedelta(hours=72)
    assert wording.disownable(link, ends) is None
    assert wording.disownable(link, ends - timedelta(seconds=0.1)) == notice
    assert wording.disownable(link, notice.created_at - timedelta(seconds=0.1)) == notice
    deactivated(person.user)
    assert wording.disownable(link, timezone.now()) is None


@pytest.mark.parametrize("spelling", ["ann@example.com", "ANN@Example.com", "ａｎｎ@example.com"])  # noqa: RUF001
def test_a_link_is_mailed(user: User, spelling: str) -> None:
    with one_event(Kind.PASSWORD, "reset_asked", {}, user_id=user.pk):
        assert passwords.ask_reset(spelling, origin=PAGE)
    (letter,) = mail.outbox
    assert letter.to == ["ann@example.com"]
    assert "/password-reset/" in letter.body


def test_nobody_waits_for_the_mail(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-38: how long it takes tells nothing. S-63: nor is it lost where the sender dies."""
    left: list[Callable[[], object]] = []
    monkeypatch.setattr(delivery.postman, "submit", left.append)

    assert passwords.ask_reset(user.email, origin=PAGE)

    assert mail.outbox == []
    assert delivery.send_due(timezone.now()) == 1
    (send,) = left
    send()  # somebody else did: once
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(("seconds", "links"), [(0, 1), (59.9, 1), (60, 2)])
def test_one_link_a_minute(person: Person, seconds: float, links: int) -> None:
    passwords.ask_reset(person.user.email, origin=PAGE)
    person.clock.shift(seconds)
    one = one_event if links == 2 else one_repeat
    with one(Kind.PASSWORD, "reset_asked" if links == 2 else "refused"):
        again = passwords.ask_reset(person.user.email, origin=PAGE)
    assert again is (links == 2)
    assert notices(person.user) == [Notice.Kind.PASSWORD_RESET] * links


@pytest.mark.slow
def test_ten_links_a_day_and_never_none(person: Person, settings: Settings) -> None:
    """Whoever asks each minute fills no mailbox, nor uses up what the owner asks for later."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = settings.OPTIN_FAILED_SIGN_INS_PER_IP = ()
    mailed, user = [], User.objects.get(pk=person.user.pk)
    for minute in range(0, 48 * 60, 4):
        if passwords.ask_reset(user.email, origin=PAGE):
            mailed.append(minute)
            link = default_token_generator.make_token(user)
        assert default_token_generator.check_token(user, link)  # nobody waits in vain for another
        person.clock.shift(240)
    assert mailed[:6] == [0, 4, 8, 12, 16, 256]
    assert max(sum(0 <= last - at < 24 * 60 for at in mailed) for last in mailed) == 10
    assert max(later - at for at, later in pairwise(mailed)) == 240


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
@pytest.mark.parametrize("limit", ["NAME", "IP"])
def test_links_are_limited_as_passwords_are_but_apart(
    user: User, settings: Settings, limit: str, email: str
) -> None:
    """S-07: whoever asks for links keeps nobody's right password out."""
    setattr(settings, f"OPTIN_FAILED_SIGN_INS_PER_{limit}", (Rate(2, 300),))
    for _ in range(2):
        passwords.ask_reset(email, origin=PAGE)
    with one_event(Kind.PASSWORD, SignInOutcome.NOT_NOW):
        assert not passwords.ask_reset(email, origin=PAGE)
    assert RefusalCount.objects.latest("pk").last["data"]["rule"] == f"reset-{limit.lower()}/300"
    assert sign_in.sign_in(user.email, PASSWORD, origin=PAGE).outcome is SignInOutcome.SIGNED_IN


# -- this was not me (S-39) --------------------------------------------------------


def activated(person: Person) -> None:
    person.set_up(By.TEXT)


def released(person: Person) -> None:
    person.set_up(By.TEXT, By.RECOVERY)
    person.turn_off(person.recovery[0])
    person.add_number(OTHER_NUMBER)


def app_added(person: Person) -> None:
    person.set_up(By.TEXT, By.APP, By.RECOVERY)


def app_removed(person: Person) -> None:
    person.set_up(By.TEXT, By.APP, By.RECOVERY)
    person.turn_off(person.app_code(), Removal.APP)
    person.add_app()


def notice_of(person: Person, kind: Notice.Kind) -> Notice:
    return Notice.objects.filter(user=person.user, kind=kind).latest("pk")


def link_of(notice: Notice) -> str:
    """The token in the mail."""
    body = str(wording.mail_for(notice).body)
    return body.partition("/not-me/")[2].split("/")[0]


def mailed() -> str:
    """The subject and the words of the newest mail."""
    return " ".join(f"{mail.outbox[-1].subject}: {mail.outbox[-1].body}".split())


A_NUMBER = "We removed the mobile number ending in {} that was added."
AN_APP = "We removed the authenticator app that was added."
DISOWNED = [
    pytest.param(activated, Notice.Kind.ACTIVATED, "number", A_NUMBER.format(156), id="activated"),
    pytest.param(released, Notice.Kind.RELEASED, "number", A_NUMBER.format(157), id="released"),
    pytest.param(app_added, Notice.Kind.APP_ADDED, "app", AN_APP, id="app-added"),
    pytest.param(app_removed, Notice.Kind.APP_REMOVED, "app", AN_APP, id="app-removed"),
]


def test_the_mail_names_the_number_and_not_a_dead_passkey_that_goes_too(person: Person) -> None:
    activated(person)
    add_passkey(person.user, rp_id="old.example.com")
    not_me.disown(notice_of(person, Notice.Kind.ACTIVATED), PASSWORD, origin=PAGE)
    assert A_NUMBER.format(156) in mailed()
    assert not has_active_factor(person.user)


@pytest.mark.parametrize(("given", "kind", "removed", "words"), DISOWNED)
def test_what_was_told_is_taken_back(
    person: Person,
    file: File,
    given: Callable[[Person], None],
    kind: Notice.Kind,
    removed: str,
    words: str,
) -> None:
    """S-39."""
    given(person)
    AccessKey.objects.make(person.user, file, timezone.now())
    bearer(person.user)
    epoch, notice = person.user.session_epoch, notice_of(person, kind)

    found = wording.disownable(link_of(notice), timezone.now())
    assert found == notice
    data = {"notice": kind, "effect": "removes", "removed": [removed]}
    with one_event(Kind.DISOWN, "ok", data, user_id=person.user.pk):
        result = not_me.disown(notice, PASSWORD, origin=PAGE)

    assert result.outcome is SignInOutcome.SIGNED_IN
    assert person.has == ({By.TEXT} if removed == "app" else set())
    assert not AccessKey.objects.filter(revoked_at=None).exists()
    assert not AccessToken.objects.exists()
    assert person.user.session_epoch == epoch + 1
    assert notices(person.user)[-1] == Notice.Kind.DISOWNED
    assert mailed().startswith("We've undone the change to your account: You told us")
    assert f"{words} We signed out all devices" in mailed()
    assert "don't sign in yet" not in mailed()
    assert failed_sign_ins() == 0
    # Once.
    used = wording.disownable(link_of(notice), timezone.now())
    assert used is not None
    assert used.disowned_at == timezone.now()
    with one_event(Kind.DISOWN, "unchanged", {"notice": kind, "removed": []}):
        not_me.disown(notice, PASSWORD, origin=PAGE)
    assert notices(person.user).count(Notice.Kind.DISOWNED) == 1


@pytest.mark.parametrize("kind", list(Notice.Kind))
def test_which_mails_have_the_link(user: User, kind: Notice.Kind) -> None:
    notice = Notice.objects.create(user=user, kind=kind, created_at=timezone.now())
    assert ("/not-me/" in wording.mail_for(notice).body) is (kind in wording.DISOWNABLE)


def test_a_link_that_was_not_ours(person: Person) -> None:
    activated(person)
    token = link_of(notice_of(person, Notice.Kind.ACTIVATED))
    for made_up in ("", "1", token[:-1], f"9{token}"):
        assert wording.disownable(made_up, timezone.now()) is None


def test_taking_back_needs_the_password(full: Person, settings: Settings) -> None:
    """S-39. A wrong one counts as a failed sign-in, and the link stays good."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(1, 300),)
    notice = notice_of(full, Notice.Kind.ACTIVATED)
    epoch = full.user.session_epoch
    with one_event(Kind.DISOWN, SignInOutcome.INVALID_GRANT, {}, user_id=full.user.pk):
        assert not_me.disown(notice, "wrong", origin=PAGE).outcome is SignInOutcome.INVALID_GRANT
    assert failed_sign_ins() == 1
    with one_event(Kind.SIGN_IN, SignInOutcome.NOT_NOW):
        assert not_me.disown(notice, PASSWORD, origin=PAGE).outcome is SignInOutcome.NOT_NOW
    assert full.has == {By.TEXT, By.APP}
    assert full.user.session_epoch == epoch
    full.clock.shift(300)
    assert not_me.disown(notice, PASSWORD, origin=PAGE).outcome is SignInOutcome.SIGNED_IN
    assert full.has == {By.APP}


def test_a_suspended_number_stays(full: Person) -> None:
    """It is staff's to judge; keys, tokens and sessions end all the same."""
    full.suspend()
    AccessKey.objects.make(full.user, full.file, timezone.now())
    data = {"notice": Notice.Kind.ACTIVATED, "effect": "suspended", "removed": []}
    with one_event(Kind.DISOWN, "ok", data):
        not_me.disown(notice_of(full, Notice.Kind.ACTIVATED), PASSWORD, origin=PAGE)
    assert full.number
    assert full.number.suspended_at
    assert not AccessKey.objects.filter(revoked_at=None).exists()
    assert mailed().startswith("You've been signed out everywhere: You told us")
    assert "We didn't remove the mobile number: staff stopped codes for it" in mailed()
    assert "that isn't yours, don't sign in yet" in mailed()


def test_a_mail_about_what_an_older_release_did_names_nothing(full: Person) -> None:
    """Both run during an upgrade: its event does not say what was taken back."""
    not_me.disown(notice_of(full, Notice.Kind.ACTIVATED), PASSWORD, origin=PAGE)
    told = notice_of(full, Notice.Kind.DISOWNED)
    Notice.objects.filter(pk=told.pk).update(created_at=told.created_at - timedelta(seconds=1))
    told.refresh_from_db()
    letter = wording.mail_for(told)
    assert letter.subject == "You've been signed out everywhere"
    assert "Sign in and choose a new password." in str(letter.body)
    assert "removed" not in str(letter.body)


def test_taking_back_works_while_locked(full: Person) -> None:
    """S-06: recovery works during a lock, and the lock stays."""
    full.lock()
    not_me.disown(notice_of(full, Notice.Kind.ACTIVATED), PASSWORD, origin=PAGE)
    assert full.has == {By.APP}
    assert full.user.otp_failures == 10
