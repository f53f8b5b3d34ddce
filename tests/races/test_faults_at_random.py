"""Faults at random moments, under all that people do at once: kill -9, and lost connections.

``FAULT_SECONDS=300 pytest tests/races/test_faults_at_random.py`` goes on for longer.
"""

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event

import psycopg
import pytest
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AbstractApplication, AccessToken

from optin import keys
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.models.messages import MAX_UNKNOWN_ATTEMPTS, State
from tests.kit import oauth
from tests.kit.clients import FORM
from tests.kit.people import PASSWORD, make_user, number
from tests.kit.phone import Phone
from tests.kit.races import at_once
from tests.kit.server import Answer, Site, database_url, kill, serving
from tests.races.cutter import cutter
from tests.races.pages import TOKEN
from tests.races.ways import wrong_codes

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECONDS = int(os.environ.get("FAULT_SECONDS", "15"))
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
    "DJANGO_SETTINGS_MODULE": "tests.kit.quick_settings",
}
CSRF = f"csrf={TOKEN}"
Fact = tuple[str, str]
"""The kind and the outcome of a decision."""


class Unheard(Exception):
    """No answer came, or one that says that the service knows no better."""


@dataclass
class Person:
    """Does everything over and over, and remembers each answer."""

    server: Site
    application: AbstractApplication
    user: User
    file: File
    number: str
    heard: dict[str, Fact] = field(default_factory=dict)
    """What each answer said, by the id of its request."""
    statuses: Counter[int] = field(default_factory=Counter)
    unheard: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = AccessKey.objects.make(self.user, self.file, timezone.now())[1]

    def live(self, over: Event, seed: int) -> None:
        # Seeded: what is done is always the same, when the faults come is not.
        dice = random.Random(seed)
        while not over.is_set():
            try:
                self._do_something(dice)
            except Unheard:
                self.unheard += 1
                self.tokens = {}  # a refresh may have ended them
            except BaseException:
                over.set()
                raise

    def _do_something(self, dice: random.Random) -> None:
        with transaction.atomic():
            # After whatever a killed worker had under way.
            User.objects.locked(self.user.pk)
            row = ProviderUser.objects.filter(user=self.user).first()
            self.codes = {otp.purpose: otp for otp in self._open_codes()}
        self.is_right = dice.random() < 0.5
        if row is None or not row.confirmed:
            self._verify(row) if row and dice.random() < 0.8 else self._opt_in()
        else:
            ways = [self._sign_in, self._page, self._opt_out, self._refresh, self._renew]
            dice.choice(ways)()

    def _open_codes(self) -> Iterator[PendingOtp]:
        found = PendingOtp.objects.open().filter(provider_user__user=self.user)
        for otp in found.select_related("provider_user"):
            # Its tries are spent: the next text brings another.
            if not otp.is_used_up():
                yield otp

    def _code(self, purpose: str) -> str:
        """Return the code for *purpose* or a wrong one; "" if there is none."""
        if otp := self.codes.get(purpose):
            return otp.code() if self.is_right else wrong_codes(otp, 1)[0]
        return ""

    # -- calls -------------------------------------------------------------------------

    def _opt_in(self) -> None:
        answer = self._call("opt-in-to-2fa", 200, ("opt_in", "sent"), MobileNumber=self.number)
        row = ProviderUser.objects.get(pk=answer.json["ProviderUserId"])
        assert row.user_id == self.user.pk

    def _verify(self, row: ProviderUser) -> None:
        if code := self._code("opt_in"):
            self.tokens = {}  # a new factor ends them
            fact = self._judged("verify_opt_in")
            status = 200 if self.is_right else 400
            self._call("verify-2fa-opt-in", status, fact, ProviderUserId=row.pk, Otp=code)
        else:
            self._opt_in()

    def _opt_out(self) -> None:
        if code := self._code("opt_out"):
            status = 200 if self.is_right else 400
            self._call("opt-out-from-2fa", status, self._judged("opt_out"), Otp=code)
        else:
            self._call("opt-out-from-2fa", 401, ("challenge", "sent"))

    def _call(self, name: str, status: int, fact: Fact, **body: object) -> Answer:
        path, token = f"/User/{name}?FileId={self.file.pk}", self.tokens.get("access")
        if token:
            return self._ask(path, body, status, fact, Authorization=f"Bearer {token}")
        return self._ask(f"{path}&WsAccessKey={self.key}", body, status, fact)

    def _sign_in(self) -> None:
        body = {"grant_type": "password", "username": self.user.username, "password": PASSWORD}
        path = "/authorisation/token"
        if code := self._code("sign_in"):
            status = 200 if self.is_right else 400
            body["verification_code"] = code
            answer = self._ask(path, body, status, self._judged("check"))
            if self.is_right:
                self.tokens["first party"] = self._own(answer)
        else:
            self._ask(path, body, 401, ("challenge", "sent"))

    def _refresh(self) -> None:
        if token := self.tokens.get("first party"):
            body = {"grant_type": "refresh_token", "refresh_token": token}
            self._own(self._ask("/authorisation/refresh", body, 200, ("refresh", "issued")))
        else:
            self._sign_in()

    def _renew(self) -> None:
        """As an application does that speaks OAuth: each refresh token works once."""
        if token := self.tokens.pop("third party", ""):
            body = {"grant_type": "refresh_token", "refresh_token": token}
        else:
            code = oauth.grant(self.user, self.application, f"{self.user}{time.time_ns()}")
            body = {"grant_type": "authorization_code", "code": code}
            body |= {"redirect_uri": oauth.REDIRECT, "code_verifier": oauth.VERIFIER}
        fact, client = ("token", body["grant_type"]), oauth.basic()
        answer = self._ask("/o/token/", body, 200, fact, FORM, Authorization=client)
        self.tokens["third party"] = self._own(answer)

    def _own(self, answer: Answer) -> str:
        """Return the refresh token of *answer*, whose access token must be this person's."""
        access: str = answer.json["access_token"]
        assert AccessToken.objects.get(token_checksum=keys.sha256(access)).user_id == self.user.pk
        self.tokens["access"] = access
        refresh: str = answer.json["refresh_token"]
        return refresh

    # -- pages -------------------------------------------------------------------------

    def _page(self) -> None:
        form = {"username": self.user.username, "password": PASSWORD, "csrfmiddlewaretoken": TOKEN}
        sent = self._ask("/sign-in/", form, 303, ("challenge", "sent"), FORM, Cookie=CSRF)
        otp = PendingOtp.objects.open().get(provider_user__user=self.user, purpose="sign_in")
        form["code"] = otp.code() if self.is_right else wrong_codes(otp, 1)[0]
        cookie = f"{CSRF}; {_session(sent)}"
        fact = self._judged("check")
        answer = self._ask("/sign-in/code/", form, 303, fact, FORM, Cookie=cookie)
        if self.is_right:
            account = self._ask("/account/", {}, 200, None, Cookie=_session(answer))
            assert {*re.findall(r"user\d+@[\w.]+", account.text)} == {self.user.email}

    # -- what is heard -----------------------------------------------------------------

    def _judged(self, kind: str) -> Fact:
        return kind, "ok" if self.is_right else "otp_incorrect"

    def _ask(
        self,
        path: str,
        body: "dict[str, object] | dict[str, str]",
        status: int,
        fact: Fact | None,
        kind: str = "application/json",
        **headers: str,
    ) -> Answer:
        """Send it, which must be answered so: nobody else does anything for this person.

        :raises Unheard: if the answer is lost, or is 503.
        """
        method = "POST" if fact else "GET"
        try:
            answer = self.server.send(path, body, kind, method, **headers)
        except (OSError, HTTPException) as exc:
            raise Unheard from exc
        self.statuses[answer.status] += 1
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            raise Unheard
        assert answer.status == status, (path, fact, answer)
        if fact:
            self.heard[answer.headers["X-Request-Id"]] = fact
        return answer


