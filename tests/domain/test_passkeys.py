"""Passkeys as a second factor: what an answer must be, and what it brings about."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from optin.models import AuditEvent, Notice, Passkey, Purpose
from optin.operations import authenticators, passkeys, sign_in
from optin.operations.authenticators import Removal
from optin.operations.factors import Standing
from optin.outcomes import By, CodeOutcome, FactorOutcome, NotCompared, SignInOutcome
from optin.passkeys import MAX_ANSWER, Answer, PasskeyFault
from tests.kit.authenticator import Authenticator
from tests.kit.people import PASSWORD
from tests.kit.trail import one_event
from tests.kit.world import OTHER_PAGE, PAGE, Person, notices, proved

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind


@pytest.fixture
def keyed(person: Person) -> Person:
    """``user`` with a number and a passkey."""
    person.set_up(By.TEXT, By.PASSKEY)
    return person


def test_adding_one_ends_other_sign_ins_and_tells_the_person(person: Person) -> None:
    epoch = person.user.session_epoch
    with one_event(Kind.PASSKEY, FactorOutcome.OK):
        assert person.add_passkey().outcome is FactorOutcome.OK
    assert person.has == {By.PASSKEY}
    assert person.user.session_epoch == epoch + 1
    assert notices(person.user) == [Notice.Kind.PASSKEY_ADDED]
    (row,) = Passkey.objects.of(person.user)
    assert (row.name, row.transports) == ("Blue key", "internal hybrid")


def test_no_text_leaves_by_itself_beside_a_passkey(keyed: Person) -> None:
    """... and it leads in, where codes are locked too. It starts the count again."""
    before = len(keyed.phone.messages)
    asked = sign_in.sign_in(keyed.user.username, PASSWORD, origin=PAGE)
    assert (asked.outcome, asked.sending) == (SignInOutcome.CODE_REQUIRED, None)
    assert len(keyed.phone.messages) == before
    keyed.lock()
    data = {"by": By.PASSKEY, "passkey": Passkey.objects.get().pk, "purpose": Purpose.SIGN_IN}
    answer = keyed.shown()
    with one_event(Kind.CHECK, CodeOutcome.OK, data):
        assert keyed.check(answer).by is By.PASSKEY
    assert (keyed.user.otp_failures, keyed.user.otp_locked_until) == (0, None)
    assert Passkey.objects.get().last_used_at == timezone.now()


Attempt = Callable[[Person], Answer]


def expired(person: Person) -> Answer:
    answer = person.shown()
    person.clock.shift(timedelta(minutes=5))
    return answer


def used(person: Person) -> Answer:
    answer = person.shown()
    assert person.check(answer).outcome is CodeOutcome.OK
    return answer


def older_tab(person: Person) -> Answer:
    answer = person.shown()
    assert person.check(person.shown()).outcome is CodeOutcome.OK
    return answer


def cloned(person: Person) -> Answer:
    answer = person.shown()
    assert person.check(answer).outcome is CodeOutcome.OK
    for key in person.keys.keys:
        key.sign_count = 0
    return person.shown()


def foreign(person: Person) -> Answer:
    """Of a key that has the id of the person's, or so it says: another signature."""
    person.keys = Authenticator(keys=Authenticator().keys)
    asked = passkeys.ask_to_add(person.user, origin=PAGE)
    person.keys.create({**json.loads(asked.options), "excludeCredentials": []})
    asked = passkeys.ask(Purpose.SIGN_IN, [], origin=PAGE)
    return Answer(person.keys.get(asked.options), asked.challenge)


def elsewhere(person: Person) -> Answer:
    person.keys.origin = "https://2fa.example.net"
    return person.shown()


def with_other_challenge(person: Person) -> Answer:
    return replace(person.shown(), challenge=person.shown().challenge)


REFUSED = [
    pytest.param(expired, PasskeyFault.EXPIRED, id="expired"),
    pytest.param(used, PasskeyFault.USED, id="used"),
    pytest.param(older_tab, PasskeyFault.USED, id="older-tab"),
    pytest.param(cloned, PasskeyFault.CLONED, id="cloned"),
    pytest.param(foreign, PasskeyFault.UNKNOWN, id="foreign"),
    pytest.param(elsewhere, PasskeyFault.WRONG_ORIGIN, id="other-origin"),
    pytest.param(with_other_challenge, PasskeyFault.OTHER_SESSION, id="other-challenge"),
    pytest.param(lambda p: p.shown(origin=OTHER_PAGE), PasskeyFault.OTHER_SESSION, id="session"),
    pytest.param(lambda p: p.shown(Purpose.CHANGE), PasskeyFault.OTHER_SESSION, id="purpose"),
    pytest.param(
        lambda p: replace(p.shown(), credential="[" * MAX_ANSWER), PasskeyFault.INVALID, id="deep"
    ),
    pytest.param(
        lambda p: replace(p.shown(), credential="1" * (MAX_ANSWER + 1)),
        PasskeyFault.INVALID,
        id="long",
    ),
    pytest.param(lambda p: replace(p.shown(), challenge=""), PasskeyFault.OTHER_SESSION, id="none"),
]


@pytest.mark.parametrize(("attempt", "fault"), REFUSED)
def test_a_refused_one_is_no_guess(keyed: Person, attempt: Attempt, fault: PasskeyFault) -> None:
    answer = attempt(keyed)
    keyed.fail_before(9)
    known = len(notices(keyed.user))
    data = {"why": fault, "purpose": Purpose.SIGN_IN}
    with one_event(Kind.CHECK, CodeOutcome.PASSKEY_REFUSED, data):
        result = keyed.check(answer)
    assert (result.outcome, result.data["why"]) == (CodeOutcome.PASSKEY_REFUSED, fault)
    assert (keyed.user.otp_failures, keyed.user.otp_locked_until) == (9, None)
    told = [Notice.Kind.PASSKEY_CLONED] if fault is PasskeyFault.CLONED else []
    assert notices(keyed.user)[known:] == told


def test_one_that_a_session_added_proves_nothing_in_it(person: Person) -> None:
    """G-02: whoever stole the cookie adds one of their own."""
    person.set_up(By.TEXT)
    signed_in_at = timezone.now()
    person.add_passkey()
    standing = Standing(timezone.now(), timezone.now(), By.TEXT, signed_in_at)
    result = authenticators.turn_off(
        person.user,
        person.shown(Purpose.OPT_OUT),
        removal=Removal.ALL,
        standing=standing,
        origin=PAGE,
    )
    assert result.data["why"] == NotCompared.MADE_SINCE
    assert person.has == {By.TEXT, By.PASSKEY}


def test_it_turns_off_itself_or_all(keyed: Person) -> None:
    keyed.keys = Authenticator(keys=keyed.keys.keys)
    first = Passkey.objects.get()
    result = authenticators.turn_off(
        keyed.user,
        keyed.shown(Purpose.OPT_OUT),
        removal=Removal.PASSKEY,
        passkey_id=first.pk,
        standing=proved(None),
        origin=PAGE,
    )
    assert result.outcome is CodeOutcome.OK
    assert keyed.has == {By.TEXT}
    assert notices(keyed.user)[-1] == Notice.Kind.PASSKEY_REMOVED
