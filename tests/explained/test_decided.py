"""G-07: each refusal, and each text that is late, is explained to the person, to a client and to
staff, each in their words.

A seed brings a cause about as it comes about. Then a page meets it and a call meets it; the
request id that each of them got leads staff to the cause. A row says ``None`` for a side that
cannot meet it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.api.answers import CAUSES
from optin.causes import Why
from optin.conf import Rate, conf
from optin.gateways import Receipt, Report
from optin.messaging import delivery, receipts
from optin.models import File, Guard, Membership, ProviderUser, SmsMessage, User
from optin.operations import not_me, passwords, send_controls, staff_actions
from optin.operations.send_controls import Target
from optin.support.diagnosis import EXPLAINED
from tests.explained.sides import (
    ABROAD,
    CODE,
    ONE,
    STAFF,
    Stage,
    first_on,
    help_of,
    lead,
    request_id_on,
)
from tests.kit.apps import WEB, add_app, make_recovery_codes, standing
from tests.kit.browser import (
    APP,
    NEW_PASSWORD,
    NUMBER_CODE,
    NUMBER_PAGE,
    Page,
    prove,
    sign_in,
)
from tests.kit.clients import Answer, Api, bearer
from tests.kit.people import NUMBER, OTHER_NUMBER, PASSWORD, number
from tests.kit.phone import AWAY, REFUSED, Phone, wrong

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
    pytest.mark.slow,
]

Seed = Callable[[Stage], None]
BEYOND_WAITS = 200  # seconds
DAY = timedelta(days=1)


@pytest.fixture
def stage(
    user: User,
    stranger: User,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    monkeypatch.setattr(conf, "own_sends_reserve", 0)
    monkeypatch.setattr(conf, "failed_sign_ins_per_new_network", ONE)
    return Stage(user, stranger, file, phone, clock, settings)


opt_in_page, sign_in_page = Stage.opt_in, Stage.enter
wrong_code_page, delivery_page = Stage.code, Stage.not_received
is_on = Stage.activate


# -- limits on texts ----------------------------------------------------------------


def limited(name: str, *, by_stranger: bool = False) -> Seed:
    """One text, and the setting allows no other."""

    def seed(at: Stage) -> None:
        setattr(at.settings, f"OPTIN_{name}", ONE)
        if by_stranger:
            at.strangers.opt_in(number(1))
        else:
            at.api.opt_in(NUMBER)
        at.clock.shift(BEYOND_WAITS)

    return seed


def limited_at_sign_in(name: str) -> Seed:
    """The person is in, asks for a code, and the setting allows no other."""

    def seed(at: Stage) -> None:
        at.activate()
        setattr(at.settings, f"OPTIN_{name}", ONE)
        at.enter()
        at.clock.shift(BEYOND_WAITS)

    return seed


def opt_in_call(at: Stage) -> Answer:
    return at.api.opt_in(NUMBER)


def token_call(at: Stage) -> Answer:
    return at.tokens.sign_in()


def closed_file(at: Stage) -> None:
    File.objects.filter(pk=777).update(active=False)


def stopped_call(at: Stage) -> Answer:
    """The sentence names no time: nobody knows when a STOP ends."""
    answer = token_call(at)
    assert "somebody answered STOP" in str(answer.data["error_description"])
    return answer


def disabled_call(at: Stage) -> Answer:
    """The sentence asks for no texted code: none comes."""
    answer = token_call(at)
    assert "codes by text message are switched off" in str(answer.data["error_description"])
    return answer


def opt_out_call(at: Stage) -> Answer:
    return at.api.opt_out()


def just_asked(at: Stage) -> None:
    at.api.opt_in(NUMBER)


def breaker(at: Stage) -> None:
    at.settings.OPTIN_BREAKER_UNPROVED = 3
    for n in (1, 2, 3):
        assert at.strangers.opt_in(f"{NUMBER[:-4]}000{n}").status == 200
    at.clock.shift(BEYOND_WAITS)


def all_stopped(at: Stage) -> None:
    send_controls.stop_texts(reason="prices rose overnight", origin=STAFF)


def all_stopped_since(at: Stage) -> None:
    at.activate()
    all_stopped(at)


def own_stop(at: Stage) -> None:
    at.activate()
    answer_stop()


def answer_stop() -> None:
    assert Guard.objects.opt_out(ProviderUser.digest_of(NUMBER), NUMBER[-3:], timezone.now())


# -- what is withheld (S-38) -------------------------------------------------------


def number_denied(at: Stage) -> None:
    send_controls.deny(Target.number(NUMBER), DAY, reason="a shop window", origin=STAFF)


def closed_by_owner(at: Stage) -> None:
    at.activate(at.strangers)
    owner = User.objects.get(pk=at.stranger.pk)
    not_me.shut_out(owner, standing=standing(), origin=STAFF, keep_session=lambda _user: None)
    at.clock.shift(BEYOND_WAITS)


def stop_of_another(at: Stage) -> None:
    answer_stop()


def asked_by_others(at: Stage) -> None:
    at.settings.OPTIN_SENDS_PER_NUMBER = (Rate(2, 3600),)
    for _ in range(2):
        at.strangers.opt_in(NUMBER)
        at.clock.shift(BEYOND_WAITS)


def just_asked_by_others(at: Stage) -> None:
    at.strangers.opt_in(NUMBER)


# -- what stands in the way of all codes --------------------------------------------


def guess(at: Stage, times: int) -> None:
    """Enter wrong codes at the token call, for new codes as they are used up."""
    for n in range(times):
        if n % 5 == 0:
            at.clock.shift(700)
            assert at.tokens.sign_in().status == 401
        answer = at.tokens.sign_in(verification_code=wrong(at.phone.code()))
        assert answer.status == 400, answer.data


def locked(at: Stage) -> None:
    at.activate()
    at.settings.OPTIN_LOCK_AFTER = 3
    guess(at, 3)


def disabled(at: Stage) -> None:
    at.activate()
    at.settings.OPTIN_DISABLE_AFTER = 3
    guess(at, 3)


def suspended(at: Stage) -> None:
    at.activate()
    staff_actions.suspend(at.user, reason="phone stolen", origin=STAFF)


def nothing(at: Stage) -> None:
    pass


def change_to_the_same(at: Stage) -> Page:
    """On the page that changes the number, after a code to the number of now."""
    at.enter()
    at.code(at.phone.code())
    at.clock.shift(BEYOND_WAITS)
    prove(at.browser, at.phone)
    at.browser.go(NUMBER_PAGE)
    at.clock.shift(1)
    return at.browser.send(number=NUMBER)


# -- codes -------------------------------------------------------------------------


def asked_by_page(at: Stage) -> None:
    at.opt_in()
    assert at.browser.path == NUMBER_CODE


def signing_in(at: Stage) -> None:
    at.activate()
    at.enter()
    assert at.browser.path == CODE


def verify_wrong(at: Stage) -> Answer:
    return at.api.verify(at.row.pk, wrong(at.phone.code()))


def verify_right(at: Stage) -> Answer:
    return at.api.verify(at.row.pk, at.phone.code())


def expired(at: Stage) -> None:
    asked_by_page(at)
    at.clock.shift(601)


def stale_form(at: Stage) -> Page:
    """The form of before is sent, whose code has expired meanwhile."""
    return at.code(at.phone.code())


def used_up(at: Stage) -> None:
    """By wrong codes from somewhere else, while the form stands open."""
    asked_by_page(at)
    for _ in range(5):
        verify_wrong(at)


def used_already(at: Stage) -> None:
    signing_in(at)
    at.kept = at.phone.code()
    at.code(at.kept)
    assert at.browser.path == "/account/"


def in_use(at: Stage) -> None:
    """The number is the active one of a stranger."""
    asked_by_page(at)
    at.kept = at.phone.code()
    at.clock.shift(BEYOND_WAITS)
    row = at.strangers.opt_in(NUMBER).data["ProviderUserId"]
    at.strangers.verify(row, at.phone.code())
    at.clock.shift(10)


def foreign_id(at: Stage) -> Answer:
    row = at.strangers.opt_in(OTHER_NUMBER).data["ProviderUserId"]
    at.clock.shift(1)
    return at.api.verify(row, "1234567")


def kept_code_page(at: Stage) -> Page:
    return at.code(at.kept)


def kept_code_call(at: Stage) -> Answer:
    return at.api.verify(at.row.pk, at.kept)


# -- apps and recovery codes --------------------------------------------------------


def two_codes(at: Stage) -> None:
    """An app takes two codes in a row now, and the first is entered."""
    app = add_app(at.user)
    until = timezone.now() + timedelta(days=30)
    User.objects.filter(pk=at.user.pk).update(app_failures_until=until)
    at.clock.shift(60)
    assert at.tokens.sign_in(verification_code=wrong(app.code())).status == 400
    at.enter()
    at.kept = app.code()


def used_app_code(at: Stage) -> None:
    app = add_app(at.user)
    at.clock.shift(60)
    at.kept = app.code()
    assert at.tokens.sign_in(verification_code=at.kept).status == 200
    at.enter()


def used_recovery_code(at: Stage) -> None:
    at.activate()
    at.kept = make_recovery_codes(at.user)[0]
    assert at.tokens.sign_in(verification_code=at.kept).status == 200
    at.enter()


def recovery_page(at: Stage) -> Page:
    at.browser.go("/sign-in/recovery/")
    return at.browser.send(recovery=at.kept)


def token_kept(at: Stage) -> Answer:
    return at.tokens.sign_in(verification_code=at.kept)


# -- passwords ----------------------------------------------------------------------


def wrong_password_page(at: Stage) -> Page:
    sign_in(at.browser, password="is it this one")
    return at.browser.page


def wrong_password_call(at: Stage) -> Answer:
    return at.tokens.sign_in(password="is it this one")


def wrong_passwords(name: str) -> Seed:
    def seed(at: Stage) -> None:
        setattr(at.settings, f"OPTIN_{name}", ONE)
        wrong_password_call(at)

    return seed


def deactivated(at: Stage) -> None:
    User.objects.filter(pk=at.user.pk).update(is_active=False)


# -- files and tokens ---------------------------------------------------------------


def foreign_file_call(at: Stage) -> Answer:
    return replace(at.api, file_id=888).opt_in(NUMBER)


def narrow_token_call(at: Stage) -> Answer:
    return Api(token=bearer(at.user, "view fileid:777")).opt_in(NUMBER)


def new_password(at: Stage) -> None:
    """It ends the tokens of before."""
    at.kept = at.tokens.sign_in().data["refresh_token"]
    passwords.choose(at.user, NEW_PASSWORD, origin=WEB, standing=standing())


def deactivated_since(at: Stage) -> None:
    at.kept = at.tokens.sign_in().data["refresh_token"]
    deactivated(at)


def refresh_call(at: Stage) -> Answer:
    return at.tokens.refresh(at.kept)


def app_page(at: Stage) -> Page:
    """A code that the app does not show, to set it up."""
    at.enter()
    at.browser.go(APP)
    at.browser.send()
    at.clock.shift(1)
    return at.browser.send(code="000000")


# -- sandboxes ----------------------------------------------------------------------


def sandbox(asked: str) -> Callable[[Stage], Answer]:
    return lambda at: at.api.opt_in(asked)


def of_a_sandbox(at: Stage) -> None:
    at.file = File.objects.create(id=900, name="Harbour Sandbox", is_sandbox=True)
    at.user = User.objects.create_user("tess", "tess@example.com", PASSWORD, is_test=True)
    Membership.objects.create(user=at.user, file=at.file)
    at.api = Api(token=bearer(at.user), file_id=900)


# -- what became of the text --------------------------------------------------------


def gateway(says: Any) -> Seed:
    """The gateway says so when the person, who is signed in, asks by page."""

    def seed(at: Stage) -> None:
        at.phone.fail_with = says
        at.opt_in()

    return seed


def texts_ended(at: Stage) -> None:
    """A page leads to the app before anybody can ask."""
    File.objects.update(texts_end_on=timezone.localdate())


def carrier_refused(at: Stage) -> None:
    asked_by_page(at)
    report(Report.FAILED)


def delivered(at: Stage) -> None:
    asked_by_page(at)
    report(Report.DELIVERED)


def report(what: Report) -> None:
    text = SmsMessage.objects.latest("pk")
    receipt = Receipt(what, str(text.reference), reason="undelivered")
    assert receipts.take("phone", receipt, timezone.now(), STAFF)


def late_at_sign_in(at: Stage) -> None:
    signing_in(at)
    at.clock.shift(60)


def asked_again_since(at: Stage) -> Answer:
    """They read out what the client logged at the first call."""
    first = at.api.opt_out()
    at.clock.shift(BEYOND_WAITS)
    assert at.api.opt_out().code == first.code == "2fa_code_required"
    return first


def expired_unsent(at: Stage) -> None:
    at.activate()
    at.phone.fail_with = AWAY
    at.enter()
    at.clock.shift(590)
    at.phone.fail_with = None
    delivery.send_due(timezone.now())


@dataclass(frozen=True)
class Case:
    """One cause, as a page and a call meet it."""

    name: str
    seed: Seed
    page: Callable[[Stage], Page] | None
    call: Callable[[Stage], Answer] | None
    why: Why
    staff: str
    """What staff read of it, in parts."""
    code: str = ""
    """The code of the call."""
    reads: str = ""
    """What the page shows first, in parts, where ``EXPLAINED`` has no sentence for the person."""
    withheld: bool = False
    """The person and the client are told that a text was sent."""

    @property
    def for_person(self) -> str:
        return self.reads or EXPLAINED[self.why].person.replace("%(wait)s", "|")

    @property
    def anchor(self) -> str:
        """Where the ``Link`` of the call leads."""
        return f"{self.code}.{self.why}" if self.why in CAUSES.get(self.code, ()) else self.code

    @property
    def for_client(self) -> str:
        """What stands there."""
        return EXPLAINED[self.why].client if "." in self.anchor else ""


HIDDEN = (
    *("STOP", "START", "deny", "denied", "closed", "others", "withheld", "another account"),
    "not me",
)
"""Nothing of these is on a page whose text was withheld (S-38)."""

WRONG, SENT = "That code isn't right", "Sent at"
LOCK, NO_CODES = "press “Unlock”", "switched off|ontact support"
LIMIT, REST, UNAVAILABLE = "send_limit", "2fa_code_required", "temporarily_unavailable"

# fmt: off
CASES = [
    # -- limits on texts: refused openly
    Case("limit of the number, by the person", limited("SENDS_PER_NUMBER"), opt_in_page,
        opt_in_call, Why.NUMBER_LIMIT, "all for this account|wait until then", LIMIT),
    Case("limit of the address", limited_at_sign_in("SENDS_PER_IP"), sign_in_page, token_call,
        Why.ADDRESS_LIMIT, "asked for from one address|wait until then", UNAVAILABLE),
    Case("limit of the client", limited("SENDS_PER_CLIENT"), None, opt_in_call,
        Why.CLIENT_LIMIT, "by one application|wait until then", LIMIT),
    Case("budget of all texts", limited("SENDS_TOTAL", by_stranger=True), opt_in_page,
        opt_in_call, Why.TOTAL_BUDGET, "budget of all texts|administrator", LIMIT),
    Case("wait after the last text, of an opt-in", just_asked, opt_in_page, opt_in_call,
        Why.RESEND_WAIT, "wait after the last text|look for the text", LIMIT),
    Case("prefix closed by the breaker", breaker, opt_in_page, opt_in_call,
        Why.PREFIX_CLOSED, "begin like this one|open the prefix", LIMIT),
    Case("all texts stopped, sign-in", all_stopped_since, sign_in_page, token_call,
        Why.ALL_STOPPED, "prices rose overnight|nobody gets texts now", UNAVAILABLE),
    Case("STOP from the person's number", own_stop, sign_in_page, stopped_call,
        Why.ANSWERED_STOP, "answered STOP from the number|START", UNAVAILABLE,
        "somebody answered STOP from it|send START"),
    # -- withheld: the person and the client are told that a text was sent
    Case("number denied by staff", number_denied, opt_in_page, None,
        Why.DENIED, "withheld, but they were told|a shop window", reads=SENT, withheld=True),
    Case("number closed by its owner", closed_by_owner, opt_in_page, None,
        Why.DENIED, "withheld, but they were told|that was not me|Remove from a list", reads=SENT,
        withheld=True),
    Case("STOP from a number of somebody else", stop_of_another, opt_in_page, None,
        Why.ANSWERED_STOP, "withheld, but they were told|answered STOP", reads=SENT, withheld=True),
    Case("limit of the number, by others", asked_by_others, opt_in_page, None, Why.OTHERS_ASKED,
        "withheld, but they were told|Don't tell them what others did", reads=SENT, withheld=True),
    Case("wait after a text that others asked for", just_asked_by_others, opt_in_page, None,
        Why.OTHERS_ASKED, "withheld, but they were told|Don't tell them what others did",
        reads=SENT, withheld=True),
    # -- codes
    Case("locked", locked, sign_in_page, token_call, Why.LOCKED, f"after 3 wrong codes|{LOCK}",
        UNAVAILABLE, "No code is accepted until|Try again then|contact support"),
    Case("locked, at a call", locked, None, opt_out_call, Why.LOCKED, f"after 3 wrong codes|{LOCK}",
        "locked"),
    Case("disabled by wrong codes", disabled, sign_in_page, disabled_call,
        Why.DISABLED, f"after 3 wrong codes|{LOCK}", REST, f"many wrong codes|{NO_CODES}"),
    Case("suspended by staff", suspended, sign_in_page, token_call,
        Why.SUSPENDED, "phone stolen|End the suspension", REST,
        f"Staff suspended your number|{NO_CODES}"),
    Case("wrong code of an opt-in", asked_by_page, wrong_code_page, verify_wrong,
        Why.CODE_REFUSED, "wrong codes in a row|Only the newest code works", "otp_incorrect",
        WRONG),
    Case("expired code", expired, stale_form, verify_right,
        Why.CODE_REFUSED, "Expired code|ask for another", "otp_expired",
        "has expired|Ask for a new one"),
    Case("code entered wrongly too often", used_up, stale_form, verify_right,
        Why.CODE_REFUSED, "entered wrongly too often|ask for another", "otp_exhausted",
        "entered wrongly too often|Ask for a new one"),
    # A form of before leads to the account, where they are signed in.
    Case("no code waits", used_already, None, token_kept,
        Why.CODE_REFUSED, "no code was waiting|ask for another", "invalid_grant"),
    Case("id of somebody else", nothing, None, foreign_id,
        Why.CODE_REFUSED, "id is not one of this account|the application", "otp_incorrect"),
    Case("number of another account", in_use, kept_code_page, None,
        Why.NUMBER_IN_USE, "code was right|another account",
        reads="but another account uses this number|Use another number"),
    Case("number of another account, at a call", in_use, None, kept_code_call,
        Why.NUMBER_IN_USE, "code was right|another account", "mobile_number_in_use"),
    Case("first of two codes of the app", two_codes, kept_code_page, token_kept,
        Why.TWO_CODES, "two codes in a row|then the next one", "invalid_grant",
        "one code of the app isn't enough|wait for the next one"),
    Case("used code of the app", used_app_code, kept_code_page, token_kept,
        Why.CODE_REFUSED, "of the app|next code", "invalid_grant", WRONG),
    Case("used recovery code", used_recovery_code, recovery_page, token_kept,
        Why.CODE_REFUSED, "recovery code|each works once", "invalid_grant", WRONG),
    # -- opting in and out
    Case("country not allowed", nothing, lambda at: at.opt_in(ABROAD),
        lambda at: at.api.opt_in(ABROAD), Why.REGION, "country GB aren't allowed|allowed country",
        "region_not_allowed", "of that country can't be used here|begins with"),
    Case("texts have ended", texts_ended, None, opt_in_call, Why.TEXTS_END,
        "only with an app or a passkey|set up an authenticator app", "factor_disabled"),
    Case("opted in already", is_on, change_to_the_same, opt_in_call,
        Why.ON_ALREADY, "on already|turn it off first", "already_opted_in",
        "You already use this number"),
    # The page to turn it off leads elsewhere.
    Case("not opted in", nothing, None, opt_out_call,
        Why.NO_NUMBER, "no number is active|opt in first", "not_opted_in"),
    # -- passwords
    Case("wrong password", is_on, wrong_password_page, wrong_password_call,
        Why.WRONG_PASSWORD, "the password was wrong|Forgotten your password?", "invalid_grant",
        "The user name, email address or password isn't right|Try again"),
    Case("wrong passwords, limited by name", wrong_passwords("FAILED_SIGN_INS_PER_NAME"),
        sign_in_page, token_call, Why.PASSWORD_LIMIT,
        "wrong passwords for this name|ends by itself", UNAVAILABLE, "You can try again in"),
    Case("deactivated", deactivated, sign_in_page, token_call,
        Why.DEACTIVATED, "account is deactivated|operators", "invalid_grant",
        "The user name, email address or password isn't right"),
    Case("wrong code to set up an app", nothing, app_page, None,
        Why.CODE_REFUSED, "Wrong code entered while adding an app|next code",
        reads=f"{WRONG}|Check the clock"),
    # -- files and tokens: no page
    Case("file of others", nothing, None, foreign_file_call,
        Why.NOT_A_MEMBER, "is not a member of file 888|add them", "file_access_denied"),
    Case("closed file", closed_file, None, opt_in_call,
        Why.FILE_CLOSED, "file 777 is closed|open it again", "file_access_denied"),
    Case("token for less", nothing, None, narrow_token_call, Why.SCOPE,
        "the scope of the token did not allow the call|full, 2fa or modify", "insufficient_scope"),
    Case("refresh token that was ended", new_password, None, refresh_call,
        Why.TOKEN_ENDED, "was ended|sign in again in the application", "invalid_grant"),
    Case("refresh token of a deactivated account", deactivated_since, None, refresh_call,
        Why.DEACTIVATED, "account is deactivated|operators", "invalid_grant"),
    # -- sandboxes: the number decides
    Case("sandbox: limit on texts", of_a_sandbox, None, sandbox("+61491572665"),
        Why.REHEARSED, "asked a sandbox|nothing is wrong", LIMIT),
    # -- what became of the text: no call is refused
    Case("refused by the gateway", gateway(REFUSED), delivery_page, None, Why.GATEWAY_REFUSED,
        "refused the text for the number|how their number ends",
        reads="It couldn't be sent|Check the number"),
    Case("gateway down", gateway(AWAY), delivery_page, None, Why.GATEWAY_DOWN,
        "No gateway has taken the text|not their phone",
        reads="Waiting to be sent|isn't your phone"),
    Case("refused by the carrier", carrier_refused, delivery_page, None, Why.CARRIER_REFUSED,
        "carrier refused it: undelivered|how their number ends",
        reads="Your carrier refused it|Check the number"),
    Case("no receipt yet", late_at_sign_in, delivery_page, None, Why.NOT_CONFIRMED,
        "carrier has not confirmed it|phone is on",
        reads="Not confirmed as delivered yet|phone is on"),
    Case("asked again since", is_on, None, asked_again_since,
        Why.FORGOTTEN, "another one since|newest text", REST),
    Case("delivered", delivered, delivery_page, None, Why.NUMBER_MISTYPED,
        "which nobody has verified|a stranger may have the text", reads="Delivered at"),
    Case("expired before it was sent", expired_unsent, delivery_page, None, Why.EXPIRED_UNSENT,
        "not sent in time|ask again now", reads="It wasn't sent|Ask for a new one"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_each_side_is_told_the_cause(case: Case, stage: Stage) -> None:
    case.seed(stage)
    faults: list[str] = []
    if case.page:
        faults += met_by_page(case, stage, case.page)
    if case.call:
        answer = case.call(stage)
        there = help_of(answer)
        if there.anchor != case.anchor:
            faults.append(f"the link leads to {there.anchor}, not {case.anchor}")
        faults += missing("the client", there.text, case.for_client)
        faults += led_to(stage, case, answer.headers["X-Request-Id"])
    assert not faults, "\n".join(faults)


def met_by_page(case: Case, stage: Stage, meets: Callable[[Stage], Page]) -> list[str]:
    shown, faults = meets(stage), []
    if case.withheld:
        faults += hidden_on(shown)
        shown = stage.not_received()
    whole = case.withheld or meets in {delivery_page, app_page}
    faults += missing("the person", shown.text if whole else first_on(shown), case.for_person)
    faults += led_to(stage, case, request_id_on(shown))
    if case.withheld:
        faults += hidden_on(shown)
        stage.clock.shift(BEYOND_WAITS)
        answer = stage.api.opt_in(NUMBER)
        assert answer.status == 200
        assert answer.headers.keys().isdisjoint({"Link"})
    return faults


def test_what_can_be_no_number_leads_to_its_event(stage: Stage) -> None:
    shown = stage.opt_in("0299 999")
    assert "That number is too short. Write it like" in shown.errors
    assert "request ID" not in shown.text  # a typing error has none
    answer = stage.api.opt_in("0299 999")
    there = help_of(answer)
    assert (answer.code, there.anchor) == ("mobile_number_invalid", "mobile_number_invalid")
    assert "Write it as 0499 999 999" in there.text
    assert "first entry below" in lead(stage.support, answer.headers["X-Request-Id"]).text


def led_to(at: Stage, case: Case, request_id: str) -> list[str]:
    led = lead(at.support, request_id)
    if led.why != case.why:
        return [f"staff read {led.why or 'nothing'}, not {case.why}: {led.text}"]
    return missing("staff", led.text, case.staff)


def hidden_on(page: Page) -> list[str]:
    return [f"the person reads {word!r}" for word in HIDDEN if word in page.text]


def missing(who: str, said: str, wanted: str) -> list[str]:
    said = " ".join(said.split())
    parts = [part for part in wanted.split("|") if part not in said]
    return [f"{who} cannot read {parts} in: {said}"] if parts else []