def _session(answer: Answer) -> str:
    found = re.search("session=[^;]+", answer.headers["Set-Cookie"])
    assert found
    return found[0]


# -- the faults ----------------------------------------------------------------------


def crowd(server: Site, file: File, count: int) -> list[Person]:
    assert server.send("/readyz", method="GET").status == 200
    application = oauth.make_client(oauth.Application.GRANT_AUTHORIZATION_CODE)
    users = [make_user(f"user{n}", file) for n in range(count)]
    return [Person(server, application, user, file, number(n)) for n, user in enumerate(users)]


def live_through(fault: Callable[[], object], people: list[Person]) -> int:
    """Let *people* live with a *fault* after every few answers, and for 3 seconds without.

    Return how many answers they missed in the last 2 of these.
    """
    over, missed = Event(), []

    def disturb() -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            enough = _heard(people) + random.randrange(8)
            while _heard(people) < enough and not over.is_set():
                time.sleep(random.uniform(0, 0.05))
            fault()
        for pause in (1, 2):
            time.sleep(pause)
            missed.append(sum(person.unheard for person in people))

    def disturb_and_end() -> None:
        try:
            disturb()
        finally:
            over.set()

    with ThreadPoolExecutor(1) as beside:
        disturbing = beside.submit(disturb_and_end)
        at_once([partial(person.live, over, n) for n, person in enumerate(people)])
        disturbing.result()
    return missed[1] - missed[0]


