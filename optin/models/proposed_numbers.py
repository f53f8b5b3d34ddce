"""Numbers that another system knows of a person: proposed on the opt-in page, and nothing else."""

from contextlib import suppress
from datetime import datetime
from typing import ClassVar

from django.db import models

from optin import keys, phones
from optin.database import Delete, Param
from optin.models.choices import ChoiceField
from optin.models.users import User


class ProposedNumberQuerySet(models.QuerySet["ProposedNumber"]):
    def drop(self, user: User) -> None:
        """Forget what is proposed to *user*: they have turned on a second factor."""
        _DROP.run_later(user_id=user.pk)


class ProposedNumber(models.Model):
    """A number with which a person may opt in. No text is sent to it before they ask for one."""

    class Source(models.TextChoices):
        IMPORT = "import", "an import"
        PROVIDER = "provider", "an identity provider"

    user = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="proposed")
    number_encrypted = models.TextField()
    last_three = models.CharField(max_length=3)
    source = ChoiceField(max_length=16, choices=Source.choices)
    proposed_at = models.DateTimeField()

    objects: ClassVar = ProposedNumberQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"proposed number of user {self.pk}"

    @classmethod
    def of(cls, user: User, e164: str, source: str, now: datetime) -> "ProposedNumber":
        """Return a row of *user*, not saved, that only they can open."""
        sealed = keys.encrypt(e164, context=_context(user.pk))
        return cls(
            user=user,
            number_encrypted=sealed,
            last_three=e164[-3:],
            source=source,
            proposed_at=now,
        )

    @property
    def masked_number(self) -> str:
        return phones.mask(self.last_three)

    def open_number(self) -> str:
        """Return the number in E.164.

        :raises keys.UndecryptableError: wrong ring, or the ciphertext of another row.
        """
        return keys.decrypt(self.number_encrypted, context=_context(self.user_id))

    def is_of(self, e164: str) -> bool:
        """Whether it is this number."""
        with suppress(keys.UndecryptableError):
            return self.open_number() == e164
        return False

    def seal_anew(self) -> None:
        """Encrypt the number with the current key. Not saved.

        :raises keys.UndecryptableError: as ``open_number``.
        """
        self.number_encrypted = keys.encrypt(self.open_number(), context=_context(self.user_id))


def _context(user_id: int) -> str:
    return f"proposed number of user {user_id}"


_DROP = Delete(
    lambda: ProposedNumber._base_manager.filter(user=Param("user_id", ProposedNumber, "user"))
)
