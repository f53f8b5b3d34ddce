"""Compare the trail with the notes that somebody outside has kept (G-09).

Each note tells how many seals there were, and has a digest over all of them. So it shows that the
end of the trail was cut off since, and that the trail was made anew up to there, even with the
keys. It proves nothing of what came after it.

A time stamp without its note is enough, too: what a note says follows from the seals.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from optin.audit import notes, restores
from optin.audit.integrity import Finding, Tally
from optin.audit.notes import Chain, Note
from optin.audit.reading import all_seals
from optin.conf import conf
from optin.models import AuditEvent, AuditNote

LATE = timedelta(days=1)
"""By how much a time stamp may differ from the time in our own row of it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A note, or only its time stamp, and where it was found."""

    where: str
    note: Note | None = None
    stamp: bytes = b""
    given_at: datetime | None = None
    """When it was given outside, if it is from our own table."""


@dataclass(slots=True)
class _Seen:
    """The result of the comparison."""

    notes: list[Kept] = field(default_factory=list)
    """The notes that were read, in the order of their seals."""
    stamps: dict[bytes, tuple[Kept, datetime]] = field(default_factory=dict)
    """The time stamps without a note that are not found yet, by the digest of their text."""
    unchecked: int = 0
    """Time stamps that nobody could check here."""
    proved: int = 0
    """The last event of the newest note that fits."""
    other: list[Kept] = field(default_factory=list)
    """The notes that do not fit, though no restore explains that."""
    excused: int = 0
    windows: "list[_Window]" = field(default_factory=list)

    def left(self, some: list[Kept]) -> list[Kept]:
        """Leave out the notes of seals that a restore has lost, as the trail itself tells."""
        left = [one for one in some if not any(window.covers(one) for window in self.windows)]
        self.excused += len(some) - len(left)
        return left


def stamps() -> Any:
    """Return the module ``stamps``, whose package is an extra.

    :raises ValueError: if that is not installed.
    """
    try:
        return import_module("optin.audit.stamps")
    except ImportError:
        raise ValueError(
            "the package rfc3161-client is not installed: "
            "pip install --no-deps --require-hashes -r requirements-notary.txt"
        ) from None


def in_lines(name: str, lines: Iterable[str]) -> Iterator[Kept]:
    """Yield what *lines* of a file, a mail or a log hold."""
    for number, note in notes.read(lines):
        yield Kept(f"{name}, line {number}", note, note.stamp if note else b"")


def verify(kept: Iterable[Kept], tally: Tally) -> Iterator[Finding]:
    """Compare the seals with *kept*, and with the notes of our own table; count in *tally*."""
    seen = _Seen()
    for one in kept:
        tally.notes += 1
        yield from _take(one, seen)
    for one in _own():
        yield from _take(one, seen)
    if seen.unchecked:
        why = "OPTIN_NOTARY_CA is not set"
        yield Finding(f"{seen.unchecked} time stamps: {why}", unchecked=True)
    if not seen.notes and not seen.stamps:
        return
    seen.notes.sort(key=_seals, reverse=True)
    seen.windows = list(_windows())
    chain = Chain()
    for seal in all_seals():
        chain.add(seal)
        _compare(chain, seen)
    yield from _told(chain, seen)
    tally.proved, tally.excused = seen.proved, seen.excused


def _own() -> Iterator[Kept]:
    for row in AuditNote.objects.order_by("pk").iterator():
        note = Note.read(f"{row.line} stamp={row.stamp}" if row.stamp else row.line)
        # After the notary is switched off, its certificates need not be here.
        stamp = note.stamp if note and conf.notary_ca else b""
        yield Kept(f"the row of {_exact(row.at)} in optin_auditnote", note, stamp, row.at)


def _take(one: Kept, seen: _Seen) -> Iterator[Finding]:
    """Keep *one* to compare the seals with, if it is as it was given outside."""
    fault = ""
    if one.note is None and not one.stamp:
        fault = "this note cannot be read"
    elif one.note and one.note.was_changed():
        fault = "this note was changed"
    elif one.stamp and conf.notary_ca:
        fault = _check_stamp(one, seen)
    elif one.stamp:
        seen.unchecked += 1
    if fault:
        yield Finding(f"{one.where}: {fault}", unchecked=True)
    elif one.note:
        seen.notes.append(one)


def _check_stamp(one: Kept, seen: _Seen) -> str:
    """Return what is wrong with the time stamp of *one*, or nothing."""
    try:
        module = stamps()
    except ValueError as exc:
        return str(exc)
    try:
        stamp = module.read(one.stamp, text=one.note.text if one.note else None)
    except module.NotProved as exc:
        return f"its time stamp proves nothing: {exc}"
    if one.given_at and abs(stamp.at - one.given_at) > LATE:
        return f"its time stamp is of {_exact(stamp.at)}"
    if one.note is None:
        seen.stamps[stamp.imprint] = one, stamp.at
    return ""


def _compare(chain: Chain, seen: _Seen) -> None:
    """Compare the seals so far with the notes that tell of as many."""
    there = []
    while seen.notes and _seals(seen.notes[-1]) == chain.seals:
        there.append(seen.notes.pop())
    if not there and not seen.stamps:
        return
    text = chain.text()
    fit = [one for one in there if one.note and one.note.text == text]
    seen.other += seen.left([one for one in there if one not in fit])
    if found := seen.stamps.pop(hashlib.sha256(text.encode()).digest(), None):
        fit.append(found[0])
    # Once one does not fit, later ones that do were made with the rest of the forgery. And whoever
    # forges the trail can forge our own rows.
    if chain.newest and not seen.other and any(one.given_at is None for one in fit):
        seen.proved = chain.newest.last_id


# -- what does not fit -------------------------------------------------------------


def _told(chain: Chain, seen: _Seen) -> Iterator[Finding]:
    """Tell of what does not fit: where that begins, and how far it goes."""
    if seen.other:
        first, last = (seen.other[end].note for end in (0, -1))
        assert first
        assert last
        yield Finding(
            f"events {seen.proved + 1} to {last.newest.last_id}: not those that were notarised: "
            f"they were made anew, or the end was cut off ({seen.other[0].where})"
        )
    if beyond := seen.left(seen.notes):
        newest = beyond[0].note
        assert newest
        here = chain.newest.last_id if chain.newest else 0
        yield Finding(
            f"events {here + 1} to {newest.newest.last_id}: cut off, with their seals: there were "
            f"{newest.seals}, and {chain.seals} are here ({beyond[0].where})"
        )
    for one, at in seen.stamps.values():
        if any(window.since <= at <= window.until for window in seen.windows):
            seen.excused += 1
            continue
        yield Finding(
            f"the trail of {_exact(at)}: it was made anew, or its end was cut off ({one.where})"
        )


@dataclass(frozen=True, slots=True)
class _Window:
    """The time between a backup and its restore, as far as the trail knows it."""

    since: datetime
    """When the last event before the gap was written: the backup may be later."""
    until: datetime
    """When ``after_restore`` recorded the gap."""
    first: int
    """The first event that was lost."""

    def covers(self, one: Kept) -> bool:
        """Whether the newest seal of a note was made in this time."""
        seal = one.note.newest if one.note else None
        if seal is None or seal.at > self.until:
            return False
        return seal.at >= self.since or seal.last_id >= self.first


def _windows() -> Iterator[_Window]:
    for gap in restores.gaps("begun", former=True):
        before = AuditEvent.objects.filter(pk__gt=0, pk__lt=gap.first).order_by("-pk").first()
        yield _Window(before.at if before else gap.at, gap.at, gap.first)


def _seals(one: Kept) -> int:
    return one.note.seals if one.note else 0


def _exact(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
