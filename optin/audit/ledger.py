"""The ledger: lines outside the database that show, after a restore, what the database has lost.

A restored database is in the state of an earlier moment: what was revoked or used up since lives
again. So each decision that takes something away is also written to a file (``OPTIN_LEDGER``) and
to the log, as copies of seals are. Such a line holds ids and keyed digests, no name and no number.
``operations.restore`` carries these decisions out again.

For all other decisions, a process writes at most one short line every few seconds: the id and the
digest of an audit event. If the database lacks one of the newest events, it was restored
(``restores``).

A process writes a line after the commit, and does not wait for the disk. So the line is missing if
the process is killed at that moment.
"""

import hmac
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from optin import events, keys
from optin.conf import conf
from optin.events import Ledger
from optin.models import AuditEvent
from optin.origin import Face
from optin.runtime import metrics

logger = logging.getLogger("optin.audit")

MARK_EVERY = 5.0
"""Seconds between two short lines of one process: about 5 MB a day at most."""

TELLING = frozenset({"recovery_code", "locked_until", "disabled"})
"""Keys in the data of an event of any kind: a code was used up, or the account locked."""

_DATA = TELLING | {
    "app_until",
    "removed",
    "passkey",
    "passkeys",
    "change",
    "failures",
    "programs",
    "role",
    "covers",
    "key",
    "region",
    "until",
    "listed",
    "by_owner",
    "access_key",
    "application",
    "endpoint",
    "stopped",
    "day",
    "sha256",
    "made",
    "changed",
}
"""Keys that a line takes over from the data of its event."""

_TOLD = ("kind", "outcome", "user_id", "file_id", "provider_user_id", "number_digest", "last_three")
"""Fields of an event that only a line of its own has."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the event that there was and, if it took something away, what that was."""

    event_id: int
    at: datetime
    digest: str  # of the event, which proves all that it says
    key_id: str
    kind: str = ""  # "" if it only shows that there was an event
    outcome: str = ""
    user_id: int | None = None
    file_id: int | None = None
    provider_user_id: int | None = None
    number_digest: str = ""
    last_three: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Return the line of *event*, which has its id."""
        values = {name: getattr(event, name) for name in ("at", "digest", "key_id")}
        row = events.row_of(event.kind, event.outcome)
        if row.ledger is not Ledger.NO or not TELLING.isdisjoint(event.data):
            values |= {name: getattr(event, name) for name in _TOLD}
            values["data"] = {k: value for k, value in event.data.items() if k in _DATA}
        return cls(event.pk, **values)

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the line that *text* holds somewhere.

        None where there is none, or if this service did not write it with the digest key at hand.
        """
        found = _LINE.search(_plain(text))
        if found is None or not hmac.compare_digest(found["proof"], _proof(found["about"])):
            return None
        said = dict(parse_qsl(found["about"]))
        # Another release may know more fields, or fewer.
        values: dict[str, Any] = {name: said[name] for name in cls.__slots__ if name in said}
        try:
            for name in ("event_id", "user_id", "file_id", "provider_user_id"):
                if name in values:
                    values[name] = int(values[name])
            values["at"] = datetime.fromisoformat(values["at"])
            values["data"] = json.loads(values.get("data", "{}"))
            return cls(**values)
        except (KeyError, ValueError, TypeError):
            return None

    @property
    def _kept(self) -> Ledger:
        return events.row_of(self.kind, self.outcome).ledger

    @property
    def is_told(self) -> bool:
        """Whether it tells of a decision that took something away, or gave it back."""
        return self._kept is not Ledger.NO

    @property
    def gives_back(self) -> bool:
        """Whether it tells of a decision that gave something back, or ended a stop."""
        given = self._kept is Ledger.GIVES_BACK
        return given or self.data.get("stopped") is False or self.data.get("listed") is False

    @property
    def uses_up(self) -> bool:
        """Whether its event used up a code, or locked the account."""
        return not TELLING.isdisjoint(self.data)

    def text(self) -> str:
        """Return the line as it is written. Quotes and spaces are encoded, also for a log."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["at"] = self.at.isoformat()
        values["data"] = json.dumps(self.data, sort_keys=True) if self.data else ""
        said = {name: value for name, value in values.items() if value not in {"", None}}
        about = urlencode(said)
        return f"ledger {about} proof={_proof(about)}"


# It may follow a part of another line, if the disk had no room for the rest of that one.
_LINE = re.compile(r"ledger (?P<about>[!-~]+) proof=(?P<proof>[0-9a-f]{64})\b", re.ASCII)
_KEY = re.compile(r"ledger [!-~]*\bkey_id=([0-9a-f]{8})\b", re.ASCII)


def _proof(about: str) -> str:
    return keys.digest("ledger", about)


# -- written -----------------------------------------------------------------------

_marked_at = 0.0  # by time.monotonic(); of this process


def keep(event: AuditEvent, **signal: Any) -> None:
    """Write the line of *event*, which is committed; for most events, only now and then."""
    global _marked_at
    if not conf.ledger:
        return
    line = Line.of(event)
    if line.kind:
        # Whoever runs a command sees it with --verbosity 2. The log of cron is a mail.
        by_hand = event.face == Face.COMMAND and not event.client
        logger.log(logging.DEBUG if by_hand else logging.INFO, line.text())
    elif time.monotonic() - _marked_at < MARK_EVERY:
        return
    _marked_at = time.monotonic()
    try:
        _append(f"{line.text()}\n")
    except OSError as exc:
        # The decision stands.
        metrics.LEDGER_FAILURES.inc()
        logger.error("the ledger could not be written: %s: %s", exc.strerror, line.text())


def _append(text: str) -> None:
    # All at once: other processes write to this file, too.
    file = os.open(conf.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


# -- read --------------------------------------------------------------------------


def read(lines: Iterable[str]) -> Iterator[Line]:
    """Return what *lines* of ledgers or logs hold, and leave out what the service did not write."""
    for text in lines:
        if line := Line.read(text):
            yield line


def _plain(text: str) -> str:
    """Undo what some logs write for an ampersand."""
    return text.replace("\\u0026", "&")


def has_foreign_key(text: str) -> bool:
    """Whether *text* is a line under another digest key than the one at hand."""
    found = _KEY.search(_plain(text))
    return found is not None and found[1] != keys.digest_key_id()


def newest(size: int) -> list[Line]:
    """Return the lines in the last *size* bytes of the ledger, and of the one before it.

    A line takes 200 to 600 bytes.
    """
    found: list[str] = []
    for name in (f"{conf.ledger}.1", conf.ledger):
        with suppress(FileNotFoundError), open(name, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            found += file.read().decode(errors="replace").splitlines()
    return list(read(found))
