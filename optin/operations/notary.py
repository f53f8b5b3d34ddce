"""The notary: once a day, a note of the trail goes to whoever keeps it outside (G-09).

``OPTIN_NOTARY`` names the places: mailboxes, a file, authorities for time stamps (RFC 3161). Each
gets its note by itself, and if one fails, it is tried again an hour later. ``audit.notes`` says
what a note holds, and ``audit.against`` compares the trail with it.

Each note is also a line of the log. An authority keeps nothing, so this line has its stamp: it is
what must be kept elsewhere.
"""

import base64
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.core.mail import EmailMessage
from django.utils import timezone

from optin.audit import against, notes
from optin.audit.notes import MAIL, Note, Place
from optin.conf import conf
from optin.gateways.call import Call
from optin.gateways.protocol import SmsError
from optin.models import AuditNote
from optin.runtime import metrics, sinks

logger = logging.getLogger("optin.audit")

CLOCKS_APART = timedelta(minutes=10)
"""By how much the clock of an authority may differ from ours: a certificate that has ended can
make stamps of an earlier time."""

MAX_STAMP = 16 * 1024
"""Bytes of a time stamp, which becomes part of a line. With certificates, it has 2 to 8 KB."""


class Failed(Exception):
    """A place did not take its note, for this reason."""


@dataclass(frozen=True, slots=True)
class Given:
    """The result of giving a note to one place."""

    place: str
    fault: str = ""


def give_due(now: datetime) -> list[Given]:
    """Give the notes that are due at *now*; return what came of each. Nothing is raised.

    Call it outside a transaction. Of two processes at once, both may give a note: it does no harm.
    """
    return list(_give(place for place in notes.places() if place.is_due(now)))


def give_new() -> list[Given]:
    """Give a note to each place that does not have one of the newest seal, due or not."""
    return list(_give(place for place in notes.places() if place.waiting))


def _give(places: Iterator[Place]) -> Iterator[Given]:
    waiting = list(places)
    note = notes.newest() if waiting else None
    for place in waiting if note else ():
        assert note
        try:
            stamp = base64.b64encode(_hand_over(note, place)).decode()
        except Failed as exc:
            metrics.NOTARY_FAILURES.inc()
            logger.error("no note of the audit trail was given to %s: %s", place.name, exc)
            yield Given(place.name, str(exc))
            continue
        line = f"{note.line()} stamp={stamp}" if stamp else note.line()
        logger.info(line)
        row = AuditNote(
            place=place.name,
            seals=note.seals,
            last_id=note.newest.last_id,
            line=note.line(),
            stamp=stamp,
            at=timezone.now(),
        )
        AuditNote.objects.bulk_create([row], ignore_conflicts=True)
        yield Given(place.name)


def _hand_over(note: Note, place: Place) -> bytes:
    """Give *note* to *place*; return the stamp of an authority, b"" of others.

    :raises Failed: if the place did not take it.
    """
    (target, *_) = place.targets
    try:
        if place.name == MAIL:
            _mail(note, [each.partition(":")[2] for each in place.targets])
        elif urlsplit(target).scheme == "file":
            with sinks.opened(target) as sink:
                sink.write([(note.line(), "note")])
        else:
            return _stamp(note, target)
    except sinks.Busy:
        raise Failed("another process writes to it") from None
    except OSError as exc:  # of which each error of smtplib is one; its words may quote anything
        raise Failed((place.name != MAIL and exc.strerror) or type(exc).__name__) from None
    return b""


def _mail(note: Note, to: list[str]) -> None:
    words = [
        f"This note proves the audit trail up to event {note.newest.last_id}. Keep this mail where",
        "no administrator of the service can change it. It is compared with the trail by:",
        "",
        "    manage verify_audit --against FILE",
        "",
        # Short lines, so that no program breaks one.
        *note.line().replace(" ", "\n").replace("\n", " ", 1).splitlines(),
        "",
        conf.base_url,
    ]
    subject = f"{conf.service_name}: note of the audit trail, event {note.newest.last_id}"
    EmailMessage(subject, "\n".join(words), to=to).send()


def _stamp(note: Note, url: str) -> bytes:
    """Ask the authority at *url* for a time stamp of *note*, and check it.

    :raises Failed: if there is none, or it proves nothing.
    """
    stamps = against.stamps()
    body, nonce = stamps.request(note.text)
    headers = {"Content-Type": stamps.TYPE, "User-Agent": "optin", "Accept-Encoding": "identity"}
    try:
        status, answer = Call(url, headers, body, reads=True, who="the authority").run()
    except SmsError as exc:
        raise Failed(str(exc)) from None
    if status != 200:
        raise Failed(f"the authority answered {status}")
    if not answer or len(answer) > MAX_STAMP:
        raise Failed("its answer came too late, or is too long")
    try:
        stamped_at = stamps.read(answer, text=note.text, nonce=nonce)
    except stamps.NotProved as exc:
        raise Failed(str(exc)) from None
    if abs(stamped_at - timezone.now()) > CLOCKS_APART:
        raise Failed("its clock differs from ours by more than 10 minutes")
    return answer
