"""A pumping attack, and a day of honest people: what they ask, and what must come of it."""

import http.client
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from django.utils import timezone

from optin import keys
from optin.models import AccessKey, AuditEvent, File, Guard, Membership, User
from tests.kit.people import number
from tests.kit.server import Server, serving
from tests.kit.trail import decisions

THREADS = 12
WEEK = "604800"
"""Seconds of a window that hardly a run of the tests crosses."""

BREAKER = {"OPTIN_BREAKER_UNPROVED": "20"}


@dataclass(frozen=True)
class Person:
    user_id: int
    file_id: int
    key: str = field(repr=False)
    mobile: str


def crowd(mobiles: Sequence[str], files: Sequence[File], name: str) -> list[Person]:
    """A user for each number, with an access key."""
    now = timezone.now()
    users = User.objects.bulk_create(
        [User(username=f"{name}{n}", password="!") for n in range(len(mobiles))], batch_size=2000
    )
    file_of = itertools.cycle(files)
    people = [
        Person(user.pk, next(file_of).pk, f"{name}-key-of-{user.pk:020d}", mobile)
        for user, mobile in zip(users, mobiles, strict=True)
    ]
    Membership.objects.bulk_create(
        [Membership(user_id=p.user_id, file_id=p.file_id) for p in people], batch_size=2000
    )
    AccessKey.objects.bulk_create(
        [
            AccessKey(
                user_id=p.user_id,
                file_id=p.file_id,
                digest=keys.sha256(p.key),
                prefix=p.key[:6],
                created_at=now,
            )
            for p in people
        ],
        batch_size=2000,
    )
    return people


@dataclass
class Handsets:
    """Reads what the simulator writes: the newest code to each number."""

    path: Path
    codes: dict[str, str] = field(default_factory=dict)
    at: int = 0
    lock: Lock = field(default_factory=Lock)

    def code(self, mobile: str) -> str:
        with self.lock:
            with self.path.open("rb") as texts:
                texts.seek(self.at)
                for line in texts:
                    if not line.endswith(b"\n"):
                        break  # it is just being written
                    self.at += len(line)
                    text = json.loads(line)
                    self.codes[text["to"]] = text["body"].split()[0]
            return self.codes[mobile]


class Line:
    """One connection that stays open, as an integrator's server has many."""

    def __init__(self, server: Server) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def call(self, person: Person, call: str, ip: str = "", **body: Any) -> tuple[str, Any]:
        """Return the code of the answer, "ok" where it was 200, and the answer."""
        path = f"/User/{call}?FileId={person.file_id}&WsAccessKey={person.key}"
        headers = {"Content-Type": "application/json"}
        if ip:
            headers["X-Forwarded-For"] = ip
        for last in (False, True):
            try:
                self.http.request("POST", path, json.dumps(body), headers)
                response = self.http.getresponse()
                answer = json.loads(response.read())
                break
            except (ConnectionError, http.client.HTTPException):
                self.http.close()  # the server ended it
                if last:
                    raise
        code = "ok" if response.status == 200 else answer["_links"][-1]["title"]
        return code, answer


@contextmanager
def lines(server: Server) -> Iterator[list[Line]]:
    opened = [Line(server) for _ in range(THREADS)]
    yield opened
    for line in opened:
        line.http.close()


def in_threads(server: Server, work: Callable[[Line, int], Counter[str]]) -> Counter[str]:
    with lines(server) as opened, ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(work, opened, range(THREADS)), Counter())


