"""A new email address: who gets it, when, and what stops it (S-39a)."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from optin.errors import Deactivated, FactorNeeded, SignedOut, TellingReason, UnfitAddress
from optin.models import AuditEvent, EmailChange, Notice, User
from optin.operations import email_changes, erasure, not_me, retention
from optin.origin import Face, Origin
from optin.outcomes import By, EmailOutcome
from tests.kit.people import PASSWORD, make_user
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, notices, proved

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind
Closed = EmailChange.Closed
COMMAND = Origin(Face.COMMAND)
DAY = timedelta(days=1)
OLD, NEW = "ann@example.com", "ann.new@example.org"
Clock = time_machine.Traveller


def ask(person: Person, address: str = NEW) -> EmailOutcome:
    return email_changes.ask(person.user, address, standing=proved(), origin=PAGE)


def prove(person: Person, change: EmailChange) -> EmailOutcome:
    return email_changes.prove(person.user, change, standing=proved(), origin=PAGE)


def waiting(person: Person, address: str = NEW) -> EmailChange:
    """Have it asked for and confirmed."""
    assert ask(person, address) is EmailOutcome.ASKED
    change = EmailChange.objects.open().get(user=person.user)
    assert prove(person, change) is EmailOutcome.PROVED
    change.refresh_from_db()
    return change


def updated(**fields: object) -> Callable[[Person], object]:
    return lambda person: User.objects.filter(pk=person.who.pk).update(**fields)


other_address = updated(email="by.support@example.com")


def carry_out() -> tuple[int, int]:
    carried = email_changes.carry_out(origin=COMMAND)
    return carried.out, carried.off


def closed_as(change: EmailChange) -> str:
    return EmailChange.objects.get(pk=change.pk).closed_as


# -- what is an address ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("  Ann.B@Example.ORG ", "Ann.B@example.org"),
        ("o'hara+2fa@sub.example.co.uk", "o'hara+2fa@sub.example.co.uk"),
        ("", None),
        ("ann@localhost", None),
        ("ann@[127.0.0.1]", None),
        ("ann@example.org\r\nSubject: x", None),
        ('"ann, thief"@example.org', None),
        ("\u212aim@example.org", None),  # the Kelvin sign: a k without case
        ("ann@m\u00fcller.de", None),
        (f"ann@{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}.org", None),
    ],
)
def test_an_address_is_kept_as_typed_but_for_its_domain(text: str, address: str | None) -> None:
    with pytest.raises(UnfitAddress) if address is None else nullcontext():
        assert email_changes.fit_address(text) == address


# -- asked for ---------------------------------------------------------------------


def test_both_mailboxes_are_told_and_the_trail_has_no_address(person: Person) -> None:
    with one_event(Kind.EMAIL, "asked", user_id=person.who.pk, face="web"):
        assert ask(person) is EmailOutcome.ASKED
    change = EmailChange.objects.get()
    assert AuditEvent.objects.latest("pk").data == {"change": change.pk}
    to_new, to_old = mail.outbox
    assert (to_new.to, to_old.to) == ([NEW], [OLD])
    assert "https://2fa.example.com/account/email/" in to_new.body
    words = to_new.body.replace(NEW, "").split()  # somebody else may read that mailbox
    assert not [word for word in words if "ann" in word and "://" not in word]
    assert "https://2fa.example.com/email-stop/" in to_old.body
    assert "3 November 2026, 23:00 AEDT" in to_old.body
    assert NEW not in to_old.body
    assert not any(NEW in str(vars(event)) for event in AuditEvent.objects.all())


def test_an_ended_session_and_a_deactivated_person_ask_for_nothing(person: Person) -> None:
    session = person.user
    ask(person)
    change = EmailChange.objects.get()
    acts: list[Callable[[User], object]] = [
        lambda user: email_changes.ask(user, "x@example.org", standing=proved(), origin=PAGE),
        lambda user: email_changes.prove(user, change, standing=proved(), origin=PAGE),
    ]
    person.user.end_sign_ins(timezone.now())
    for act in acts:
        with pytest.raises(SignedOut):
            act(session)
    User.objects.filter(pk=session.pk).update(is_active=False)
    for act in acts:
        with pytest.raises(Deactivated):
            act(person.user)


def test_what_is_no_change_or_cannot_be_confirmed(person: Person, settings: Settings) -> None:
    with one_event(Kind.EMAIL, "unchanged", {}):
        assert ask(person, "ANN@Example.com") is EmailOutcome.UNCHANGED
    settings.SENDS_MAIL = False
    with one_event(Kind.EMAIL, "no_mail", {}):
        assert ask(person) is EmailOutcome.NO_MAIL
    assert not mail.outbox
    assert not EmailChange.objects.exists()


def test_a_double_click_asks_once(person: Person, clock: Clock) -> None:
    ask(person)
    events = AuditEvent.objects.count()
    assert ask(person) is EmailOutcome.ASKED
    assert (len(mail.outbox), AuditEvent.objects.count()) == (2, events)
    clock.shift(60)
    assert ask(person) is EmailOutcome.ASKED  # the mail was lost: another one
    assert len(mail.outbox) == 4


def test_a_new_request_replaces_the_one_that_waits(person: Person, clock: Clock) -> None:
    first = waiting(person)
    second = waiting(person, "other@example.org")
    assert closed_as(first) == Closed.REPLACED
    assert prove(person, first) is EmailOutcome.NOTHING_WAITING
    clock.shift(DAY)
    assert carry_out() == (1, 0)
    assert closed_as(second) == Closed.DONE
    assert person.user.email == "other@example.org"


@pytest.mark.parametrize(
    ("given", "by", "outcome"),
    [
        (Person.suspend, By.APP, None),
        (Person.disable, By.APP, EmailOutcome.FACTOR_DISABLED),
        (Person.lock, By.APP, EmailOutcome.LOCKED),
    ],
    ids=["suspended, by the app", "disabled", "locked"],
)
def test_who_may_not_change_how_they_sign_in_changes_no_address(
    person: Person, given: Callable[[Person], None], by: By, outcome: EmailOutcome | None
) -> None:
    person.set_up(By.TEXT, By.APP)
    standing = proved(by)
    given(person)
    with one_event(Kind.EMAIL, outcome or "asked"):
        asked = email_changes.ask(person.user, NEW, standing=standing, origin=PAGE)
    assert asked is (outcome or EmailOutcome.ASKED)
    assert EmailChange.objects.exists() is (outcome is None)

    change = EmailChange.objects.first() or EmailChange.objects.create(
        user=person.who, old_address=OLD, new_address=NEW, asked_at=timezone.now()
    )
    with one_event(Kind.EMAIL, outcome or "proved"):
        email_changes.prove(person.user, change, standing=standing, origin=PAGE)
    change.refresh_from_db()
    assert bool(change.proved_at) is (outcome is None)


def test_a_text_from_before_the_suspension_changes_no_address(person: Person) -> None:
    """S-07a. Whoever has the lost phone proved its number a moment before."""
    person.set_up(By.TEXT, By.APP)
    standing = proved(By.TEXT)
    person.suspend()
    with pytest.raises(FactorNeeded):
        email_changes.ask(person.user, NEW, standing=standing, origin=PAGE)
    change = EmailChange.objects.create(
        user=person.who, old_address=OLD, new_address=NEW, asked_at=timezone.now()
    )
    with one_event(Kind.EMAIL, EmailOutcome.FACTOR_DISABLED):
        email_changes.prove(person.user, change, standing=standing, origin=PAGE)
    change.refresh_from_db()
    assert change.proved_at is None


# -- the address of somebody else --------------------------------------------------


@pytest.mark.parametrize("taken", ["BEN@example.com", "boss@example.org"], ids=["email", "name"])
def test_an_address_of_another_account_is_asked_for_like_any_other(
    person: Person, stranger: User, taken: str, clock: Clock
) -> None:
    """S-38: same rows, same events, and no link for whoever reads that mailbox."""
    make_user("boss@example.org")
    ask(person, taken)
    taken_mail = next(m for m in mail.outbox if m.to[0].lower() == taken.lower())
    assert taken_mail.subject == "Your email address has an account already"
    assert "/account/email/" not in taken_mail.body
    kinds, change = notices(person.user), EmailChange.objects.get()
    # If its link were made up all the same:
    with one_event(Kind.EMAIL, "proved"):
        prove(person, change)
    clock.shift(DAY)
    with one_event(Kind.EMAIL, "taken"):
        assert carry_out() == (0, 1)
    assert person.user.email == OLD
    ask(person)
    assert notices(person.user) == [*kinds, Notice.Kind.EMAIL_OFF, *kinds]


def test_statements_do_not_tell_whose_an_address_is(person: Person, stranger: User) -> None:
    """S-38: nor does their time. Whether it is taken is looked up by whoever sends the mail."""
    ask(person)  # the next ones replace one
    made = []
    for address in (stranger.email, "who@example.com"):
        with CaptureQueriesContext(connection) as captured:
            ask(person, address)
        made.append([query["sql"].split()[0] for query in captured])
    assert made[0] == made[1]
    assert made[0]


@pytest.mark.parametrize("is_seen", [True, False], ids=["meanwhile", "in the same moment"])
def test_who_took_the_address_meanwhile_keeps_it(
    person: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    """Also if the other's transaction commits after this one has looked."""
    change = waiting(person)
    User.objects.filter(pk=make_user("other").pk).update(email=NEW.upper())
    if not is_seen:
        monkeypatch.setattr(EmailChange, "is_taken", lambda self: False)
    clock.shift(DAY)
    with one_event(Kind.EMAIL, "taken", {"change": change.pk}):
        assert carry_out() == (0, 1)
    assert (person.user.email, closed_as(change)) == (OLD, Closed.TAKEN)
    assert notices(person.user)[-1] == Notice.Kind.EMAIL_OFF


