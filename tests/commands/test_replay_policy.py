"""``limits replay``: the recorded requests, decided again under other numbers (G-04)."""

import json
import random
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.core.management import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.audit import repeats
from optin.conf import Rate
from optin.models import (
    AuditEvent,
    Figure,
    File,
    PendingOtp,
    ProviderUser,
    Purpose,
    RefusalCount,
    SendCounter,
    SmsMessage,
    Span,
    User,
)
from optin.operations import challenges, opt_ins, send_controls, staff_actions
from optin.operations.send_controls import Target
from optin.origin import Face, Origin
from optin.phones import MobileNumber
from tests.kit.commands import run
from tests.kit.people import NOON, ORIGIN, make_user, number
from tests.kit.phone import Phone
from tests.kit.trail import unguarded
from tests.kit.world import rows
from tools import replay
from tools.replay import Replay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PURPOSES = (Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE)
LOOSE = {
    "OPTIN_RESEND_WAIT": (5, 10, 20),
    "OPTIN_SENDS_PER_NUMBER": (Rate(4, 600), Rate(16, 86_400)),
    "OPTIN_SENDS_PER_USER": (Rate(5, 900), Rate(40, 86_400)),
    "OPTIN_SENDS_PER_IP": (Rate(4, 300),),
    "OPTIN_SENDS_PER_CLIENT": (Rate(3, 300),),
    "OPTIN_SENDS_PER_FILE": (Rate(40, 86_400),),
    "OPTIN_SENDS_TOTAL": (Rate(24, 3600),),
    "OPTIN_OWN_SENDS_TOTAL": (Rate(8, 3600),),
    "OPTIN_BREAKER_UNPROVED": 9,
}
"""Numbers that each refuse some of the mix."""


class Mix:
    """Requests at random: the same seed asks for the same, whatever became of those before."""

    def __init__(self, seed: int, file: File, clock: time_machine.Traveller, phone: Phone) -> None:
        self.seed, self.clock, self.phone = seed, clock, phone
        self.files = [file, File.objects.create(id=901, name="Quay Cycles")]
        self.people = [make_user(f"p{n}", *self.files) for n in range(4)]
        for n, person in enumerate(self.people[:2]):
            mobile = MobileNumber.stored(number(n))
            ProviderUser.objects.create(
                user=person,
                file=file,
                number_encrypted=ProviderUser.seal(mobile.e164, person),
                number_digest=ProviderUser.digest_of(mobile.e164),
                last_three=mobile.last_three,
                confirmed=True,
                verified_at=NOON,
                created_at=NOON,
            )

    def play(self, requests: int, *, enters: bool = True) -> None:
        dice = random.Random(self.seed)
        self.clock.move_to(NOON)
        for n in range(requests):
            self.clock.shift(dice.choice([1, 2, 3, 7, 15, 40, 90, 300]))
            self._ask(n, dice, enters=enters)

    def _ask(self, n: int, dice: random.Random, *, enters: bool) -> None:
        who, ip, enters_it = dice.randrange(4), f"192.0.2.{dice.randrange(3)}", dice.random() < 0.3
        origin = dice.choice(
            [
                Origin(Face.WEB, ip=ip, request_id=str(n)),
                Origin(Face.TOKEN, ip=f"2001:db8::{dice.randrange(9)}", request_id=str(n)),
                Origin(Face.API, client=f"key:{dice.randrange(2)}", ip=ip, request_id=str(n)),
            ]
        )
        file, to = dice.choice(self.files), number(10 + dice.randrange(2))
        purpose, by_staff = dice.choice(PURPOSES), dice.random() < 0.05
        person = self.people[who]
        if by_staff and enters:  # what they send again depends on what left
            origin = replace(origin, face=Face.COMMAND, client="")
            staff_actions.resend(person, reason="They asked for it", origin=origin)
        elif who >= 2:
            opt_ins.opt_in(person, file, to, origin=origin)
        else:
            challenges.challenge(person, purpose, origin=origin, file=file)
            if enters and enters_it and self.got(who):
                challenges.check(person, purpose, self.phone.code(), origin=ORIGIN)

    def got(self, who: int) -> bool:
        """Whether the newest text is theirs."""
        return bool(self.phone.texts) and self.phone.texts[-1].to == number(who)


def played_again(since: timedelta = timedelta(days=2)) -> tuple[Replay, dict[str, str]]:
    """Replay under the settings as they are: the rule that refuses, by the id of the request."""
    now = timezone.now() + timedelta(seconds=1)
    report = Replay(now - since, now)
    ids = dict(AuditEvent.objects.values_list("pk", "request_id"))
    rules = {ids[event.pk]: again.rule for event, again in replay.verdicts(report)}
    return report, rules


