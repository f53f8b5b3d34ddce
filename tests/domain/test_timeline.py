"""P-21: staff can name the cause from the account's page alone.

Each cause is brought about through the services and the gateway; then ``diagnose`` names
it, and the timeline shows the decision with its numbers.
"""

import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.errors import InvalidMobileNumber, MalformedCode
from optin.gateways import Receipt, Report, SmsError
from optin.messaging import receipts
from optin.models import (
    AuditEvent,
    File,
    GatewayHealth,
    GatewayTry,
    Guard,
    Notice,
    Passkey,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    SmsMessage,
    User,
)
from optin.models.messages import State
from optin.operations import challenges, opt_ins, send_controls, sign_in, staff_actions, tenants
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import MALFORMED, By, CodeOutcome, SendOutcome
from optin.support import timeline
from optin.support.diagnosis import Cause, Question, Why, diagnose
from optin.support.entries import Entry, Position, What
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.phone import AWAY, REFUSED, Gateways, Phone, Stub, wrong
from tests.kit.world import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

STAFF = Origin(Face.COMMAND, client="test")
PAGE = Origin(Face.WEB, ip="192.0.2.1")
HOUR = timedelta(hours=1)
NEW_ZEALAND = "+6421555123"
WRONG = "not it"


@dataclass
class Scene:
    """A person who calls support, the gateways, and the clock."""

    user: User
    file: File
    phone: Phone
    clock: time_machine.Traveller
    use: Gateways
    settings: LazySettings

    def ask(self, number: str = NUMBER, origin: Origin = ORIGIN) -> Sending:
        return opt_ins.opt_in(self.user, self.file, number, origin=origin)

    def enter(self, code: str) -> None:
        """Enter *code* for the opt-in."""
        row = ProviderUser.objects.get(user=self.user)
        opt_ins.verify_opt_in(self.user, self.file, row.pk, code, origin=ORIGIN)

    def activate(self) -> None:
        self.ask()
        self.enter(self.phone.code())
        self.clock.shift(60)

    def challenge(self) -> Sending:
        return challenges.challenge(self.user, Purpose.SIGN_IN, origin=PAGE)

    def guess(self, code: str, times: int = 1) -> None:
        for _ in range(times):
            challenges.check(self.user, Purpose.SIGN_IN, code, origin=PAGE)

    def sign_in(self, password: str = WRONG) -> None:
        sign_in.sign_in(self.user.username, password, origin=PAGE)

    def receipt(self, report: Report, gateway: str = "one", reason: str = "") -> None:
        """The gateway tells what became of the newest text."""
        receipt = Receipt(report, SmsMessage.objects.latest("pk").reference, reason=reason)
        origin = Origin(Face.API, client=f"gateway:{gateway}")
        receipts.take(gateway, receipt, timezone.now(), origin)


@pytest.fixture
def scene(
    user: User,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
    use: Gateways,
    settings: LazySettings,
) -> Scene:
    return Scene(user, file, phone, clock, use, settings)


Happen = Callable[[Scene], None]


def entries(user: User) -> list[Entry]:
    return timeline.timeline(user, limit=1000).entries


def shown(entry: Entry) -> str:
    """All that an entry says."""
    return " | ".join([entry.label, *map(str, astuple(entry)[2:-1])])


def causes(user: User, question: Question) -> list[Cause]:
    return [cause for cause in diagnose(user, timezone.now()) if cause.question is question]


def assert_secret(scene: Scene) -> None:
    """S-50, S-51: no number in full and no code, in no spelling."""
    told = "\n".join(
        [*map(shown, entries(scene.user))]
        + [str(cause) for cause in diagnose(scene.user, timezone.now())]
    )
    digits = re.sub(r"[^0-9]", "", told)
    for number in (NUMBER, OTHER_NUMBER, NEW_ZEALAND):
        assert number[-8:] not in digits
    for body in [body for _, body in scene.phone.messages]:
        assert body.split()[0] not in told
    assert not re.search(r"[0-9a-f]{40}", told)  # nor a digest


# -- what happened, and the causes that are named: tests/explained has the others ---


def number_limit(scene: Scene) -> None:
    scene.settings.OPTIN_RESEND_WAIT = (0,)
    for _ in range(6):
        scene.ask()


