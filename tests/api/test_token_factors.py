"""Tokens for who has an authenticator app or recovery codes, beside a number or without one."""

from collections.abc import Callable

import pytest
import time_machine
from oauth2_provider.models import AccessToken

from optin import codes
from optin.conf import Rate, conf
from optin.models import AuditEvent, File, RecoveryCode, User
from optin.outcomes import By
from tests.kit.clients import BODIES, Api, Tokens, error
from tests.kit.phone import Phone
from tests.kit.world import Person

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
]

CODE_REQUIRED = (401, "2fa_code_required")
REFUSED = (400, "invalid_grant")
MALFORMED = (400, "invalid_request")
TOO_MANY = (429, "temporarily_unavailable")


@pytest.fixture
def person(user: User, file: File, phone: Phone, clock: time_machine.Traveller) -> Person:
    return Person(user, file, phone, clock)


@pytest.fixture
def full(person: Person) -> Person:
    """``user`` with every factor."""
    person.set_up(*By)
    return person


def texted(person: Person) -> str:
    assert error(Tokens().sign_in()) == CODE_REQUIRED
    return person.phone.code()


def right(person: Person, by: By) -> str:
    return texted(person) if by is By.TEXT else person.right(by)


# -- any factor, in any format -----------------------------------------------------


@pytest.mark.parametrize("media_type", BODIES)
@pytest.mark.parametrize("call", ["token", "token-2fa"])
@pytest.mark.parametrize("by", list(By))
def test_any_factor_serves_once(full: Person, by: By, call: str, media_type: str) -> None:
    tokens = Tokens(call=call, media_type=media_type)
    code = right(full, by)

    answer = tokens.sign_in(verification_code=code)

    assert answer.status == 200
    assert Api(token=answer.data["access_token"]).ping().status == 200
    assert error(tokens.sign_in(verification_code=code)) == REFUSED
    event = AuditEvent.objects.filter(kind="check", outcome="ok").get()
    used = RecoveryCode.objects.filter(used_at__isnull=False)
    which = {"recovery_code": used.get().pk} if by is By.RECOVERY else {}
    assert event.data == {"by": by, "purpose": "sign_in", **which}


def test_one_body_for_any_wrong_code(full: Person) -> None:
    texted(full)
    answers = [Tokens().sign_in(verification_code=full.wrong(by)) for by in By]
    assert {error(answer) for answer in answers} == {REFUSED}
    assert len({answer.content for answer in answers}) == 1
    assert full.now.otp_failures == len(By)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    "spell",
    [str.lower, codes.clean, lambda code: " ".join(code), lambda code: f"\u2003{code}\n"],
    ids=["small", "no-dashes", "spaced", "around"],
)
def test_a_recovery_code_in_any_spelling(full: Person, spell: Callable[[str], str]) -> None:
    """S-10."""
    assert Tokens().sign_in(verification_code=spell(full.recovery[0])).status == 200
    assert error(Tokens().sign_in(verification_code=full.recovery[0])) == REFUSED


# -- no code -----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["token", "token-2fa"])
def test_an_app_alone_sends_no_text(person: Person, call: str) -> None:
    person.set_up(By.APP)
    answer = Tokens(call=call).sign_in()
    assert error(answer) == CODE_REQUIRED
    assert "WWW-Authenticate" in answer.headers
    assert person.phone.messages == []
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome) == ("sign_in", "2fa_code_required")
    assert Tokens(call=call).sign_in(verification_code=person.app_code()).status == 200


