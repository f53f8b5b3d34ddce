"""Who may be sent how many texts: each limit by itself, at its boundary."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import time_machine
from django.conf import LazySettings
from django.utils import timezone

from optin.conf import Rate, conf
from optin.gateways import Text
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    Guard,
    PendingOtp,
    ProviderUser,
    Purpose,
    SendCounter,
    SmsMessage,
    User,
)
from optin.operations import challenges, opt_ins, send_controls, staff_actions
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import WITHHELD, CodeOutcome, SendOutcome
from optin.web import words
from tests.domain.asking import LIMITS, PAGE, TABLE, TOKEN, Ask, Asker, default, mobile
from tests.kit.people import NOON, NUMBER, ORIGIN, make_user
from tests.kit.phone import Phone
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("setting", "rule", "together", "elsewhere"), TABLE)
def test_each_limit_by_itself(
    alone: LazySettings,
    asker: Asker,
    phone: Phone,
    clock: time_machine.Traveller,
    setting: str,
    rule: str,
    together: Ask,
    elsewhere: Callable[[Asker], Sending] | None,
) -> None:
    """S-41. Three go, the fourth does not, what counts elsewhere does, a new window opens.

    What is refused costs nothing: no row, no count, in no counter; one event.
    """
    for name in LIMITS:
        setattr(alone, name, (Rate(100, 600),))
    setattr(alone, setting, (Rate(3, 600),))
    for n in range(3):
        assert together(asker, n).outcome in {SendOutcome.SENT, SendOutcome.RESENT}
    clock.shift(599)  # noon is the edge of a window: this is its last second
    before = everything(phone)

    said = {"rule": f"{rule}/600", "count": 3, "limit": 3, "retry_after": 60}
    with one_event(AuditEvent.Kind.OPT_IN, SendOutcome.SEND_LIMIT, said):
        refused = together(asker, 3)
    assert refused.outcome is SendOutcome.SEND_LIMIT
    assert refused.retry_after == timedelta(minutes=1)  # rounded up
    assert everything(phone) == before
    if elsewhere:
        assert elsewhere(asker).outcome is SendOutcome.SENT

    clock.shift(1)
    assert together(asker, 3).outcome is SendOutcome.SENT
    assert len(phone.messages) == (5 if elsewhere else 4)


def used(world: World) -> None:
    assert world.guess(world.code()).outcome is CodeOutcome.OK


@pytest.mark.parametrize("given", [lambda world: world.clock.shift(600), used])
def test_the_waits_start_again_10_minutes_after_the_last_text_or_once_a_code_was_used(
    active: ProviderUser, world: World, alone: LazySettings, given: Callable[[World], None]
) -> None:
    alone.OPTIN_RESEND_WAIT = (30, 60, 120)
    for purpose in (Purpose.OPT_OUT, Purpose.CHANGE, Purpose.SIGN_IN):  # each waits for itself
        world.purpose = purpose
        assert world.ask().outcome is SendOutcome.SENT
    world.clock.shift(30)
    world.ask()
    given(world)
    assert world.ask().outcome is SendOutcome.SENT
    world.clock.shift(29.9)
    assert world.ask().outcome is SendOutcome.WAITING
    world.clock.shift(0.1)
    assert world.ask().outcome is SendOutcome.RESENT


def everything(phone: Phone) -> tuple[object, ...]:
    return (
        list(SendCounter.objects.order_by("pk").values()),
        ProviderUser.objects.count(),
        PendingOtp.objects.count(),
        SmsMessage.objects.count(),
        len(phone.messages),
    )


OF_LATE = [
    pytest.param("OPTIN_SENDS_PER_NUMBER", lambda a, n: a.ask(user=n % 6), id="number"),
    pytest.param("OPTIN_SENDS_PER_NUMBER", lambda a, n: a.ask(), id="number and user"),
    pytest.param("OPTIN_SENDS_PER_USER", lambda a, n: a.ask(number=n), id="user"),
]


@pytest.mark.parametrize(("setting", "ask"), OF_LATE)
def test_a_limit_holds_in_any_span_of_its_length(
    alone: LazySettings, asker: Asker, clock: time_machine.Traveller, setting: str, ask: Ask
) -> None:
    """S-41. From 23:50 to 00:10 UTC, and the same a day later: midnight begins no limit anew."""
    setattr(alone, setting, default(setting))
    sent: list[datetime] = []
    for day in range(2):
        clock.move_to(NOON.replace(hour=23, minute=50) + timedelta(days=day))
        for n in range(41):
            sending = ask(asker, 41 * day + n)
            if sending.decided in {SendOutcome.SENT, SendOutcome.RESENT}:
                sent.append(timezone.now())
            clock.shift(30)

    for rate in (Rate(5, 600), Rate(10, 86_400)):
        spans = [
            [at for at in sent if 0 <= (at - first).total_seconds() < rate.seconds]
            for first in sent
        ]
        assert max(map(len, spans)) == rate.count
    assert len(sent) == 20


def test_an_api_call_counts_for_no_address(alone: LazySettings, asker: Asker) -> None:
    """One integrator's server is one address for all its users."""
    alone.OPTIN_SENDS_PER_IP = (Rate(1, 600),)
    for n in range(3):
        assert asker.ask(number=n).outcome is SendOutcome.SENT
    for face in (Face.WEB, Face.TOKEN):
        origin = Origin(face, ip=ORIGIN.ip, client="app:1")
        outcome = asker.ask(number=4 if face is Face.WEB else 5, origin=origin).outcome
        assert outcome is (SendOutcome.SENT if face is Face.WEB else SendOutcome.SEND_LIMIT)


