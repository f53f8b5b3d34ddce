"""The canary: one row that tells at once whether the keys are the right ones."""

from django.db import models
from django.db.models import Q

from optin import keys

_TEXT = "canary"


class CanaryManager(models.Manager["Canary"]):
    def look(self) -> "Canary":
        """Return the canary; at the very first start, make it with the keys at hand."""
        canary = self.first()
        if canary is None:
            # If many processes start at once, one makes it.
            fresh = Canary(sealed=_seal(), digest=_digest())
            self.bulk_create([fresh], ignore_conflicts=True)
            canary = self.get()
        return canary


class Canary(models.Model):
    """A text sealed with the ring, and its digest under the digest key.

    Keys under which the data was not written would not show before somebody's sign-in
    failed, or before one number became active for two people. They show here.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sealed = models.TextField()
    digest = models.CharField(max_length=64)

    objects = CanaryManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="canary_is_one")]

    def __str__(self) -> str:
        return "canary"

    @property
    def key_id(self) -> str:
        """The id of the key that must be in the ring."""
        return keys.key_id(self.sealed)

    def opens(self) -> bool:
        """Whether the ring is the one with which the data was written."""
        try:
            return keys.decrypt(self.sealed, context=_TEXT) == _TEXT
        except keys.UndecryptableError:
            return False

    def has_digest(self) -> bool:
        """Whether the digest key is the one with which the data was written."""
        return self.digest == _digest()

    def seal_anew(self) -> None:
        """Seal it with the current key, and save that."""
        self.sealed = _seal()
        self.save(update_fields=["sealed"])


def _seal() -> str:
    return keys.encrypt(_TEXT, context=_TEXT)


def _digest() -> str:
    return keys.digest("canary", _TEXT)
