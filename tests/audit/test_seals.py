"""Seals: over which events, once, without a gap, and logged; nobody changes one."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from optin.audit import seals
from optin.models import AuditEvent, AuditSeal
from optin.models.audit import committed
from optin.origin import Face, Origin
from optin.runtime import logs
from tests.kit.races import at_once, closing
from tests.kit.tamper import OLD, Writer, record, record_many, remove, seal_rows, verify
from tests.kit.trail import database_now, sql, tell

pytestmark = pytest.mark.django_db(transaction=True)

Logged = Callable[[], list[str]]
YOUNG = timedelta(minutes=5) - timedelta(microseconds=1)


def all_seals() -> list[tuple[int, int, int]]:
    return list(AuditSeal.objects.order_by("pk").values_list("first_id", "last_id", "count"))


def id_of(event: AuditEvent) -> int:
    assert event.pk
    return int(event.pk)


# -- which events ------------------------------------------------------------------


def test_events_of_5_minutes_are_sealed_once_and_younger_ones_wait() -> None:
    last = id_of(record(timedelta(minutes=5)))
    record(YOUNG)
    assert [seals.seal(timezone.now()) for _ in range(3)] == [1, 0, 0]
    assert all_seals() == [(1, last, AuditEvent.objects.filter(pk__lte=last).count())]


def test_seals_follow_each_other_without_a_gap() -> None:
    """Ids that were rolled back fall into a range, and its count leaves them out."""
    first = seal_rows(3)[0]
    with transaction.atomic():
        record()
        transaction.set_rollback(True)
    second = seal_rows(3)[0]
    assert first.first_id == 1
    assert second.first_id == first.last_id + 1
    assert second.count == 3
    assert verify() == []


def test_a_young_event_with_a_lower_id_is_under_the_seal_of_the_next_old_one() -> None:
    """Clocks of two servers differ; ids rule."""
    record(timedelta(0))
    last = id_of(record())
    seals.seal(timezone.now())
    assert all_seals()[0][1:] == (last, 2)
    assert verify() == []


def test_a_seal_covers_a_bounded_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "RANGE", 4)
    record_many(10)
    assert seals.seal(timezone.now()) == 3
    assert [count for *_, count in all_seals()] == [4, 4, 2]
    assert verify() == []


# -- logged ------------------------------------------------------------------------


@pytest.mark.parametrize("form", logs.FORMATS)
def test_each_seal_is_a_line_from_which_it_can_be_checked(form: str, logged: Logged) -> None:
    """What blanks out secrets and numbers in logs leaves it alone; and so does LOG_LEVEL."""
    (seal,) = seal_rows(3)
    assert logged() == [seal.line()]
    logger = logging.getLogger("optin.audit")
    assert logger.isEnabledFor(logging.INFO)
    record = logger.makeRecord("optin.audit", logging.INFO, "x", 1, seal.line(), (), None)
    copy = AuditSeal.from_line(logs.Line(form).format(record))
    assert copy
    assert copy.pk is None
    assert copy.line() == seal.line()
    assert copy.proof == copy.own_proof()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "seal first=1 last=2",
        "seal first=1 last=2 count=2 digest=xy at=2026-11-02T12:00:00.000000+00:00 key=a proof=b",
        f"seal first=1 last=2 count=2 digest={'0' * 64} at={'9' * 32} key=aaaaaaaa "
        f"proof={'0' * 64}",
    ],
    ids=["empty", "cut-off", "no-hex", "no-time"],
)
def test_what_is_no_seal_is_passed_over(line: str) -> None:
    assert AuditSeal.from_line(line) is None


# -- append-only -------------------------------------------------------------------


def sealed(days: int = 0) -> AuditSeal:
    """A seal of so many days ago, by the database's clock: that is the one the triggers read."""
    now = database_now() - timedelta(days=days)
    record(timezone.now() - now + OLD)
    seals.seal(now)
    return AuditSeal.objects.get()