# -- two classes of texts (S-07) ---------------------------------------------------


@pytest.mark.parametrize("setting", LIMITS)
def test_asked_for_texts_do_not_use_up_the_owners(
    active: ProviderUser, world: World, alone: LazySettings, setting: str
) -> None:
    """Opt-out requests, which a stolen key can make, leave sign-in texts alone."""
    origins = {Purpose.OPT_OUT: ORIGIN, Purpose.SIGN_IN: TOKEN}
    if setting == "OPTIN_SENDS_PER_IP":
        origins[Purpose.OPT_OUT] = PAGE
    world.clock.shift(600)
    setattr(alone, setting, (Rate(1, 600),))

    def ask(purpose: Purpose) -> SendOutcome:
        return challenges.challenge(
            world.user, purpose, origin=origins[purpose], file=world.file
        ).outcome

    assert [ask(Purpose.OPT_OUT) for _ in range(2)] == [SendOutcome.SENT, SendOutcome.SEND_LIMIT]
    assert ask(Purpose.SIGN_IN) is SendOutcome.SENT
    own = {"OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER", "OPTIN_SENDS_PER_IP"}
    # Sign-in texts are never refused for a file's or the total budget.
    expected = SendOutcome.SEND_LIMIT if setting in own else SendOutcome.RESENT
    assert ask(Purpose.SIGN_IN) is expected


@dataclass
class Owners:
    """People with a number of their own, who sign in."""

    users: list[User]

    def ask(self, n: int, times: int = 1) -> list[SendOutcome]:
        ask = [Purpose.SIGN_IN, Purpose.CHANGE]
        user = self.users[n]
        return [challenges.challenge(user, ask[m % 2], origin=TOKEN).outcome for m in range(times)]


@pytest.fixture
def owners(
    alone: LazySettings, monkeypatch: pytest.MonkeyPatch, asker: Asker, phone: Phone
) -> Owners:
    for n, user in enumerate(asker.users[:3]):
        row = asker.ask(user=n, number=n).provider_user_id
        assert row
        opt_ins.verify_opt_in(user, asker.file, row, phone.code(), origin=ORIGIN)
    alone.OPTIN_OWN_SENDS_TOTAL = (Rate(4, 86_400),)
    monkeypatch.setattr(conf, "own_sends_reserve", 2)
    return Owners(asker.users)