def test_a_client_gets_in_with_the_next_code(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G-03: the first of two is answered like a wrong one, so a client needs nothing new."""
    monkeypatch.setattr(conf, "app_failures", Rate(1, 3600))
    person.set_up(By.APP)
    for code in (person.wrong(By.APP), person.app_code()):
        assert error(Tokens().sign_in(verification_code=code)) == REFUSED
    person.clock.shift(30)
    assert Tokens().sign_in(verification_code=person.app_code()).status == 200


def test_recovery_codes_alone_are_no_factor(person: Person) -> None:
    """S-31: there are none without one; the token needs no code."""
    person.set_up(By.TEXT, By.RECOVERY)
    person.turn_off(person.recovery[0])
    assert Tokens().sign_in().status == 200


# -- locked, disabled, suspended ---------------------------------------------------


@pytest.mark.parametrize("call", ["token", "token-2fa"])
@pytest.mark.parametrize("by", list(By))
@pytest.mark.parametrize("state", [Person.disable, Person.suspend], ids=["disabled", "suspended"])
def test_what_leads_out(full: Person, state: Callable[[Person], None], by: By, call: str) -> None:
    """S-07a: no text, and a texted code from before is refused; app and recovery code serve."""
    tokens, code = Tokens(call=call), right(full, by)
    state(full)
    texts = len(full.phone.messages)

    full.clock.shift(30)
    assert error(tokens.sign_in()) == CODE_REQUIRED
    assert len(full.phone.messages) == texts
    answer = tokens.sign_in(verification_code=code)

    if by is By.TEXT:
        assert error(answer) == REFUSED
        assert not AccessToken.objects.exists()
    else:
        assert answer.status == 200
    assert full.has == {By.TEXT, By.APP}


# -- what goes on ------------------------------------------------------------------


def test_a_refresh_asks_for_no_code_and_goes_on_while_barred(full: Person) -> None:
    """It was given with a second factor; a bar is on guesses."""
    first = Tokens().sign_in(verification_code=full.app_code())
    for state in (Person.lock, Person.disable, Person.suspend):
        state(full)
        assert Tokens().refresh(first.data["refresh_token"]).status == 200


@pytest.mark.parametrize("later", [Person.add_app, Person.add_number], ids=["app", "number"])
def test_a_refresh_token_from_before_a_factor_is_gone(
    person: Person, later: Callable[[Person], object]
) -> None:
    """S-30, S-34."""
    first = Tokens().sign_in()
    assert first.status == 200
    later(person)
    assert error(Tokens().refresh(first.data["refresh_token"])) == REFUSED


def test_a_client_repeats_nothing(full: Person) -> None:
    """S-03: the rule of the double click is for sessions of pages."""
    code = full.wrong(By.APP)
    for n in range(1, 4):
        assert error(Tokens().sign_in(verification_code=code)) == REFUSED
        assert full.now.otp_failures == n


# -- the calls under /User/ --------------------------------------------------------


@pytest.mark.parametrize("by", [By.APP, By.RECOVERY])
def test_only_the_phone_opts_out(full: Person, access_key: str, by: By) -> None:
    """S-32: a key and an app's or a recovery code do not turn off a number."""
    api = Api(key=access_key)
    assert api.opt_out().brief == (401, "2fa_code_required")
    assert api.opt_out(full.right(by)).brief == (400, "invalid_request")
    assert full.now.otp_failures == 0
    assert full.has == {By.TEXT, By.APP}
    assert full.left() == 10


def test_opting_out_beside_an_app_says_that_two_factor_stays_on(
    full: Person, access_key: str
) -> None:
    api = Api(key=access_key)
    api.opt_out()
    answer = api.opt_out(full.phone.code())
    assert (answer.status, full.has) == (200, {By.APP})
    assert answer.data == {
        "StatusMessage": "The mobile number is no longer used. Two-factor authentication stays on, "
        "with the authenticator app.",
        "_links": [],  # an opt-in would be refused
    }


def test_an_app_alone_leaves_nothing_to_opt_out_from(person: Person, access_key: str) -> None:
    person.set_up(By.APP)
    api = Api(key=access_key)
    assert api.opt_out().brief == (409, "not_opted_in")
    assert api.opt_out("1234567").brief == (409, "not_opted_in")
    assert person.has == {By.APP}


@pytest.mark.parametrize("kinds", [{By.APP}, {By.TEXT}, set(By)], ids=len)
@pytest.mark.parametrize("number", ["0491 570 156", "0491 570 157"])
def test_no_key_changes_a_number(
    person: Person, access_key: str, kinds: set[By], number: str
) -> None:
    """S-32."""
    person.set_up(*kinds)
    has, texts = person.has, len(person.phone.messages)
    assert Api(key=access_key).opt_in(number).brief == (409, "already_opted_in")
    assert (person.has, len(person.phone.messages)) == (has, texts)


@pytest.mark.parametrize("media_type", ["application/json", "application/xml"])
def test_no_key_proves_an_opt_in_from_before_a_factor(
    person: Person, access_key: str, media_type: str
) -> None:
    """S-32."""
    api = Api(key=access_key, media_type=media_type)
    begun = api.opt_in("0491 570 157")
    code = person.phone.code()
    person.add_app()
    late = api.verify(begun.data["ProviderUserId"], code)
    assert late.brief == (400, "otp_incorrect")
    assert person.has == {By.APP}