def recorded() -> dict[str, str]:
    """The rule that refused a request in the service, by the id of the request.

    Each refusal has its own event here: ``tell_each`` sees to it.
    """
    asked = AuditEvent.objects.filter(kind__in=replay.ASKED, outcome__in=replay.DECIDED)
    return {
        event.request_id: "" if event.outcome in replay.SENT else event.data["rule"]
        for event in asked
    }


@pytest.fixture
def tell_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each refusal have an event, so that no request is known by a number only."""
    monkeypatch.setattr("optin.models.audit.may_repeat", lambda *facts: False)


@pytest.fixture
def mix(file: File, clock: time_machine.Traveller, phone: Phone, settings: LazySettings) -> Mix:
    for name, value in LOOSE.items():
        setattr(settings, name, value)
    return Mix(1, file, clock, phone)


@pytest.mark.parametrize("seed", range(3))
def test_under_the_same_numbers_each_decision_is_equal(mix: Mix, seed: int) -> None:
    """G-04."""
    mix.seed = seed
    mix.play(250)
    report, again = played_again()
    assert report.equal == report.decided == len(again) > 100
    assert report.saved == report.more == 0
    refusals = AuditEvent.objects.filter(kind__in=replay.ASKED).values_list("data", flat=True)
    rules = {str(data["rule"]).partition("/")[0] for data in refusals if "retry_after" in data}
    assert len(rules) > 4, rules


TIGHTER = [
    ("OPTIN_RESEND_WAIT", (45, 300, 600)),
    ("OPTIN_SENDS_PER_NUMBER", (Rate(2, 600), Rate(5, 86_400))),
    ("OPTIN_SENDS_PER_USER", (Rate(2, 1800),)),
    ("OPTIN_SENDS_PER_IP", (Rate(2, 900),)),
    ("OPTIN_SENDS_PER_CLIENT", (Rate(1, 900),)),
    ("OPTIN_SENDS_PER_FILE", (Rate(5, 86_400),)),
    ("OPTIN_SENDS_TOTAL", (Rate(3, 3600),)),
    ("OPTIN_OWN_SENDS_TOTAL", (Rate(3, 3600),)),
]


@pytest.mark.usefixtures("tell_each")
@pytest.mark.parametrize(("name", "value"), TIGHTER, ids=[name for name, _ in TIGHTER])
def test_a_tighter_number_refuses_what_the_service_refuses_with_it(
    mix: Mix, settings: LazySettings, name: str, value: Any
) -> None:
    """G-04. Also a looser one: that is the way back."""
    settings.OPTIN_BREAKER_UNPROVED = 0  # what it closes stands as recorded
    mix.play(120, enters=False)
    loose = recorded()
    with replay.under({name: value}):
        tight = played_again()[1]
    forget_what_was_asked()
    setattr(settings, name, value)
    mix.play(120, enters=False)
    assert tight == recorded() != loose
    with replay.under({name: LOOSE[name]}):
        assert played_again()[1] == loose


@pytest.mark.usefixtures("tell_each")
@pytest.mark.parametrize(("name", "value"), TIGHTER, ids=[name for name, _ in TIGHTER])
def test_what_was_observed_is_replayed_as_if_it_was_enforced(
    mix: Mix, settings: LazySettings, name: str, value: Any
) -> None:
    """G-04."""
    settings.OPTIN_BREAKER_UNPROVED = 0
    setattr(settings, name, value)
    settings.OPTIN_OBSERVE = (name,)
    mix.play(120, enters=False)
    observed = recorded()
    assert AuditEvent.objects.filter(data__has_key="observed").exists()
    assert played_again()[1] == observed
    with replay.under({"OPTIN_OBSERVE": ()}):
        enforced = played_again()[1]
    forget_what_was_asked()
    settings.OPTIN_OBSERVE = ()
    mix.play(120, enters=False)
    assert enforced == recorded() != observed


def forget_what_was_asked() -> None:
    """Begin again with the same people and numbers, and an empty trail."""
    with unguarded():
        AuditEvent.objects.all()._raw_delete(AuditEvent.objects.db)
    for model in (RefusalCount, SmsMessage, PendingOtp, SendCounter):
        model._default_manager.all().delete()
    ProviderUser.objects.filter(verified_at=None).delete()


# -- the command -------------------------------------------------------------------


def by_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("limits", "replay", "--json", *arguments))
    return found


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "new.env"
    path.write_text("# Tighter\nOPTIN_SENDS_PER_USER='1/600'\nBASE_URL=https://2fa.example.com\n")
    return path


@pytest.fixture
def asked(user: User, file: File, clock: time_machine.Traveller, phone: Phone) -> User:
    """Somebody who got two texts to two numbers, and entered the code of the second."""
    opt_ins.opt_in(user, file, number(2), origin=ORIGIN)
    clock.shift(60)
    row = opt_ins.opt_in(user, file, number(1), origin=ORIGIN).provider_user_id
    assert row
    clock.shift(60)
    opt_ins.verify_opt_in(user, file, row, phone.code(), origin=ORIGIN)
    clock.shift(60)
    return user


def test_it_says_who_would_have_been_refused_and_verified(asked: User, env: Path) -> None:
    found = by_json("--env", str(env))
    first_at = (NOON + timedelta(seconds=60)).isoformat(timespec="seconds")
    account = {"account": asked.pk, "refused": 1, "verified": 1, "first_at": first_at}
    assert found["accounts"] == [account]
    assert found["numbers"] == ["OPTIN_SENDS_PER_USER"]
    assert found["refused"] == {
        "requests": 1,
        "accounts": 1,
        "verified": 1,
        "rules": {"asked-user/600": 1},
    }
    assert (found["decided"], found["equal"], found["texts_saved"]) == (2, 1, 1)
    said = run("limits", "replay", "--env", str(env))
    assert re.search(rf"account {asked.pk} +1 +1  2026-11-02 12:01", said)
    assert "Texts saved       1\n" in said
    assert "Money saved       not known" in said
    hour = timezone.now().replace(minute=0, second=0)
    span = Span.objects.create(start=hour, end=hour + timedelta(hours=1), day=hour.date())
    Figure.objects.create(
        span=span, day=span.day, what=Figure.What.TEXT, name="sent", count=4, cost=Decimal("0.20")
    )
    assert "0.05 at 0.0500 a text" in run("limits", "replay", "--env", str(env))
    said = run("limits", "replay", "--since", "12h")  # by the numbers in force
    assert "2 requests, 2 of them with the same result (100.0 %)" in said


def test_lists_and_stops_stand_as_recorded(
    user: User, file: File, clock: time_machine.Traveller
) -> None:
    send_controls.stop_texts(reason="A test", origin=ORIGIN)
    opt_ins.opt_in(user, file, number(1), origin=ORIGIN)
    send_controls.allow_texts(reason="A test", origin=ORIGIN)
    send_controls.deny(Target.number(number(1)), timedelta(days=1), reason="One", origin=ORIGIN)
    opt_ins.opt_in(user, file, number(1), origin=ORIGIN)
    clock.shift(1)
    found = by_json()
    assert found["as_recorded"]["fixed"] == 1
    # Withheld, unless a rule that is told comes first.
    assert (found["decided"], found["equal"], found["let_through"]) == (1, 1, 0)


def test_refusals_without_an_event_are_counted(
    user: User, file: File, clock: time_machine.Traveller
) -> None:
    for _ in range(4):
        opt_ins.opt_in(user, file, number(1), origin=ORIGIN)  # the second is too soon
    clock.shift(1)
    assert by_json()["as_recorded"]["counted"] == 2
    clock.shift(3600)
    repeats.tell(timezone.now())
    clock.shift(1)
    assert by_json()["as_recorded"]["counted"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nOPTIN_SENDS_PER_USER=5", "OPTIN_SENDS_PER_USER must be count/seconds"),
        ("OPTIN_SENDS_PER_USER=0/600", "OPTIN_SENDS_PER_USER must have a count"),
        ("OPTIN_SENDS_PER_USERS=5/600", "Did you mean OPTIN_SENDS_PER_USER?"),
        ("OPTIN_OTP_DIGITS=6", "none of the settings that can be replayed"),
    ],
)
def test_a_bad_file_is_refused_with_the_setting(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.env"
    path.write_text(text)
    with pytest.raises(CommandError, match=re.escape(words)):
        run("limits", "replay", "--env", str(path))
    with pytest.raises(CommandError, match="cannot be read: FileNotFoundError"):
        run("limits", "replay", "--env", str(tmp_path / "none.env"))
    with pytest.raises(CommandError, match="number of days or hours"):
        run("limits", "replay", "--since", "soon")


def test_what_is_not_replayed_is_named_without_its_value(asked: User, env: Path) -> None:
    secret = "b" * 40
    env.write_text(f"OPTIN_SENDS_PER_USER=9/600\nOPTIN_BREAKER_UNPROVED=3\nSECRET_KEY={secret}\n")
    assert by_json("--env", str(env))["not_replayed"] == ["OPTIN_BREAKER_UNPROVED", "SECRET_KEY"]
    assert secret not in run("limits", "replay", "--env", str(env))


def test_a_replay_changes_nothing_and_reads_each_hour_once(
    asked: User, env: Path, clock: time_machine.Traveller
) -> None:
    """G-04. From the oldest event on, which takes one statement to find."""
    clock.shift(23 * 3600)
    before = rows()
    with CaptureQueriesContext(connection) as queries:
        by_json("--env", str(env), "--since", "30d")
    assert rows() == before
    assert not [query for query in queries if re.match("INSERT|UPDATE|DELETE", query["sql"])]
    assert sum('FROM "optin_auditevent"' in query["sql"] for query in queries) == 1 + 24
