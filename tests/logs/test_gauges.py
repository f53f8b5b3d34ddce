"""What ``/metrics`` measures at the moment when it is read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NoReturn

import pytest
import time_machine
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from optin.audit import seals
from optin.conf import Rate
from optin.errors import Busy
from optin.gateways import Fate, SmsError
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    Canary,
    EmailChange,
    File,
    GatewayHealth,
    Guard,
    ProviderUser,
    Revocation,
    User,
)
from optin.operations import opt_ins, revocations, send_controls
from optin.runtime import hashing
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Gateways, Stub
from tests.kit.races import all_places_taken
from tests.kit.server import METRICS_TOKEN

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Read = Callable[[str], dict[str, float]]


@pytest.fixture
def read(client: Client, settings: LazySettings) -> Read:
    """Return the numbers of one metric, by its labels."""
    settings.METRICS_TOKEN = METRICS_TOKEN
    Canary.objects.look()

    def read(name: str) -> dict[str, float]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        lines = (line.rpartition(" ") for line in answer.content.decode().splitlines())
        found = {series: float(value) for series, _, value in lines if series[:1] != "#"}
        return {
            series.removeprefix(name).strip("{}"): value
            for series, value in found.items()
            if series.partition("{")[0] == name
        }

    return read


def needs(read: Read) -> set[str]:
    """The conditions of which an alert tells, but for the clock: it stands still here."""
    counts = read("optin_needs_attention").items()
    return {series for series, count in counts if count and series != 'condition="clock"'}


def test_nothing_is_wrong(read: Read) -> None:
    assert needs(read) == set()
    assert set(read("optin_unready").values()) == {0}
    assert read("optin_gateway_failures") == {'gateway="simulator"': 0}
    assert read("optin_texts_stopped") == read("optin_prefixes_closed") == {"": 0}
    assert read("optin_unsealed_oldest_seconds") == {"": 0}
    assert read("optin_overdue_seconds") == {'kind="removal"': 0, 'kind="email"': 0}


def test_the_server_that_is_not_ready_says_why(read: Read, settings: LazySettings) -> None:
    settings.OPTIN_DIGEST_KEY = b"x" * 32
    assert read("optin_unready") == {
        'reason="database"': 0,
        'reason="migrations"': 0,
        'reason="keys"': 1,
        'reason="restored"': 0,
        'reason="writes"': 0,
    }


def test_without_a_database_the_counts_are_still_there(read: Read) -> None:
    with connection.execute_wrapper(_fail):
        unready = read("optin_unready")
        assert read("optin_locks_total")
        assert read("optin_waiting") == {}
    assert unready['reason="database"'] == 1


def _fail(*_: object) -> NoReturn:
    raise OperationalError("away")


def test_a_gateway_that_fails(
    read: Read, user: User, file: File, use: Gateways, settings: LazySettings
) -> None:
    """Read from the database: whichever process sends."""
    settings.OPTIN_RESEND_WAIT = (0,)
    stub = Stub("simulator", fails=SmsError("the gateway answered 500", Fate.UNKNOWN))
    use(stub)
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    delivery.send_due(timezone.now())
    assert read("optin_gateway_failures") == {'gateway="simulator"': 2}
    outcome = 'gateway="simulator",outcome="unknown"'
    before = read("optin_gateway_seconds_count")[outcome]

    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    assert read("optin_gateway_failures") == {'gateway="simulator"': 3}
    assert needs(read) >= {'condition="failing_gateways"'}
    assert read("optin_gateway_seconds_count")[outcome] == before + 1
    GatewayHealth.objects.worked("simulator")
    GatewayHealth.objects.failed("former", timezone.now())  # it is no longer used
    assert read("optin_gateway_failures") == {'gateway="simulator"': 0}


def test_a_stop_and_a_closed_prefix(read: Read) -> None:
    now = timezone.now()
    send_controls.stop_texts(reason="the bill", origin=ORIGIN)
    Guard.objects.close(
        "k", region="AU", unverified=9, now=now, begins=now, until=now + timedelta(hours=1)
    )
    assert read("optin_texts_stopped") == read("optin_prefixes_closed") == {"": 1}
    assert needs(read) == {'condition="stopped_texts"', 'condition="closed_prefixes"'}
    Guard.objects.create(
        kind=Guard.Kind.LIFT,
        covers=Guard.Covers.PREFIX,
        key="k",
        made_at=now,
        until=now + timedelta(hours=1),
    )
    assert read("optin_prefixes_closed") == {"": 0}


def test_the_fullest_budgets(read: Read, user: User, file: File, settings: LazySettings) -> None:
    settings.OPTIN_SENDS_TOTAL = (Rate(10, 86400), Rate(4, 600))
    settings.OPTIN_OWN_SENDS_TOTAL = ()
    settings.OPTIN_SENDS_PER_FILE = (Rate(5, 86400),)
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert read("optin_budget_used_ratio") == {'budget="total"': 0.25, 'budget="file"': 0.2}
    assert needs(read) == set()
    settings.OPTIN_SENDS_PER_FILE = (Rate(1, 86400),)
    assert needs(read) == {'condition="near_budgets"'}


def test_events_without_a_seal(
    read: Read, user: User, file: File, clock: time_machine.Traveller
) -> None:
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    clock.shift(timedelta(minutes=40))
    assert read("optin_unsealed_oldest_seconds") == {"": 2400}
    assert 'condition="seals"' in needs(read)
    seals.seal(timezone.now())
    assert AuditEvent.objects.exists()
    assert read("optin_unsealed_oldest_seconds") == {"": 0}


def test_what_should_have_taken_effect(
    read: Read, active: ProviderUser, clock: time_machine.Traveller
) -> None:
    revocations.plan(active.user, reason="lost", origin=ORIGIN)
    due: datetime = Revocation.objects.get().due_at
    clock.move_to(due - timedelta(seconds=1))
    assert read("optin_overdue_seconds")['kind="removal"'] == 0
    EmailChange.objects.create(
        user=active.user, new_address="new@example.org", asked_at=due, proved_at=due, due_at=due
    )
    clock.move_to(due + timedelta(seconds=100))
    assert read("optin_overdue_seconds") == {'kind="removal"': 100, 'kind="email"': 100}
    assert 'condition="overdue"' not in needs(read)
    clock.move_to(due + timedelta(seconds=301))
    assert read("optin_needs_attention")['condition="overdue"'] == 2


@pytest.mark.postgresql
def test_a_clock_that_is_wrong(read: Read, clock: time_machine.Traveller) -> None:
    """It stands still at another day than that of the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        (there,) = cursor.fetchone()
    clock.move_to(there + timedelta(seconds=60))
    assert read("optin_clock_offset_seconds")[""] == pytest.approx(60, abs=5)
    clock.move_to(there - timedelta(seconds=60))
    assert read("optin_clock_offset_seconds")[""] == pytest.approx(-60, abs=5)


# -- waits -------------------------------------------------------------------------


def test_passwords_that_wait_and_those_that_are_refused(read: Read) -> None:
    refused, begun = (
        read(f"optin_password_hash{name}")[""]
        for name in ("es_refused_total", "_wait_seconds_count")
    )
    with hashing.place():
        pass
    with all_places_taken(), pytest.raises(Busy), hashing.place():
        pass
    assert read("optin_password_hashes_refused_total") == {"": refused + 1}
    assert read("optin_password_hash_wait_seconds_count") == {"": begun + 1}


@pytest.mark.postgresql
def test_connections_of_the_pool(read: Read) -> None:
    """A thread takes one at its first statement."""
    waits = read("optin_pool_wait_seconds_count")[""]

    def use() -> None:
        connection.ensure_connection()
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(use).result()
    assert read("optin_pool_wait_seconds_count")[""] - waits == 1
