"""Another number in place of the active one (P-08, S-32, S-54)."""

from collections.abc import Callable

import pytest
from django.core import mail
from django.utils import timezone

from optin.models import AuditEvent, Notice, ProviderUser, SmsMessage, User
from optin.operations import opt_ins
from optin.outcomes import By, CodeOutcome, SendOutcome
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import wrong
from tests.kit.trail import decided_by, one_event
from tests.kit.world import CODES, PAGE, Person, nothing_happens, notices, proved

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind


@pytest.fixture
def owner(person: Person) -> Person:
    """``user`` with ``NUMBER`` active and recovery codes."""
    person.set_up(By.TEXT, By.RECOVERY)
    return person


@pytest.mark.parametrize("by", CODES)
def test_the_old_number_stays_until_the_new_one_is_proved(owner: Person, by: By) -> None:
    old = owner.number
    assert old
    with one_event(Kind.OPT_IN, SendOutcome.SENT, user_id=owner.user.pk, last_three="157"):
        new = owner.name_number(by=by)
    assert owner.phone.messages[-1][0] == OTHER_NUMBER
    assert owner.number == old
    assert owner.prove_number(new, wrong(owner.phone.code())).outcome is CodeOutcome.OTP_INCORRECT
    assert owner.number == old
    assert owner.check(owner.text()).outcome is CodeOutcome.OK  # still the way in

    code, epoch = owner.phone.code_to(OTHER_NUMBER), owner.user.session_epoch
    data = {"replaced": old.pk}
    with one_event(Kind.VERIFY_OPT_IN, CodeOutcome.OK, data, provider_user_id=new):
        assert owner.prove_number(new, code).outcome is CodeOutcome.OK

    assert owner.number
    assert owner.number.pk == new
    old.refresh_from_db()
    assert (old.confirmed, old.released_at) == (False, timezone.now())
    assert owner.user.session_epoch == epoch + 1
    assert owner.left() == 10  # there was a factor all the time


def test_the_old_number_is_told_by_text_and_by_mail(owner: Person) -> None:
    """S-54: no code and no full number in either."""
    new = owner.name_number()
    mail.outbox.clear()
    texts = len(owner.phone.messages)

    owner.prove_number(new)

    ((to, body),) = owner.phone.messages[texts:]
    assert to == NUMBER
    assert body.startswith("Your Two-Factor account now uses another mobile number.")
    assert OTHER_NUMBER[-3:] not in body
    assert "://" not in body
    assert notices(owner.user)[-1] == Notice.Kind.CHANGED
    (letter,) = mail.outbox
    assert "Your mobile number was changed" in letter.subject
    assert "/not-me/" in letter.body
    assert OTHER_NUMBER[4:] not in letter.body.replace(" ", "")


def test_a_change_back_and_forth(owner: Person) -> None:
    """One row a number; each change tells the number before."""
    owner.add_number(OTHER_NUMBER)
    owner.clock.shift(600)
    owner.add_number(NUMBER)
    assert ProviderUser.objects.count() == 2
    farewells = SmsMessage.objects.exclude(news_to=None).order_by("pk")
    assert [row.provider_user.last_three for row in farewells] == ["156", "157"]


def test_a_new_number_that_somebody_else_has(owner: Person, stranger: User) -> None:
    """Nothing changes: the old one stays active, and is told nothing."""
    other = Person(stranger, owner.file, owner.phone, owner.clock)
    other.add_number(OTHER_NUMBER)
    owner.clock.shift(60)
    new = owner.name_number()
    owner.fail_before(3)
    old, told, epoch = owner.number, notices(owner.user), owner.user.session_epoch
    texts = len(owner.phone.messages)

    facts = {"other_user_id": stranger.pk, "user_id": owner.user.pk}
    with one_event(Kind.VERIFY_OPT_IN, CodeOutcome.MOBILE_NUMBER_IN_USE, {}, **facts):
        assert owner.prove_number(new).outcome is CodeOutcome.MOBILE_NUMBER_IN_USE

    assert owner.number == old
    assert old
    assert old.released_at is None
    assert owner.user.session_epoch == epoch
    assert (notices(owner.user), len(owner.phone.messages)) == (told, texts)
    assert notices(stranger)[-1] == Notice.Kind.NUMBER_CLAIMED
    assert owner.user.otp_failures == 0
    again = owner.prove_number(new)
    assert (again.outcome, again.repeated) == (CodeOutcome.MOBILE_NUMBER_IN_USE, True)


def test_turning_off_leaves_a_begun_change_an_opt_in(owner: Person) -> None:
    """There is no factor any more that it could get past."""
    new = owner.name_number()
    code = owner.phone.code()
    owner.turn_off(owner.recovery[0])
    assert owner.has == set()
    assert owner.prove_number(new, code).outcome is CodeOutcome.OK
    assert notices(owner.user)[-1] == Notice.Kind.ACTIVATED


# -- what a client cannot (S-32) ---------------------------------------------------


@pytest.mark.parametrize("kinds", [{By.TEXT}, {By.APP}, set(CODES)], ids=["number", "app", "both"])
@pytest.mark.parametrize("number", [NUMBER, OTHER_NUMBER])
def test_a_client_cannot_begin_a_change(person: Person, kinds: set[By], number: str) -> None:
    """S-32."""
    person.set_up(*kinds)
    texts, has = len(person.phone.messages), person.has
    with one_event(Kind.OPT_IN, SendOutcome.ALREADY_OPTED_IN, decided_by("already_opted_in")):
        sending = opt_ins.opt_in(person.user, person.file, number, origin=ORIGIN)
    assert sending.outcome is SendOutcome.ALREADY_OPTED_IN
    assert (len(person.phone.messages), person.has) == (texts, has)


def by_page(person: Person) -> None:
    person.add_number(NUMBER)


def by_client(person: Person) -> None:
    sending = opt_ins.opt_in(person.user, person.file, NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    opt_ins.verify_opt_in(
        person.user, person.file, sending.provider_user_id, person.phone.code(), origin=ORIGIN
    )


def by_app(person: Person) -> None:
    person.add_app()


@pytest.mark.parametrize("activate", [by_page, by_client, by_app])
def test_an_opt_in_from_before_never_changes_a_factor(
    person: Person, activate: Callable[[Person], None]
) -> None:
    """S-32."""
    sending = opt_ins.opt_in(person.user, person.file, OTHER_NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    code = person.phone.code()
    activate(person)
    number, has = person.number, person.has

    late = opt_ins.verify_opt_in(
        person.user, person.file, sending.provider_user_id, code, origin=ORIGIN
    )

    assert late.outcome is CodeOutcome.OTP_INCORRECT
    assert (person.number, person.has) == (number, has)
    assert person.user.otp_failures == 0


# -- sending it again --------------------------------------------------------------


def test_it_is_sent_again_to_nobody_elses_number(owner: Person, stranger: User) -> None:
    """S-33."""
    new = owner.name_number()
    owner.clock.shift(60)
    with nothing_happens(owner.phone):
        again = opt_ins.send_again(stranger, new, origin=PAGE, standing=proved(None))
    assert again.outcome is SendOutcome.NOT_OPTED_IN
