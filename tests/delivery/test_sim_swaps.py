"""Was the SIM of the number swapped? A stand-in provider answers as CAMARA's document says."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
import time_machine
from django.core import mail
from django.test import override_settings
from django.utils import timezone
from prometheus_client import generate_latest

from optin.conf import Rate
from optin.gateways import sim_swap
from optin.models import AuditEvent, File, GatewayHealth, ProviderUser, Purpose, SimAnswer, User
from optin.operations import challenges, staff_actions
from optin.outcomes import SendOutcome, StaffOutcome
from optin.runtime import metrics
from optin.support.diagnosis import Question, Why, diagnose
from tests.kit import browser as pages
from tests.kit.apps import add_app, make_recovery_codes
from tests.kit.browser import Browser
from tests.kit.clients import Api, Tokens, bearer
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.sim_swap import Provider, serving
from tests.kit.staff import browser_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("password_clients")]

DAYS = timedelta(days=3)


@pytest.fixture
def provider(active: ProviderUser, clock: time_machine.Traveller) -> Iterator[Provider]:
    """Ann verified her number three days ago. The provider says that her SIM is the same."""
    clock.shift(DAYS)
    with serving() as provider:
        yield provider


def expired_token(provider: Provider) -> None:
    sim_swap.Camara().new_token(time.monotonic() + 1)
    provider.tokens.clear()


def has(**facts: object) -> Callable[[Provider], None]:
    return lambda provider: vars(provider).update(facts)


CASES: dict[str, tuple[Callable[[Provider], object], str]] = {
    "not swapped": (has(), "same"),
    "expired token": (expired_token, "same"),
    "swapped": (has(swapped=True), "swapped"),
    "unknown number": (has(refuses=(404, "IDENTIFIER_NOT_FOUND")), "no fault"),
    "out of range": (has(refuses=(400, "OUT_OF_RANGE")), "no fault"),
    "not applicable": (has(refuses=(422, "SERVICE_NOT_APPLICABLE")), "no fault"),
    "too many": (has(refuses=(429, "TOO_MANY_REQUESTS")), "fault"),
    "no credentials": (has(gives_tokens=False), "fault"),
    "slow": (lambda provider: has(hang=threading.Event())(provider), "fault"),
    "garbage": (has(says=b'{"swapped": "no"}'), "fault"),
    "down": (lambda provider: provider.stop(), "fault"),
}
"""What the provider does, and what is known then. "fault": it counts as failing."""


@pytest.mark.parametrize("unknown", ["send", "refuse"])
@pytest.mark.parametrize("case", CASES)
def test_each_answer_is_told_to_all_who_meet_it(
    case: str, unknown: str, provider: Provider, user: User, phone: Phone
) -> None:
    """S-07a, G-07: what the person, the client and staff read, and whether a text leaves."""
    prepare, known = CASES[case]
    prepare(provider)
    texts, browser = len(phone.texts), Browser()
    with override_settings(OPTIN_SIM_SWAP_UNKNOWN=unknown):
        pages.sign_in(browser)
        left = len(phone.texts) - texts
        answer = Tokens().sign_in()
        assert len(phone.texts) - texts == left  # the page's waits, or none leaves again
    if known == "swapped":
        assert left == 0
        assert "We can't text you a code" in browser.page.heading
        said = "Your carrier says that your number has a new SIM."
        assert said in browser.page.text
        assert "until 8 November 2026 at 23:00 AEDT at the latest." in browser.page.text
        assert "Contact support." in browser.page.text
        client, why = (401, "2fa_code_required.sim_swapped"), Why.SIM_SWAPPED
    elif known == "same" or unknown == "send":
        assert left == 1
        assert browser.page.heading == "Check your phone"
        client, why = (401, "2fa_code_required.resend_wait"), Why.RESEND_WAIT
    else:
        assert left == 0
        assert "We couldn't check whether your number has a new SIM" in browser.page.flash
        assert "You can ask again in 60 seconds." in browser.page.flash
        client, why = (429, "temporarily_unavailable.sim_unknown"), Why.SIM_UNKNOWN
        assert answer.headers["Retry-After"] == "60"
    assert (answer.status, answer.headers["Link"].partition("#")[2].partition(">")[0]) == client
    causes = diagnose(user, timezone.now())
    assert next(cause.why for cause in causes if cause.question is Question.NO_TEXT) == (
        Why.NOT_CONFIRMED if left else why
    )
    health = GatewayHealth.objects.filter(gateway="SIM swaps", failures__gt=0)
    assert health.exists() == (known == "fault")
    for asked in provider.asked:
        assert asked == {"phoneNumber": NUMBER, "maxAge": 72}


def test_a_thief_with_the_password_and_the_swapped_sim_stays_out(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-07a, S-30. By page, by token call, with a code from before, and to remove the number."""
    browser = Browser()
    pages.sign_in(browser)
    code = phone.code()
    enter = browser.submission(code=code)
    clock.shift(301)  # the answer is too old for another text, and the code still good
    provider.swapped = True
    texts = len(phone.texts)
    assert Tokens().sign_in().status == 401
    browser.reload()
    assert "new SIM" in browser.page.text
    assert not any("code" in form.typed for form in browser.page.forms)
    assert "new SIM" in enter(browser).text
    assert browser.go("/account/").address.startswith(f"https://{pages.HOST}/sign-in/")
    assert Tokens(call="token-2fa").sign_in(verification_code=code).status == 400
    api = Api(token=bearer(user))
    answer = api.opt_out()
    assert answer.brief == (403, "factor_disabled")
    assert "#factor_disabled.sim_swapped>" in answer.headers["Link"]
    assert api.opt_out(code).brief == (403, "factor_disabled")
    assert len(phone.texts) == texts
    assert ProviderUser.objects.filter(confirmed=True).exists()