def gateway_refused(scene: Scene) -> None:
    scene.use(Stub("one", REFUSED))
    scene.ask()


def carrier_refused(scene: Scene) -> None:
    scene.use(Stub("one"))
    scene.ask()
    scene.receipt(Report.FAILED, reason="absent subscriber")


def landline(scene: Scene) -> None:
    with pytest.raises(InvalidMobileNumber):
        scene.ask("02 9876 5432")


def entered_too_late(scene: Scene) -> None:
    scene.ask()
    scene.clock.shift(601)
    scene.enter(scene.phone.code())


def no_gateway(scene: Scene) -> None:
    scene.use(Stub("nz", regions=("NZ",)))
    scene.ask()


def nothing_asked(scene: Scene) -> None:
    pass


def nothing_lately(scene: Scene) -> None:
    scene.ask()
    scene.clock.shift(86_400)


def app_after_a_day(scene: Scene) -> None:
    """A text was delivered, two days ago."""
    scene.activate()
    scene.challenge()
    Person(scene.user, scene.file, scene.phone, scene.clock).add_app()
    scene.clock.shift(2 * 86_400)
    scene.sign_in(PASSWORD)


def lock(scene: Scene) -> None:
    scene.activate()
    for _ in range(2):
        scene.challenge()
        scene.guess(wrong(scene.phone.code()), 5)
        scene.clock.shift(60)


def disable(scene: Scene) -> None:
    scene.activate()
    scene.settings.OPTIN_LOCK_AFTER, scene.settings.OPTIN_DISABLE_AFTER = 40, 50
    scene.settings.OPTIN_SENDS_PER_NUMBER = scene.settings.OPTIN_SENDS_PER_USER = ()
    for _ in range(10):
        scene.challenge()
        scene.guess(wrong(scene.phone.code()), 5)
        scene.clock.shift(HOUR)


def suspend(scene: Scene) -> None:
    scene.activate()
    staff_actions.suspend(scene.user, reason="stolen phone", origin=STAFF)


def suspended_for_a_day(scene: Scene) -> None:
    suspend(scene)
    scene.clock.shift(86_400)


def limit_passwords(scene: Scene) -> None:
    scene.activate()
    for _ in range(11):
        scene.sign_in()


def set_up_first(scene: Scene) -> None:
    scene.user.is_staff = True
    scene.user.save()


def wait_for_the_text(scene: Scene) -> None:
    """The password was right; the gateway was not."""
    scene.activate()
    scene.use(Stub("one", REFUSED))
    scene.sign_in(PASSWORD)


NO_TEXT, NO_ENTRY = Question.NO_TEXT, Question.NO_ENTRY