def is_whole(seal: AuditSeal) -> bool:
    stored = AuditSeal.objects.get(first_id=seal.first_id)
    return stored.pk == seal.pk and stored.own_proof() == stored.proof == seal.proof


@pytest.mark.parametrize(
    "act",
    [
        lambda seal: seal.save(),
        lambda seal: seal.delete(),
        lambda seal: AuditSeal.objects.update(count=1),
        lambda seal: AuditSeal.objects.all().delete(),
        lambda seal: AuditSeal.objects.bulk_update([seal], ["count"]),
    ],
    ids=["save", "delete", "update", "delete-all", "bulk"],
)
def test_the_orm_changes_no_seal(act: Callable[[AuditSeal], object]) -> None:
    """S-53."""
    seal = sealed(31)
    with pytest.raises(PermissionDenied):
        act(seal)
    assert is_whole(seal)


COLUMNS = [field.attname for field in AuditSeal._meta.concrete_fields]


def test_sql_updates_no_column_of_a_seal() -> None:
    seal = sealed(31)
    for column in COLUMNS:
        with pytest.raises(DatabaseError), transaction.atomic():
            sql(f"UPDATE optin_auditseal SET {column} = {column}")  # noqa: S608
        assert is_whole(seal)


@pytest.mark.parametrize(("days", "stays"), [(0, True), (29, True), (31, False)])
def test_sql_deletes_no_seal_of_the_last_30_days(days: int, stays: bool) -> None:
    sealed(days)
    with pytest.raises(DatabaseError) if stays else nullcontext(), transaction.atomic():
        sql("DELETE FROM optin_auditseal")
    assert AuditSeal.objects.exists() is stays


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("unique", ["id", "first_id"])
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "UPSERT"])
def test_sqlite_replaces_no_seal(verb: str, unique: str, recursive: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("REPLACE is SQLite's")
    seal = sealed()
    sql(f"PRAGMA recursive_triggers = {recursive}")
    # The other unique value is a new one, and so is the end.
    new = {"first_id": "first_id + 1"} if unique == "id" else {"id": "id + 1"}
    new |= {"last_id": "last_id + 9", "count": "1"}
    values = ", ".join(new.get(column, column) for column in COLUMNS)
    upsert = f" WHERE true ON CONFLICT ({unique}) DO UPDATE SET count = 1"
    try:
        with pytest.raises(DatabaseError), transaction.atomic():
            sql(
                f"{verb.replace('UPSERT', 'INSERT')} INTO optin_auditseal ({', '.join(COLUMNS)}) "  # noqa: S608
                f"SELECT {values} FROM optin_auditseal{upsert if verb == 'UPSERT' else ''}"
            )
    finally:
        sql("PRAGMA recursive_triggers = ON")
    assert is_whole(seal)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE optin_auditseal",
        "INSERT INTO optin_auditseal SELECT * FROM optin_auditseal "
        "ON CONFLICT (first_id) DO UPDATE SET count = 1",
        "MERGE INTO optin_auditseal a USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
    ],
    ids=["truncate", "upsert", "merge"],
)
def test_postgresql_refuses(statement: str) -> None:
    sealed()
    with pytest.raises(DatabaseError), transaction.atomic():
        sql(statement)
    assert AuditSeal.objects.count() == 1


# -- several at once ---------------------------------------------------------------


