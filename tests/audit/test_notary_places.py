"""G-09. Where notes go: by mail and to a file. And when one fails."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.mail import EmailMessage
from django.core.management import CommandError
from django.utils import timezone
from prometheus_client import Metric
from pytest_django.fixtures import Settings

from optin.models import AuditEvent, AuditNote, AuditSeal
from optin.operations import notary
from optin.runtime import metrics
from optin.support import health
from optin.tasks import notarise
from tests.kit import commands
from tests.kit.tamper import remove, run, seal_rows, sequence_ends_at

pytestmark = pytest.mark.django_db(transaction=True)

Logged = Callable[[], list[str]]
CLEAN, UNCHECKED, FOUND = 0, 2, 3
HOUR = timedelta(hours=1)


def faults() -> list[str]:
    return [one.fault for one in notary.give_due(timezone.now())]


def cut() -> None:
    """Remove the end, with our own rows of the notes."""
    AuditNote.objects.all().delete()
    (last,) = AuditSeal.objects.order_by("-first_id")[:1]
    remove(*AuditEvent.objects.filter(pk__gte=last.first_id), last)
    sequence_ends_at(last.first_id - 1)


# -- the two ways ------------------------------------------------------------------


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


def test_a_place_that_fails_keeps_no_other_from_its_note(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, and tried again. A mail server's own words are not: they may quote an address."""
    settings.OPTIN_NOTARY = (
        *("mail:jo@example.com", f"file:{tmp_path}/missing/notes", f"file:{tmp_path}/notes"),
    )
    refused = Mock(side_effect=ConnectionRefusedError(111, "jo@example.com"))
    monkeypatch.setattr(EmailMessage, "send", refused)
    failures = metrics.NOTARY_FAILURES._value.get()
    seal_rows(3)
    assert faults() == ["ConnectionRefusedError", "No such file or directory", ""]
    assert metrics.NOTARY_FAILURES._value.get() == failures + 2
    assert "jo@example.com" not in caplog.text
    with pytest.raises(CommandError, match="Not every place"):
        commands.run("audit", "notarise")
    assert run("--against", str(tmp_path / "notes"))[0] == CLEAN
    (tmp_path / "missing").mkdir()
    notarise.func(timestamp=0)
    assert AuditNote.objects.count() == 2


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