def test_own_texts_have_a_ceiling_and_shut_nobody_out(
    owners: Owners, asker: Asker, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-07: whoever uses it up with accounts of their own leaves the others their first texts."""
    assert SendOutcome.SEND_LIMIT not in owners.ask(0, times=4)
    before = everything(phone)
    said = {"rule": "own-total/86400", "count": 4, "limit": 4, "retry_after": 43_200}
    with one_event(
        AuditEvent.Kind.CHALLENGE, SendOutcome.SEND_LIMIT, {**said, "purpose": "sign_in"}
    ):
        owners.ask(0)
    assert everything(phone) == before
    assert [one is SendOutcome.SEND_LIMIT for one in owners.ask(1, times=4)] == [False] * 2 + [
        True
    ] * 2
    assert (
        asker.ask(user=5, number=5).outcome is SendOutcome.SENT
    )  # other texts are not its business
    clock.shift(43_200)
    assert SendOutcome.SEND_LIMIT not in owners.ask(0, times=4)


# -- the wait ----------------------------------------------------------------------


def test_waits_of_30_60_and_120_seconds(any_world: World, alone: LazySettings) -> None:
    alone.OPTIN_RESEND_WAIT = (30, 60, 120)
    is_own = any_world.purpose is not Purpose.OPT_IN
    for seconds in (30, 60, 120, 120, 120):
        any_world.clock.shift(seconds - 0.1)
        refused = any_world.ask()
        assert refused.outcome == (SendOutcome.WAITING if is_own else SendOutcome.SEND_LIMIT)
        assert refused.retry_after
        assert refused.retry_after.total_seconds() == pytest.approx(0.1)
        assert refused.data["rule"] == "resend-wait"
        any_world.clock.shift(0.1)
        assert any_world.ask().outcome in {SendOutcome.SENT, SendOutcome.RESENT}


def test_the_wait_is_per_number_over_all_users(
    alone: LazySettings, asker: Asker, phone: Phone, clock: time_machine.Traveller
) -> None:
    alone.OPTIN_RESEND_WAIT = (30, 60, 120)
    asker.ask(user=0)
    assert asker.ask(user=1).is_withheld
    assert not asker.ask(user=0, number=1).is_withheld
    clock.shift(29.9)
    assert asker.ask(user=1).outcome is SendOutcome.SEND_LIMIT  # their own wait
    clock.shift(0.1)
    sent = asker.ask(user=1)
    assert (sent.outcome, sent.is_withheld) == (SendOutcome.RESENT, False)
    clock.shift(30)
    assert asker.ask(user=2).is_withheld  # the second wait is 60
    assert len(phone.messages) == 3


# -- what is about others (S-38) ---------------------------------------------------


def another_asked(asker: Asker, settings: LazySettings) -> None:
    settings.OPTIN_RESEND_WAIT = (30, 60, 120)
    asker.ask()


def others_used_it_up(asker: Asker, settings: LazySettings) -> None:
    settings.OPTIN_SENDS_PER_NUMBER = (Rate(2, 600),)
    asker.ask()
    asker.ask()


def stop_was_answered(asker: Asker, settings: LazySettings) -> None:
    Guard.objects.opt_out(ProviderUser.digest_of(mobile(0)), "000", timezone.now())


def staff_denied_it(asker: Asker, settings: LazySettings) -> None:
    target = send_controls.Target.number(mobile(0))
    send_controls.deny(target, timedelta(hours=1), reason="hoax", origin=Origin(Face.COMMAND))


OF_OTHERS = [
    pytest.param(another_asked, "resend-wait", id="wait"),
    pytest.param(others_used_it_up, "asked-number/600", id="limit"),
    pytest.param(stop_was_answered, "stopped", id="stop"),
    pytest.param(staff_denied_it, "deny-number", id="denied"),
]
Before = Callable[[Asker, LazySettings], None]


def counts() -> dict[tuple[str, str], int]:
    """What each counter came to, by its scope and key."""
    rows = SendCounter.objects.values_list("scope", "key", "count")
    return {(scope.split("/")[0], key): count for scope, key, count in rows}


@pytest.mark.parametrize(("before", "rule"), OF_OTHERS)
def test_what_is_about_others_withholds_and_is_not_told(
    alone: LazySettings, asker: Asker, phone: Phone, before: Before, rule: str
) -> None:
    """As for a number of which nobody knows; but no text leaves, and nothing else is counted."""
    for name in LIMITS:
        setattr(alone, name, (Rate(100, 600),))
    before(asker, alone)
    free = asker.ask(user=1, number=1)
    texts, counted = len(phone.messages), counts()

    with one_event(AuditEvent.Kind.OPT_IN, WITHHELD):
        told = asker.ask(user=2)

    assert (told.outcome, told.retry_after) == (free.outcome, free.retry_after)
    row = ProviderUser.objects.get(user=asker.users[2])
    assert told.provider_user_id == row.pk
    assert PendingOtp.objects.open().filter(provider_user=row).count() == 1
    assert (newest_event().data["rule"], newest_event().data["told"]) == (rule, "sent")
    assert len(phone.messages) == texts
    raised = {scope for (scope, key), n in counts().items() if n != counted.get((scope, key), 0)}
    assert raised == {"asked-client"}
    waiting = challenges.waiting(asker.users[2], Purpose.OPT_IN, row.pk)
    shown = challenges.waiting(asker.users[1], Purpose.OPT_IN, free.provider_user_id)
    assert waiting
    assert shown
    assert waiting.resend_in == shown.resend_in
    assert words.delivery(waiting.text) == words.delivery(shown.text)


def test_what_was_withheld_is_sent_later(
    alone: LazySettings, asker: Asker, phone: Phone, clock: time_machine.Traveller
) -> None:
    """By the next request, with the code that waits."""
    another_asked(asker, alone)
    withheld = asker.ask(user=1)
    code = PendingOtp.objects.get(provider_user=withheld.provider_user_id).code()
    clock.shift(30)
    sent = asker.ask(user=1)
    assert (sent.outcome, sent.provider_user_id) == (SendOutcome.RESENT, withheld.provider_user_id)
    assert phone.code() == code


@pytest.mark.parametrize(("seconds", "waited"), [(0.4, 0.4), (60.0, delivery.PATIENCE)])
def test_the_answer_takes_as_long_as_that_of_a_text_that_leaves(
    alone: LazySettings,
    asker: Asker,
    phone: Phone,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    waited: float,
) -> None:
    """S-38."""
    send, waits = phone.send, list[float]()

    def slowly(text: Text) -> str:
        clock.shift(seconds)
        return send(text)

    monkeypatch.setattr(phone, "send", slowly)
    monkeypatch.setattr(time, "sleep", waits.append)
    asker.ask()
    stop_was_answered(asker, alone)
    assert waits == []
    assert asker.ask(user=1).is_withheld
    assert waits == pytest.approx([waited])


@pytest.mark.parametrize("setting", LIMITS[1:])
def test_all_other_limits_answer_also_where_a_text_would_be_withheld(
    alone: LazySettings, asker: Asker, phone: Phone, setting: str
) -> None:
    """Else they would answer for a number of which nobody knows, and for no other."""
    origin = PAGE if setting == "OPTIN_SENDS_PER_IP" else ORIGIN
    stop_was_answered(asker, alone)
    SendCounter.objects.all().delete()
    setattr(alone, setting, (Rate(1, 600),))
    assert asker.ask(user=1, number=1, origin=origin).outcome is SendOutcome.SENT
    texts = len(phone.messages)
    assert asker.ask(user=1, origin=origin).outcome is SendOutcome.SEND_LIMIT
    assert len(phone.messages) == texts


def test_what_is_withheld_is_limited(alone: LazySettings, asker: Asker) -> None:
    stop_was_answered(asker, alone)
    alone.OPTIN_SENDS_PER_NUMBER = (Rate(3, 600),)
    outcomes = [asker.ask().outcome for _ in range(4)]
    assert outcomes == [SendOutcome.SENT, *[SendOutcome.RESENT] * 2, SendOutcome.SEND_LIMIT]
    assert asker.ask(user=1).is_withheld


def test_staff_are_told(alone: LazySettings, asker: Asker, phone: Phone) -> None:
    alone.OPTIN_RESEND_WAIT = (30,)
    asker.ask(user=0)
    asker.ask(user=1)
    staff = Origin(Face.COMMAND)
    stop_was_answered(asker, alone)
    alone.OPTIN_RESEND_WAIT = (0,)
    with one_event(AuditEvent.Kind.RESEND, SendOutcome.SEND_LIMIT):
        refused = staff_actions.resend(asker.users[1], reason="Ticket 1", origin=staff)
    assert isinstance(refused, Sending)
    assert (refused.outcome, refused.data["rule"]) == (SendOutcome.SEND_LIMIT, "stopped")
    assert len(phone.messages) == 1


def test_strangers_who_ask_for_the_number_do_not_hold_up_its_owner(
    active: ProviderUser, world: World, settings: LazySettings
) -> None:
    """S-07: neither its waits nor its limits are those of sign-in or of turning off."""
    strangers = [make_user(f"s{n}", world.file) for n in range(12)]
    outcomes = []
    for stranger in strangers:
        world.clock.shift(121)
        outcomes.append(opt_ins.opt_in(stranger, world.file, NUMBER, origin=ORIGIN).decided)
    assert Counter(outcomes) == {SendOutcome.SENT: 9, WITHHELD: 3}
    for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT):
        assert challenges.challenge(world.user, purpose, origin=TOKEN).outcome is SendOutcome.SENT


# -- the code of a resend ----------------------------------------------------------


@pytest.mark.parametrize("any_world", [Purpose.OPT_IN, Purpose.SIGN_IN], indirect=True)
@pytest.mark.parametrize(
    ("seconds", "tries", "outcome"),
    [
        pytest.param(0, 0, SendOutcome.RESENT, id="at-once"),
        pytest.param(480, 0, SendOutcome.RESENT, id="2-minutes-left"),
        pytest.param(480.1, 0, SendOutcome.SENT, id="under-2-minutes-left"),
        pytest.param(600, 0, SendOutcome.SENT, id="expired"),
        pytest.param(0, 4, SendOutcome.RESENT, id="a-try-left"),
        pytest.param(0, 5, SendOutcome.SENT, id="no-try-left"),
        pytest.param(-5.1, 0, SendOutcome.SENT, id="clock-jumped-back"),
    ],
)
def test_a_resend_repeats_the_code_while_it_is_good(
    any_world: World, alone: LazySettings, seconds: float, tries: int, outcome: SendOutcome
) -> None:
    """P-05. It does not matter in which order two texts arrive; expiry never moves."""
    first, code, failures = any_world.pending, any_world.code(), any_world.failures
    any_world.guess_wrong(tries)
    any_world.clock.shift(timedelta(seconds=seconds))

    assert any_world.ask().outcome is outcome

    again = any_world.pending
    if outcome is SendOutcome.RESENT:
        assert any_world.code() == code
        assert (again.pk, again.expires_at, again.tries) == (first.pk, first.expires_at, tries)
    else:
        assert any_world.code() != code
        assert again.pk != first.pk
        assert again.expires_at == timezone.now() + timedelta(seconds=600)
        first.refresh_from_db()
        assert first.closed_as == PendingOtp.Closed.SUPERSEDED
    assert any_world.failures == failures + tries
    assert any_world.guess(any_world.code()).outcome is CodeOutcome.OK
