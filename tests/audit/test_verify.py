"""Tampering with a restored copy is found, and named (S-53)."""

import os
import pty
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from optin.audit import integrity, seals
from optin.audit.integrity import Tally
from optin.models import AuditEvent, AuditSeal
from optin.models.audit import forget_thread
from tests.audit.tamper import (
    another,
    change,
    put,
    record,
    record_many,
    remove,
    run,
    seal_rows,
    sequence_ends_at,
    verify,
)
from tests.kit.trail import CHANGED, sql, unguarded

pytestmark = pytest.mark.django_db(transaction=True)

Logged = Callable[[], list[str]]
YEARS = timedelta(days=800)
NOT_STARTED, UNCHECKED, FOUND = 1, 2, 3


@pytest.fixture
def three() -> list[AuditSeal]:
    """Three sealed ranges of ten events each. The first event of each names that of the last."""
    return seal_rows(10, ranges=3)


@pytest.fixture
def trail(three: list[AuditSeal]) -> list[AuditSeal]:
    """And one event that is not sealed yet."""
    record()
    return three


def events(seal: AuditSeal) -> list[AuditEvent]:
    return list(
        AuditEvent.objects.filter(pk__gte=seal.first_id, pk__lte=seal.last_id).order_by("pk")
    )


def over(seal: AuditSeal) -> str:
    return f"events {seal.first_id} to {seal.last_id}"


def named(event: AuditEvent) -> str:
    return f"event {event.pk}: named by later events, but removed or replaced"


# -- whole -------------------------------------------------------------------------


def test_a_whole_trail_is_clean(trail: list[AuditSeal]) -> None:
    assert run() == (
        0,
        [
            "31 events checked, 1 of them not sealed yet, 3 seals, 0 events purged: "
            "0 findings, 0 not to be checked."
        ],
    )


def test_an_empty_trail_is_clean(db: None) -> None:
    assert run()[0] == 0


def test_seal_seals_first(trail: list[AuditSeal], logged: Logged) -> None:
    status, lines = run("--seal")
    assert status == 0
    assert lines[-1].startswith("31 events checked, 0 of them not sealed yet, 4 seals")
    assert len(logged()) == 4


# -- events ------------------------------------------------------------------------


@pytest.mark.parametrize("column", sorted(set(CHANGED) - {"key_id", "previous"}))
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "not-sealed-yet"])
def test_a_changed_field_names_the_row(trail: list[AuditSeal], column: str, sealed: bool) -> None:
    event = events(trail[1])[4] if sealed else AuditEvent.objects.latest("pk")
    value = CHANGED[column]
    change(event, **{column: event.at + value if column == "at" else value})
    status, lines = run()
    assert (status, lines[:-1]) == (FOUND, [f"event {event.pk}: its content was changed"])


def test_a_changed_digest_names_the_row_and_the_range(trail: list[AuditSeal]) -> None:
    event = events(trail[1])[4]
    change(event, digest=event.digest[::-1])
    assert verify() == [
        f"event {event.pk}: its content was changed",
        f"{over(trail[1])}: not those that were sealed",
    ]


def test_a_key_id_that_was_changed_hides_nothing(trail: list[AuditSeal]) -> None:
    event = events(trail[1])[4]
    change(event, key_id="deadbeef", outcome="ok")
    status, lines = run()
    assert status == FOUND
    assert lines[:-1] == [
        f"event {event.pk}: its digest key came without a redigest",
        f"event {event.pk + 1}: its digest key came without a redigest",
        f"event {event.pk}: digest key 'deadbeef' is not here",
        f"{over(trail[1])}: not those that were sealed",
    ]


def test_a_row_that_cannot_be_read_is_named(trail: list[AuditSeal]) -> None:
    event = events(trail[1])[4]
    garbage = "'infinity'" if connection.vendor == "postgresql" else "'when?'"
    with unguarded():
        sql(f"UPDATE optin_auditevent SET at = {garbage} WHERE id = %s", event.pk)  # noqa: S608
    assert verify() == [f"event {event.pk}: its content was changed"]


@pytest.mark.parametrize("place", [0, 4, 9], ids=["first", "middle", "last"])
def test_a_removed_row_names_the_range(trail: list[AuditSeal], place: int) -> None:
    removed = events(trail[1])[place]
    remove(removed)
    status, lines = run()
    assert status == FOUND
    # That the first one was there, the first of the next range says too.
    assert lines[:-1] == [
        f"{over(trail[1])}: 1 missing",
        *([] if place else [named(removed)]),
    ]


