"""Files (tenants), their members, and access keys to them."""

import secrets
from datetime import date, datetime, timedelta
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Max, OuterRef, Q

from optin import keys
from optin.database import Param, Select
from optin.models.users import User

MAX_FILE_ID = 2_147_483_647
"""The contract's ids are .NET ``int``."""

_USED_AT_MOST_EVERY = timedelta(hours=1)


class FileQuerySet(models.QuerySet["File"]):
    def open_to(self, user: "User | OuterRef | Param") -> Self:
        """The door to files: active ones of which *user* is an active member."""
        return self.filter(active=True, memberships__user=user, memberships__active=True)

    def managed_by(self, user: User) -> Self:
        """Active files that *user* manages, as an active member."""
        mine = {"memberships__active": True, "memberships__manages": True}
        return self.filter(active=True, memberships__user=user, **mine)

    def ids_open_to(self, user: User) -> list[int]:
        """The ids of ``open_to``, of all files."""
        return [file.pk for file in _OPEN.rows(user_id=user.pk)]

    def next_id(self) -> int:
        """Return an id after all that exist."""
        highest: int | None = self.aggregate(highest=Max("id"))["highest"]
        return (highest or 0) + 1


class File(models.Model):  # type: ignore[django-manager-missing]
    """A tenant: what the contract calls a file, by its ``FileId``."""

    # No AutoField: the ids often come from the system that this one replaces.
    id = models.PositiveIntegerField(
        primary_key=True, validators=[MinValueValidator(1), MaxValueValidator(MAX_FILE_ID)]
    )
    name = models.CharField(max_length=200)
    active = models.BooleanField(default=True)
    # Its members are test accounts, and their texts go to a page. Chosen when the file is made.
    is_sandbox = models.BooleanField("sandbox", default=False, db_default=False)
    # Its id in the identity provider that keeps its members (SCIM).
    external_id = models.CharField(max_length=255, blank=True, default="", db_default="")
    # From this day on, it takes a new number only beside another second factor (``texts_end``).
    texts_end_on = models.DateField(null=True, blank=True)
    # The number of its last event (``webhooks``).
    webhook_sequence = models.BigIntegerField(default=0, db_default=0)

    objects = FileQuerySet.as_manager()

    class Meta:
        permissions = [
            ("manage_tenants", "Can make files, members, access keys and OAuth applications")
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(id__gte=1, id__lte=MAX_FILE_ID), name="file_id_in_range"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"

    def takes_numbers_alone(self, today: date) -> bool:
        """Whether a number can be opted in by somebody without another second factor."""
        return self.texts_end_on is None or today < self.texts_end_on


_OPEN = Select(lambda: File.objects.open_to(Param("user_id", Membership, "user")).only("id"))


MAX_KEY_NAME = 60


class Membership(models.Model):
    """A user who may act in a file."""

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    file = models.ForeignKey(File, models.CASCADE, related_name="memberships")
    active = models.BooleanField(default=True)
    # Whether they may look after what belongs to the file as a whole: its webhook endpoints.
    manages = models.BooleanField(default=False, db_default=False)

    class Meta:
        verbose_name = "member"
        constraints = [models.UniqueConstraint(fields=["user", "file"], name="membership_unique")]

    def __str__(self) -> str:
        return f"user {self.user_id} in file {self.file_id}"


class AccessKeyManager(models.Manager["AccessKey"]):
    def make(
        self, user: User, file: File, now: datetime, name: str = ""
    ) -> tuple["AccessKey", str]:
        """Make a key; its text is returned here and never again."""
        # Hex: a key that began with "-" would be an option to a command that names it.
        text = secrets.token_hex(32)
        return self.keep(text, user, file, now, name), text

    def keep(self, text: str, user: User, file: File, now: datetime, name: str = "") -> "AccessKey":
        """Store *text*, at least 128 random bits, as a key: by its digest only."""
        return self.create(
            user=user,
            file=file,
            digest=keys.sha256(text),
            prefix=text[:6],
            name=name,
            created_at=now,
        )


class AccessKey(models.Model):
    """A legacy ``WsAccessKey`` of one user for one file."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_keys")
    file = models.ForeignKey(File, models.CASCADE, related_name="access_keys")
    # Plain SHA-256: the key is random, so there is nothing to guess from its digest.
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=6)
    name = models.CharField(max_length=MAX_KEY_NAME, default="", db_default="", blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = AccessKeyManager()

    def __str__(self) -> str:
        return f"access key {self.prefix}..."

    @staticmethod
    def is_stale(last_used_at: datetime | None, now: datetime) -> bool:
        """Whether a use at *now* is worth a write: at most one an hour is."""
        return last_used_at is None or now - last_used_at >= _USED_AT_MOST_EVERY