# fmt: off
NAMED: list[tuple[Happen, Question, list[Why], str, str]] = [
    (number_limit, NO_TEXT, [Why.NUMBER_LIMIT, Why.NUMBER_MISTYPED, Why.NOT_CONFIRMED],
        r"5 of 5 texts to this number in 10 minutes.*Trying again works from .*23:10 AEDT",
        r"not sent.*5 of 5 texts to this number in 10 minutes.*•••156"),
    (gateway_refused, NO_TEXT, [Why.GATEWAY_REFUSED, Why.NUMBER_MISTYPED],
        r"gateway one refused .*•••156.*no such number",
        r"gateway one refused.*no such number"),
    (carrier_refused, NO_TEXT, [Why.CARRIER_REFUSED, Why.NUMBER_MISTYPED],
        r"gateway one took .*the carrier refused it: absent subscriber",
        r"Code for •••156 .*: not delivered.*absent subscriber.*carrier refused"),
    (landline, NO_TEXT, [Why.NOT_MOBILE],
        "refused: .* isn't a mobile number, it is the number of a landline", "landline"),
    (entered_too_late, NO_TEXT, [Why.ARRIVED],
        "has probably arrived: a code was entered .* had expired", "Expired code"),
    (no_gateway, NO_TEXT, [Why.NO_GATEWAY], "no gateway serves its number", "no gateway"),
    (nothing_asked, NO_TEXT, [Why.NOTHING_ASKED], "No text was ever asked for", ""),
    (nothing_lately, NO_TEXT, [Why.NOTHING_ASKED, Why.NUMBER_MISTYPED, Why.NOT_CONFIRMED],
        "since 2026-11-02 23:00 AEDT", ""),
    (app_after_a_day, NO_TEXT, [Why.APP_INSTEAD], "has an authenticator app", ""),
    (disable, NO_TEXT, [Why.DISABLED], "locked since .* after 50 wrong codes",
        "locked from here on"),
    (suspended_for_a_day, NO_TEXT, [Why.SUSPENDED], "stolen phone", ""),
    (lock, NO_ENTRY, [Why.LOCKED, Why.PHONE_ONLY],
        r"No code is accepted.*until .*23:17 AEDT, after 10 wrong codes",
        r"wrong codes in a row: 10.*no tries of this code are left.*refused until .*23:17 AEDT"),
    (suspend, NO_ENTRY, [Why.SUSPENDED, Why.PHONE_ONLY],
        r"suspended the number •••156 .*stolen phone",
        r"(?i)suspended.*•••156.*operators.*stolen phone"),
    (limit_passwords, NO_ENTRY, [Why.PASSWORD_LIMIT, Why.PHONE_ONLY],
        r"from 192\.0\.2\.1: 10 of 10 wrong passwords .* in 5 minutes.*again works from .*23:05",
        r"too many tries.*10 of 10 wrong passwords"),
    (set_up_first, NO_ENTRY, [Why.SET_UP_FIRST], r"without a second factor", ""),
    (wait_for_the_text, NO_ENTRY, [Why.NO_CODE_ENTERED, Why.PHONE_ONLY],
        r"A code to sign in was asked for at .*23:01 AEDT, and no text was sent\.",
        r"gateway one refused"),
]
# fmt: on
"""What happens; the causes that are named, and the words of the first; what an entry says."""


@pytest.mark.parametrize(
    ("seed", "question", "whys", "words", "deciding"),
    NAMED,
    ids=[row[0].__name__ for row in NAMED],
)
def test_the_causes_are_named_and_the_list_has_what_decided(
    scene: Scene, seed: Happen, question: Question, whys: list[Why], words: str, deciding: str
) -> None:
    """P-21."""
    seed(scene)
    found = causes(scene.user, question)
    assert [cause.why for cause in found] == whys
    assert re.search(words, found[0].words), found[0].words
    assert found[0].advice
    told = [shown(entry) for entry in entries(scene.user)]
    assert not deciding or any(re.search(deciding, one) for one in told), told
    assert_secret(scene)


# -- and when --------------------------------------------------------------------


def stop_switch(scene: Scene) -> None:
    send_controls.stop_texts(reason="under attack", origin=STAFF)
    scene.ask()


def asked_while_suspended(scene: Scene) -> None:
    suspend(scene)
    scene.challenge()


def asked_while_locked(scene: Scene) -> None:
    lock(scene)
    scene.challenge()


@pytest.mark.parametrize(
    ("seed", "end", "words"),
    [
        (
            stop_switch,
            lambda scene: send_controls.allow_texts(reason="contract signed", origin=STAFF),
            r"refused: staff stopped all texts\. This is over\.",
        ),
        (
            asked_while_suspended,
            lambda scene: staff_actions.resume(scene.user, reason="it was found", origin=STAFF),
            r"refused: staff suspended the number\. This is over\.",
        ),
        (
            asked_while_locked,
            lambda scene: staff_actions.unlock(scene.user, reason="known here", origin=STAFF),
            r"refused: 10 wrong codes in a row; each 10 lock codes .*\. This is over\.",
        ),
        (
            number_limit,
            lambda scene: scene.clock.shift(600),
            r"5 of 5 texts .*\. This ended at .*23:10 AEDT\.",
        ),
    ],
    ids=["stop-switch", "suspended", "locked", "limit-per-number"],
)
def test_what_refused_and_is_over_says_so(
    scene: Scene, seed: Happen, end: Happen, words: str
) -> None:
    seed(scene)
    before = causes(scene.user, Question.NO_TEXT)[0]
    end(scene)
    after = causes(scene.user, Question.NO_TEXT)[0]
    assert (after.why, after.advice) == (before.why, "Tell them to ask once now.")
    assert before.advice != after.advice
    assert re.search(words, after.words), after.words