def test_all_rows_of_a_range_removed_name_the_range(trail: list[AuditSeal]) -> None:
    first, *_ = gone = events(trail[1])
    remove(*gone)
    assert verify() == [f"{over(trail[1])}: 10 missing", named(first)]


def test_an_inserted_row_names_the_range(trail: list[AuditSeal]) -> None:
    """Its own digest is right: it came from another copy of the trail, into a gap of the ids."""
    event = record()
    put(another(event), pk=event.pk + 5)
    sequence_ends_at(event.pk + 5)  # what is between was rolled back
    seals.seal(timezone.now())
    seal = AuditSeal.objects.latest("pk")
    put(another(event), pk=event.pk + 2)
    status, lines = run()
    assert (status, lines[:-1]) == (FOUND, [f"{over(seal)}: 1 added"])


def test_rows_exchanged_name_the_range(trail: list[AuditSeal]) -> None:
    """Each still proves itself; their order is what was changed."""
    record_many(1)
    forget_thread()
    record_many(1)
    seals.seal(timezone.now())
    seal = AuditSeal.objects.latest("pk")
    _, one, two = events(seal)
    remove(one, two)
    put(two, pk=one.pk)
    put(one, pk=two.pk)
    assert verify() == [f"{over(seal)}: not those that were sealed"]


def test_a_row_moved_to_another_id_names_the_range(trail: list[AuditSeal]) -> None:
    event = record()
    put(another(event), pk=event.pk + 2)
    put(another(event), pk=event.pk + 5)
    sequence_ends_at(event.pk + 5)  # what is between was rolled back
    seals.seal(timezone.now())
    seal = AuditSeal.objects.latest("pk")
    change(AuditEvent.objects.get(pk=event.pk + 2), id=event.pk + 3)
    assert verify() == [f"{over(seal)}: not those that were sealed"]


def test_a_row_before_the_first_id_is_found(trail: list[AuditSeal]) -> None:
    put(another(events(trail[0])[0]), pk=-1)
    assert verify() == ["events up to 0: 1 added"]


# -- seals -------------------------------------------------------------------------

SEAL_CHANGES: dict[str, Any] = {
    "last_id": 1,
    "count": 1,
    "digest": "0" * 64,
    "at": timedelta(days=-40),
    "proof": "0" * 64,
}


@pytest.mark.parametrize("column", sorted(SEAL_CHANGES))
def test_a_changed_seal_is_named(trail: list[AuditSeal], column: str) -> None:
    seal, value = trail[2], SEAL_CHANGES[column]
    if not isinstance(value, str):
        value = getattr(seal, column) + value
    change(seal, **{column: value})
    seal.refresh_from_db()
    status, lines = run()
    assert status == FOUND
    assert lines[0] == f"seal over {over(seal)}: it was changed or forged"


def test_a_seal_that_cannot_be_read_is_named(trail: list[AuditSeal]) -> None:
    garbage = "'infinity'" if connection.vendor == "postgresql" else "'when?'"
    with unguarded():
        sql(f"UPDATE optin_auditseal SET at = {garbage} WHERE id = %s", trail[1].pk)  # noqa: S608
    assert verify() == [f"seal over {over(trail[1])}: it was changed or forged"]


@pytest.mark.parametrize("place", [0, 1], ids=["first", "middle"])
def test_a_removed_seal_is_named(trail: list[AuditSeal], place: int) -> None:
    remove(trail[place])
    status, lines = run()
    assert (status, lines[:-1]) == (FOUND, [f"{over(trail[place])}: their seal was removed"])
    assert lines[-1].startswith("31 events checked")


def test_a_seal_removed_with_its_events_is_named(trail: list[AuditSeal]) -> None:
    first, *_ = gone = events(trail[1])
    remove(trail[1], *gone)
    assert verify() == [f"{over(trail[1])}: their seal was removed", named(first)]


def test_a_forged_seal_over_a_range_with_a_gap_shows(trail: list[AuditSeal]) -> None:
    """Without the key nobody makes one, though the digest of the events needs none."""
    remove(events(trail[1])[4])
    forged = seals.Content()
    for event in events(trail[1]):
        forged.add(event.pk, event.key_id, event.digest)
    change(trail[1], count=forged.count, digest=forged.digest())
    assert verify()[0] == f"seal over {over(trail[1])}: it was changed or forged"