@pytest.mark.postgresql
def test_of_many_sealers_at_once_each_range_is_sealed_once(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(seals, "RANGE", 10)
    for _ in range(5):
        record_many(100)
        at_once([lambda: seals.seal(timezone.now())] * 8)
    found = all_seals()
    assert sum(count for *_, count in found) == 500
    assert [first for first, *_ in found[1:]] == [last + 1 for _, last, _ in found[:-1]]
    assert len(logged()) == len(set(logged())) == len(found)
    assert verify() == []


@pytest.mark.postgresql
def test_no_open_transaction_adds_into_a_sealed_range(logged: Logged) -> None:
    """The event with the lower id is committed after the one with the higher id."""
    with Writer():
        record()
        assert seals.seal(timezone.now(), patience=0.1) == 0
        assert logged() == ["nothing sealed: a transaction that adds events stays open"]
    assert seals.seal(timezone.now()) == 1
    assert all_seals()[0][2] == 2
    assert verify() == []


@pytest.mark.postgresql
def test_sealing_waits_for_a_transaction_that_ends() -> None:
    with Writer() as writer:
        record()
        ending = threading.Timer(0.3, writer.commit)
        ending.start()
        assert seals.seal(timezone.now()) == 1
        ending.join()
    assert all_seals()[0][2] == 2


@pytest.mark.postgresql
def test_sealing_waits_for_no_transaction_that_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a busy service would never be sealed."""
    looked, look = threading.Event(), seals._writers

    def writers() -> set[str]:
        found = look()
        looked.set()
        return found

    monkeypatch.setattr(seals, "_writers", writers)
    with ThreadPoolExecutor(1) as pool, Writer() as early:
        record()
        made = pool.submit(closing, lambda: seals.seal(timezone.now()))
        assert looked.wait(30)
        with Writer():
            early.commit()
            assert made.result(30) == 1
    assert all_seals()[0][2] == 2
    assert seals.seal(timezone.now()) == 1
    assert verify() == []


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_role_of_the_service_may_seal_and_check(service_role: str) -> None:
    record()
    assert seals.seal(timezone.now()) == 1
    assert verify() == []


# -- in the background -------------------------------------------------------------


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The sealer of a process that has written nothing yet; a call lets it seal once more."""
    committed.connect(seals.keep_sealing, dispatch_uid="keep_sealing")
    waits, goes = threading.Semaphore(0), threading.Semaphore(0)
    ends = threading.Event()

    def wait(seconds: int) -> bool:
        assert seconds == 300
        waits.release()
        goes.acquire()
        return ends.is_set()

    def seal_once_more() -> None:
        assert waits.acquire(timeout=30)
        goes.release()
        assert waits.acquire(timeout=30)
        waits.release()

    monkeypatch.setattr(seals, "_sealer", None)
    monkeypatch.setattr(seals, "_ended", SimpleNamespace(wait=wait))
    yield seal_once_more
    committed.disconnect(dispatch_uid="keep_sealing")
    ends.set()
    goes.release()
    if seals._sealer:
        seals._sealer.join(30)


def decide(face: Face = Face.API) -> None:
    with transaction.atomic():
        tell("check", at=timezone.now() - OLD, origin=Origin(face))
        assert not AuditSeal.objects.exists()


def test_a_process_that_serves_seals_every_few_minutes(
    rounds: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    decide()
    first = seals._sealer
    rounds()
    assert [count for *_, count in all_seals()] == [1]
    record()
    assert seals._sealer is first  # one in a process
    rounds()
    assert [count for *_, count in all_seals()] == [1, 1]

    def away(now: object) -> None:
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(seals, "seal", away)
        rounds()
    record()
    rounds()
    assert len(all_seals()) == 3


@pytest.mark.parametrize(("face", "delivery"), [(Face.COMMAND, "inline"), (Face.API, "worker")])
def test_others_start_no_sealer(rounds: object, settings: Any, face: Face, delivery: str) -> None:
    settings.OPTIN_DELIVERY = delivery
    decide(face)
    assert seals._sealer is None


# -- for the purge -----------------------------------------------------------------


def purgeable() -> list[int]:
    after = timezone.now() + timedelta(seconds=1)
    return [seal.first_id for seal in seals.sealed_before(after)]


def test_what_was_purged_is_not_named_again_and_seals_go_on() -> None:
    first, second = seal_rows(4, ranges=2)
    remove(*AuditEvent.objects.filter(pk__lte=first.last_id))
    assert purgeable() == [second.first_id]
    remove(*AuditEvent.objects.all())
    assert purgeable() == []
    (third,) = seal_rows(4)
    assert third.first_id == second.last_id + 1
