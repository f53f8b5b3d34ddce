"""``/metrics``: what is counted, for whom, and over all processes."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.test import Client
from django.utils import timezone

from optin.gateways import Fate, SmsError
from optin.messaging import delivery
from optin.models import AuditEvent, File, ProviderUser, Purpose, User
from optin.operations import challenges, opt_ins
from optin.runtime import metrics
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone, wrong
from tests.kit.server import METRICS_TOKEN, running, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def open_page(settings: LazySettings) -> None:
    settings.METRICS_TOKEN = METRICS_TOKEN


class Counts:
    """How far each count moved since this was made."""

    def __init__(self) -> None:
        self.before = self.now()

    def now(self) -> dict[str, float]:
        text = metrics.exposition("").decode()
        return {
            name: float(value)
            for name, value in re.findall(r"^(optin_\S+?) ([0-9.e+]+)$", text, re.MULTILINE)
            if "_created" not in name and "_seconds" not in name
        }

    @property
    def moved(self) -> dict[str, float]:
        now = self.now()
        return {n: v - self.before.get(n, 0) for n, v in now.items() if v != self.before.get(n, 0)}


def decided(kind: str, outcome: str) -> str:
    return f'optin_decisions_total{{kind="{kind}",outcome="{outcome}"}}'


def texts(state: str, gateway: str = "none") -> str:
    return f'optin_texts_total{{gateway="{gateway}",state="{state}"}}'


def mails(kind: str) -> str:
    return f'optin_mails_total{{kind="{kind}",state="sent"}}'


# -- what is counted ---------------------------------------------------------------


def test_an_opt_in(user: User, file: File, phone: Phone) -> None:
    counts = Counts()
    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert counts.moved == {decided("opt_in", "sent"): 1, texts("sent", "phone"): 1}

    assert sending.provider_user_id
    for otp in (wrong(phone.code()), phone.code()):
        opt_ins.verify_opt_in(user, file, sending.provider_user_id, otp, origin=ORIGIN)

    assert counts.moved == {
        decided("opt_in", "sent"): 1,
        texts("sent", "phone"): 1,
        decided("verify_opt_in", "otp_incorrect"): 1,
        decided("verify_opt_in", "ok"): 1,
        mails("activated"): 1,
    }


def test_locks_and_disablings(
    user: User, file: File, pending: ProviderUser, phone: Phone, settings: LazySettings
) -> None:
    settings.OPTIN_LOCK_AFTER, settings.OPTIN_DISABLE_AFTER = 1, 2
    counts = Counts()

    for _ in range(2):
        opt_ins.verify_opt_in(user, file, pending.pk, wrong(phone.code()), origin=ORIGIN)
        User.objects.update(program_locked_until=None)

    assert counts.moved == {
        decided("verify_opt_in", "otp_incorrect"): 2,
        "optin_locks_total": 1,
        "optin_disablings_total": 1,
        mails("programs_locked"): 1,
        mails("programs_off"): 1,
    }


@pytest.mark.parametrize(
    ("fate", "gateway", "state"),
    [(Fate.REFUSED, "phone", "failed"), (Fate.TRY_ANOTHER, "none", "queued")],
)
def test_a_text_that_did_not_leave(
    active: ProviderUser, phone: Phone, fate: Fate, gateway: str, state: str
) -> None:
    phone.fail_with = SmsError("no route", fate)
    counts = Counts()

    challenges.challenge(active.user, Purpose.SIGN_IN, origin=ORIGIN)

    assert counts.moved == {decided("challenge", "sent"): 1, texts(state, gateway): 1}
    phone.fail_with = None
    delivery.send_due(timezone.now())
    assert counts.moved.get(texts("sent", "phone"), 0) == (0 if fate is Fate.REFUSED else 1)


def test_what_is_rolled_back_was_not_decided(user: User) -> None:
    counts = Counts()

    with transaction.atomic():
        AuditEvent.objects.record(
            AuditEvent.Kind.CHECK, "ok", now=timezone.now(), origin=ORIGIN, user_id=user.pk
        )
        transaction.set_rollback(True)

    assert counts.moved == {}


def test_requests_are_timed_by_route(client: Client) -> None:
    series = 'optin_request_seconds_count{route="verify",status="4xx"}'
    pattern = re.compile(rf"^{re.escape(series)} ([0-9.]+)$", re.MULTILINE)

    def count() -> float:
        found = pattern.search(metrics.exposition("").decode())
        return float(found[1]) if found else 0

    before = count()
    for path in ("/User/verify-2fa-opt-in?FileId=1", "/user/Verify-2fa-opt-in/"):
        client.post(path)

    assert count() == before + 2


def test_no_label_is_a_clients_to_choose(client: Client) -> None:
    """Each value of a label is kept for good."""
    client.get("/")
    client.generic("ODD", "/nothing")
    before = metrics.exposition("").count(b"\n")

    for n in range(20):
        client.generic(f"ODD{n}", f"/nothing/{n}?{n}", headers={"User-Agent": f"agent {n}"})

    assert metrics.exposition("").count(b"\n") == before


# -- who may read it ---------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["", METRICS_TOKEN, "Bearer", "Bearer x", f"Bearer {METRICS_TOKEN}x", "Bearer \xe9"]
)
def test_a_wrong_token(client: Client, open_page: None, given: str) -> None:
    answer = client.get("/metrics", headers={"Authorization": given})

    assert (answer.status_code, answer["Cache-Control"]) == (401, "no-store")
    assert answer["WWW-Authenticate"] == 'Bearer realm="metrics"'
    assert b"optin_" not in answer.content


def test_the_right_token(client: Client, open_page: None, settings: LazySettings) -> None:
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}

    answer = client.get("/metrics", headers=headers)

    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE optin_decisions_total counter" in answer.content
    assert client.post("/metrics", headers=headers).status_code == 405
    settings.METRICS_TOKEN = ""
    headers = {"Authorization": "Bearer "}
    assert client.get("/metrics", headers=headers).status_code == 404


# -- several processes -------------------------------------------------------------


@pytest.mark.slow
def test_all_workers_count_together(tmp_path: Path) -> None:
    """... and not what the server before them counted in the same folder."""
    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left behind")

    def counted(text: str) -> float:
        found = re.search(r'_seconds_count\{route="home",status="3xx"\} (\S+)', text)
        return float(found[1]) if found else 0

    def has_served(pid: int) -> bool:
        own = folder / f"histogram_{pid}.db"
        return own.exists() and b'"home"' in own.read_bytes()

    env = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with running(tmp_path, env=env) as site, ThreadPoolExecutor(8) as pool:
        sent = 0

        def both_have_served() -> bool:
            nonlocal sent
            answers = list(pool.map(lambda _: site.send("/", method="GET"), range(16)))
            assert {answer.status for answer in answers} == {302}  # to sign in
            sent += 16
            workers = site.workers()
            return len(workers) == 2 and all(map(has_served, workers))

        until(both_have_served)
        seen = {counted(text) for text in pool.map(lambda _: site.metrics(), range(16))}
        text = site.metrics()

    assert seen == {sent}
    assert not folder.exists()
    types = re.findall("^# TYPE (.*)$", text, re.MULTILINE)
    assert len(types) == len(set(types))
    assert re.findall("^optin_waiting{(.*)}", text, re.MULTILINE) == ['kind="text"', 'kind="mail"']
