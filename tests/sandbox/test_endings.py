"""The last two digits of a number decide what happens."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from conformance import goldens
from optin import fiction, sandbox
from optin.models import File, ProviderUser, SmsMessage, User, WebhookEvent
from optin.operations import opt_ins
from optin.operations.sandbox import texts_of
from optin.outcomes import SendOutcome
from tests.kit.clients import Api
from tests.kit.people import ORIGIN

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = {"locked": "factor.locked", "factor_disabled": "factor.disabled"}
NUMBERS = {number[-2:]: number for number in fiction.AUSTRALIAN}


def test_the_kit_has_the_same_answers() -> None:
    ours = {end: (f"/User/{e.call}", e.code) for end, e in sandbox.ENDINGS.items() if e.call}
    kits = {n[-2:]: (goldens.CALLS[call].path, code) for n, (call, code) in goldens.SANDBOX.items()}
    assert ours == kits


@dataclass
class Caller:
    """A client of the sandbox, over HTTP; tells the code of each answer."""

    api: Api
    id: int = 1

    def opt_in(self, ending: str) -> str:
        answer = self.api.opt_in(NUMBERS[ending])
        self.id = answer.data.get("ProviderUserId", self.id)
        return answer.code or "ok"

    def verify(self, code: str) -> str:
        return self.api.verify(self.id, code).code or "ok"

    def opt_out(self, code: str = "") -> str:
        return self.api.opt_out(code).code or "ok"

    def code(self) -> str:
        texts = self.api.send("GET", "/sandbox/texts", query=self.api.query()).data["Texts"]
        return str(texts[0]["Body"]).split()[0]


@pytest.fixture
def caller(key: str, sandbox_file: File) -> Caller:
    return Caller(Api(key=key, file_id=sandbox_file.pk))


def endings(*calls: sandbox.Call) -> pytest.MarkDecorator:
    """Those of *calls*, but for 12, which has a test of its own."""
    rows = sandbox.ENDINGS.items()
    found = [(end, e.call, e.code) for end, e in rows if e.call in calls and end != "12"]
    return pytest.mark.parametrize(("ending", "call", "code"), found)


@endings(sandbox.Call.OPT_IN, sandbox.Call.VERIFY)
def test_a_number_answers_and_the_next_one_goes_on(
    caller: Caller, ending: str, call: sandbox.Call, code: str
) -> None:
    if call is sandbox.Call.OPT_IN:
        assert caller.opt_in(ending) == code
        assert not ProviderUser.objects.exists()
    else:
        assert caller.opt_in(ending) == "ok"
        assert caller.verify(caller.code()) == code
        assert not ProviderUser.objects.filter(confirmed=True).exists()
    if code in {"locked", "factor_disabled"}:
        # For real: every call says so.
        assert caller.opt_out() == code
        assert caller.verify("1234567") == code
        told = WebhookEvent.objects.latest("pk")
        assert (told.kind, told.reason) == (NEWS[code], "wrong_codes")
    assert caller.opt_in("06") == "ok"
    assert caller.verify(caller.code()) == "ok"


def test_a_lock_of_wrong_codes_is_real_and_an_opt_in_ends_it(caller: Caller) -> None:
    for ending in ("56", "57"):
        caller.opt_in(ending)
        right = caller.code()
        for _ in range(5):
            assert caller.verify(f"{(int(right) + 1) % 10**7:07d}") == "otp_incorrect"
    assert caller.verify(right) == "locked"
    assert caller.opt_in("58") == "ok"
    assert caller.verify(caller.code()) == "ok"


def test_the_code_of_an_opt_out_expires_once(caller: Caller, clock: time_machine.Traveller) -> None:
    caller.opt_in("12")
    clock.shift(timedelta(seconds=1))
    assert caller.verify(caller.code()) == "ok"
    clock.shift(timedelta(seconds=1))
    assert caller.opt_out() == "2fa_code_required"
    assert caller.opt_out(caller.code()) == "otp_expired"
    clock.shift(timedelta(seconds=61))
    assert caller.opt_out() == "2fa_code_required"
    assert caller.opt_out(caller.code()) == "ok"


@endings(sandbox.Call.OPT_OUT)
def test_an_opt_out_answers_at_first_and_works_later(
    caller: Caller, clock: time_machine.Traveller, ending: str, call: sandbox.Call, code: str
) -> None:
    caller.opt_in(ending)
    clock.shift(timedelta(seconds=1))
    assert caller.verify(caller.code()) == "ok"
    clock.shift(timedelta(seconds=9))
    texts = SmsMessage.objects.count()
    assert caller.opt_out() == code
    assert SmsMessage.objects.count() == texts
    if code == "locked":
        told = WebhookEvent.objects.latest("pk")
        assert (told.kind, told.reason) == ("factor.locked", "wrong_codes")
        assert caller.opt_in("06") == "already_opted_in"  # which ends the lock
    clock.shift(timedelta(seconds=1))
    assert caller.opt_out() == "2fa_code_required"
    assert caller.opt_out(caller.code()) == "ok"


@pytest.mark.parametrize(
    ("ending", "states"),
    [
        ("06", ("delivered", "delivered")),
        ("10", ("sent", "delivered")),
        ("13", ("sent", "sent")),
        ("37", ("failed", "failed")),
        ("54", ("failed", "failed")),
        ("66", ("delivered", "delivered")),
        ("91", ("delivered", "delivered")),
    ],
)
def test_what_becomes_of_a_text(
    tester: User,
    sandbox_file: File,
    clock: time_machine.Traveller,
    ending: str,
    states: tuple[str, str],
) -> None:
    """At once, without anybody looking; and when somebody looks 20 seconds later."""
    asked = opt_ins.opt_in(tester, sandbox_file, NUMBERS[ending], origin=ORIGIN)
    assert asked.outcome is SendOutcome.SENT
    text = SmsMessage.objects.get()
    clock.shift(timedelta(seconds=20))
    (shown,) = texts_of(sandbox_file)
    assert (text.state, shown.state) == states
    assert shown.to == NUMBERS[ending]
    assert text.cost == 0


def test_the_early_receipt_comes_while_the_text_is_sent(
    tester: User, sandbox_file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    before = SmsMessage.taken

    def look(message: SmsMessage, **facts: Any) -> None:
        seen.append(SmsMessage.objects.get(pk=message.pk).state)
        before(message, **facts)

    monkeypatch.setattr(SmsMessage, "taken", look)
    for ending in ("66", "06"):
        opt_ins.opt_in(tester, sandbox_file, NUMBERS[ending], origin=ORIGIN)
    assert seen == ["delivered", "sending"]


def test_a_stop_holds_until_another_number_is_opted_in(
    tester: User, sandbox_file: File, clock: time_machine.Traveller
) -> None:
    opt_ins.opt_in(tester, sandbox_file, NUMBERS["91"], origin=ORIGIN)
    clock.shift(timedelta(minutes=20))
    again = opt_ins.opt_in(tester, sandbox_file, NUMBERS["91"], origin=ORIGIN)
    assert (again.outcome, again.is_withheld) == (SendOutcome.SENT, True)
    clock.shift(timedelta(minutes=20))
    opt_ins.opt_in(tester, sandbox_file, NUMBERS["06"], origin=ORIGIN)
    clock.shift(timedelta(minutes=20))
    again = opt_ins.opt_in(tester, sandbox_file, NUMBERS["91"], origin=ORIGIN)
    assert again.outcome is SendOutcome.SENT
    assert not again.is_withheld


def test_a_text_is_shown_for_a_day(
    tester: User, sandbox_file: File, clock: time_machine.Traveller
) -> None:
    opt_ins.opt_in(tester, sandbox_file, NUMBERS["06"], origin=ORIGIN)
    clock.move_to(timezone.now() + timedelta(hours=24))
    assert texts_of(sandbox_file) == []
