"""The limits of texts are exact, however many processes count (S-41)."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from optin.conf import Rate, conf
from optin.limits import Rule, alarms
from optin.models import (
    AuditEvent,
    File,
    Guard,
    PendingOtp,
    ProviderUser,
    Purpose,
    SendCounter,
    SmsMessage,
    User,
)
from optin.models.messages import State
from optin.operations import challenges, opt_ins
from optin.outcomes import SendOutcome
from tests.kit.people import ORIGIN, make_user, number
from tests.kit.phone import Phone
from tests.kit.races import at_once, closing, waiting, within_an_hour
from tests.kit.server import serving, until
from tests.kit.trail import decisions
from tests.races.ways import LONG, ByHttp

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
]

ALLOWED = 7
ASKED = 60


@dataclass(frozen=True)
class Attack:
    """Who asks for texts to which numbers, and the setting that stops them."""

    setting: str
    users: int = ASKED
    numbers: int = ASKED
    files: int = 1
    one_client: bool = False
    silent: bool = False  # it withholds texts, and tells nobody


ATTACKS = [
    Attack("OPTIN_SENDS_PER_NUMBER", numbers=1, silent=True),
    Attack("OPTIN_SENDS_PER_NUMBER", users=1, numbers=1),
    Attack("OPTIN_SENDS_PER_USER", users=1),
    Attack("OPTIN_SENDS_PER_CLIENT", one_client=True),
    Attack("OPTIN_SENDS_PER_FILE"),
    Attack("OPTIN_SENDS_TOTAL", files=3),
]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.setting} of {a.users}")
def test_exactly_the_allowed_texts_leave_four_processes(
    attack: Attack, tmp_path: Path, db: None
) -> None:
    """S-41."""
    env = {
        "OPTIN_RESEND_WAIT": "0",
        **{other.setting: "0" for other in ATTACKS},
        attack.setting: f"{ALLOWED}/{LONG}",
    }
    files = [File.objects.create(id=n + 1, name=f"file {n}") for n in range(attack.files)]
    with serving(tmp_path, env, workers=4) as server:
        way = ByHttp(server)
        askers: list[tuple[User, File]] = []
        for n in range(attack.users):
            file = files[n % attack.files]
            askers.append((make_user(f"user{n}", file), file))
            if attack.one_client:
                way.sign_in(askers[-1][0])
            else:
                way.let_in(*askers[-1])
        calls = [
            partial(way.opt_in, *askers[n % attack.users], number(n % attack.numbers))
            for n in range(ASKED)
        ]

        answers = Counter(at_once(calls))

        assert way.texts() == ALLOWED
    found = SendCounter.objects.values_list("scope").annotate(sum=Sum("count"))
    sums = {scope.split("/")[0]: n for scope, n in found if not scope.startswith("sign-in")}
    if attack.silent:
        # What was withheld counts for whoever asked, and for nothing else.
        assert answers == {"ok": ASKED}
        assert set(sums.values()) == {ALLOWED}
        assert SmsMessage.objects.filter(state=State.WITHHELD).count() == ASKED - ALLOWED
    else:
        # What was refused has cost and left nothing but its audit event, or the count of it.
        assert answers == {"ok": ALLOWED, "send_limit": ASKED - ALLOWED}
        assert set(sums.values()) == {ALLOWED}
        counts = {model.objects.count() for model in (ProviderUser, PendingOtp)}
        assert counts == {1 if attack.users == attack.numbers == 1 else ALLOWED}
        assert SmsMessage.objects.count() == ALLOWED
    assert decisions(kind=AuditEvent.Kind.OPT_IN).total() == ASKED


def test_an_alarm_sounds_once_where_many_reach_it_at_once(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever decides again has read another count than the one it raises."""
    settings.OPTIN_SENDS_PER_CLIENT = settings.OPTIN_SENDS_PER_IP = ()
    settings.OPTIN_SENDS_TOTAL = (Rate(ALLOWED, LONG),)
    monkeypatch.setattr(conf, "alarm_unproved", ALLOWED - 2)
    sounded: list[str] = []
    monkeypatch.setattr(alarms, "_sound", lambda alarm, facts: sounded.append(alarm))
    file = File.objects.create(id=1, name="file")

    def ask(n: int) -> SendOutcome:
        user = make_user(f"user{n}", file)
        return opt_ins.opt_in(user, file, number(n), origin=ORIGIN).outcome

    within_an_hour()
    answers = Counter(at_once([partial(ask, n) for n in range(4 * ALLOWED)]))

    assert answers == {SendOutcome.SENT: ALLOWED, SendOutcome.SEND_LIMIT: 3 * ALLOWED}
    assert sorted(sounded) == [Rule.REGION, Rule.TOTAL]