# -- in effect ---------------------------------------------------------------------


def test_it_takes_effect_a_day_after_it_was_confirmed(person: Person, clock: Clock) -> None:
    """S-39a. A second factor ends other sessions, but says nothing against the address."""
    ask(person)
    clock.shift(timedelta(hours=23))
    change = EmailChange.objects.get()
    due = timezone.now() + DAY
    with one_event(Kind.EMAIL, "proved", {"change": change.pk, "due_at": due.isoformat()}):
        prove(person, change)
    with one_event(Kind.EMAIL, "unchanged"):
        assert prove(person, change) is EmailOutcome.UNCHANGED
    assert email_changes.waiting_for(person.user) == change
    person.add_app()
    clock.move_to(due - timedelta(microseconds=1), tick=False)
    assert carry_out() == (0, 0)
    clock.move_to(due, tick=False)
    epoch = person.user.session_epoch
    with one_event(Kind.EMAIL, "ok", {"change": change.pk}, user_id=person.who.pk, face="command"):
        assert carry_out() == (1, 0)
    assert carry_out() == (0, 0)
    assert (person.user.email, person.user.session_epoch) == (NEW, epoch)
    assert mail.outbox[-1].to == [OLD]
    assert email_changes.waiting_for(person.user) is None
    assert prove(person, change) is EmailOutcome.UNCHANGED
    assert email_changes.cancel(change, origin=PAGE) is EmailOutcome.NOTHING_WAITING