def test_too_few_digits_are_told(scene: Scene) -> None:
    """No try is counted, but support can say why the code did not do."""
    scene.ask()
    for _ in range(3):
        with pytest.raises(MalformedCode):
            scene.enter("123456")
    scene.user.refresh_from_db()
    assert scene.user.otp_failures == 0
    cause = causes(scene.user, Question.NO_OPT_IN)[0]
    assert "Code with too few or too many digits entered (it has 6 digits)" in cause.words
    assert (
        cause.advice == "Tell them to enter all 7 digits of the code, as the text message has them."
    )
    assert AuditEvent.objects.filter(outcome=MALFORMED).count() == 1  # the others are counted
    assert_secret(scene)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (300, r"Trying again works from .*23:10 AEDT"),
        (600 + 899, r"This ended at .*23:10 AEDT"),
        (600 + 900, ""),
    ],
)
def test_a_limit_before_another_refusal_is_told_of_until_it_is_long_over(
    scene: Scene, seconds: int, words: str
) -> None:
    number_limit(scene)
    scene.ask(NEW_ZEALAND)
    scene.clock.shift(seconds)
    first, second = causes(scene.user, Question.NO_TEXT)[:2]
    assert first.why is Why.REGION
    assert (second.why is Why.NUMBER_LIMIT) is bool(words)
    assert re.search(words, second.words)


def test_a_wait_tells_what_became_of_the_text_before(scene: Scene) -> None:
    gateway_refused(scene)
    assert scene.ask().outcome is SendOutcome.SEND_LIMIT
    found = [cause.why for cause in causes(scene.user, Question.NO_TEXT)]
    assert found == [Why.GATEWAY_REFUSED, Why.NUMBER_MISTYPED, Why.RESEND_WAIT]


def test_a_code_that_was_entered_did_arrive_whatever_the_carrier_said(scene: Scene) -> None:
    [one] = scene.use(Stub("one"))
    scene.ask()
    scene.enter(one.texts[0].body.split()[0])
    scene.receipt(Report.FAILED, reason="absent subscriber")
    assert causes(scene.user, Question.NO_TEXT)[0].why is Why.ARRIVED


def test_what_stands_in_the_way_now_hides_a_text_that_arrived(scene: Scene) -> None:
    scene.activate()
    send_controls.stop_texts(reason="under attack", origin=STAFF)
    staff_actions.suspend(scene.user, reason="stolen phone", origin=STAFF)
    found = causes(scene.user, Question.NO_TEXT)
    assert [cause.why for cause in found] == [Why.ALL_STOPPED, Why.SUSPENDED]
    assert "under attack" in found[0].words
    assert "stolen phone" in found[1].words


def test_a_call_for_a_file_of_others_is_told_of(scene: Scene) -> None:
    def found() -> list[str]:
        return [cause.words for cause in causes(scene.user, Question.NO_ACCESS)]

    assert found() == []
    tenants.refuse_access(scene.user, 888, "insufficient_scope", origin=ORIGIN)
    assert found() == []
    tenants.refuse_access(scene.user, 888, "file_access_denied", origin=ORIGIN)
    assert found() == [
        "ann is not a member of file 888 (member of 777): calls for it get 403, the last one at "
        "2026-11-02 23:00 AEDT."
    ]
    for pk in range(1, 7):
        tenants.create_file(pk, "x", origin=STAFF)
        tenants.add_member(scene.user, File.objects.get(pk=pk), origin=STAFF)
    assert "(member of 1, 2, 3, 4, 5 and more)" in found()[0]
    tenants.create_file(888, "x", origin=STAFF)
    tenants.add_member(scene.user, File.objects.get(pk=888), origin=STAFF)
    assert found() == []
    tenants.end_membership(scene.user, File.objects.get(pk=888), origin=STAFF)
    assert found()
    scene.clock.shift(86_400)
    assert found() == []


def test_a_limit_on_passwords_that_is_over_is_said_to_be(scene: Scene) -> None:
    limit_passwords(scene)
    assert "Nobody here can lift it" in causes(scene.user, Question.NO_ENTRY)[0].advice
    scene.clock.shift(300)
    cause = causes(scene.user, Question.NO_ENTRY)[0]
    assert cause.words.endswith("This ended at 2026-11-02 23:05 AEDT.")
    assert cause.advice.startswith("Tell them to try once now.")


