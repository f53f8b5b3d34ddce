"""Compare the trail with the notes that somebody outside has kept (G-09).

Each note tells how many seals there were, and has a digest over all of them. So it shows that the
end of the trail was cut off since, and that the trail was made anew up to there, even with the
keys. It proves nothing of what came after it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from optin.audit import notes, restores
from optin.audit.integrity import Finding, Tally
from optin.audit.notes import Chain, Note
from optin.audit.reading import all_seals
from optin.models import AuditEvent, AuditNote


@dataclass(frozen=True, slots=True)
class Kept:
    """A note, and where it was found."""

    where: str
    note: Note
    is_ours: bool
    """Whether it is a row of our own table: whoever forges the trail can forge it, too."""


@dataclass(slots=True)
class _Seen:
    """The result of the comparison."""

    notes: list[Kept] = field(default_factory=list)
    """The notes that were read, in the order of their seals, the newest first."""
    proved: int = 0
    """The last event of the newest note that fits."""
    other: list[Kept] = field(default_factory=list)
    """The notes that do not fit, though no restore explains that."""
    excused: int = 0
    windows: "list[_Window]" = field(default_factory=list)

    def left(self, some: list[Kept]) -> list[Kept]:
        """Leave out the notes of seals that a restore has lost, as the trail itself tells."""
        left = [one for one in some if not any(window.covers(one.note) for window in self.windows)]
        self.excused += len(some) - len(left)
        return left


Found = tuple[str, Note | None]
"""Where a note was found, and the note if it can be read."""


def in_lines(name: str, lines: Iterable[str]) -> Iterator[Found]:
    """Yield what *lines* of a file, a mail or a log hold."""
    for number, note in notes.read(lines):
        yield f"{name}, line {number}", note


def verify(found: Iterable[Found], tally: Tally) -> Iterator[Finding]:
    """Compare the seals with what was *found*, and with our own table; count in *tally*."""
    seen = _Seen()
    for where, note in found:
        tally.notes += 1
        yield from _take(where, note, seen)
    for where, note in _own():
        yield from _take(where, note, seen, is_ours=True)
    if not seen.notes:
        return
    seen.notes.sort(key=lambda one: one.note.seals, reverse=True)
    seen.windows = list(_windows())
    chain = Chain()
    for seal in all_seals():
        chain.add(seal)
        _compare(chain, seen)
    yield from _told(chain, seen)
    tally.proved, tally.excused = seen.proved, seen.excused


def _own() -> Iterator[Found]:
    for row in AuditNote.objects.order_by("pk").iterator():
        where = f"the row of {row.at:%Y-%m-%d %H:%M} UTC in optin_auditnote"
        yield where, Note.read(row.line)


def _take(
    where: str, note: Note | None, seen: _Seen, *, is_ours: bool = False
) -> Iterator[Finding]:
    """Keep *note* to compare the seals with, if it is as it was given outside."""
    fault = ""
    if note is None:
        fault = "this note cannot be read"
    elif note.was_changed():
        fault = "this note was changed"
    if fault:
        yield Finding(f"{where}: {fault}", unchecked=True)
    elif note:
        seen.notes.append(Kept(where, note, is_ours))


def _compare(chain: Chain, seen: _Seen) -> None:
    """Compare the seals so far with the notes that tell of as many."""
    there = []
    while seen.notes and seen.notes[-1].note.seals == chain.seals:
        there.append(seen.notes.pop())
    if not there:
        return
    text = chain.text()
    fit = [one for one in there if one.note.text == text]
    seen.other += seen.left([one for one in there if one not in fit])
    # Once one does not fit, later ones that do were made with the rest of the forgery.
    if chain.newest and not seen.other and not all(one.is_ours for one in fit):
        seen.proved = chain.newest.last_id


# -- what does not fit -------------------------------------------------------------


def _told(chain: Chain, seen: _Seen) -> Iterator[Finding]:
    """Tell of what does not fit: where that begins, and how far it goes."""
    if seen.other:
        first, last = seen.other[0], seen.other[-1].note
        yield Finding(
            f"events {seen.proved + 1} to {last.newest.last_id}: not those that were notarised: "
            f"they were made anew, or the end was cut off ({first.where})"
        )
    if beyond := seen.left(seen.notes):
        first = beyond[0]
        here = chain.newest.last_id if chain.newest else 0
        yield Finding(
            f"events {here + 1} to {first.note.newest.last_id}: cut off, with their seals: there "
            f"were {first.note.seals}, and {chain.seals} are here ({first.where})"
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

    def covers(self, note: Note) -> bool:
        """Whether the newest seal of *note* was made in this time."""
        seal = note.newest
        return seal.at <= self.until and (seal.at >= self.since or seal.last_id >= self.first)


def _windows() -> Iterator[_Window]:
    for gap in restores.gaps("begun", former=True):
        before = AuditEvent.objects.filter(pk__gt=0, pk__lt=gap.first).order_by("-pk").first()
        yield _Window(before.at if before else gap.at, gap.at, gap.first)