def test_the_owner_gets_in_in_another_way(provider: Provider, user: User, phone: Phone) -> None:
    """S-07a: an app and a recovery code work, and no text leaves. She is told once by email."""
    provider.swapped = True
    app, codes = add_app(user), make_recovery_codes(user)
    texts = len(phone.texts)
    User.objects.filter(pk=user.pk).update(text_first=True)
    browser = Browser()
    pages.sign_in(browser)
    assert "Use your authenticator app or a recovery code" in browser.page.text
    browser.send(code=app.code(1))
    assert browser.path == "/account/"
    assert "New SIM" in browser.go("/account/two-factor/").text
    answer = Tokens(call="token-2fa").sign_in(verification_code=codes[0])
    assert answer.status == 200
    assert Tokens().sign_in().status == 401
    assert len(phone.texts) == texts
    mails = [m for m in mail.outbox if m.subject == "Your mobile number seems to have a new SIM"]
    assert len(mails) == 1
    assert NUMBER not in mails[0].body
    assert "ending in 156" in mails[0].body


def test_staff_let_one_sign_in_through(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """The next text and its code, once, within an hour, and for signing in only."""
    provider.swapped = True
    assert Tokens().sign_in().status == 401
    staff = browser_of("support")
    account, let_through = (
        f"/admin/optin/user/{user.pk}/{page}/" for page in ("change", "let-through")
    )
    html = staff.get(account).content.decode()
    assert "New SIM" in html
    assert (html.count("may have taken over"), html.count(let_through)) == (1, 1)
    staff.post(let_through, {"reason": "Ticket 7. Jo", "ready": "on"})
    html = staff.get(account).content.decode()
    assert "Staff let one sign-in through until" in html
    assert let_through not in html  # while it is open
    clock.shift(61)
    refused = challenges.challenge(user, Purpose.OPT_OUT, origin=ORIGIN)
    assert refused.outcome is SendOutcome.FACTOR_DISABLED
    texts = len(phone.texts)
    browser = Browser()
    pages.sign_in(browser)
    assert len(phone.texts) == texts + 1
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    browser.go("/account/two-factor/app/")  # with the proof of this sign-in
    assert "Get an authenticator app" in browser.page.title
    clock.shift(61)
    assert Tokens().sign_in().headers["Link"].endswith('sim_swapped>; rel="help"')
    assert len(phone.texts) == texts + 1
    told = AuditEvent.objects.filter(kind="sim").order_by("pk").values_list("outcome", "reason")
    assert list(told) == [("swapped", ""), ("ok", "Ticket 7. Jo")]
    # It is over after an hour.
    assert staff_actions.let_through(user, reason="x", origin=ORIGIN) is StaffOutcome.OK
    clock.shift(3601)
    assert Tokens().sign_in().status == 401
    assert len(phone.texts) == texts + 1
    assert "Staff let" not in diagnose(user, timezone.now())[0].words


def test_observe_sends_and_records(provider: Provider, user: User, phone: Phone) -> None:
    provider.swapped = True
    texts, browser = len(phone.texts), Browser()
    with override_settings(OPTIN_SIM_SWAP="observe"):
        pages.sign_in(browser)
        browser.send(code=phone.code())
        assert browser.path == "/account/"
        assert "New SIM" not in browser.go("/account/two-factor/").text
    assert len(phone.texts) == texts + 1
    event = AuditEvent.objects.get(kind="challenge")
    assert event.data["sim"] == "swapped"
    assert [m.subject for m in mail.outbox if "SIM" in m.subject] == []


def test_an_answer_is_kept_for_some_minutes_and_a_number_that_is_new_asks_nobody(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    browser = Browser()
    pages.sign_in(browser)
    clock.shift(61)
    browser.send("/sign-in/code/send/")
    Tokens().sign_in()
    assert len(provider.asked) == 1
    clock.shift(300)
    Tokens().sign_in()
    assert len(provider.asked) == 2
    # Only a swap since the verification counts; the provider counts in hours.
    for age, hours in ((59, []), (61, [1]), (60 * 80, [72])):
        SimAnswer.objects.all().delete()
        provider.asked.clear()
        verified_at = timezone.now() - timedelta(minutes=age)
        ProviderUser.objects.update(verified_at=verified_at)
        with override_settings(OPTIN_SIM_SWAP_UNKNOWN="refuse"):
            challenges.challenge(user, Purpose.OPT_OUT, origin=ORIGIN)
        assert [asked["maxAge"] for asked in provider.asked] == hours


def test_an_earlier_swap_stands_while_there_is_no_answer(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Who lets the provider fail, or uses up the budget, gets no text."""
    provider.swapped, texts = True, len(phone.texts)
    Tokens().sign_in()
    for refuses in ((429, "QUOTA_EXCEEDED"), (404, "IDENTIFIER_NOT_FOUND")):
        provider.refuses = refuses
        clock.shift(301)
        assert Tokens().sign_in().headers["Link"].endswith('sim_swapped>; rel="help"')
    assert len(phone.texts) == texts
    provider.refuses, provider.swapped = None, False
    clock.shift(301)
    Tokens().sign_in()
    assert len(phone.texts) == texts + 1


def test_the_provider_rests_after_failures_and_the_budget_holds(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    provider.refuses = 429, "TOO_MANY_REQUESTS"
    for _ in range(5):
        Tokens().sign_in()
    assert len(provider.asked) == 3
    clock.shift(61)
    provider.refuses = None
    Tokens().sign_in()
    assert len(provider.asked) == 4
    with override_settings(OPTIN_SIM_SWAP_BUDGET=(Rate(1, 60),)):
        clock.shift(600)
        Tokens().sign_in()
        SimAnswer.objects.all().delete()
        Tokens().sign_in()
    assert len(provider.asked) == 5


def test_signing_in_with_an_unknown_number_uses_up_no_budget(
    provider: Provider, user: User
) -> None:
    """Else one such account lets texts leave to the swapped SIMs of all others."""
    provider.refuses = 404, "IDENTIFIER_NOT_FOUND"
    for _ in range(5):
        Tokens().sign_in()
    assert len(provider.asked) == 1


def test_a_number_whose_key_is_gone_is_no_failure_of_the_provider(
    provider: Provider, user: User
) -> None:
    """Else the provider rests, and is not asked about others."""
    ProviderUser.objects.update(number_encrypted="v2.gone.AAAA")
    for _ in range(3):
        Tokens().sign_in()
    assert not GatewayHealth.objects.filter(gateway="SIM swaps", failures__gt=0).exists()


def test_without_the_right_password_nobody_is_asked(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """G-02. Nor with a code, with an app, or while codes are locked."""
    browser = Browser()
    pages.sign_in(browser, password="wrong")
    Tokens().sign_in(password="wrong")
    Tokens(call="token-2fa").sign_in(verification_code="123456")
    User.objects.update(otp_locked_until=timezone.now() + timedelta(minutes=5))
    Tokens().sign_in()
    User.objects.update(otp_locked_until=None)
    add_app(user)
    pages.sign_in(browser)
    assert provider.asked == []


def test_nothing_that_is_kept_or_logged_tells_the_number(
    provider: Provider, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """S-50."""
    provider.says = f'{{"code": "+{NUMBER}", "message": "{NUMBER}"}}'.encode()
    with caplog.at_level("DEBUG"):
        Tokens().sign_in()
        provider.says = None
        provider.refuses = 403, f"DENIED_{NUMBER}"
        Tokens().sign_in()
    assert "It is not known whether a SIM was swapped: the provider answered 403" in caplog.text
    for told in (caplog.text, generate_latest(metrics._OURS).decode()):
        assert NUMBER[3:] not in told
        assert "secret-of-camara" not in told


@pytest.mark.parametrize(
    ("ending", "said"),
    [("91", "True"), ("00", "False"), ("49", "no fault"), ("83", "fault"), ("65", "fault")],
)
def test_the_stub_does_what_the_last_digits_say(ending: str, said: str) -> None:
    try:
        found = str(sim_swap.Stub().swapped(f"+6149157{ending}", hours=1, patience=0))
    except sim_swap.SimUnknown as exc:
        found = "fault" if exc.is_fault else "no fault"
    assert found == said


def test_a_used_idempotency_key_does_not_ask_again(
    provider: Provider, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Else one person could use up the budget of all."""
    api, sent = Api(token=bearer(user)), {"Idempotency-Key": "one"}
    assert api.opt_out(headers=sent).status == 401
    clock.shift(301)
    for _ in range(2):
        assert api.post("opt-out-from-2fa", '{"more": 1}', headers=sent).status == 400
    assert len(provider.asked) == 2


def _while_asked(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], says: bool) -> None:
    """While the stub is asked, do *act*; then it answers *says*.

    If *act* makes the service ask again, the stub says "swapped".
    """

    def swapped(*args: object, **more: object) -> bool:
        monkeypatch.setattr(sim_swap.Stub, "swapped", lambda *args, **more: True)
        act()
        return says

    monkeypatch.setattr(sim_swap.Stub, "swapped", swapped)


@override_settings(OPTIN_SIM_SWAP_PROVIDER="stub")
def test_of_two_sign_ins_at_once_the_later_question_counts(
    provider: Provider,
    phone: Phone,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S-07a: a "not swapped" from before the swap must not let a text leave after it."""
    texts = len(phone.texts)

    def sign_in_meanwhile() -> None:
        clock.shift(0.5)
        Tokens().sign_in()

    _while_asked(monkeypatch, sign_in_meanwhile, says=False)
    assert Tokens().sign_in().headers["Link"].endswith('sim_swapped>; rel="help"')
    assert len(phone.texts) == texts


@override_settings(OPTIN_SIM_SWAP_PROVIDER="stub")
def test_a_number_that_is_verified_while_the_provider_is_asked_gets_no_answer(
    provider: Provider, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = len(phone.texts)
    verify = partial(ProviderUser.objects.update, verified_at=timezone.now() + DAYS)
    _while_asked(monkeypatch, verify, says=True)
    Tokens().sign_in()
    assert len(phone.texts) == texts + 1
    assert not AuditEvent.objects.filter(kind="sim").exists()


def test_an_answer_ends_with_its_number(
    provider: Provider, user: User, file: File, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Somebody who verifies the number anew has proved the new SIM."""
    provider.swapped = True
    Tokens().sign_in()
    ProviderUser.objects.update(verified_at=timezone.now() + timedelta(seconds=1))
    clock.shift(2)
    texts = len(phone.texts)
    Tokens().sign_in()
    assert len(phone.texts) == texts + 1