@pytest.mark.parametrize(
    "goes_on",
    [
        lambda scene: scene.guess(scene.phone.code()),
        lambda scene: scene.sign_in(),
        lambda scene: scene.clock.shift(86_400),
    ],
    ids=["code-entered", "wrong-password-since", "yesterday"],
)
def test_a_code_that_was_asked_for_is_told_of_while_it_is_what_they_wait_for(
    scene: Scene, goes_on: Happen
) -> None:
    scene.activate()
    scene.sign_in(PASSWORD)
    assert causes(scene.user, Question.NO_ENTRY)[0].why is Why.NO_CODE_ENTERED
    goes_on(scene)
    found = [cause.why for cause in causes(scene.user, Question.NO_ENTRY)]
    assert Why.NO_CODE_ENTERED not in found


@pytest.mark.parametrize("bar", [disable, suspend], ids=["locked", "suspended"])
def test_another_way_in_is_named_where_there_is_one(scene: Scene, bar: Happen) -> None:
    bar(scene)
    scene.challenge()
    another = "They can sign in with a recovery code."
    for has in (False, True):
        if has:
            RecoveryCode.objects.create(user=scene.user, digest="d" * 64, created_at=NOON)
        for question in (Question.NO_TEXT, Question.NO_ENTRY):
            assert causes(scene.user, question)[0].advice.startswith(another) is has


def test_who_answered_stop_turns_texts_on_again_where_there_is_another_way_in(
    scene: Scene,
) -> None:
    scene.activate()
    number = scene.user.provider_users.get()
    Guard.objects.opt_out(number.number_digest, number.last_three, NOON)
    for has in (False, True):
        if has:
            RecoveryCode.objects.create(user=scene.user, digest="d" * 64, created_at=NOON)
        advice = causes(scene.user, NO_TEXT)[0].advice
        assert "text START" in advice
        assert ("a recovery code. Then they can turn text messages on" in advice) is has


def test_a_wrong_code_is_named_until_staff_unlock_the_account(scene: Scene) -> None:
    """The code may be one that somebody else guessed."""
    scene.activate()
    scene.challenge()
    scene.guess(wrong(scene.phone.code()))
    assert causes(scene.user, NO_ENTRY)[0].why is Why.CODE_REFUSED
    staff_actions.unlock(scene.user, reason="known here", origin=STAFF)
    assert [cause.why for cause in causes(scene.user, NO_ENTRY)] == [Why.PHONE_ONLY]


def test_each_gateway_that_rests_is_named(scene: Scene) -> None:
    for gateway in ("one", "two"):
        GatewayHealth.objects.create(
            gateway=gateway, failures=9, tripped_until=timezone.now() + HOUR
        )
    words = causes(scene.user, NO_TEXT)[-1].words
    assert re.findall("The gateway (one|two) failed 9 times", words) == ["one", "two"]


def test_a_refused_passkey_is_named_until_one_is_accepted(person: Person) -> None:
    """Also after a sign-in by text: "my key was refused this morning"."""
    person.set_up(By.TEXT, By.PASSKEY)
    own, copy = person.keys, person.keys.clone()
    assert person.check(person.shown()).by is By.PASSKEY
    for keys, said, advice in (
        (replace(own, origin="https://2fa.example.net"), "on another website", "fake website"),
        (copy, "a copy of the key; it is Blue key", "press “Remove a passkey”"),
    ):
        person.keys = keys
        assert person.check(person.shown()).outcome is CodeOutcome.PASSKEY_REFUSED
        person.check(person.text())
        person.clock.shift(3600)
        cause = causes(person.user, Question.NO_ENTRY)[0]
        assert cause.why is Why.PASSKEY_REFUSED
        assert said in cause.words
        assert advice in cause.advice
    person.keys = own
    person.check(person.shown())
    assert causes(person.user, Question.NO_ENTRY) == []