def test_the_link_works_for_a_day_and_for_nobody_else(
    person: Person, stranger: User, clock: Clock
) -> None:
    ask(person)
    change = EmailChange.objects.get()
    outcome = email_changes.prove(stranger, change, standing=proved(), origin=PAGE)
    assert outcome is EmailOutcome.NOTHING_WAITING
    assert not AuditEvent.objects.filter(user_id=stranger.pk, data__has_key="change").exists()
    clock.shift(DAY)
    with one_event(Kind.EMAIL, "nothing_waiting"):
        prove(person, change)
    assert email_changes.waiting_for(person.user) is None
    assert EmailChange.objects.get().proved_at is None
    assert carry_out() == (0, 0)


def told_late(person: Person) -> None:
    """The old mailbox refuses mails; a thief can fill it up."""
    asked = Notice.objects.filter(user=person.who, kind=Notice.Kind.EMAIL_ASKED)
    assert asked.update(sent_at=timezone.now() + DAY / 2 + timedelta(seconds=1)) == 1


def told_in_time(person: Person) -> None:
    asked = Notice.objects.filter(user=person.who, kind=Notice.Kind.EMAIL_ASKED)
    assert asked.update(sent_at=timezone.now() + DAY / 2) == 1


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        pytest.param(updated(is_active=False), EmailOutcome.DEACTIVATED, id="deactivated"),
        pytest.param(other_address, EmailOutcome.OTHERWISE, id="another-address"),
        pytest.param(told_in_time, EmailOutcome.OK, id="told-in-half-of-the-time"),
        pytest.param(told_late, EmailOutcome.UNTOLD, id="told-late"),
    ],
)
def test_what_is_true_at_the_end_decides(
    person: Person, clock: Clock, given: Callable[[Person], None], outcome: EmailOutcome
) -> None:
    """S-39a."""
    change = waiting(person)
    given(person)
    done, address = outcome is EmailOutcome.OK, person.user.email
    clock.shift(DAY)
    with one_event(Kind.EMAIL, outcome, {"change": change.pk}):
        assert carry_out() == (done, not done)
    assert closed_as(change) == (Closed.DONE if done else outcome.value)
    assert person.user.email == (NEW if done else address)
    assert (person.user.proved_email == person.user.email) is done


# -- taken back --------------------------------------------------------------------


