"""The check of the trail as a command: its end, its copies of seals, retention, any size (S-53)."""

import os
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
from tests.kit.tamper import record, record_many, remove, run, seal_rows, verify

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


@pytest.fixture
def copies(trail: list[AuditSeal], logged: Logged, tmp_path: Path) -> Path:
    """The log, as another machine has it."""
    path = tmp_path / "log"
    lines = [f"2026-11-02T12:00:00Z info optin.audit {line} request_id=1" for line in logged()]
    path.write_text("\n".join(["another line", *lines, ""]), encoding="utf-8")
    return path


def events(seal: AuditSeal) -> list[AuditEvent]:
    return list(
        AuditEvent.objects.filter(pk__gte=seal.first_id, pk__lte=seal.last_id).order_by("pk")
    )


def over(seal: AuditSeal) -> str:
    return f"events {seal.first_id} to {seal.last_id}"


# -- whole -------------------------------------------------------------------------


def test_a_whole_trail_is_clean(
    trail: list[AuditSeal], copies: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside its copies, which may come by the standard input; and once it was sealed."""
    counts = "31 events checked, 1 of them not sealed yet, 3 seals, 0 events purged"
    none = "0 findings, 0 not to be checked."
    assert run() == (0, [f"{counts}: {none}"])
    assert run("--copies", str(copies)) == (0, [f"{counts}, 3 copies of seals: {none}"])
    with copies.open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert run("--copies", "-") == (0, [f"{counts}, 3 copies of seals: {none}"])
    status, said = run("--seal")
    assert (status, len(logged())) == (0, 4)
    assert said[-1].startswith("31 events checked, 0 of them not sealed yet, 4 seals")


# -- another key -------------------------------------------------------------------


def test_what_another_key_made_cannot_be_checked(
    trail: list[AuditSeal], settings: Any, copies: Path
) -> None:
    """But that it is what was sealed: the digest over the digests needs no key."""
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


@pytest.mark.parametrize(
    ("place", "rows", "days"),
    [(0, 10, 100), (1, 10, 800), (0, 9, 800)],
    ids=["within retention", "behind one that is there", "in part"],
)
def test_no_other_range_may_be_gone(
    three: list[AuditSeal], place: int, rows: int, days: int
) -> None:
    first, *_ = gone = events(three[place])[:rows]
    remove(*gone)
    later = timezone.now() + timedelta(days=days)
    assert verify(later, kept=timedelta(days=100)) == [
        f"{over(three[place])}: {rows} missing",
        f"event {first.pk}: named by later events, but removed or replaced",
    ]


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


def test_a_tail_that_was_sealed_again_is_found_from_the_log(
    trail: list[AuditSeal], copies: Path
) -> None:
    remove(trail[2], events(trail[2])[4])
    # PostgreSQL itself leaves ids out now and then.
    assert run("--seal")[0] == (0 if connection.vendor == "postgresql" else FOUND)
    status, lines = run("--copies", str(copies))
    assert status == FOUND
    assert lines[-2] == f"{over(trail[2])}: their seal is not the one that was logged"


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


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only() -> None:
    record()
    for errors, shown in ((StringIO(), ""), (Terminal(), "\r1 events, at id ")):
        out = StringIO()
        call_command("verify_audit", stdout=out, stderr=errors)
        assert out.getvalue().startswith("1 events checked")
        assert errors.getvalue().startswith(shown)
        assert bool(errors.getvalue()) is bool(shown)
