"""Passkeys as a second factor: what an answer must be, and what it brings about."""

import pytest
from django.utils import timezone

from optin.models import AuditEvent, Notice, Passkey, Purpose
from optin.operations import sign_in
from optin.operations.authenticators import Removal
from optin.operations.factors import Standing
from optin.outcomes import By, CodeOutcome, FactorOutcome, NotCompared, SignInOutcome
from tests.kit.authenticator import Authenticator
from tests.kit.people import PASSWORD
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, notices

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind


def test_adding_one_ends_other_sign_ins_and_tells_the_person(person: Person) -> None:
    epoch = person.user.session_epoch
    with one_event(Kind.PASSKEY, FactorOutcome.OK):
        assert person.add_passkey().outcome is FactorOutcome.OK
    assert person.has == {By.PASSKEY}
    assert person.user.session_epoch == epoch + 1
    assert notices(person.user) == [Notice.Kind.PASSKEY_ADDED]
    (row,) = Passkey.objects.of(person.user)
    assert (row.name, row.transports) == ("Blue key", "internal hybrid")


def test_no_text_leaves_by_itself_beside_a_passkey(person: Person) -> None:
    """... and it leads in, where codes are locked too. It starts the count again."""
    person.set_up(By.TEXT, By.PASSKEY)
    before = len(person.phone.messages)
    asked = sign_in.sign_in(person.user.username, PASSWORD, origin=PAGE)
    assert (asked.outcome, asked.sending) == (SignInOutcome.CODE_REQUIRED, None)
    assert len(person.phone.messages) == before
    person.lock()
    data = {"by": By.PASSKEY, "passkey": Passkey.objects.get().pk, "purpose": Purpose.SIGN_IN}
    answer = person.shown()
    with one_event(Kind.CHECK, CodeOutcome.OK, data):
        assert person.check(answer).by is By.PASSKEY
    assert (person.user.otp_failures, person.user.otp_locked_until) == (0, None)
    assert Passkey.objects.get().last_used_at == timezone.now()


def test_one_that_a_session_added_proves_nothing_in_it(person: Person) -> None:
    """G-02: whoever stole the cookie adds one of their own."""
    person.set_up(By.TEXT)
    signed_in_at = timezone.now()
    person.add_passkey()
    standing = Standing(timezone.now(), timezone.now(), By.TEXT, signed_in_at)
    result = person.turn_off(person.shown(Purpose.OPT_OUT), standing=standing)
    assert result.data["why"] == NotCompared.MADE_SINCE
    assert person.has == {By.TEXT, By.PASSKEY}


def test_removing_another_one_is_another_guess(person: Person) -> None:
    """... or it would be said to be removed and is not."""
    person.set_up(By.APP, By.PASSKEY)
    person.keys = Authenticator()
    person.add_passkey()
    person.clock.shift(60)
    code = person.app_code()
    results = [
        person.turn_off(code, Removal.PASSKEY, passkey_id=one.pk)
        for one in Passkey.objects.of(person.user)
    ]
    assert [result.outcome for result in results] == [CodeOutcome.OK, CodeOutcome.OTP_INCORRECT]
    assert Passkey.objects.count() == 1


def test_it_turns_off_itself_or_all(person: Person) -> None:
    person.set_up(By.TEXT, By.PASSKEY)
    first = Passkey.objects.get()
    result = person.turn_off(person.shown(Purpose.OPT_OUT), Removal.PASSKEY, passkey_id=first.pk)
    assert result.outcome is CodeOutcome.OK
    assert person.has == {By.TEXT}
    assert notices(person.user)[-1] == Notice.Kind.PASSKEY_REMOVED