def test_who_has_one_passkey_gets_no_text_and_may_lose_the_only_device(person: Person) -> None:
    person.set_up(By.PASSKEY)
    sign_in.sign_in(person.user.username, PASSWORD, origin=PAGE)
    assert [one.why for one in causes(person.user, Question.NO_TEXT)] == [Why.PASSKEY_INSTEAD]
    assert [one.why for one in causes(person.user, Question.NO_ENTRY)] == [Why.ONE_DEVICE_ONLY]
    Passkey.objects.update(rp_id="old.example.com")
    (cause,) = causes(person.user, Question.NO_ENTRY)
    assert (cause.why, "earlier host" in cause.words) == (Why.NONE_USABLE, True)
    assert cause.advice.startswith("Make sure who calls")
    person.make_recovery_codes()
    (cause,) = causes(person.user, Question.NO_ENTRY)
    assert cause.advice.startswith("Tell them to use a recovery code")


def test_what_concerns_opting_in_is_no_cause_of_sign_in(scene: Scene) -> None:
    """A wrong code of an opt-in, and a lock by such codes: the password alone still leads in."""
    scene.ask()
    scene.enter(wrong(scene.phone.code()))
    assert [one.why for one in causes(scene.user, Question.NO_OPT_IN)] == [Why.CODE_REFUSED]
    assert causes(scene.user, Question.NO_ENTRY) == []
    until = timezone.now() + timedelta(minutes=5)
    User.objects.filter(pk=scene.user.pk).update(otp_failures=10, otp_locked_until=until)
    assert [one.why for one in causes(scene.user, Question.NO_OPT_IN)] == [Why.LOCKED]
    assert causes(scene.user, Question.NO_ENTRY) == []


def test_of_a_deactivated_account_nothing_else_is_said(scene: Scene) -> None:
    """Its right password looks like a wrong one in the list."""
    scene.activate()
    scene.user.is_active = False
    scene.user.save()
    scene.sign_in(PASSWORD)
    found = [cause.why for cause in diagnose(scene.user, timezone.now())]
    assert found == [Why.DEACTIVATED, Why.DEACTIVATED]


def test_who_can_sign_in_has_no_cause(scene: Scene, full: Person) -> None:
    assert causes(scene.user, Question.NO_ENTRY) == []


# -- the list ----------------------------------------------------------------------


def test_one_text_from_the_request_to_the_receipt(scene: Scene) -> None:
    first, _ = scene.use(Stub("one", AWAY), Stub("two"))
    first.then = lambda: scene.clock.shift(1)
    scene.ask()
    scene.clock.shift(20)
    scene.receipt(Report.DELIVERED, "two")
    (entry,) = entries(scene.user)
    assert (entry.label, entry.bad) == ("Text message", False)
    assert entry.words == ("Code for •••156 to verify a number: delivered after 21 seconds")
    assert entry.where == "through the API, from 192.0.2.1"
    assert entry.steps == (
        "2026-11-02 23:00:00 AEDT: Code sent to verify a number; "
        "1 of 5 texts to this number in 10 minutes, for opt-in, all accounts together; "
        "file 777 Harbour Books",
        "2026-11-02 23:00:00 AEDT: The gateway one is down or failed: the text was not sent; away",
        "2026-11-02 23:00:01 AEDT: The gateway two took the text",
        "2026-11-02 23:00:21 AEDT: The gateway two reports: delivered",
        "its code works until 2026-11-02 23:10 AEDT",
    )


def test_what_staff_did_says_who_why_and_how_they_were_told(scene: Scene) -> None:
    scene.activate()
    boss = User.objects.create_superuser("boss", "boss@example.com", PASSWORD)
    origin = Origin(Face.ADMIN, actor_id=boss.pk, ip="198.51.100.7", request_id="r-1")
    staff_actions.suspend(scene.user, reason="stolen phone", origin=origin)
    mailed, staff = entries(scene.user)[:2]
    assert (mailed.what, mailed.words) == (
        What.MAIL,
        "“Your mobile number was suspended by staff”: sent",
    )
    assert (staff.what, staff.who, staff.quoted) == (What.STAFF, "boss", "stolen phone")
    assert staff.where == "in the admin, from 198.51.100.7"
    assert staff.raw == ("Request: r-1",)