def test_an_added_seal_shows(trail: list[AuditSeal]) -> None:
    values = {
        field.attname: getattr(trail[1], field.attname)
        for field in AuditSeal._meta.concrete_fields
        if not field.primary_key
    }
    AuditSeal.objects.create(**{**values, "first_id": trail[1].first_id + 1})
    found = verify()
    first, last = trail[1].first_id + 1, trail[1].last_id
    assert f"seal over events {first} to {last}: it was changed or forged" in found
    assert f"seal over events {first} to {last}: it was added, others are there already" in found


# -- another key -------------------------------------------------------------------


def test_what_another_key_made_cannot_be_checked(
    trail: list[AuditSeal], settings: Any, logged: Logged, tmp_path: Path
) -> None:
    """But that it is what was sealed: the digest over the digests needs no key."""
    copies = tmp_path / "copies"
    copies.write_text("\n".join(logged()))
    key = trail[0].key_id
    settings.OPTIN_DIGEST_KEY = b"x" * 32
    status, lines = run("--copies", str(copies))
    assert status == UNCHECKED
    assert lines[0] == f"seal over {over(trail[0])}: digest key {key!r} is not here"
    assert lines[1].endswith(f"digest key {key!r} is not here")
    assert len(lines) == 3 + 3 + 1 + 1

    remove(events(trail[1])[4])
    status, lines = run()
    assert status == FOUND
    assert f"{over(trail[1])}: 1 missing" in lines


# -- purged ------------------------------------------------------------------------


def test_the_oldest_ranges_past_retention_may_be_gone(three: list[AuditSeal]) -> None:
    remove(*events(three[0]), *events(three[1]))
    tally = Tally()
    later = timezone.now() + YEARS
    assert list(integrity.verify(later, tally, kept=timedelta(days=730))) == []
    assert (tally.purged, tally.events) == (20, 10)


def test_a_range_within_retention_may_not_be_gone(three: list[AuditSeal]) -> None:
    first, *_ = gone = events(three[0])
    remove(*gone)
    later = timezone.now() + timedelta(days=100)
    assert verify(later, kept=timedelta(days=99)) == []
    assert verify(later, kept=timedelta(days=100)) == [
        f"{over(three[0])}: 10 missing",
        named(first),
    ]


def test_a_range_behind_one_that_is_there_may_not_be_gone(three: list[AuditSeal]) -> None:
    first, *_ = gone = events(three[1])
    remove(*gone)
    assert verify(timezone.now() + YEARS) == [f"{over(three[1])}: 10 missing", named(first)]


def test_a_range_may_not_be_gone_in_part(three: list[AuditSeal]) -> None:
    first, *_ = gone = events(three[0])[:9]
    remove(*gone)
    assert verify(timezone.now() + YEARS) == [f"{over(three[0])}: 9 missing", named(first)]


def test_the_command_knows_retention(three: list[AuditSeal], clock: Any, settings: Any) -> None:
    settings.OPTIN_AUDIT_RETENTION = 365
    remove(*events(three[0]))
    clock.shift(timedelta(days=364))
    assert run()[0] == FOUND
    assert run("--kept", "363")[0] == 0
    clock.shift(timedelta(days=2))
    status, lines = run()
    assert status == 0
    assert "10 events purged" in lines[-1]


# -- the copies in the log ---------------------------------------------------------


@pytest.fixture
def copies(trail: list[AuditSeal], logged: Logged, tmp_path: Path) -> Path:
    """The log, as another machine has it."""
    path = tmp_path / "log"
    lines = [f"2026-11-02T12:00:00Z info optin.audit {line} request_id=1" for line in logged()]
    path.write_text("\n".join(["another line", *lines, ""]), encoding="utf-8")
    return path


def test_the_copies_of_a_whole_trail_agree(trail: list[AuditSeal], copies: Path) -> None:
    status, lines = run("--copies", str(copies))
    assert (status, len(lines)) == (0, 1)
    assert "3 copies of seals" in lines[-1]


