"""Writers that commit in an odd order, and a streamer that is killed at many moments (PostgreSQL).

Real processes: each streamer is the child of one that has Django set up, and kills itself with
SIGKILL: before, within or after what it writes, keeps on the disk or commits; or at any moment.
"""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.audit import seals
from optin.models import AuditEvent, AuditSeal
from optin.origin import Face, Origin
from tests.audit.streamed import Arrived, ids_in_trail, write
from tests.kit.server import own_process, running_python, until
from tests.kit.tamper import OLD, Writer, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

STREAMER = """
import os, random, signal, sys, threading, time
import django
django.setup()
from django.db import connection
from optin.operations import audit_stream
audit_stream.BATCH = 20


def dies():
    os.kill(os.getpid(), signal.SIGKILL)


def dangerous(call, part=lambda arguments: None):
    def does(*arguments):
        moment = random.random() * 40
        if moment < 1:
            dies()
        if moment < 2 and part(arguments):
            call(*part(arguments))
            dies()
        result = call(*arguments)
        if moment < 3:
            dies()
        return result
    return does


for death in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        random.seed(death)
        later = threading.Timer(random.random(), dies)
        later.daemon = True
        later.start()
        os.write = dangerous(os.write, lambda given: (given[0], given[1][:len(given[1]) // 2]))
        os.fsync = dangerous(os.fsync)
        connection._commit = dangerous(connection._commit)
        while True:
            audit_stream.write_due(seconds=0.05)
    os.waitpid(child, 0)
"""

WRITERS = 4
DEATHS = 60


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, which the other process has too."""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@contextmanager
def dying_streamers(target: Path) -> Iterator["Popen[bytes]"]:
    environment = own_process(target.parent, OPTIN_AUDIT_STREAM=f"file:{target}")
    log = target.parent / "streamer.log"
    with running_python("-c", STREAMER, str(DEATHS), env=environment, log=log) as process:
        yield process


def keep_writing(seed: int, stopping: threading.Event) -> None:
    """Add events in transactions of all lengths; some are rolled back.

    No more than the streamers can keep up with: one that is far behind skips nothing.
    """
    chance = random.Random(seed)
    while not stopping.is_set():
        with transaction.atomic():
            for _ in range(chance.choice((1, 1, 2, 3))):
                AuditEvent.objects.record(
                    AuditEvent.Kind.FILE,
                    "ok",
                    now=timezone.now() - OLD,
                    origin=Origin(Face.COMMAND),
                    user_id=None,
                    file_id=seed,
                )
                # So that it has its id now, and not at the end.
                AuditEvent.objects.filter(pk=0).exists()
            time.sleep(chance.choice((0, 0.02, 0.1, 0.3)))
            if chance.random() < 0.1:
                transaction.set_rollback(True)
    connections.close_all()


def test_every_event_is_there_whenever_a_streamer_is_killed(
    target: Path, settings: Settings
) -> None:
    """And no line is torn, and no event has two different lines."""
    settings.OPTIN_AUDIT_STREAM = f"file:{target}"
    write()
    stopping = threading.Event()
    writers = [threading.Thread(target=keep_writing, args=(n, stopping)) for n in range(WRITERS)]
    with dying_streamers(target) as process:
        for each in writers:
            each.start()
        try:
            while process.poll() is None:
                time.sleep(0.5)
                seals.seal(timezone.now())
        finally:
            stopping.set()
            for each in writers:
                each.join()
    assert process.returncode == 0
    streamed = target.read_bytes().count(b"\n")
    until(lambda: not _others())
    seals.seal(timezone.now())
    write()

    arrived = Arrived.at(target)  # each line is whole
    assert {*arrived.ids} == {*ids_in_trail()}
    assert streamed > DEATHS  # by those that were killed
    same: dict[str, str] = {}
    for line in arrived.lines:
        text = json.dumps(line)
        assert same.setdefault(line["metadata"]["uid"], text) == text
    assert {one.first_id for one in arrived.seals} == {
        *AuditSeal.objects.values_list("first_id", flat=True)
    }


def _others() -> bool:
    """Whether a connection of a streamer is still there: it may hold the lock for a moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        return bool(cursor.fetchone()[0])


def test_an_event_is_not_passed_while_its_transaction_is_open(
    target: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPTIN_AUDIT_STREAM = f"file:{target}"
    write()
    with Writer():
        record()
        assert write() == 0
        assert "the audit stream waits" in caplog.text
    assert write() == 2
    assert Arrived.at(target).ids == ids_in_trail()