def pump(server: Server, people: Sequence[Person], requests: int) -> Counter[str]:
    """Ask *requests* times, each from another address, for numbers of one prefix."""

    def work(line: Line, thread: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        for n in range(thread, requests, THREADS):
            ip = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
            person = people[n % len(people)]
            mobile = f"{person.mobile[:-4]}{n * 7919 % 10_000:04d}"
            answers[line.call(person, "opt-in-to-2fa", ip, MobileNumber=mobile)[0]] += 1
        return answers

    return in_threads(server, work)


def live(server: Server, people: Sequence[Person], wait: float) -> Counter[str]:
    """Opt *people* in as they do: some retry, some mistype, one in five never proves it."""
    phones = Handsets(server.folder / "sms.jsonl")

    def ask(line: Line, person: Person) -> tuple[str, int]:
        code, answer = line.call(person, "opt-in-to-2fa", MobileNumber=person.mobile)
        return f"ask {code}", answer.get("ProviderUserId", 0)

    def prove(line: Line, person: Person, pk: int, nth: int) -> Iterator[str]:
        if nth % 5 == 0:
            return
        code = phones.code(person.mobile)
        if nth % 3 == 0:
            wrong = f"{(int(code) + 1) % 10**7:07d}"
            yield (
                "mistype " + line.call(person, "verify-2fa-opt-in", ProviderUserId=pk, Otp=wrong)[0]
            )
        yield "prove " + line.call(person, "verify-2fa-opt-in", ProviderUserId=pk, Otp=code)[0]

    def work(line: Line, thread: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        later: list[tuple[int, Person, float]] = []
        for nth in range(thread, len(people), THREADS):
            person = people[nth]
            said, pk = ask(line, person)
            answers[said] += 1
            if nth % 7 == 0:
                later.append((nth, person, time.monotonic() + wait))
            else:
                answers.update(prove(line, person, pk, nth))
        for nth, person, at in later:
            time.sleep(max(0.0, at - time.monotonic()))
            said, pk = ask(line, person)
            answers[said] += 1
            answers.update(prove(line, person, pk, nth))
        return answers

    return in_threads(server, work)


def make_files() -> list[File]:
    return [File.objects.create(id=n + 1, name=f"file {n}") for n in range(12)]


def attack(folder: Path, requests: int, accounts: int) -> str:
    """Pump; see that the breaker lets 20 texts out and no more. Say what was seen."""
    people = crowd([number(n) for n in range(accounts)], make_files(), "pump")
    env = {"TRUSTED_PROXIES": "127.0.0.1/32", **BREAKER}
    with serving(folder, env, workers=4) as server:
        began = time.monotonic()
        answers = pump(server, people, requests)
        took = time.monotonic() - began
        texts = server.texts()

    assert texts == 20, answers
    assert answers == {"ok": texts, "send_limit": requests - texts}, answers
    events = AuditEvent.objects.filter(kind=AuditEvent.Kind.OPT_IN)
    assert decisions(kind=AuditEvent.Kind.OPT_IN).total() == requests
    refused = events.filter(outcome="send_limit")
    assert set(refused.values_list("data__rule", flat=True)) == {"prefix"}
    assert Guard.objects.filter(kind=Guard.Kind.BREAKER).count() == 1
    # Many found that it must be closed; one told.
    assert (folder / "server.log").read_text().count("A prefix was closed") == 1
    return f"{requests} requests of {accounts} accounts in {took:.0f} s: {texts} texts"


def honest_day(folder: Path, people: int, wait: int) -> str:
    """Let honest people opt in while others pump; see that none is refused."""
    files = make_files()
    chance = random.Random(42)
    lasts = chance.sample(range(10_000), people)
    mobiles = [number(chance.randrange(1, 400) * 10_000 + last) for last in lasts]
    honest = crowd(mobiles, files, "honest")
    pumping = crowd([number(n) for n in range(50)], files, "pump")
    env = {
        "TRUSTED_PROXIES": "127.0.0.1/32",
        **BREAKER,
        "OPTIN_RESEND_WAIT": f"{wait},{2 * wait},{4 * wait}",
    }
    with serving(folder, env, workers=4) as server:
        with ThreadPoolExecutor(1) as beside:
            pumped = beside.submit(pump, server, pumping, 60)
            began = time.monotonic()
            answers = live(server, honest, wait)
        took = time.monotonic() - began
        assert pumped.result()["ok"] == 20

    proving = people - len(range(0, people, 5))
    asked = people + len(range(0, people, 7))
    mistyped = len([n for n in range(0, people, 3) if n % 5])
    expected = {"ask ok": asked, "prove ok": proving, "mistype otp_incorrect": mistyped}
    assert answers == expected, answers
    assert {guard.kind for guard in Guard.objects.all()} == {Guard.Kind.BREAKER}
    assert Guard.objects.count() == 1
    return f"{answers.total()} requests of {people} people in {took:.0f} s: nobody refused"
