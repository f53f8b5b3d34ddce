"""kill -9 at 200 random points, under all that people do at once."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread

import pytest
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin.messaging import delivery
from optin.models import AuditEvent, File, Notice, PendingOtp, ProviderUser, SmsMessage, User
from optin.models.messages import MAX_UNKNOWN_ATTEMPTS, State
from tests.kit.people import PASSWORD, number
from tests.kit.phone import Phone
from tests.kit.races import at_once
from tests.kit.server import Site, kill, serving
from tests.kit.trail import decisions
from tests.races.ways import ByHttp, member, wrong_codes

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True), pytest.mark.slow]

KILLS = 200
PEOPLE = 6
OFF = dict.fromkeys(
    [
        *(f"OPTIN_SENDS_PER_{name}" for name in ("NUMBER", "USER", "IP", "CLIENT", "FILE")),
        *("OPTIN_SENDS_TOTAL", "OPTIN_RESEND_WAIT"),
        *(f"OPTIN_FAILED_SIGN_INS_PER_{name}" for name in ("IP", "NAME", "NAME_TOTAL")),
        "OPTIN_SIGN_INS_PER_IP",
    ],
    "0",
)
ENV = {
    **OFF,
    "OPTIN_LOCK_AFTER": "100",
    "OPTIN_DISABLE_AFTER": "50",
    "DJANGO_SETTINGS_MODULE": "tests.races.hurried",
    "GUNICORN_CMD_ARGS": "--preload",
}
Fact = tuple[str, str]
"""The kind and the outcome of a decision."""


@dataclass
class Person:
    """Does everything over and over, and remembers each answer."""

    server: Site
    way: ByHttp
    user: User
    file: File
    number: str
    answered: Counter[Fact] = field(default_factory=Counter)
    cut_off: int = 0

    def live(self, over: Event, seed: int) -> None:
        # Seeded: what is done is always the same, when the kills come is not.
        dice = random.Random(seed)
        while not over.is_set():
            try:
                self._do_something(dice)
            except (OSError, HTTPException):
                self.cut_off += 1

    def _do_something(self, dice: random.Random) -> None:
        with transaction.atomic():
            # After whatever a killed worker had under way.
            User.objects.locked(self.user.pk)
            row = ProviderUser.objects.filter(user=self.user).first()
            otps = {otp.purpose: otp for otp in self._open_codes()}
        wrong = dice.random() < 0.5
        if row is None or not row.confirmed:
            otp = otps.get("opt_in")
            if row is None or otp is None or dice.random() < 0.2:
                self._hear("opt_in", self.way.opt_in(self.user, self.file, self.number))
            else:
                verify = partial(self.way.verify, self.user, self.file, row.pk)
                self._hear("verify_opt_in", verify(_guess(otp, wrong)))
        elif dice.random() < 0.6:
            otp = otps.get("sign_in")
            self._sign_in(_guess(otp, wrong) if otp else "")
        else:
            otp = otps.get("opt_out")
            self._opt_out(_guess(otp, wrong) if otp else "")

    def _open_codes(self) -> Iterator[PendingOtp]:
        found = PendingOtp.objects.open().filter(provider_user__user=self.user)
        for otp in found.select_related("provider_user"):
            # Its tries are spent: the next text brings another.
            if not otp.is_used_up():
                yield otp

    def _opt_out(self, code: str) -> None:
        values = {"Otp": code} if code else {}
        call = partial(self.way._call, self.user, self.file, "opt-out-from-2fa")
        self._hear("opt_out" if code else "challenge", call("OptOutFrom2FARequest", **values))

    def _sign_in(self, code: str) -> None:
        body = {"grant_type": "password", "username": self.user.username, "password": PASSWORD}
        path = "/authorisation/token"
        status, answer = self.server.post_json(path, body | {"verification_code": code})
        self._hear("check" if code else "challenge", "ok" if status == 200 else answer["error"])

    def _hear(self, kind: str, answer: str) -> None:
        self.answered[kind, PLAIN.get((kind, answer), answer)] += 1


SIGN_IN = {"check"}
CALLS = {"verify_opt_in", "opt_out"}
"""What a code is entered for: when a person signs in, and in the calls of a program."""

# What the audit trail calls an answer, as far as the answer tells.
PLAIN = {
    ("opt_in", "ok"): "texted",
    ("challenge", "2fa_code_required"): "texted",
    ("check", "invalid_grant"): "otp_incorrect",
    **{(kind, sent): "texted" for kind in ("opt_in", "challenge") for sent in ("sent", "resent")},
}


def _guess(otp: PendingOtp, wrong: bool) -> str:
    return wrong_codes(otp, 1)[0] if wrong else otp.code()


def test_what_was_answered_is_there_and_nothing_by_halves(
    tmp_path: Path, file: File, phone: Phone, password_clients: None
) -> None:
    """S-04, S-63."""
    over = Event()
    with serving(tmp_path, ENV, workers=4) as server:
        way = ByHttp(server)
        people = [
            Person(server, way, member(way, f"user{n}", file), file, number(n))
            for n in range(PEOPLE)
        ]
        killer = Thread(target=kill_again_and_again, args=[server, over])
        killer.start()
        at_once([partial(person.live, over, n) for n, person in enumerate(people)])
        killer.join()
    cut_off = sum(person.cut_off for person in people)
    assert cut_off >= KILLS / 4, "the kills came too late to show anything"

    for person in people:
        assert_all_or_nothing(person)
    assert_no_message_is_lost(tmp_path, phone)


def kill_again_and_again(server: Site, over: Event) -> None:
    """kill -9 a worker at random, now and then all of them."""
    dice = random.Random(200)
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 0.4))
            if dice.random() < 0.1:
                server.kill_workers()
            elif workers := server.workers():
                kill(dice.choice(workers))
    finally:
        over.set()


def assert_all_or_nothing(person: Person) -> None:
    user, answered = person.user, person.answered
    with transaction.atomic():
        owner = User.objects.locked(user.pk)
        events = list(AuditEvent.objects.filter(user_id=user.pk).order_by("pk"))
        found = decisions(user_id=user.pk)
    decided: Counter[tuple[str, str]] = Counter()
    for (kind, outcome, _), count in found.items():
        decided[kind, PLAIN.get((kind, outcome), outcome)] += count
    # Everything answered was told or counted, and the others are of requests that were cut off.
    assert answered - decided == Counter()
    assert (decided - answered).total() <= person.cut_off
    # No event without its change, and no change without its event.
    codes = PendingOtp.objects.filter(provider_user__user=user)
    assert sum(codes.values_list("tries", flat=True)) == sum("try" in e.data for e in events)
    right = [e for e in events if e.outcome == "ok"]
    assert codes.filter(closed_as=PendingOtp.Closed.VERIFIED).count() == len(right)
    # A right code of the person starts their count again, one of a program that of the programs.
    for count, kinds in ((owner.own, SIGN_IN), (owner.programs, CALLS)):
        ours = [e for e in events if e.kind in kinds]
        since = max((e.pk for e in ours if e.outcome == "ok"), default=0)
        assert count.failures == sum("try" in e.data for e in ours if e.pk > since)
    texted = sum(count for (_, outcome), count in decided.items() if outcome == "texted")
    assert SmsMessage.objects.filter(pending_otp__provider_user__user=user).count() == texted
    on, off = decided["verify_opt_in", "ok"], decided["opt_out", "ok"]
    assert ProviderUser.objects.filter(user=user, confirmed=True).count() == on - off
    assert AccessToken.objects.filter(user=user).count() == decided["check", "ok"]
    assert Notice.objects.filter(user=user).count() == on + off
    assert all(event.content_digest() == event.digest for event in events)


def assert_no_message_is_lost(folder: Path, phone: Phone) -> None:
    """Every one was sent or says why not, and none was sent more than twice."""
    for model in (SmsMessage, Notice):
        for _ in range(MAX_UNKNOWN_ATTEMPTS):
            # As if the lease of those whose sender was killed were over.
            half_sent = model.objects.filter(state=State.SENDING)
            half_sent.update(claimed_at=timezone.now() - model.lease - timedelta(seconds=1))
            delivery.send_due(timezone.now())
        assert not model.objects.exclude(state=State.SENT).filter(reason="").exists()
    lines = (folder / "sms.jsonl").read_text().splitlines()
    sent = Counter([*(json.loads(line)["reference"] for line in lines), *phone.references])
    assert max(sent.values()) <= MAX_UNKNOWN_ATTEMPTS
    for message in SmsMessage.objects.filter(state=State.SENT):
        assert sent[message.reference]
