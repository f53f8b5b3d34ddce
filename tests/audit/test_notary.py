"""A note that somebody outside keeps shows an end that was cut off, and a trail made anew (G-09).

Each forgery is perfect: without the notes, the check finds nothing.
"""

import os
import random
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin import keys
from optin.audit import against, notes, seals
from optin.audit.integrity import Tally
from optin.audit.notes import Note
from optin.conf import parse
from optin.management.commands import ORIGIN
from optin.models import AuditEvent, AuditNote, AuditSeal
from optin.models.audit import NAMED, forget_thread
from optin.operations import key_rotation, notary, retention
from tests.kit.tamper import content_of, record, run, sequence_ends_at
from tests.kit.trail import database_now, unguarded

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CLEAN, UNCHECKED, FOUND = 0, 2, 3
DAY = timedelta(days=1)
SEED = int(os.environ.get("NOTARY_SEED", "20261128"))

TRUNCATIONS = int(os.environ.get("NOTARY_TRUNCATIONS", "100"))
"""How many are tried. docs/measurements.md has the command of the long form."""


@pytest.fixture
def kept(tmp_path: Path, settings: Settings) -> Path:
    """The file of the notary."""
    settings.OPTIN_NOTARY = (f"file:{tmp_path}/notes",)
    return tmp_path / "notes"


def grow(clock: Any, *, days: int, chance: random.Random) -> None:
    """*days* of one to four seals, over one to four events each; each day ends with a note."""
    for _ in range(days):
        for _ in range(chance.randint(1, 4)):
            if chance.random() < 0.5:
                forget_thread()  # no event from here on names one from before
            for _ in range(chance.randint(1, 4)):
                record(timedelta(0))
                clock.shift(timedelta(seconds=1))
            clock.shift(timedelta(minutes=6))
            assert seals.seal(timezone.now()) == 1
        assert [one.fault for one in notary.give_due(timezone.now())] == [""]
        clock.shift(DAY - timedelta(minutes=30))


class State:
    """All rows of the trail, to be forged and then put back."""

    def __init__(self) -> None:
        self.events = list(AuditEvent.objects.order_by("pk"))
        self.seals = list(AuditSeal.objects.order_by("first_id"))
        self.notes = list(AuditNote.objects.order_by("pk"))

    def put(self, last: int) -> None:
        """Let the tables hold these rows, and the ids go on after *last*."""
        rows: Sequence[tuple[Any, Any]] = (
            (AuditEvent, self.events),
            (AuditSeal, self.seals),
            (AuditNote, self.notes),
        )
        for model, some in rows:
            models.QuerySet(model)._raw_delete("default")
            models.QuerySet(model).bulk_create(some)
        sequence_ends_at(last)

    def cut(self, last: int) -> None:
        """Go back to the moment when the event *last* was the newest."""
        remains = State()
        remains.events = [event for event in self.events if event.pk <= last]
        remains.seals = [one for one in self.seals if one.last_id <= last]
        remains.notes = [note for note in self.notes if note.last_id <= last]
        remains.put(last)

    def make_anew(self, first: int) -> None:
        """Change the event *first*; make all digests and seals from there on anew."""
        names: dict[str, str] = {}
        for event in self.events:
            event.previous = names.get(event.previous or "", event.previous)
            if event.pk >= first:
                name = f"{event.pk}:{event.digest[:NAMED]}"
                event.reason = "made anew" if event.pk == first else event.reason
                event.digest = event.content_digest()
                names[name] = f"{event.pk}:{event.digest[:NAMED]}"
        for one in self.seals:
            if one.last_id >= first:
                under = [each for each in self.events if one.first_id <= each.pk <= one.last_id]
                one.digest = content_of(under).digest()
                one.proof = one.own_proof()
        self.put(self.events[-1].pk)
        self.notes = []
        for row in AuditNote.objects.order_by("pk"):
            chain = notes.Chain()
            for one in self.seals[: row.seals]:
                chain.add(one)
            row.line = Note.of(chain).line()
            self.notes.append(row)
        self.put(self.events[-1].pk)


def plain(clock: Any) -> None:
    """As a restore leaves it, or a superuser who deletes."""


def sealed_anew(clock: Any) -> None:
    """What is left is sealed again: the service was stopped, and starts."""
    seals.seal(timezone.now())


def grown_again(clock: Any) -> None:
    """There are as many seals as before, or more; and a note of them."""
    forget_thread()
    grow(clock, days=1, chance=random.Random(1))
    grow(clock, days=10, chance=random.Random(2))


def compare(path: Path) -> list[str]:
    """What the notes find, without the check of each event."""
    with open(path, encoding="utf-8") as lines:
        found = list(against.verify(against.in_lines("notes", lines), Tally()))
    assert not any(one.unchecked for one in found)
    return [one.text for one in found]


def test_an_end_that_was_cut_off_is_found(kept: Path, clock: Any) -> None:
    """G-09: 100 of 100 at random places, up to the last event that a note proves."""
    chance = random.Random(SEED)
    grow(clock, days=12, chance=chance)
    whole, now = State(), timezone.now()
    newest = AuditNote.objects.latest("pk").last_id
    outside = kept.rename(kept.with_name("outside"))
    hidden = 0
    with unguarded():
        for turn in range(TRUNCATIONS):
            last = chance.randrange(newest)
            whole.cut(last)
            after = grown_again if turn % 25 == 2 else (plain, sealed_anew)[turn % 2]
            after(clock)

            found = compare(outside)

            told = [line for line in found if "cut off" in line]
            assert told, (turn, last, found)
            assert int(re.findall(r"to (\d+):", told[-1])[0]) == newest
            if turn % 10 == 1:
                assert run("--against", str(outside))[0] == FOUND
                hidden += run()[0] == CLEAN
            clock.move_to(now)
        whole.put(whole.events[-1].pk)
    assert hidden > TRUNCATIONS / 20
    assert run("--against", str(outside))[0] == CLEAN


