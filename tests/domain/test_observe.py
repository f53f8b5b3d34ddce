"""Limits that only observe (G-04): they refuse nothing, and record what they would refuse."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone

from optin.conf import Rate, conf
from optin.limits import Rule
from optin.limits.rules import SETTINGS
from optin.models import AuditEvent, Guard, ProviderUser, Purpose, SendCounter
from optin.operations import challenges
from optin.operations.sending import Sending
from optin.outcomes import SendOutcome
from optin.runtime import metrics
from optin.support import health, statistics, wording
from tests.domain.asking import TABLE, TOKEN, Ask, Asker
from tests.kit.people import ORIGIN
from tests.kit.phone import Phone
from tests.kit.trail import newest_event, one_event
from tools import guesses, replay
from tools.routes import read_plan

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
SENT = {SendOutcome.SENT, SendOutcome.RESENT}


def would_refuse(rule: str, count: int, limit: int) -> None:
    """The newest event tells that *rule* would have refused the text."""
    event = newest_event()
    assert event.outcome in SENT
    said = [event.data[name] for name in ("rule", "count", "limit")]
    name, _, _ = rule.partition("/")
    assert said == [rule, count, limit]
    assert name in event.data["observed"]
    setting = SETTINGS[Rule(name)].name
    assert f"only observed: would have been refused by {setting}" in wording.reasons(event)


@pytest.mark.parametrize(("setting", "rule", "together", "elsewhere"), TABLE)
def test_each_limit_on_what_is_asked_for(
    alone: LazySettings,
    asker: Asker,
    phone: Phone,
    setting: str,
    rule: str,
    together: Ask,
    elsewhere: Callable[[Asker], Sending] | None,
) -> None:
    setattr(alone, setting, (Rate(2, 600),))
    alone.OPTIN_OBSERVE = (setting,)
    before = metrics.OBSERVED.labels(setting)._value.get()
    for n in range(2):
        together(asker, n)
        assert "observed" not in newest_event().data
    for n in (2, 3):
        assert together(asker, n).outcome in SENT
        would_refuse(f"{rule}/600", n, 2)
    assert len(phone.messages) == 4
    assert metrics.OBSERVED.labels(setting)._value.get() == before + 2
    # It is enforced again from the next text on.
    alone.OPTIN_OBSERVE = ()
    assert together(asker, 4).outcome is SendOutcome.SEND_LIMIT


def test_a_limit_on_texts_to_sign_in(
    active: ProviderUser, alone: LazySettings, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.OPTIN_OWN_SENDS_TOTAL = (Rate(1, 600),)
    alone.OPTIN_OBSERVE = ("OPTIN_OWN_SENDS_TOTAL",)
    monkeypatch.setattr(conf, "own_sends_reserve", 1)
    for _ in range(2):
        challenges.challenge(active.user, Purpose.SIGN_IN, origin=TOKEN)
    would_refuse("own-total/600", 1, 1)
    assert len(phone.messages) == 3  # and that of the opt-in


def test_the_wait(alone: LazySettings, asker: Asker, phone: Phone) -> None:
    """The page shows no wait either: the next text would leave at once."""
    alone.OPTIN_RESEND_WAIT = (30,)
    alone.OPTIN_OBSERVE = ("OPTIN_RESEND_WAIT",)
    row = asker.ask().provider_user_id
    shown = challenges.waiting(asker.users[0], Purpose.OPT_IN, row)
    assert shown
    assert shown.resend_in is None
    asker.ask()
    would_refuse("resend-wait", 1, 1)
    assert len(phone.messages) == 2


def test_of_a_rule_that_this_release_does_not_know(alone: LazySettings, asker: Asker) -> None:
    """The next release may write one while both run: no page and no figure breaks."""
    alone.OPTIN_OBSERVE = ("OPTIN_SENDS_PER_USER",)
    with transaction.atomic():
        event = AuditEvent.objects.record(
            AuditEvent.Kind.CHALLENGE,
            SendOutcome.SENT,
            now=timezone.now(),
            origin=ORIGIN,
            user_id=asker.users[0].pk,
            data={"rule": "of-tomorrow/60", "observed": ["of-tomorrow", "own-user"]},
        )
    statistics.roll_up(timezone.now())
    assert statistics.observed(timezone.now()) == {"OPTIN_SENDS_PER_USER": 1}
    assert "only observed: would have been refused by OPTIN_SENDS_PER_USER" in (
        wording.reasons(event)
    )


def test_each_of_several_is_named(alone: LazySettings, asker: Asker, clock: object) -> None:
    """Else the page would say of one of them that it refuses nothing."""
    alone.OPTIN_RESEND_WAIT = (30,)
    alone.OPTIN_SENDS_PER_USER = (Rate(1, 600),)
    both = ("OPTIN_RESEND_WAIT", "OPTIN_SENDS_PER_USER")
    alone.OPTIN_OBSERVE = both
    for _ in range(2):
        asker.ask()
    assert newest_event().data["observed"] == ["asked-user", "resend-wait"]
    statistics.roll_up(timezone.now())
    assert statistics.observed(timezone.now()) == dict.fromkeys(both, 1)


def test_the_others_go_on(alone: LazySettings, asker: Asker) -> None:
    alone.OPTIN_SENDS_PER_USER = alone.OPTIN_SENDS_PER_FILE = (Rate(1, 600),)
    alone.OPTIN_OBSERVE = ("OPTIN_SENDS_PER_USER",)
    asker.ask(number=0)
    said = {"rule": "file/600", "count": 1, "limit": 1, "retry_after": 600}
    with one_event(AuditEvent.Kind.OPT_IN, SendOutcome.SEND_LIMIT, said):
        asker.ask(number=1)


def test_also_where_a_text_is_withheld(alone: LazySettings, asker: Asker) -> None:
    """What is withheld counts for its user and client; that must refuse nothing either."""
    asker.ask(user=0)
    alone.OPTIN_OBSERVE = ("OPTIN_SENDS_PER_USER", "OPTIN_SENDS_PER_CLIENT")
    alone.OPTIN_SENDS_PER_USER = alone.OPTIN_SENDS_PER_CLIENT = (Rate(1, 600),)
    Guard.objects.create(
        kind=Guard.Kind.DENY,
        covers=Guard.Covers.NUMBER,
        key=ProviderUser.objects.get().number_digest,
        made_at=timezone.now(),
        until=timezone.now() + timedelta(days=1),
    )
    assert [asker.ask(user=1).outcome for _ in range(3)] == [SendOutcome.SENT] + [
        SendOutcome.RESENT
    ] * 2


def test_no_prefix_is_closed(alone: LazySettings, asker: Asker, phone: Phone) -> None:
    alone.OPTIN_BREAKER_UNPROVED = 2
    alone.OPTIN_OBSERVE = ("OPTIN_BREAKER_UNPROVED",)
    for n in range(4):
        asker.ask(user=n, number=n)
    would_refuse("prefix", 3, 2)
    assert len(phone.messages) == 4
    assert not Guard.objects.exists()
    # A replay cannot decide it again: the trail has no prefix.
    with replay.under({"OPTIN_OBSERVE": ()}):
        report = replay.replay(timezone.now() - HOUR, timezone.now() + HOUR)
    assert (report.decided, report.equal, report.fixed) == (2, 2, 2)


def test_a_prefix_that_was_closed_before_is_open(
    alone: LazySettings, asker: Asker, phone: Phone
) -> None:
    alone.OPTIN_BREAKER_UNPROVED = 2
    for n in range(3):
        asker.ask(user=n, number=n)
    assert Guard.objects.count() == 1
    assert health.needs(timezone.now(), health.closed_prefixes)
    alone.OPTIN_OBSERVE = ("OPTIN_BREAKER_UNPROVED",)
    assert not health.needs(timezone.now(), health.closed_prefixes)
    asker.ask(user=3, number=3)
    would_refuse("prefix", 2, 2)
    assert len(phone.messages) == 3
    # It was counted: enforced again, the breaker knows what happened meanwhile.
    assert SendCounter.objects.get(scope__startswith="prefix/").count == 3


def test_what_is_promised_reckons_with_it(settings: LazySettings) -> None:
    """A limit that only observes is no limit: for guesses (G-03) and for a day's costs (G-06)."""
    observed = ("OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER", "OPTIN_SENDS_TOTAL")
    settings.OPTIN_DISABLE_AFTER = 1000
    before, ceilings = guesses.budget(), dict(read_plan().ceilings)
    settings.OPTIN_OBSERVE = observed
    assert guesses.budget()[0].day > before[0].day
    assert ceilings["OPTIN_SENDS_TOTAL"] == 10_000
    assert dict(read_plan().ceilings)["OPTIN_SENDS_TOTAL"] is None
    after = guesses.budget()
    settings.OPTIN_OBSERVE = ()
    settings.OPTIN_SENDS_PER_NUMBER = settings.OPTIN_SENDS_PER_USER = ()
    assert guesses.budget() == after
