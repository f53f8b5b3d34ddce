"""How far the audit stream has come, for whoever writes it next."""

from typing import Self

from django.db import models
from django.db.models import Q

from optin.models.audit import AuditEvent


class AuditStream(models.Model):
    """The place in the trail up to which the stream holds all events and seals.

    It moves after the lines were written. So a writer that dies in between leaves lines that come
    again, and none that is missing.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    event = models.BigIntegerField()  # all events up to this id are written
    seal = models.BigIntegerField()  # all seals that end at this id, or before
    # The start of the last batch, and the state of the file after it: see ``runtime.sinks``.
    last_event = models.BigIntegerField()
    last_seal = models.BigIntegerField()
    mark = models.CharField(max_length=80, blank=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    fault = models.CharField(max_length=200, blank=True)  # why the last attempt failed

    class Meta:
        verbose_name = "audit stream"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="audit_stream_is_one")]

    def __str__(self) -> str:
        return f"audit stream at event {self.event}"

    @classmethod
    def beginning_after(cls, event_id: int) -> Self:
        return cls(event=event_id, seal=event_id, last_event=event_id, last_seal=event_id)

    def oldest_waiting(self) -> AuditEvent | None:
        """Return the first event that is not in the stream yet."""
        return AuditEvent.objects.filter(pk__gt=self.event).order_by("pk").first()

    def move(self, event: int, seal: int, mark: str) -> None:
        """Save that the batch up to this event and this seal is written."""
        self.last_event, self.last_seal, self.mark = self.event, self.seal, mark
        self.event, self.seal = event, seal
        self.recover()

    def recover(self) -> None:
        self.failures, self.fault = 0, ""
        self.save()
