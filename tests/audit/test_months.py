"""S-55. The trail by months: cut, sealed, dropped when retention is over, checked all the while.

The events are of 2020, because the database has a clock of its own: young ones it keeps.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from optin.audit import months, seals
from optin.models import AuditEvent, AuditSeal
from optin.models.audit import BLOCK
from optin.operations import retention
from optin.origin import Face, Origin
from tests.kit.people import NOON
from tests.kit.server import database_url
from tests.kit.tamper import change, put, record, remove, run
from tests.kit.trail import renew_partitions, sql

# The tests name ids; other tests of the process may have used some, in transactions rolled back.
pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, reset_sequences=True),
]

DAY = timedelta(days=1)
JANUARY = NOON.replace(year=2020, month=1, day=20)
FEBRUARY = JANUARY.replace(month=2)
KEPT = JANUARY + DAY + 730 * DAY
"""The youngest event of January has been kept for so long; its seal is 6 minutes younger."""
PAST = KEPT + timedelta(hours=1)


Months = tuple[list[int], list[int]]


def purge() -> int:
    return retention.purge(origin=Origin(Face.COMMAND))["audit_events"]


def write(clock: Any, at: Any, count: int = 2) -> list[int]:
    """Write and seal *count* events *at* that time; return their ids."""
    clock.move_to(at)
    ids = [record(timedelta(0)).pk for _ in range(count)]
    clock.shift(timedelta(minutes=6))
    seals.seal(timezone.now())
    return ids


@pytest.fixture
def two_months(clock: Any) -> Iterator[Months]:
    """The ids of the events of January and of February 2020, each under two seals."""
    january = write(clock, JANUARY) + write(clock, JANUARY + DAY)
    clock.move_to(JANUARY.replace(month=2, day=1, hour=0, minute=0))
    purge()
    february = write(clock, FEBRUARY) + write(clock, FEBRUARY + DAY)
    yield january, february
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {months.name_of(0)}")  # what a test has detached
    renew_partitions()


def beside() -> "psycopg.Connection[Any]":
    """Another connection, in a transaction until the block ends."""
    return psycopg.connect(database_url())


def ids() -> list[int]:
    return list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True))


def findings() -> list[str]:
    return run("--seal")[1][:-1]


# -- a new month -------------------------------------------------------------------


def test_a_new_month_has_a_partition_of_its_own(two_months: Months) -> None:
    """No seal has events of both, and the ids that nobody gave out are not missing."""
    assert two_months == ([1, 2, 3, 4], [BLOCK + n for n in range(4)])
    ends = AuditSeal.objects.order_by("first_id").values_list("first_id", "last_id", "count")
    assert list(ends) == [(1, 2, 2), (3, 4, 2), (5, BLOCK + 1, 2), (BLOCK + 2, BLOCK + 3, 2)]
    assert findings() == []
    assert months.attached() == [0, 1, 2, 3, 4]


def test_events_of_both_months_that_wait_get_two_seals(clock: Any) -> None:
    clock.move_to(JANUARY)
    record(timedelta(0))
    clock.move_to(FEBRUARY)
    months.cut(timezone.now())
    record(timedelta(0))
    clock.shift(timedelta(minutes=6))
    assert seals.seal(timezone.now()) == 2
    ends = AuditSeal.objects.order_by("first_id").values_list("last_id", flat=True)
    assert list(ends) == [1, BLOCK]


def test_the_check_is_content_while_the_new_month_has_no_event(clock: Any) -> None:
    write(clock, JANUARY)
    months.cut(timezone.now() + 31 * DAY)
    assert seals.drawn() == BLOCK - 1
    assert findings() == []


def test_a_month_is_cut_once(clock: Any) -> None:
    """Also while no event of it was written yet."""
    write(clock, JANUARY)
    clock.move_to(FEBRUARY)
    for _ in range(2):
        months.cut(timezone.now())
    assert write(clock, FEBRUARY, 1) == [BLOCK]
    months.cut(timezone.now())
    assert write(clock, FEBRUARY, 1) == [BLOCK + 1]


def test_of_two_that_cut_at_once_one_cuts(clock: Any) -> None:
    """The second one would set the sequence back."""
    write(clock, JANUARY)
    with beside() as other:
        other.execute(f"SELECT pg_advisory_xact_lock({months._CUTTING})")
        months.cut(FEBRUARY)
        assert record(timedelta(0)).pk == 3
    months.cut(FEBRUARY)
    assert record(timedelta(0)).pk == BLOCK


def test_nobody_cuts_to_where_no_partition_is(clock: Any) -> None:
    """If no partition can be made, ids go on in their block, and nothing fails."""
    write(clock, JANUARY)
    sql(f"DROP TABLE {months.name_of(1)}")
    with beside() as other:
        other.execute("LOCK TABLE optin_auditevent IN SHARE UPDATE EXCLUSIVE MODE")
        months.cut(FEBRUARY)
    assert record(timedelta(0)).pk == 3
    assert 1 not in months.attached()


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(minutes=59)])
def test_a_month_goes_on_in_its_partition(clock: Any, ago: timedelta) -> None:
    """So does one whose first event is of a request that began just before it."""
    write(clock, JANUARY.replace(month=2, day=1, hour=0, minute=0) - ago, 1)
    clock.shift(20 * DAY)
    months.cut(timezone.now())
    assert write(clock, timezone.now(), 1) == [2]


# -- the end of retention ----------------------------------------------------------


def test_a_month_is_dropped_when_its_youngest_event_is_past_retention(
    clock: Any, two_months: Months
) -> None:
    """And not before: until then all of it stays."""
    january, february = two_months
    clock.move_to(KEPT)
    assert purge() == 0
    assert ids()[:8] == january + february

    clock.move_to(PAST)
    assert purge() == len(january)
    assert 0 not in months.attached()
    assert ids()[:4] == february
    assert findings() == []


def test_what_no_drop_takes_goes_row_by_row_a_month_later(clock: Any) -> None:
    """As in a partition with the events of several months: that of before the upgrade."""
    old = write(clock, JANUARY)
    write(clock, FEBRUARY + 20 * DAY)
    clock.move_to(JANUARY + (730 + 31) * DAY)
    assert purge() == 0
    clock.shift(timedelta(hours=1))
    assert purge() == len(old)
    assert 0 in months.attached()
    assert findings() == []


def test_a_month_that_is_not_sealed_to_its_end_stays(clock: Any, two_months: Months) -> None:
    remove(AuditSeal.objects.get(last_id=4))
    clock.move_to(PAST)
    purge()
    assert 0 in months.attached()


def test_a_month_that_is_young_by_the_clock_of_the_database_stays(clock: Any) -> None:
    """As by the triggers: a wrong clock of the machine that purges takes nothing away."""
    write(clock, timezone.now())
    months.cut(timezone.now() + 31 * DAY)
    clock.shift(3000 * DAY)
    assert months.drop_before(timezone.now()) == 0
    assert 0 in months.attached()


# -- stopped in the middle ---------------------------------------------------------


def test_what_a_purge_has_detached_the_next_one_drops(
    clock: Any, two_months: Months, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.move_to(PAST)
    with monkeypatch.context() as patch:
        patch.setattr(months, "_drop", stop)
        with pytest.raises(KeyboardInterrupt):
            purge()
    assert tables() == {0: "detached", **dict.fromkeys(range(1, 6), "attached")}
    assert findings() == []

    assert purge() == 4
    assert 0 not in tables()


def stop(block: int) -> int:
    raise KeyboardInterrupt


def test_what_a_purge_has_begun_to_detach_the_next_one_drops(
    clock: Any, two_months: Months
) -> None:
    """It is stopped while it waits for somebody who reads."""
    clock.move_to(PAST)
    with beside() as reader:
        reader.execute("SELECT count(*) FROM optin_auditevent")
        sql("SET statement_timeout = 1000")
        with pytest.raises(DatabaseError, match="timeout"):
            purge()
        sql("RESET statement_timeout")
        assert tables()[0] == "pending"
    assert purge() == 4
    assert 0 not in tables()


def test_what_somebody_else_has_detached_stays(clock: Any, two_months: Months) -> None:
    sql(f"ALTER TABLE optin_auditevent DETACH PARTITION {months.name_of(0)}")
    clock.move_to(PAST)
    purge()
    assert tables()[0] == "detached"


def tables() -> dict[int, str]:
    """What became of the partition of each block."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, inhdetachpending FROM pg_class "
            "LEFT JOIN pg_inherits ON inhrelid = pg_class.oid "
            "WHERE relnamespace = 'optin_audit'::regnamespace AND relkind = 'r' ORDER BY 1"
        )
        state = {None: "detached", True: "pending", False: "attached"}
        return {int(name.rpartition("_")[2]): state[how] for name, how in cursor.fetchall()}


