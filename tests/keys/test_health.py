"""What watches the processes is told: alive, and ready or not and why."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from optin.audit import seals
from optin.models import AuditEvent, Canary
from optin.web import health
from tests.keys.rings import NEW, NEW_DIGEST, OLD
from tests.kit.trail import audit_trail_full, sql

pytestmark = pytest.mark.django_db(transaction=True)

PLAIN = "text/plain; charset=utf-8"


def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """A database that does not answer."""
    raise OperationalError("connection to 10.1.2.3 failed")


def wrong_ring(settings: LazySettings) -> None:
    settings.OPTIN_KEYS = {"new": NEW}


def wrong_digest_key(settings: LazySettings) -> None:
    settings.OPTIN_DIGEST_KEY = NEW_DIGEST


def no_canary(settings: LazySettings) -> None:
    Canary.objects.all().delete()


@contextmanager
def unapplied() -> Iterator[None]:
    """The newest migration of the app was not applied here."""
    ((_, name),) = MigrationLoader(None).graph.leaf_nodes("optin")
    newest = MigrationRecorder.Migration.objects.get(app="optin", name=name)
    MigrationRecorder.Migration.objects.filter(pk=newest.pk).delete()
    try:
        yield
    finally:
        newest.save(force_insert=True)


def not_ready(word: str) -> None:
    """S-61: 503, ``Retry-After``, one word and no details."""
    response = Client().get("/readyz")

    assert (response.status_code, response.content) == (503, f"{word}\n".encode())
    assert response["Content-Type"] == PLAIN
    assert response["Cache-Control"] == "no-store"
    assert response["Retry-After"].isdigit()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_all_is_well(path: str, ring: LazySettings) -> None:
    response = Client().get(path)
    head, post = Client().head(path), Client().post(path)

    assert (head.status_code, head.content) == (200, b"")
    assert post.status_code == 405
    assert set(post["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert response["Content-Type"] == PLAIN
    assert response["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response


@pytest.mark.parametrize(
    "break_it", [wrong_ring, wrong_digest_key, no_canary], ids=lambda f: f.__name__
)
def test_wrong_keys(break_it: Callable[[LazySettings], None], ring: LazySettings) -> None:
    ring.OPTIN_KEYS = {"new": NEW, "old": OLD}  # a rotated ring is right
    assert Client().get("/readyz").status_code == 200
    break_it(ring)
    not_ready("keys")


def test_the_database_is_away_and_back(ring: LazySettings) -> None:
    """S-64: recovers without a restart."""
    with connection.execute_wrapper(away):
        not_ready("database")
        assert Client().get("/livez").status_code == 200
    assert Client().get("/readyz").status_code == 200


def test_an_unapplied_migration(ring: LazySettings) -> None:
    with unapplied():
        not_ready("migrations")
    assert Client().get("/readyz").status_code == 200


@pytest.mark.postgresql
def test_a_database_that_hangs_is_not_waited_for(ring: LazySettings) -> None:
    """Somebody holds the table of the canary: the answer comes nonetheless, and soon."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10s'")
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE optin_canary IN ACCESS EXCLUSIVE MODE")
        before = time.perf_counter()
        not_ready("database")
        assert time.perf_counter() - before < 4
    finally:
        other.rollback()
        other.close()
    assert Client().get("/readyz").status_code == 200


def test_they_ask_the_database_for_little(
    ring: LazySettings, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    """They are asked every few seconds, by each who watches."""
    Client().get("/readyz")
    for path, most in (("/livez", 0), ("/readyz", 11)):
        with django_assert_max_num_queries(most):
            Client().get(path)


# -- a database that answers, but in which nothing can be written ------------------


@pytest.fixture
def each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing is tried for each answer."""
    monkeypatch.setattr(health, "_TRUSTED", 0)
    monkeypatch.setattr(health, "_tried", health._tried)  # other tests do not see what came of it


def trail() -> tuple[int | None, int]:
    return seals.drawn(), AuditEvent.objects.count()


def test_to_try_it_leaves_nothing(ring: LazySettings, each_time: None) -> None:
    """No row, and no gap in the ids of the audit trail."""
    before = trail()
    for _ in range(3):
        assert Client().get("/readyz").status_code == 200
    assert trail() == before


def test_a_trail_that_takes_no_event(
    ring: LazySettings, each_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of it is remembered: anybody may ask, also while writes are refused."""
    with audit_trail_full():
        not_ready("writes")
    with monkeypatch.context() as patch:
        patch.setattr(health, "_TRUSTED", 60)
        not_ready("writes")
    assert Client().get("/readyz").status_code == 200


FAULTS = {
    "read-only": (
        "SET default_transaction_read_only = on",
        "RESET default_transaction_read_only",
    ),
    "a sequence was set back": (
        "INSERT INTO optin_sendcounter (id, scope, key, window_start, count) "
        "SELECT nextval('optin_sendcounter_id_seq') + 1, 'x', 'x', now(), 1",
        "DELETE FROM optin_sendcounter",
    ),
}


@pytest.mark.postgresql
@pytest.mark.parametrize("name", FAULTS)
def test_a_database_that_takes_no_writes(ring: LazySettings, each_time: None, name: str) -> None:
    """S-64: it answers, so that only writing shows it."""
    breaks, mends = FAULTS[name]
    assert Client().get("/readyz").status_code == 200
    sql(breaks)
    try:
        not_ready("writes")
        assert Client().get("/livez").status_code == 200
    finally:
        sql(mends)
    assert Client().get("/readyz").status_code == 200