def test_who_finds_a_prefix_closed_meanwhile_is_told_its_end(settings: LazySettings) -> None:
    """G-01: another server closes the prefix first, until a minute later."""
    settings.OPTIN_BREAKER_UNPROVED = 2
    hour = timedelta(seconds=conf.breaker_seconds)
    file = File.objects.create(id=1, name="file")

    def ask(n: int) -> timedelta | None:
        user = make_user(f"user{n}", file)
        return opt_ins.opt_in(user, file, number(n), origin=ORIGIN).retry_after

    assert [ask(n) for n in range(2)] == [None, None]
    prefix, now = Guard.prefix_of(number(0)), timezone.now()
    ends = now + hour + timedelta(minutes=1)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert Guard.objects.close(
                prefix, region="AU", unverified=2, now=now, begins=now, until=ends
            )
            answer = pool.submit(closing, lambda: ask(2))
            until(lambda: waiting() == 1)
        told = answer.result()
    assert told
    assert hour < told <= hour + timedelta(minutes=1)


def test_exactly_the_allowed_own_texts_leave(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, phone: Phone
) -> None:
    """The ceiling of texts for signing in, once all have had what they get in any case."""
    settings.OPTIN_RESEND_WAIT = (0,)
    settings.OPTIN_SENDS_PER_IP = settings.OPTIN_SENDS_PER_CLIENT = ()
    file = File.objects.create(id=1, name="file")
    users = [make_user(f"user{n}", file) for n in range(20)]
    monkeypatch.setattr(conf, "own_sends_reserve", 1)
    settings.OPTIN_OWN_SENDS_TOTAL = (Rate(len(users) + ALLOWED, LONG),)

    def ask(user: User) -> SendOutcome:
        return challenges.challenge(user, Purpose.SIGN_IN, origin=ORIGIN).outcome

    for n, user in enumerate(users):
        row = opt_ins.opt_in(user, file, number(n), origin=ORIGIN).provider_user_id
        assert row
        opt_ins.verify_opt_in(user, file, row, phone.code(), origin=ORIGIN)
        ask(user)

    answers = Counter(at_once([partial(ask, user) for user in users * 3]))

    assert answers == {SendOutcome.RESENT: ALLOWED, SendOutcome.SEND_LIMIT: 60 - ALLOWED}


# -- the breaker ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["OPTIN_BREAKER_UNPROVED", "OPTIN_BREAKER_TEXTS"])
def test_a_breaker_closes_after_exactly_the_allowed_texts(tmp_path: Path, setting: str) -> None:
    """With four processes at once. Proofs are counted exactly too; other prefixes stay open."""
    file = File.objects.create(id=1, name="file")
    off = ("OPTIN_SENDS_PER_CLIENT", "OPTIN_SENDS_PER_FILE", "OPTIN_SENDS_TOTAL")
    env = {**dict.fromkeys(off, "0"), "OPTIN_BREAKER_UNPROVED": "1000", setting: "7"}
    with serving(tmp_path, env, workers=4) as server:
        way = ByHttp(server)
        users = {number(n): make_user(f"user{n}", file) for n in [*range(60), 20_000, 30_000]}
        for user in users.values():
            way.let_in(user, file)
        *asking, first, second = (
            partial(way.opt_in, user, file, mobile) for mobile, user in users.items()
        )
        within_an_hour()
        assert Counter(at_once(asking)) == {"ok": 7, "send_limit": 53}
        # Many calls found that it must be closed. One logged it.
        assert (tmp_path / "server.log").read_text().count("A prefix was closed") == 1
        assert Guard.objects.filter(kind=Guard.Kind.BREAKER).count() == 1

        texts = map(json.loads, (tmp_path / "sms.jsonl").read_text().splitlines())
        codes = {users[text["to"]]: text["body"].split()[0] for text in texts}
        proving = [
            partial(way.verify, user, file, ProviderUser.objects.get(user=user).pk, code)
            for user, code in codes.items()
        ]
        assert Counter(at_once(proving)) == {"ok": 7}
        rows = SendCounter.objects.filter(scope__regex="^(prefix|region)/")
        assert {(row.count, row.verified) for row in rows} == {(7, 7)}
        assert [first(), second()] == ["ok", "ok"]
        assert way.texts() == 9
