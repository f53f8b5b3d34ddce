"""The notary: once a day, a note of the trail goes to whoever keeps it outside (G-09).

``OPTIN_NOTARY`` names the places: mailboxes, and files. Each gets its note by itself, and if one
fails, it is tried again an hour later. ``audit.notes`` says what a note holds, and
``audit.against`` compares the trail with it. Each note is also a line of the log.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.core.mail import EmailMessage
from django.utils import timezone

from optin.audit import notes
from optin.audit.notes import MAIL, Note, Place
from optin.conf import conf
from optin.models import AuditNote
from optin.runtime import metrics, sinks

logger = logging.getLogger("optin.audit")


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
            _hand_over(note, place)
        except Failed as exc:
            metrics.NOTARY_FAILURES.inc()
            logger.error("no note of the audit trail was given to %s: %s", place.name, exc)
            yield Given(place.name, str(exc))
            continue
        logger.info(note.line())
        row = AuditNote(
            place=place.name,
            seals=note.seals,
            last_id=note.newest.last_id,
            line=note.line(),
            at=timezone.now(),
        )
        AuditNote.objects.bulk_create([row], ignore_conflicts=True)
        yield Given(place.name)


def _hand_over(note: Note, place: Place) -> None:
    """Give *note* to *place*.

    :raises Failed: if the place did not take it.
    """
    try:
        if place.name == MAIL:
            _mail(note, [each.partition(":")[2] for each in place.targets])
        else:
            with sinks.opened(place.name) as sink:
                sink.write([note.line()])
    except sinks.Busy:
        raise Failed("another process writes to it") from None
    except OSError as exc:  # of which each error of smtplib is one; its words may quote anything
        raise Failed((place.name != MAIL and exc.strerror) or type(exc).__name__) from None


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
