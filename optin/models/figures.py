"""Figures for the charts of staff, counted hour by hour."""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import F, Q

from optin.models.choices import ChoiceField

MADE_ANEW_AFTER = timedelta(minutes=1)
"""Sooner, nothing is counted again, whoever asks."""


class SpanQuerySet(models.QuerySet["Span"]):
    def unsettled(self) -> Self:
        """The stretches whose figures may still change, in their order."""
        return self.filter(is_settled=False).order_by("start")


class Span(models.Model):
    """A stretch of time whose figures are made together: an hour, or more that was missed.

    Each begins where the one before it ended, so that everything counts once. This row is
    the lock of its figures.
    """

    start = models.DateTimeField(unique=True)
    end = models.DateTimeField()
    day = models.DateField(db_index=True)  # of its start, in the zone of the service
    made_at = models.DateTimeField(null=True, blank=True)
    # From then on it is not made again: purge has deleted what it was made of.
    is_settled = models.BooleanField(default=False)

    objects = SpanQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["start"], condition=Q(is_settled=False), name="span_unsettled")
        ]
        constraints = [
            models.CheckConstraint(condition=Q(end__gt=F("start")), name="span_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"figures from {self.start.isoformat()}"

    def is_due(self, now: datetime) -> bool:
        """Whether its figures should be made (again): the older it is, the less it changes."""
        if self.is_settled or self.made_at is None:
            return not self.is_settled
        return now - self.made_at >= max(MADE_ANEW_AFTER, (self.made_at - self.end) / 8)


class Figure(models.Model):
    """A count of one thing in one span of time. It holds no person, number or address."""

    class What(models.TextChoices):
        OPT_IN = "opt_in", "Opt-ins, by what became of them"
        BUDGET = "budget", "Texts that count for the budget of all"
        LOCK = "lock", "Locks and disablings"

    span = models.ForeignKey(Span, models.CASCADE, related_name="figures")
    day = models.DateField()  # of the span
    what = ChoiceField(max_length=8, choices=What.choices)
    name = models.CharField(max_length=32, blank=True)
    count = models.PositiveBigIntegerField()
    cost = models.DecimalField(max_digits=14, decimal_places=4, default=0)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["what", "day", "name"], name="figure_by_what_and_day")]
        constraints = [
            models.UniqueConstraint(
                fields=["span", "what", "name"], name="figure_one_of_each_in_a_span"
            )
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.name}: {self.count}"
