"""Tables whose rows are added once and never changed.

The database refuses to change a row, or to delete one that is younger than 30 days (the triggers
of migration 0003).
"""

from typing import Any, NoReturn, TypeVar

from django.core.exceptions import PermissionDenied
from django.db import models

M = TypeVar("M", bound=models.Model)


class AppendOnlyQuerySet(models.QuerySet[M]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise PermissionDenied("The audit trail is append-only.")

    def delete(self) -> NoReturn:
        raise PermissionDenied("The audit trail is append-only.")


class AppendOnly(models.Model):
    """A row that is added once and never changed; the triggers say so to SQL too."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise PermissionDenied("The audit trail is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise PermissionDenied("The audit trail is append-only.")