def test_both_accounts_show_that_a_number_was_claimed(scene: Scene, stranger: User) -> None:
    scene.activate()
    scene.clock.shift(600)
    opt_ins.opt_in(stranger, scene.file, NUMBER, origin=ORIGIN)
    row = ProviderUser.objects.get(user=stranger)
    opt_ins.verify_opt_in(stranger, scene.file, row.pk, scene.phone.code(), origin=ORIGIN)
    for user in (scene.user, stranger):
        told = [shown(entry) for entry in entries(user)]
        assert any("number that another account uses" in one and "ann, ben" in one for one in told)
    (cause,) = causes(stranger, Question.NO_OPT_IN)
    assert cause.why is Why.NUMBER_IN_USE
    assert "the code was right, but another account uses the number •••156." in cause.words


def test_nothing_of_others_is_shown(scene: Scene, stranger: User) -> None:
    opt_ins.opt_in(stranger, scene.file, OTHER_NUMBER, origin=ORIGIN)
    assert entries(scene.user) == []


@pytest.mark.parametrize("words", [f"no route to {NUMBER}", "0491 570 156 is bad", "code 1234567"])
def test_what_a_gateway_says_is_masked(scene: Scene, words: str) -> None:
    scene.use(Stub("one", SmsError(words)))
    scene.ask()
    made = next(entry for entry in entries(scene.user) if entry.what is What.TEXT)
    assert re.search(r"•••(156|567)", made.quoted)
    assert re.search(r"is down or failed.*; .*•••(156|567)", made.steps[1])
    assert_secret(scene)


def test_what_others_wrote_is_one_harmless_line(scene: Scene) -> None:
    scene.activate()
    evil = "=1+1\r\nX: y \u202egnp.exe <script>alert(1)</script> \x1b[31m"
    origin = Origin(Face.COMMAND, user_agent=evil)
    staff_actions.suspend(scene.user, reason=evil, origin=origin)
    found = entries(scene.user)
    for text in (found[1].quoted, found[1].where, causes(scene.user, Question.NO_ENTRY)[0].words):
        assert text.isprintable()
    page = render_to_string("admin/parts/timeline.html", {"entries": found})
    assert "<script>" not in page


def walk(user: User, limit: int, only: frozenset[What] | None = None) -> list[Entry]:
    """All pages, one after the other, by the text of each one's last position."""
    found: list[Entry] = []
    before = None
    while True:
        page = timeline.timeline(user, before=before, limit=limit, only=only)
        assert len(page.entries) <= limit
        found += page.entries
        assert len(found) < 1000, "it never ends"
        if page.older is None:
            return found
        before = Position.parse(str(page.older))


def times(found: list[Entry]) -> int:
    """How many things *found* tell of: equal refusals are one entry."""
    counts = [re.search(r", (\d+) times (in|between)", entry.words) for entry in found]
    return sum(int(count[1]) if count else 1 for count in counts)


@pytest.mark.parametrize("limit", [1, 7])
def test_pages_lose_nothing_and_repeat_nothing(scene: Scene, limit: int) -> None:
    """Though many things happened at one time, and a clock was set back."""
    lock(scene)
    scene.use(Stub("one", AWAY), Stub("two"))
    scene.clock.shift(-1200)
    scene.sign_in()
    scene.clock.shift(1300)
    scene.challenge()
    staff_actions.suspend(scene.user, reason="x", origin=STAFF)
    whole = entries(scene.user)
    events = AuditEvent.objects.about(scene.user)
    assert times(whole) == (
        events.exclude(data__has_key="message").count()
        + SmsMessage.objects.count()
        + Notice.objects.count()
    )
    shown_events = [entry.position.pk for entry in whole if entry.position.rank == timeline._EVENT]
    assert shown_events == sorted(shown_events, reverse=True)
    paged = walk(scene.user, limit)
    assert times(paged) == times(whole)
    # A page ends where it ends, perhaps between equal refusals.
    assert list(dict.fromkeys(map(_named, paged))) == list(dict.fromkeys(map(_named, whole)))


@pytest.mark.parametrize("name", timeline.GROUPS)
def test_each_group_has_its_entries_and_no_others(scene: Scene, name: str) -> None:
    lock(scene)
    scene.sign_in()
    staff_actions.suspend(scene.user, reason="x", origin=STAFF)
    tenants.refuse_access(scene.user, 888, "not_found", origin=PAGE)
    only = timeline.GROUPS[name].what
    whole = [entry for entry in entries(scene.user) if entry.what in only]
    assert whole
    paged = walk(scene.user, 7, only)
    assert times(paged) == times(whole)
    assert list(dict.fromkeys(map(_named, paged))) == list(dict.fromkeys(map(_named, whole)))


