"""Tokens for who has an authenticator app or recovery codes, beside a number or without one."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from optin.causes import Why
from optin.models import AuditEvent, Passkey, RecoveryCode
from optin.outcomes import By
from optin.support.diagnosis import diagnose
from tests.kit.clients import Api, Tokens, error
from tests.kit.world import CODES, Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("password_clients")]

CODE_REQUIRED = (401, "2fa_code_required")
REFUSED = (400, "invalid_grant")
MALFORMED = (400, "invalid_request")
TOO_MANY = (429, "temporarily_unavailable")


def texted(person: Person) -> str:
    assert error(Tokens().sign_in()) == CODE_REQUIRED
    return person.phone.code()


def right(person: Person, by: By) -> str:
    return texted(person) if by is By.TEXT else person.right(by)


# -- any factor, in any format -----------------------------------------------------


@pytest.mark.parametrize("by", CODES)
def test_any_factor_serves_once(full: Person, by: By) -> None:
    tokens = Tokens(call="token-2fa", media_type="text/xml")
    code = right(full, by)

    answer = tokens.sign_in(verification_code=code)

    assert answer.status == 200
    assert Api(token=answer.data["access_token"]).ping().status == 200
    assert error(tokens.sign_in(verification_code=code)) == REFUSED
    event = AuditEvent.objects.filter(kind="check", outcome="ok").get()
    used = RecoveryCode.objects.filter(used_at__isnull=False)
    which = {"recovery_code": used.get().pk} if by is By.RECOVERY else {}
    assert event.data == {"by": by, "purpose": "sign_in", **which}


# -- no code -----------------------------------------------------------------------


def test_an_app_alone_sends_no_text(person: Person) -> None:
    person.set_up(By.APP)
    assert error(Tokens().sign_in()) == CODE_REQUIRED
    assert person.phone.messages == []


def test_a_passkey_alone_sends_no_text(person: Person) -> None:
    """The help says what a program can do: send a recovery code."""
    person.set_up(By.PASSKEY, By.RECOVERY)
    answer = Tokens().sign_in()
    assert error(answer) == CODE_REQUIRED
    assert "passkey" in answer.data["error_description"]
    assert answer.headers["Link"].endswith('#2fa_code_required.passkey_only>; rel="help"')
    assert person.phone.messages == []
    assert Why.PASSKEY_ONLY in [one.why for one in diagnose(person.user, timezone.now())]
    assert error(Tokens().sign_in(verification_code="123456")) == REFUSED
    assert person.user.otp_failures == 0
    assert Tokens().sign_in(verification_code=person.recovery[0]).status == 200


def test_recovery_codes_alone_are_no_factor(person: Person) -> None:
    """S-31: there are none without one; the token needs no code."""
    person.set_up(By.TEXT, By.RECOVERY)
    person.turn_off(person.recovery[0])
    assert Tokens().sign_in().status == 200


# -- locked, disabled, suspended ---------------------------------------------------


@pytest.mark.parametrize("state", [Person.disable, Person.suspend], ids=["disabled", "suspended"])
def test_what_leads_out(full: Person, state: Callable[[Person], None]) -> None:
    """S-07a: no text; an app's code serves."""
    state(full)
    texts = len(full.phone.messages)
    assert error(Tokens().sign_in()) == CODE_REQUIRED
    assert len(full.phone.messages) == texts
    assert Tokens().sign_in(verification_code=full.app_code()).status == 200


# -- what goes on ------------------------------------------------------------------


def test_a_refresh_asks_for_no_code_and_goes_on_while_barred(full: Person) -> None:
    """It was given with a second factor; a bar is on guesses."""
    first = Tokens().sign_in(verification_code=full.app_code())
    for state in (Person.lock, Person.disable, Person.suspend):
        state(full)
        assert Tokens().refresh(first.data["refresh_token"]).status == 200


# -- the calls under /User/ --------------------------------------------------------


def test_opting_out_beside_an_app_says_that_two_factor_stays_on(
    full: Person, access_key: str
) -> None:
    api = Api(key=access_key)
    api.opt_out()
    answer = api.opt_out(full.phone.code())
    assert (answer.status, full.has) == (200, {By.APP})
    assert answer.data == {
        "StatusMessage": "The mobile number is no longer used. Two-factor authentication stays on, "
        "with another second factor.",
        "_links": [],  # an opt-in would be refused
    }


def test_opting_out_beside_a_passkey_of_another_host_turns_all_off(
    person: Person, access_key: str
) -> None:
    """With that passkey alone, nobody could sign in."""
    person.set_up(By.TEXT, By.PASSKEY, By.RECOVERY)
    Passkey.objects.update(rp_id="old.example.com")
    api = Api(key=access_key)
    api.opt_out()
    assert "is off" in api.opt_out(person.phone.code()).data["StatusMessage"]
    assert (person.has, person.left()) == (set(), 0)
    told = AuditEvent.objects.latest("pk").data
    assert (told["removed"], len(told["passkeys"])) == (["number", "passkey"], 1)


def test_an_app_alone_leaves_nothing_to_opt_out_from(person: Person, access_key: str) -> None:
    person.set_up(By.APP)
    api = Api(key=access_key)
    assert api.opt_out().brief == (409, "not_opted_in")
    assert api.opt_out("1234567").brief == (409, "not_opted_in")
    assert person.has == {By.APP}


@pytest.mark.parametrize("by", [By.APP, By.TEXT])
def test_no_key_changes_a_number(person: Person, access_key: str, by: By) -> None:
    """S-32."""
    person.set_up(by)
    texts = len(person.phone.messages)
    assert Api(key=access_key).opt_in("0491 570 157").brief == (409, "already_opted_in")
    assert (person.has, len(person.phone.messages)) == ({by}, texts)
