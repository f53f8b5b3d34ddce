"""Files that are rotated, full or away; the standard output."""

import fcntl
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
import time_machine
from django.core.management.base import CommandError
from pytest_django.fixtures import Settings

from optin.doctor.findings import Level
from optin.doctor.work import told_by
from optin.models import AuditStream
from optin.operations import audit_stream
from optin.runtime import sinks
from optin.support import health
from tests.audit.streamed import Arrived, ids_in_trail, write
from tests.kit.commands import run
from tests.kit.tamper import record, record_many

pytestmark = pytest.mark.django_db(transaction=True)


# -- a file that is rotated --------------------------------------------------------


def test_a_renamed_file_is_followed_by_a_new_one(stream: Path) -> None:
    record()
    write()
    old = stream.rename(stream.with_suffix(".1"))
    record()
    write()
    assert Arrived.at(old).ids + Arrived.at(stream).ids == ids_in_trail()
    assert stream.stat().st_mode & 0o777 & ~0o640 == 0


def test_what_copytruncate_cuts_off_comes_again(stream: Path) -> None:
    """It copies the file, and cuts it later: a batch in between would be lost."""
    record()
    write()
    copy = stream.with_suffix(".1")
    shutil.copy(stream, copy)
    record_many(3)
    write()
    os.truncate(stream, 0)
    record()
    assert write() == 4
    assert Arrived.at(copy).ids + Arrived.at(stream).ids == ids_in_trail()


# -- a file that cannot be written -------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow larger than this, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(stream: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the file of the stream, and no other file, grow by so many bytes only."""
    write_all = sinks._write_all

    def has_room(more: int) -> None:
        size = stream.stat().st_size + more

        def limited(file: int, content: bytes) -> None:
            with room_for(size):
                write_all(file, content)

        monkeypatch.setattr(sinks, "_write_all", limited)

    return has_room


def test_a_disk_that_is_full_in_the_middle_of_a_line_loses_nothing(
    stream: Path, small_disk: Callable[[int], None]
) -> None:
    record_many(3)
    small_disk(2000)
    failed = audit_stream.write_due(seconds=1)
    assert (failed.lines, failed.fault) == (0, "File too large")
    assert not stream.read_bytes().endswith(b"\n")  # the line is torn
    small_disk(100_000)
    assert write() == 3
    arrived = Arrived.at(stream)
    assert {*arrived.ids} == {*ids_in_trail()}
    assert len(arrived.ids) == 4  # the first one fitted


def test_where_nothing_can_be_cut_off_a_torn_line_stays_alone(
    stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a file that may only be appended to."""
    monkeypatch.setattr(os, "ftruncate", Mock(side_effect=PermissionError))
    stream.write_text('{"torn')
    record()
    write()
    torn, whole = stream.read_text().splitlines()
    assert torn == '{"torn'
    assert json.loads(whole)["unmapped"]["id"] == 1


def needed() -> list[tuple[str, bool]]:
    """What the doctor says, and whether it is a fault."""
    return [(found.text, found.level is Level.FAULT) for found in told_by(health.stream)()]


def test_a_need_tells_and_it_goes_on(
    stream: Path, clock: time_machine.Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    assert needed() == []
    record(timedelta(0))
    stream.unlink()
    stream.mkdir()
    for _ in range(2):
        assert audit_stream.write_due(seconds=1).fault == "Is a directory"
    assert "the audit stream could not be written: Is a directory" in caplog.text
    with pytest.raises(CommandError, match="could not be written: Is a directory"):
        run("audit", "stream")

    clock.shift(301)
    assert needed() == [("The audit stream is behind: Is a directory.", True)]

    stream.rmdir()
    assert [write(), write()] == [1, 0]
    assert needed() == []


def test_it_is_told_that_nobody_writes(
    settings: Settings, target: Path, clock: time_machine.Traveller
) -> None:
    assert needed() == [("Nobody has begun to write the audit stream.", False)]
    write()
    record(timedelta(0))
    clock.shift(301)
    assert needed() == [("The audit stream is behind.", True)]
    settings.OPTIN_AUDIT_STREAM = ""
    assert needed() == []


def test_only_a_regular_file_of_no_other_writer_is_written(stream: Path) -> None:
    """Another one may have lost its connection, and with it the lock of the database."""
    record()
    with stream.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert audit_stream.write_due(seconds=1) == audit_stream.Written()
    assert AuditStream.objects.get().failures == 0
    assert write() == 1
    stream.unlink()
    os.mkfifo(stream)
    assert audit_stream.write_due(seconds=1).fault == "it is no regular file"


# -- the standard output -----------------------------------------------------------


def test_after_a_torn_line_the_standard_output_begins_a_new_one(
    settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPTIN_AUDIT_STREAM = "stdout"
    run("audit", "stream")
    record()
    run("audit", "stream")
    assert Arrived.of(capfd.readouterr().out).ids == [1]  # nothing but lines
    record()
    real = os.write
    left = [10]

    def tears(file: int, content: bytes) -> int:
        if not left:
            raise BrokenPipeError(32, "Broken pipe")
        return real(file, content[: left.pop()])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", tears)
        assert audit_stream.write_due(seconds=1).fault == "Broken pipe"
    assert write() == 1
    torn, whole = capfd.readouterr().out.splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["unmapped"]["id"] == 2
