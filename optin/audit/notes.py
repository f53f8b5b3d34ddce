"""Notes of the trail for a notary: how many seals there are, and a digest over all of them.

A note is one line. Somebody outside keeps it (``operations.notary``), and ``against`` compares the
trail with it. The digest covers the line of each seal, from the first one on. So no earlier part of
the trail can be cut off or made anew, not even by somebody who has the keys.

Seals outlive their events (``seals``) and a new digest key (``operations.key_rotation``). So the
digest over the same seals stays the same.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from optin import keys
from optin.audit.reading import all_seals
from optin.conf import conf
from optin.models import AuditNote, AuditSeal

EVERY = timedelta(hours=23)
"""After so long the next note is due. What gives notes runs each hour, so there is one a day."""

OVERDUE = timedelta(hours=26)
"""By then a seal has its note at each place, though an attempt or two may have failed."""

MAIL = "mail"

_START = "notary seals="
_LINES = 20  # that a note may take in a mail: each of its words has one


# -- what a note says --------------------------------------------------------------


@dataclass(slots=True)
class Chain:
    """A digest over seals. Add them in their order."""

    seals: int = 0
    newest: AuditSeal | None = None
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, one: AuditSeal) -> None:
        self.seals, self.newest = self.seals + 1, one
        self._hash.update(f"{one.line()}\n".encode())

    def text(self) -> str:
        """Return what a note says of these seals: it always follows from them."""
        newest = self.newest.line() if self.newest else ""
        return f"{_START}{self.seals} chain={self._hash.hexdigest()} {newest}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note, as it was given outside."""

    text: str
    seals: int
    newest: AuditSeal
    """The newest of these seals, as the note has it."""
    key_id: str
    proof: str

    @classmethod
    def of(cls, chain: Chain) -> Self:
        """Return the note of *chain*, which has a seal."""
        assert chain.newest
        key_id = keys.digest_key_id()
        text = chain.text()
        return cls(text, chain.seals, chain.newest, key_id, _proof(text, key_id))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the note that *text* holds somewhere; None if it holds no whole one.

        A mail may have broken the line, and put a sign for a quotation before its parts.
        """
        if "=3D" in text:  # quoted-printable, as Django 6 sends it
            text = re.sub(r"=\s+", "", text).replace("=3D", "=")
        found = _NOTE.search(" ".join(text.replace(">", " ").split()))
        newest = AuditSeal.from_line(found["text"]) if found else None
        if found is None or newest is None:
            return None
        return cls(found["text"], int(found["seals"]), newest, found["key"], found["proof"])

    def line(self) -> str:
        return f"{self.text} note={self.key_id}:{self.proof}"

    def was_changed(self) -> bool:
        """Whether it is not as it was given outside. False also where its key is not here."""
        if not keys.has_digest_key(self.key_id):
            return False
        return not hmac.compare_digest(self.proof, _proof(self.text, self.key_id))


_NOTE = re.compile(
    rf"(?P<text>{_START}(?P<seals>[1-9][0-9]{{0,17}}) chain=[0-9a-f]{{64}} "
    r"seal first=[!-~ ]{1,400}? proof=[0-9a-f]{64}) "
    r"note=(?P<key>[0-9a-f]{8}):(?P<proof>[0-9a-f]{64})\b",
    re.ASCII,
)


def _proof(text: str, key_id: str) -> str:
    return keys.digest("audit note", text, key_id=key_id)


def newest() -> Note | None:
    """Return the note of all seals that there are; None if there is none. It reads them all."""
    chain = Chain()
    for one in all_seals():
        chain.add(one)
    return Note.of(chain) if chain.newest else None


def read(lines: Iterable[str]) -> Iterator[tuple[int, Note | None]]:
    """Yield each note in *lines* with the number of its line; None if it cannot be read."""
    begun, text = 0, ""
    for number, line in enumerate(lines, start=1):
        if _START in line:
            if begun:
                yield begun, None
            begun, text = number, ""
        if not begun:
            continue
        text += f"{line} "
        note = Note.read(text)
        if note or number - begun >= _LINES:
            yield begun, note
            begun = 0
    if begun:
        yield begun, None


# -- where notes go ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A place outside that keeps notes, and how far it has come."""

    name: str
    """Its name for others: ``mail``, or the address of a file."""
    targets: tuple[str, ...]
    """Its address in ``OPTIN_NOTARY``; for ``mail``, all addresses."""
    newest: AuditNote | None
    waiting: AuditSeal | None
    """The oldest seal of which no note there tells."""

    def waits(self, now: datetime) -> timedelta:
        """Return for how long a seal has waited since the last note; 0 if none does."""
        if self.waiting is None:
            return timedelta(0)
        since = max(self.waiting.at, self.newest.at) if self.newest else self.waiting.at
        return max(now - since, timedelta(0))

    def is_due(self, now: datetime) -> bool:
        return bool(self.waiting) and (self.newest is None or self.newest.at <= now - EVERY)

    def is_overdue(self, now: datetime) -> bool:
        return self.waits(now) > OVERDUE


def places() -> list[Place]:
    """Return where ``OPTIN_NOTARY`` sends notes, in its order. Two statements for each."""
    targets: dict[str, list[str]] = {}
    for target in conf.notary:
        targets.setdefault(_name(target), []).append(target)
    return [_place(name, tuple(some)) for name, some in targets.items()]


def _place(name: str, targets: tuple[str, ...]) -> Place:
    last = AuditNote.objects.filter(place=name).order_by("-last_id").first()
    rest = AuditSeal.objects.filter(last_id__gt=last.last_id if last else 0)
    return Place(name, targets, last, rest.order_by("last_id").first())


def _name(target: str) -> str:
    """Never an address of a mailbox."""
    return MAIL if target.startswith(f"{MAIL}:") else target
