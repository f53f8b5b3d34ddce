"""G-09. Where notes go: by mail, to a file, to an authority for time stamps. And when one fails."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import time_machine
from django.core.mail import EmailMessage
from django.core.management import CommandError
from django.utils import timezone
from prometheus_client import Metric
from pytest_django.fixtures import Settings

from bench.certificates import Authority
from optin.audit import against, notes
from optin.models import AuditEvent, AuditNote, AuditSeal
from optin.operations import notary
from optin.runtime import metrics
from optin.support import health
from optin.tasks import notarise
from tests.audit.authority import StampAuthority
from tests.kit import commands
from tests.kit.tamper import forge_restore, remove, run, seal_rows, sequence_ends_at

pytestmark = pytest.mark.django_db(transaction=True)

Logged = Callable[[], list[str]]
CLEAN, UNCHECKED, FOUND = 0, 2, 3
HOUR = timedelta(hours=1)


@pytest.fixture
def now(clock: Any) -> datetime:
    """An authority has a clock of its own."""
    there: datetime = time_machine.escape_hatch.datetime.datetime.now(UTC)
    clock.move_to(there)
    return there


@pytest.fixture
def authority(now: datetime, tmp_path: Path, settings: Settings) -> Iterator[StampAuthority]:
    authority = StampAuthority(tmp_path / "authority")
    with authority.serving():
        settings.OPTIN_NOTARY = (authority.url,)
        settings.OPTIN_NOTARY_CA = str(authority.path)
        yield authority


def faults() -> list[str]:
    return [one.fault for one in notary.give_due(timezone.now())]


def cut() -> None:
    """Remove the end, with our own rows of the notes."""
    AuditNote.objects.all().delete()
    (last,) = AuditSeal.objects.order_by("-first_id")[:1]
    remove(*AuditEvent.objects.filter(pk__gte=last.first_id), last)
    sequence_ends_at(last.first_id - 1)


# -- the three ways ----------------------------------------------------------------


@pytest.mark.parametrize("saved", ["as-sent", "quoted"])
def test_by_mail(
    saved: str, tmp_path: Path, settings: Settings, mailoutbox: list[EmailMessage]
) -> None:
    settings.OPTIN_NOTARY = ("mail:jo@example.com", "mail:kim@example.com")
    seal_rows(3, ranges=2)
    assert faults() == [""]
    (mail,) = mailoutbox
    assert mail.to == ["jo@example.com", "kim@example.com"]
    assert AuditNote.objects.get().place == "mail"
    text = mail.message().as_bytes().decode("ascii")
    assert max(map(len, text.splitlines())) < 90
    if saved == "quoted":
        text = "\r\n".join(f"> {line}" for line in str(mail.body).splitlines())
    kept = tmp_path / "mail.eml"
    kept.write_text(text)
    assert run("--against", str(kept))[0] == CLEAN
    cut()
    assert run()[0] == CLEAN
    assert run("--against", str(kept))[0] == FOUND


def test_to_a_file(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPTIN_NOTARY = (f"file:{tmp_path}/notes",)
    seal_rows(3, ranges=2)
    commands.run("purge")
    assert run("--against", str(tmp_path / "notes"))[0] == CLEAN
    with open(tmp_path / "notes", encoding="utf-8") as lines:
        monkeypatch.setattr("sys.stdin", lines)
        status, told = run("--against", "-")
    assert (status, "1 notes" in told[-1]) == (CLEAN, True)
    cut()
    assert run("--against", str(tmp_path / "notes"))[0] == FOUND


def test_by_a_time_stamp(
    authority: StampAuthority, tmp_path: Path, logged: Logged, settings: Settings
) -> None:
    """Its line in the log has the stamp."""
    seal_rows(3, ranges=2)
    assert faults() == [""]
    row = AuditNote.objects.get()
    assert "secret" not in row.place
    line = logged()[-1]
    assert line == f"{row.line} stamp={row.stamp}"
    log = tmp_path / "log"
    log.write_text(f'{{"event": "{line}", "level": "info"}}\n')
    status, lines = run("--against", str(log))
    assert (status, len(lines)) == (CLEAN, 1)
    settings.OPTIN_NOTARY_CA = ""
    status, lines = run("--against", str(log))
    assert (status, lines[0]) == (UNCHECKED, "1 time stamps: OPTIN_NOTARY_CA is not set")
    settings.OPTIN_NOTARY_CA = str(authority.path)
    cut()
    assert run()[0] == CLEAN
    status, lines = run("--against", str(log))
    assert (status, "cut off" in lines[0]) == (FOUND, True)
    forge_restore(AuditEvent.objects.latest("pk").pk + 1, row.last_id + 99, key_id="")
    assert any("cut off" in line for line in run("--against", str(log))[1])


def test_a_stamp_of_another_text_proves_nothing(
    authority: StampAuthority, tmp_path: Path, logged: Logged
) -> None:
    """Somebody who forges a note has no stamp of it."""
    seal_rows(3)
    assert faults() == [""]
    stamp = AuditNote.objects.get().stamp
    seal_rows(3)
    note = notes.newest()
    assert note
    log = tmp_path / "log"
    log.write_text(f"{note.line()} stamp={stamp}\n")
    status, lines = run("--against", str(log))
    assert status == UNCHECKED
    assert lines[0] == f"{log}, line 1: its time stamp proves nothing: it is about another text"


# -- an authority that fails -------------------------------------------------------


def is_slow(authority: StampAuthority) -> None:
    authority.slow = 2


def fails(authority: StampAuthority) -> None:
    authority.status = 503


def is_long(authority: StampAuthority) -> None:
    authority.answer = lambda request: authority.stamp(request) + bytes(notary.MAX_STAMP)


def says_nonsense(authority: StampAuthority) -> None:
    authority.answer = lambda request: b"<html>moved</html>"


def says_nothing(authority: StampAuthority) -> None:
    authority.answer = lambda request: b""


def stamps_another_digest(authority: StampAuthority) -> None:
    def answer(request: bytes) -> bytes:
        at = request.index(b"\x04\x20") + 2  # the SHA-256 of the text
        return authority.stamp(request[:at] + bytes(32) + request[at + 32 :])

    authority.answer = answer


def repeats_an_answer(authority: StampAuthority) -> None:
    note = notes.newest()
    assert note
    from_before, _ = against.stamps().request(note.text)
    answer = authority.stamp(from_before)
    authority.answer = lambda request: answer


def has_an_expired_certificate(authority: StampAuthority) -> None:
    authority.certificate = authority.certifies.stamping("expired", days=-1)


def is_somebody_else(authority: StampAuthority) -> None:
    (authority.folder / "other").mkdir()
    authority.certificate = Authority(authority.folder / "other").stamping("stamps")


def refuses(authority: StampAuthority) -> None:
    # PKIStatusInfo with status 2, rejection (RFC 3161, 2.4.2).
    authority.answer = lambda request: bytes.fromhex("30053003020102")


@pytest.mark.parametrize(
    ("happens", "fault"),
    [
        (is_slow, "the authority did not answer within 0.5 seconds"),
        (fails, "the authority answered 503"),
        (is_long, "its answer came too late, or is too long"),
        (says_nonsense, "it is no time stamp"),
        (says_nothing, "its answer came too late, or is too long"),
        (refuses, "the authority refused, with status 2"),
        (stamps_another_digest, "it is about another text"),
        (repeats_an_answer, "it answers another request"),
        (has_an_expired_certificate, "no certificate of OPTIN_NOTARY_CA proves it"),
        (is_somebody_else, "no certificate of OPTIN_NOTARY_CA proves it"),
    ],
)
def test_a_fault_is_told_and_tried_again(
    happens: Callable[[StampAuthority], None],
    fault: str,
    authority: StampAuthority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: Any,
) -> None:
    monkeypatch.setattr("optin.gateways.call.TIMEOUT", 0.5 if happens is is_slow else 5)
    seal_rows(3)
    honest = authority.certificate
    failures = metrics.NOTARY_FAILURES._value.get()
    happens(authority)

    assert faults() == [fault]

    assert metrics.NOTARY_FAILURES._value.get() == failures + 1
    assert not AuditNote.objects.exists()
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage().endswith(f": {fault}")
    assert "secret" not in record.getMessage()
    authority.answer, authority.certificate = authority.stamp, honest
    authority.status, authority.slow = 200, 0
    notarise.func(timestamp=0)
    assert AuditNote.objects.count() == 1


def test_a_place_that_fails_keeps_no_other_from_its_note(
    now: datetime, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server's own words are not told: they may quote an address."""
    authority = StampAuthority(tmp_path / "authority")
    settings.OPTIN_NOTARY = (
        *("http://127.0.0.1:1/stamps", "mail:jo@example.com"),
        *(f"file:{tmp_path}/missing/notes", f"file:{tmp_path}/notes"),
    )
    settings.OPTIN_NOTARY_CA = str(authority.path)
    refused = Mock(side_effect=ConnectionRefusedError(111, "jo@example.com"))
    monkeypatch.setattr(EmailMessage, "send", refused)
    seal_rows(3)
    assert faults() == [
        "the authority could not be reached (ConnectionRefusedError)",
        "ConnectionRefusedError",
        "No such file or directory",
        "",
    ]
    with pytest.raises(CommandError, match="Not every place"):
        commands.run("audit", "notarise")
    assert run("--against", str(tmp_path / "notes"))[0] == CLEAN


