"""What a thief begins does not come to fruition in the owner's hands, and the other way round."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.utils import timezone

from optin.errors import PasswordNeeded, SignedOut
from optin.models import AuditEvent, Notice, Passkey, Purpose, User
from optin.operations import authenticators, challenges, not_me, opt_ins, passwords, staff_actions
from optin.operations.factors import Standing
from optin.outcomes import By, CodeOutcome, FactorOutcome
from tests.kit.authenticator import Authenticator
from tests.kit.people import OTHER_NUMBER, PASSWORD
from tests.kit.trail import one_event
from tests.kit.world import OTHER_PAGE, PAGE, Person, nothing_happens, proved

pytestmark = pytest.mark.django_db

NEW = "quite another one"


def notice_of(person: Person, kind: Notice.Kind) -> Notice:
    return Notice.objects.filter(user=person.user, kind=kind).latest("pk")


# -- an app is set up in the session that began it ---------------------------------


def test_a_secret_is_of_the_session_that_began_it_only(person: Person) -> None:
    """Else a thief with the password plants a secret that the owner scans."""
    person.begin_app()
    assert authenticators.waiting_secret(person.user, origin=PAGE)
    assert authenticators.waiting_secret(person.user, origin=OTHER_PAGE) is None
    assert person.confirm_app(origin=OTHER_PAGE).outcome is FactorOutcome.NOTHING_WAITING
    assert person.confirm_app().outcome is FactorOutcome.OK


# -- a session that was ended asks in vain -----------------------------------------


def ask_for_number(user: User, person: Person) -> object:
    return opt_ins.opt_in(user, person.file, OTHER_NUMBER, origin=PAGE, standing=proved())


ASKED: list[Any] = [
    pytest.param(ask_for_number, id="a number"),
    pytest.param(
        lambda user, person: authenticators.begin_app(user, standing=proved(), origin=PAGE),
        id="an app",
    ),
    pytest.param(
        lambda user, person: authenticators.keep_recovery_codes(
            user,
            ["0123-4567-89AB-CDEF"],
            instead_of=authenticators.newest_recovery_code(user),
            standing=proved(),
            origin=PAGE,
        ),
        id="recovery codes",
    ),
    pytest.param(
        lambda user, person: authenticators.turn_off(
            user,
            person.app_code(),
            removal=authenticators.Removal.ALL,
            standing=proved(None),
            origin=PAGE,
        ),
        id="turning off",
    ),
    pytest.param(
        lambda user, person: authenticators.allow_texts(user, standing=proved(), origin=PAGE),
        id="texts on again",
    ),
    pytest.param(
        lambda user, person: challenges.check(user, Purpose.CHANGE, person.app_code(), origin=PAGE),
        id="a proof",
    ),
    pytest.param(
        lambda user, person: challenges.challenge(user, Purpose.CHANGE, origin=PAGE), id="a text"
    ),
    pytest.param(
        lambda user, person: passwords.choose(user, NEW, origin=PAGE, standing=proved(None)),
        id="a password",
    ),
]


@pytest.mark.parametrize("ask", ASKED)
def test_a_request_of_an_ended_session_does_nothing(
    full: Person, ask: Callable[[User, Person], object]
) -> None:
    """It was on its way when a new password, or a new factor, ended all sessions (S-34)."""
    stale = full.user
    passwords.choose(full.user, NEW, origin=OTHER_PAGE, standing=proved(None))
    with nothing_happens(full.phone), pytest.raises(SignedOut):
        ask(stale, full)


def test_a_code_entered_in_an_ended_session_activates_nothing(person: Person) -> None:
    row = person.name_number()
    stale, code = person.user, person.phone.code()
    person.user.end_sign_ins(timezone.now())
    with pytest.raises(SignedOut):
        opt_ins.verify_opt_in(stale, person.file, row, code, origin=PAGE)
    assert person.has == set()


def test_a_new_password_ends_what_was_begun(full: Person) -> None:
    """A change of number that waited for its code, too."""
    row = full.name_number()
    code = full.phone.code()
    passwords.choose(full.user, NEW, origin=PAGE, standing=proved(None))
    assert full.prove_number(row, code).outcome is CodeOutcome.OTP_INCORRECT
    assert full.number
    assert full.number.pk != row


# -- passwords ---------------------------------------------------------------------


def test_a_password_needs_the_old_one_lately(person: Person) -> None:
    with nothing_happens(person.phone), pytest.raises(PasswordNeeded):
        passwords.choose(person.user, NEW, origin=PAGE, standing=Standing())


def test_a_mailed_link_works_once(person: Person) -> None:
    """Two forms that were loaded before: the second finds the link used, under the lock."""
    user = person.user
    token = default_token_generator.make_token(user)
    passwords.choose(user, NEW, origin=PAGE, link=token)
    with nothing_happens(person.phone), pytest.raises(SignedOut):
        passwords.choose(user, "a third one", origin=PAGE, link=token)
    assert person.user.check_password(NEW)


@pytest.mark.parametrize("link", ["", "nothing", "cv1234-0123456789abcdef0123456789abcdef"])
def test_without_a_link_or_a_proof_there_is_no_password(person: Person, link: str) -> None:
    with nothing_happens(person.phone), pytest.raises(SignedOut):
        passwords.choose(person.user, NEW, origin=PAGE, link=link)


# -- "this was not me" -------------------------------------------------------------


@pytest.mark.parametrize("behind", [0, 5], ids=["one clock", "another server's clock"])
def test_the_mailbox_alone_removes_no_factor(person: Person, behind: int) -> None:
    """S-30: a new password by mail, and then the link of the other mail."""
    person.set_up(By.TEXT)
    notice = notice_of(person, Notice.Kind.ACTIVATED)
    user = person.user
    person.clock.move_to(notice.created_at - timedelta(seconds=behind))
    passwords.choose(user, NEW, origin=PAGE, link=default_token_generator.make_token(user))

    not_me.disown(notice, NEW, origin=PAGE)

    assert person.has == {By.TEXT}
    assert "We took nothing back, because a link from an email" in str(mail.outbox[-1].body)


@pytest.mark.parametrize(("by_mail", "left"), [(True, 10), (False, 0)])
def test_nor_does_it_delete_recovery_codes(person: Person, by_mail: bool, left: int) -> None:
    """They are a way back in for the owner, whose mailbox a thief reads."""
    person.set_up(By.APP)
    person.make_recovery_codes()
    assert person.left() == 10
    user = person.user
    if by_mail:
        passwords.choose(user, NEW, origin=PAGE, link=default_token_generator.make_token(user))
    password = NEW if by_mail else PASSWORD
    not_me.disown(notice_of(person, Notice.Kind.APP_ADDED), password, origin=PAGE)
    assert person.left() == left


def test_a_password_of_one_s_own_still_does(person: Person) -> None:
    person.set_up(By.TEXT)
    passwords.choose(person.user, NEW, origin=PAGE, standing=proved(None))
    not_me.disown(notice_of(person, Notice.Kind.ACTIVATED), NEW, origin=PAGE)
    assert person.has == set()


def test_an_old_link_leaves_a_later_number(person: Person) -> None:
    """It is about the number that its mail told of."""
    person.set_up(By.TEXT)
    old = notice_of(person, Notice.Kind.ACTIVATED)
    person.add_number(OTHER_NUMBER)
    later = person.number
    not_me.disown(old, PASSWORD, origin=PAGE)
    assert person.number == later
    assert "the change had already ended, or nothing was added" in str(mail.outbox[-1].body)
    not_me.disown(notice_of(person, Notice.Kind.CHANGED), PASSWORD, origin=PAGE)
    assert person.number is None


def test_a_passkey_of_a_thief_goes_and_the_others_stay(person: Person) -> None:
    """By the mail that told of it, and by that of a removal before it."""
    person.set_up(By.TEXT, By.PASSKEY)
    mine = Passkey.objects.get()
    for kind in (Notice.Kind.PASSKEY_ADDED, Notice.Kind.PASSKEY_REMOVED):
        person.keys = Authenticator()
        person.add_passkey("lost")
        lost = Passkey.objects.latest("pk")
        person.clock.shift(60)
        staff_actions.remove_passkey(person.user, passkey=lost.pk, reason="asked", origin=PAGE)
        person.clock.shift(60)
        person.add_passkey("a thief's")
        thiefs = Passkey.objects.latest("pk")
        data = {"notice": kind, "effect": "removes", "removed": ["passkey"]}
        with one_event(AuditEvent.Kind.DISOWN, "ok", {**data, "passkeys": [thiefs.pk]}):
            not_me.disown(notice_of(person, kind), PASSWORD, origin=PAGE)
        assert Passkey.objects.get() == mine
        assert "We removed the passkey that was added." in str(mail.outbox[-1].body)
        person.clock.shift(3600)


def test_a_removal_takes_back_only_what_came_after(person: Person) -> None:
    person.set_up(By.TEXT, By.APP)
    person.turn_off(person.app_code(), authenticators.Removal.APP)
    removed = notice_of(person, Notice.Kind.APP_REMOVED)
    Notice.objects.filter(pk=removed.pk).update(kind=Notice.Kind.RELEASED)
    removed.refresh_from_db()
    person.clock.shift(1)

    not_me.disown(removed, PASSWORD, origin=PAGE)

    assert person.has == {By.TEXT}  # it was there before


# -- recovery codes ----------------------------------------------------------------


def test_an_old_list_does_not_come_back(person: Person) -> None:
    """Its form, found with the back button, after another list was kept."""
    person.set_up(By.TEXT, By.RECOVERY)
    first, before = person.recovery, authenticators.newest_recovery_code(person.user)
    used = first[0]
    assert person.check(used).outcome is CodeOutcome.OK
    person.make_recovery_codes()

    again = authenticators.keep_recovery_codes(
        person.user, first, instead_of=before - 10, standing=proved(), origin=PAGE
    )

    assert again.outcome is FactorOutcome.NOTHING_WAITING
    person.clock.shift(61)
    assert person.check(used).outcome is CodeOutcome.OTP_INCORRECT
    assert person.check(person.recovery[0]).outcome is CodeOutcome.OK