# -- tampering ---------------------------------------------------------------------


def test_a_copy_in_another_partition_is_found(two_months: Months) -> None:
    """No index refuses it: its names are unique in one partition."""
    put(AuditEvent.objects.get(pk=3), pk=BLOCK + 4)
    sql("SELECT nextval('optin_auditevent_id_seq')")
    assert f"2 events 3 to {BLOCK + 4}: copies of one event" in findings()


def test_tampering_with_the_months_that_stay_is_found(clock: Any, two_months: Months) -> None:
    clock.move_to(PAST)
    purge()
    change(AuditEvent.objects.get(pk=BLOCK + 1), outcome="ok")
    remove(AuditEvent.objects.get(pk=BLOCK + 2))
    found = findings()
    assert f"event {BLOCK + 1}: its content was changed" in found
    assert f"events {BLOCK + 2} to {BLOCK + 3}: 1 missing" in found


def test_a_partition_that_was_dropped_too_early_is_found(two_months: Months) -> None:
    sql(f"DROP TABLE {months.name_of(0)}")
    assert "events 1 to 2: 2 missing" in findings()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET outcome = 'x'", "TRUNCATE {}", "DELETE FROM {}"],
)
def test_a_partition_refuses_what_the_table_refuses(statement: str) -> None:
    record(timedelta(0))
    with pytest.raises(DatabaseError, match="append-only"):
        sql(statement.format(months.name_of(0)))