def test_a_trail_that_was_made_anew_is_found(kept: Path, clock: Any) -> None:
    """G-09: by somebody who has the keys, and forges our own rows of the notes, too."""
    chance = random.Random(SEED)
    grow(clock, days=12, chance=chance)
    with unguarded():
        for turn in range(TRUNCATIONS // 4):
            whole = State()
            first = chance.randrange(1, AuditNote.objects.latest("pk").last_id + 1)
            State().make_anew(first)

            (told,) = compare(kept)

            assert "made anew" in told
            begins = int(re.findall(r"events (\d+) to", told)[0])
            assert begins <= first
            assert AuditSeal.objects.filter(last_id__gte=begins, last_id__lt=first).count() < 5
            if turn % 10 == 1:
                assert run("--against", str(kept))[0] == FOUND
                assert run()[0] == CLEAN
            whole.put(whole.events[-1].pk)
    assert run("--against", str(kept))[0] == CLEAN


def test_the_rows_of_notes_find_who_forgot_them(kept: Path, clock: Any) -> None:
    grow(clock, days=3, chance=random.Random(SEED))
    events, rest = State(), State()
    rest.notes = []
    with unguarded():
        events.cut(1)
        rest.notes = events.notes
        AuditNote.objects.all().delete()
        AuditNote.objects.bulk_create(events.notes)
        status, lines = run()
        events.put(events.events[-1].pk)
    assert status == FOUND
    assert any("cut off, with their seals" in line and "optin_auditnote" in line for line in lines)


# -- an honest trail ---------------------------------------------------------------


def clean(kept: Path) -> str:
    status, lines = run("--against", str(kept))
    assert (status, lines[:-1]) == (CLEAN, [])
    return lines[-1]


def test_a_purge_is_no_finding(kept: Path, clock: Any) -> None:
    """By the database's own clock: that is the one the triggers read."""
    clock.move_to(database_now() - timedelta(days=800))
    grow(clock, days=5, chance=random.Random(SEED))
    clock.move_to(database_now())
    forget_thread()
    grow(clock, days=1, chance=random.Random(SEED))
    assert retention.purge(origin=ORIGIN)["audit_events"]
    seals_there = AuditSeal.objects.count()
    assert " events purged" in clean(kept)
    assert seals_there > AuditEvent.objects.filter(pk__lte=AuditSeal.objects.count()).count()
    grow(clock, days=1, chance=random.Random(SEED))
    newest = AuditNote.objects.latest("pk").last_id
    assert f"7 notes, which prove events up to {newest}" in clean(kept)


@pytest.mark.parametrize("former", ["here", "gone"])
def test_new_keys_are_no_finding(kept: Path, clock: Any, settings: Settings, former: str) -> None:
    grow(clock, days=3, chance=random.Random(SEED))
    old_key = settings.OPTIN_DIGEST_KEY
    settings.OPTIN_KEYS = parse.ring(f"new:{urlsafe_b64encode(bytes(31) + b'n').decode()}") | (
        settings.OPTIN_KEYS
    )
    key_rotation.rotate(origin=ORIGIN)
    clock.shift(DAY)
    settings.OPTIN_DIGEST_KEY = bytes(31) + b"d"
    key_rotation.redigest(origin=ORIGIN)
    settings.OPTIN_OLD_DIGEST_KEYS = (old_key,) if former == "here" else ()
    clock.shift(timedelta(minutes=6))
    seals.seal(timezone.now())
    grow(clock, days=2, chance=random.Random(SEED))

    status, lines = run("--against", str(kept))

    assert status == (CLEAN if former == "here" else UNCHECKED)
    assert not [line for line in lines if "note" in line and line is not lines[-1]]
    newest = AuditNote.objects.latest("pk").last_id
    assert f"5 notes, which prove events up to {newest}" in lines[-1]


# -- notes that are not whole ------------------------------------------------------


def test_what_is_no_note_is_told(kept: Path, clock: Any, tmp_path: Path) -> None:
    """It says nothing of the trail: somebody may have changed the file in place of it."""
    grow(clock, days=2, chance=random.Random(SEED))
    (tmp_path / "empty").write_text("nothing\n")
    first, second = kept.read_text().splitlines()
    changed = first.replace("chain=", "chain=0")[:-1]
    forged = re.sub(r"chain=.", lambda found: f"chain={'1' if found[0][-1] == '0' else '0'}", first)
    kept.write_text(f"{second}\n{forged}\n{changed}\n{first[:200]}\n")
    assert run("--against", str(tmp_path / "empty"))[0] == UNCHECKED
    assert run("--against", str(tmp_path / "missing"))[0] == UNCHECKED

    status, lines = run("--against", str(kept))

    assert status == UNCHECKED
    assert lines[:-1] == [
        f"{kept}, line 2: this note was changed",
        f"{kept}, line 3: this note cannot be read",
        f"{kept}, line 4: this note cannot be read",
    ]


def test_a_note_is_a_copy_of_a_seal_too(kept: Path, clock: Any) -> None:
    grow(clock, days=2, chance=random.Random(SEED))
    assert "2 copies of seals" in run("--copies", str(kept))[1][-1]
    assert keys.digest_key_id() in kept.read_text()
