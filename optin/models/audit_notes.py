"""A note that was given to a notary, and when."""

from django.db import models
from django.db.models import Q


class AuditNote(models.Model):
    """A record that a note of the trail was given to one place outside (``operations.notary``).

    The place keeps the note: this row only tells when the next one is due.
    """

    place = models.CharField(max_length=300)
    seals = models.PositiveBigIntegerField()  # how many there were
    last_id = models.BigIntegerField()  # where the newest of them ends
    line = models.CharField(max_length=600)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            # If two processes give the same note, one keeps a row.
            models.UniqueConstraint(
                fields=["place", "seals"], name="audit_note_once_to_each_place"
            ),
            models.CheckConstraint(condition=Q(seals__gt=0), name="audit_note_tells_of_a_seal"),
        ]

    def __str__(self) -> str:
        return f"note of {self.seals} seals"