@pytest.mark.parametrize(
    ("apart", "when"),
    [
        (0, "in 1 second"),
        (25, "between 2026-11-02 23:01 AEDT and 2026-11-02 23:02 AEDT"),
        (3600, "between 2026-11-02 23:01 AEDT and 2026-11-03 03:01 AEDT"),
    ],
)
def test_what_repeats_is_one_entry_with_its_time(scene: Scene, apart: int, when: str) -> None:
    scene.activate()
    for _ in range(5):
        with transaction.atomic():
            AuditEvent.objects.record(
                AuditEvent.Kind.CHECK,
                "otp_incorrect",
                now=timezone.now(),
                origin=PAGE,
                user_id=scene.user.pk,
            )
        scene.clock.shift(apart)
    assert entries(scene.user)[0].words == f"Wrong code entered, 5 times {when}"


def test_the_right_code_of_a_number_is_listed_with_codes(scene: Scene) -> None:
    scene.activate()
    only = timeline.GROUPS["codes"].what
    found = timeline.timeline(scene.user, limit=1000, only=only).entries
    assert "Two-factor sign-in turned on" in [entry.words for entry in found]


def test_guesses_of_codes_are_one_line_with_their_texts_and_mails(scene: Scene) -> None:
    """P-21. One line each for the wrong codes, their texts and the mails; a right code ends it."""
    scene.activate()
    before = len(entries(scene.user))
    for _ in range(3):
        scene.challenge()
        scene.guess(wrong(scene.phone.code()), 5)
        scene.clock.shift(2 * 3600)
    found = entries(scene.user)[:-before]
    assert {entry.what for entry in found} == {What.CODE, What.TEXT, What.MAIL}
    assert len(found) == 3
    assert times(found) == 15 + 3 + 1
    text = next(entry for entry in found if entry.what is What.TEXT)
    assert sum("to sign in" in step for step in text.steps) == 3
    scene.challenge()
    scene.guess(scene.phone.code())
    scene.challenge()
    scene.guess(wrong(scene.phone.code()))
    assert times(entries(scene.user)[:2]) == 2


def _named(entry: Entry) -> str:
    return re.sub(r"(: delivered after .*)?(, \d+ times (in|between) .*)?$", "", entry.words)


def grow(scene: Scene, rows: int) -> None:
    """Let so many things of each kind happen, one of each a second."""
    number = ProviderUser.objects.get(user=scene.user)
    for n in range(rows):
        scene.clock.shift(1)
        now = timezone.now()
        code = PendingOtp.objects.create(
            provider_user=number,
            purpose=Purpose.SIGN_IN,
            nonce=f"{rows}-{n}",
            key_id="k",
            digits=7,
            issued_at=now,
            expires_at=now + HOUR,
            closed_at=now,
            closed_as=PendingOtp.Closed.SUPERSEDED,
        )
        facts: dict[str, Any] = {"state": State.FAILED, "reason": "x", "created_at": now}
        text = SmsMessage.objects.create(pending_otp=code, **facts)
        SmsMessage.objects.create(news_to=number, **facts)
        GatewayTry.objects.create(message=text, gateway="one", at=now, fate="refused")
        kind = Notice.Kind.LOCKED
        Notice.objects.create(user=scene.user, kind=kind, state=State.SENT, created_at=now)
        tenants.refuse_access(scene.user, 777, "x", origin=Origin(Face.API, actor_id=n + 1))


def test_as_many_queries_for_five_hundred_as_for_one(scene: Scene) -> None:
    scene.activate()
    counts = []
    for rows in (1, 500):
        grow(scene, rows)
        before = entries(scene.user)[3].position
        for call in (
            lambda: timeline.timeline(scene.user),
            lambda before=before: timeline.timeline(scene.user, before=before),
            lambda: timeline.timeline(scene.user, limit=5000),
            lambda: diagnose(scene.user, timezone.now()),
        ):
            with CaptureQueriesContext(connection) as queries:
                call()
            counts.append(len(queries))
    assert counts[:4] == counts[4:]
    assert counts[:3] == [12] * 3
    assert counts[3] <= 18