def _heard(people: list[Person]) -> int:
    return sum(len(person.heard) for person in people)


def test_killed_again_and_again(
    tmp_path: Path, file: File, phone: Phone, password_clients: None
) -> None:
    """S-04, S-63: kill -9 a worker, now and then all of them."""
    killed: list[int] = []

    def kill_workers() -> None:
        workers = server.workers()
        for worker in workers if random.random() < 0.1 else workers[:1]:
            killed.append(worker)
            kill(worker)

    # Loaded once, a worker is soon there again.
    with serving(tmp_path, ENV | {"GUNICORN_CMD_ARGS": "--preload"}, workers=4) as server:
        people = crowd(server, file, 6)
        live_through(kill_workers, people)
    print(f"{len(killed)} workers killed")
    assert_all_or_nothing(people)
    assert_no_message_is_lost(tmp_path, phone)


def test_connections_lost_again_and_again(
    tmp_path: Path, file: File, phone: Phone, password_clients: None
) -> None:
    """S-04, S-63, S-64: a lost connection is one 503 at most, and none a second later.

    A backend ends at any moment, or the connection to it is cut in the middle of what it, or the
    service, says.
    """
    ended = 0

    def lose() -> None:
        nonlocal ended
        if random.random() < 0.5:
            proxy.wanted.add(random.choice(["client", "server"]))
            return
        first = "random()" if random.random() < 0.5 else "state = 'idle', random()"
        most = 100 if random.random() < 0.02 else 1
        with psycopg.connect(database_url(), autocommit=True) as beside:
            ended += beside.execute(ENDED.format(first=first), [SERVICE, most]).rowcount

    with cutter() as (proxy, url):
        env = {"DATABASE_URL": f"{url}?application_name={SERVICE}"}
        with serving(tmp_path, ENV | env, workers=2) as server:
            people = crowd(server, file, 12)
            workers = server.workers()
            assert live_through(lose, people) == 0
            assert server.workers() == workers
    print(f"{ended} backends ended, {proxy.cuts} connections cut")
    assert assert_all_or_nothing(people) <= ended + proxy.cuts
    assert_no_message_is_lost(tmp_path, phone)


SERVICE = "lost_again_and_again"
ENDED = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = %s ORDER BY {first} LIMIT %s
"""


# -- what stands then ------------------------------------------------------------------

CODES = {"check", "verify_opt_in", "opt_out"}


def assert_all_or_nothing(people: list[Person]) -> int:
    """Return how many answers were not heard."""
    statuses = sum((person.statuses for person in people), Counter[int]())
    unheard = sum(person.unheard for person in people)
    print(f"answers by status: {dict(statuses)}; not heard: {unheard}")
    assert unheard > SECONDS / 4, "the faults came too late to show anything"
    for person in people:
        assert_decided_once(person)
    return unheard


def assert_decided_once(person: Person) -> None:
    user = person.user
    owner = User.objects.get(pk=user.pk)
    events = list(AuditEvent.objects.filter(user_id=user.pk).order_by("pk"))
    decided = {
        event.request_id: (event.kind, SAME.get(event.outcome, event.outcome)) for event in events
    }
    # Each answer is that to its own request, which is decided once; the others were not heard.
    assert len(events) == len(decided)
    assert not RefusalCount.objects.filter(user_id=user.pk).exists()
    assert person.heard.items() <= decided.items()
    assert len(decided) - len(person.heard) <= person.unheard
    # No event without its change, and no change without its event.
    codes = PendingOtp.objects.filter(provider_user__user=user)
    assert sum(codes.values_list("tries", flat=True)) == sum("try" in e.data for e in events)
    facts = Counter(decided.values())
    right = sum(facts[kind, "ok"] for kind in CODES)
    assert codes.filter(closed_as=PendingOtp.Closed.VERIFIED).count() == right
    # A right code of the person starts their count again, one of a program that of the programs.
    for count, kinds in ((owner.own, {"check"}), (owner.programs, CODES - {"check"})):
        ours = [e for e in events if e.kind in kinds]
        since = max((e.pk for e in ours if e.outcome == "ok"), default=0)
        assert count.failures == sum("try" in e.data for e in ours if e.pk > since)
    texted = facts["opt_in", "sent"] + facts["challenge", "sent"]
    assert SmsMessage.objects.filter(pending_otp__provider_user__user=user).count() == texted
    on, off = facts["verify_opt_in", "ok"], facts["opt_out", "ok"]
    assert ProviderUser.objects.filter(user=user, confirmed=True).count() == on - off
    assert Notice.objects.filter(user=user).count() == on + off
    assert all(event.content_digest() == event.digest for event in events)


SAME = {"resent": "sent"}


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