def test_a_clock_of_another_time_is_refused(authority: StampAuthority, clock: Any) -> None:
    """A certificate that has ended still proves a stamp of an earlier time."""
    seal_rows(3)
    clock.shift(HOUR)
    assert faults() == ["its clock differs from ours by more than 10 minutes"]


# -- when --------------------------------------------------------------------------


def test_once_a_day_if_a_seal_is_new(tmp_path: Path, settings: Settings, clock: Any) -> None:
    settings.OPTIN_NOTARY = (f"file:{tmp_path}/notes",)
    assert faults() == []
    seal_rows(3)
    assert "given." in commands.run("audit", "notarise")
    assert "each place has its note" in commands.run("audit", "notarise")
    given = []
    for hour in range(72):
        if hour < 40:
            seal_rows(1)
        given += [hour] * len(faults())
        clock.shift(HOUR)
    assert given == [23, 46]
    assert len((tmp_path / "notes").read_text().splitlines()) == 3


def test_an_overdue_note_is_told(
    tmp_path: Path, settings: Settings, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPTIN_NOTARY = (f"file:{tmp_path}/notes",)

    def told() -> tuple[int, float]:
        now = timezone.now()
        (waits,) = (
            sample.value
            for metric in health.notary(now)
            if isinstance(metric, Metric)
            for sample in metric.samples
        )
        # Operators are told only of what they can do something about.
        needed = [need for need in health.needs(now) if need.do and "No note" in need.words]
        return len(needed), waits

    seal_rows(3)
    assert told() == (0, 0)
    assert faults() == [""]
    clock.shift(30 * HOUR)
    assert told() == (0, 0)
    seal_rows(1)
    clock.shift(26 * HOUR)
    assert told() == (0, 26 * 3600)
    clock.shift(HOUR)
    assert told() == (1, 27 * 3600)
    assert faults() == [""]
    assert told() == (0, 0)
    settings.OPTIN_NOTARY = ()
    with pytest.raises(CommandError, match="OPTIN_NOTARY is not set"):
        commands.run("audit", "notarise")
    assert [*health.notary(timezone.now())] == []