def told(person: Person) -> list[Notice]:
    """The mails about addresses that took effect, oldest first."""
    mails = Notice.objects.filter(user=person.who, kind=Notice.Kind.EMAIL_CHANGED)
    return list(mails.order_by("pk"))


def disowned(person: Person, which: int = -1) -> list[str]:
    not_me.disown(told(person)[which], PASSWORD, origin=PAGE)
    removed: list[str] = AuditEvent.objects.latest("pk").data["removed"]
    return removed


def test_the_address_that_is_taken_away_is_told_too(person: Person, clock: Clock) -> None:
    """Its owner may have made the change, and a thief with the old mailbox taken it back."""
    in_effect(person, clock, NEW, "ann.newest@example.org")
    sent = len(mail.outbox)
    assert disowned(person, 0) == ["email"]
    told_of = {message.to[0]: message.subject for message in mail.outbox[sent:]}
    assert told_of == {
        OLD: "We've undone the change to your account",
        "ann.newest@example.org": "This is no longer the email address of your account",
    }


def in_effect(person: Person, clock: Clock, *addresses: str) -> None:
    """Have one change after the other take effect."""
    for address in addresses:
        waiting(person, address)
        clock.shift(DAY)
        assert carry_out() == (1, 0)


def taken_by_another(person: Person) -> None:
    User.objects.filter(pk=make_user("other").pk).update(email=OLD.upper())


@pytest.mark.parametrize(
    ("since", "effect", "said"),
    [
        pytest.param(lambda person: None, "PUTS_BACK", "We put your previous", id="nothing"),
        pytest.param(other_address, "GONE", "", id="another"),
        pytest.param(taken_by_another, "TAKEN", "We couldn't put your previous", id="taken"),
        pytest.param(
            lambda p: updated(password_mailed_at=timezone.now())(p), None, "", id="mailed"
        ),
    ],
)
def test_it_is_taken_back_but_not_over_what_came_since(
    person: Person, clock: Clock, since: Callable[[Person], object], effect: str | None, said: str
) -> None:
    """Another address, its new owner, or a password by a mailed link (S-39)."""
    in_effect(person, clock, NEW)
    since(person)
    if effect:
        assert not_me.effect(told(person)[0]).name == effect
    address = person.user.email
    taken_back = effect == "PUTS_BACK"
    assert disowned(person) == ["email"] * taken_back
    assert person.user.email == (OLD if taken_back else address)
    assert person.user.proved_email == NEW  # nothing is known of the old one
    assert said in str(mail.outbox[-1].body)


@pytest.mark.parametrize("thief_goes_back", [False, True])
def test_a_second_change_does_not_end_the_link_to_the_first_address(
    person: Person, clock: Clock, thief_goes_back: bool
) -> None:
    """Only the first mail went to the owner."""
    in_effect(person, clock, "b@thief.example.com", "c@thief.example.com")
    if thief_goes_back:
        assert disowned(person) == ["email"]
        assert person.user.email == "b@thief.example.com"
    assert not_me.effect(told(person)[0]) is not_me.Effect.PUTS_BACK
    assert disowned(person, 0) == ["email"]
    assert person.user.email == OLD
    if not thief_goes_back:
        assert disowned(person, 1) == []  # nor does the thief's link work after it
        assert person.user.email == OLD


def test_rows_go_after_a_month_but_for_what_waits(person: Person, clock: Clock) -> None:
    """Its cron job was away: the mail is gone by then, so nobody knows whether it was sent."""
    in_effect(person, clock, NEW)
    change = waiting(person, "waits@example.org")
    clock.shift(29 * DAY)
    retention.purge(origin=COMMAND)
    assert EmailChange.objects.count() == 2
    clock.shift(11 * DAY)
    assert retention.purge(origin=COMMAND)["email_changes"] == 1
    assert carry_out() == (0, 1)
    assert closed_as(change) == Closed.UNTOLD


def test_a_chain_ends_where_operators_gave_another_address(person: Person, clock: Clock) -> None:
    in_effect(person, clock, NEW)
    other_address(person)
    in_effect(person, clock, "ann.newest@example.org")
    assert not_me.effect(told(person)[0]) is not_me.Effect.GONE
    assert disowned(person, 0) == []
    assert person.user.email == "ann.newest@example.org"


# -- what is kept ------------------------------------------------------------------


def test_it_goes_with_the_person(person: Person, clock: Clock) -> None:
    waiting(person)
    with pytest.raises(TellingReason):
        erasure.erase(person.user, reason=f"asked from {NEW}", origin=COMMAND)
    erasure.erase(person.user, reason="asked for it", origin=COMMAND)
    assert not EmailChange.objects.exists()
    clock.shift(DAY)
    assert carry_out() == (0, 0)