def test_a_removed_tail_with_its_seal_is_found_from_the_log(
    trail: list[AuditSeal], copies: Path
) -> None:
    newest = AuditEvent.objects.latest("pk")
    remove(trail[2], *events(trail[2]), newest)
    sequence_ends_at(trail[1].last_id)
    assert run()[0] == 0  # the database alone cannot tell
    status, lines = run("--copies", str(copies))
    assert status == FOUND
    assert lines[:-1] == [
        f"{over(trail[2])}: their seal was removed",
        f"{over(trail[2])}: 10 missing",
    ]


def test_a_tail_that_was_sealed_again_is_found_from_the_log(
    trail: list[AuditSeal], copies: Path
) -> None:
    remove(trail[2], events(trail[2])[4])
    # PostgreSQL itself leaves ids out now and then.
    assert run("--seal")[0] == (0 if connection.vendor == "postgresql" else FOUND)
    status, lines = run("--copies", str(copies))
    assert status == FOUND
    assert lines[-2] == f"{over(trail[2])}: their seal is not the one that was logged"


def test_the_copies_may_come_by_the_standard_input(
    trail: list[AuditSeal], copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(trail[2], *events(trail[2]))
    with copies.open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert run("--copies", "-")[0] == FOUND


def test_a_changed_copy_accuses_nobody(trail: list[AuditSeal], copies: Path) -> None:
    copies.write_text(copies.read_text().replace(" count=10 ", " count=11 ", 1))
    status, lines = run("--copies", str(copies))
    assert (status, lines[:-1]) == (UNCHECKED, ["line 2: this copy of a seal was changed"])


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe no seal"], ids=["no-file", "empty", "none"]
)
def test_no_copies_is_no_check(
    trail: list[AuditSeal], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "log"
    if content is not None:
        path.write_bytes(content)
    assert run("--copies", str(path))[0] == UNCHECKED


def test_a_database_that_does_not_answer_is_no_check(
    trail: list[AuditSeal], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(AuditEvent, "content_digest", away)
    status, lines = run()
    assert (status, lines[0]) == (UNCHECKED, "stopped after event 0: gone")


@pytest.mark.parametrize(
    ("arguments", "env", "status"),
    [
        ([], {"OPTIN_OTP_DIGITS": "many"}, NOT_STARTED),
        pytest.param([], {"DATABASE_URL": "nowhere"}, NOT_STARTED, marks=pytest.mark.slow),
        pytest.param([], {"OPTIN_GATEWAYS": "pigeon"}, UNCHECKED, marks=pytest.mark.slow),
        pytest.param(["--nonsense"], {}, UNCHECKED, marks=pytest.mark.slow),
        pytest.param([], {}, UNCHECKED, marks=pytest.mark.slow),
    ],
    ids=["setting", "address of the database", "check", "option", "no tables"],
)
def test_what_does_not_run_found_nothing(
    tmp_path: Path, arguments: list[str], env: dict[str, str], status: int
) -> None:
    """A script must be able to tell that from a finding."""
    ended = subprocess.run(
        [sys.executable, "manage.py", "verify_audit", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **env},
        capture_output=True,
    )
    assert ended.returncode == status != FOUND


# -- any size ----------------------------------------------------------------------


@pytest.mark.slow
def test_memory_does_not_grow_with_the_trail(capsys: pytest.CaptureFixture[str]) -> None:
    """40 000 events; a list of them all would take 8 times as much."""
    count = 40_000
    record_many(count)
    assert seals.seal(timezone.now()) == count // seals.RANGE
    remove(AuditEvent.objects.order_by("pk")[count // 2])

    tally = Tally()
    tracemalloc.start()
    found = list(integrity.verify(timezone.now(), tally))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    with capsys.disabled():
        print(f"\n{count} events: {peak / 2**20:.1f} MiB at most")
    assert len(found) == 1
    assert tally.events == count - 1
    assert peak < 20 * 2**20


def test_progress_is_shown_on_a_terminal_only() -> None:
    record()
    quiet, shown, errors = StringIO(), StringIO(), StringIO()
    call_command("verify_audit", stdout=quiet, stderr=errors)
    assert "1 events checked" in quiet.getvalue()
    assert errors.getvalue() == ""

    here, there = pty.openpty()
    try:
        with os.fdopen(there, "w") as terminal:
            call_command("verify_audit", stdout=shown, stderr=terminal)
            terminal.flush()
            assert b"\r1 events, at id " in os.read(here, 4096)
    finally:
        os.close(here)
    assert shown.getvalue() == quiet.getvalue()
